"""`dance verify`."""

from __future__ import annotations

from dataclasses import asdict

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, reporting
from dancecli.cli.options import EngineOption, JsonOption, WorkspaceOption


def command(
    workspace_dir: WorkspaceOption = None, engine: EngineOption = "local", json_output: JsonOption = False
) -> None:
    """Verify the checksums of all clips and of what was computed from them: flow, poses, trajectories.

    An interrupted pass resumes with the same command. Exits with 3 if a file is missing or changed.

    Example: `dance verify`
    """
    from dancecli.dataset.quality.verify import verify

    workspace = open_workspace(workspace_dir, create=False)
    with reporting("verify") as reporter:
        result = verify(workspace, reporter, engine=engine)
    if json_output:
        print_json(asdict(result))
    else:
        faulty = len(result.missing) + len(result.changed)
        derived = {
            "flow": result.num_flow,
            "poses": result.num_poses,
            "trajectories": result.num_trajectories,
        }
        num_files = result.num_clips + sum(derived.values())
        kinds = " and ".join(kind for kind, count in derived.items() if count)
        things = f"files of {result.num_clips} clips and their {kinds}" if kinds else "clips"
        print_result(f"{num_files - faulty} of {num_files} {things} are intact")
        for what, names in (("missing", result.missing), ("changed", result.changed)):
            for name in names:
                print_result(f"{what}: {name}")
    if result.missing or result.changed:
        info(
            "delete the changed files and run the command that made them again: dance fetch, import, "
            "augment, flow, pose or train"
        )
        raise typer.Exit(3)
