"""`dance verify`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, reporting
from dancecli.cli.options import EngineOption, JsonOption, WorkspaceOption
from dancecli.core.text import pluralize

if TYPE_CHECKING:
    from dancecli.storage.workspace import Workspace


def command(
    workspace_dir: WorkspaceOption = None,
    card: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Verify the facts of an export's README.md, DATASHEET.md or croissant.json instead: each is "
            "derived again from the workspace.",
            show_default=False,
        ),
    ] = None,
    engine: EngineOption = "local",
    json_output: JsonOption = False,
) -> None:
    """Verify the checksums of all clips and of what was computed from them: flow, poses, trajectories.

    An interrupted pass resumes with the same command. Exits with 3 if a file is missing, changed or cannot
    be read, or if a fact of the card is not what the workspace gives, or a checksum in it not its file's.

    Example: `dance verify`, or `dance verify --card exports/SPLIT-lists/croissant.json`
    """
    from dancecli.dataset.quality.verify import verify

    workspace = open_workspace(workspace_dir, create=False)
    if card is not None:
        _verify_card(workspace, card, json_output=json_output)
        return
    with reporting("verify") as reporter:
        result = verify(workspace, reporter, engine=engine)
    faults = [(what, getattr(result, what)) for what in ("missing", "changed", "unreadable")]
    if json_output:
        print_json(asdict(result))
    else:
        faulty = sum(len(names) for _, names in faults)
        derived = {
            "flow": result.num_flow,
            "poses": result.num_poses,
            "trajectories": result.num_trajectories,
        }
        num_files = result.num_clips + sum(derived.values())
        kinds = " and ".join(kind for kind, count in derived.items() if count)
        things = f"files of {pluralize(result.num_clips, 'clip')} and their {kinds}" if kinds else "clips"
        print_result(f"{num_files - faulty} of {num_files} {things} are intact")
        for what, names in faults:
            for name in names:
                print_result(f"{what}: {name}")
    if result.unreadable:
        info("what cannot be read may be whole: check its permissions, and the disk")
    if result.missing or result.changed:
        info(
            "delete the changed files and run the command that made them again: dance fetch, import, "
            "augment, flow, pose or train"
        )
    if any(names for _, names in faults):
        raise typer.Exit(3)


def _verify_card(workspace: Workspace, card: Path, *, json_output: bool) -> None:
    """Derive the facts of an export's document again, and name those that differ."""
    from dancecli.dataset.export.card_check import check_card

    result = check_card(workspace, card)
    if json_output:
        print_json({**asdict(result), "file": str(result.file)})
    else:
        for found in result.differences:
            print_result(found.text)
        print_result(f"{len(result.differences)} of the {result.num_facts} facts of {card} differ")
    if any(not found.of_file for found in result.differences):
        info(
            f"if the workspace is right, correct these facts in {card.name}; if you added nothing to it, "
            f"delete it and run again, with --to and --link as it was made: {result.command}"
        )
        info("if the export's clips themselves changed, remove the whole export first")
    if any(found.of_file for found in result.differences):
        info(f"a file of the export was changed or is missing; remove it and run again: {result.command}")
    if result.differences:
        raise typer.Exit(3)
