"""`dance remove`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result
from dancecli.cli.options import DryRunOption, JsonOption, WorkspaceOption
from dancecli.core.text import file_size, pluralize


def command(
    names: Annotated[
        list[str],
        typer.Argument(metavar="CLIP|VIDEO|GROUP...", help="Ids of clips or videos, or names of groups."),
    ],
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why they are removed; stored in the history of each clip.")
    ],
    workspace_dir: WorkspaceOption = None,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Remove clips on request, with everything that came from them, for good.

    Deleted are their files, augmented versions, optical flow, poses, trajectories, features, thumbnails,
    table rows, predictions and corrections, and reports and exports that contain them. A line of
    removed.csv stays: it keeps them from being downloaded, imported or split again. A video id blocks
    the whole video; a clip goes with clips that overlap it. Splits say how many of their clips were
    removed.

    Example: `dance remove -0L4z8D2eGs --reason "take-down request"`
    """
    from dancecli.dataset.upkeep.remove import remove

    workspace = open_workspace(workspace_dir, create=False)
    result = remove(workspace, names, reason, dry_run=dry_run)
    if json_output:
        print_json(asdict(result))
    else:
        verb = "would be removed" if dry_run else "removed"
        print_result(
            f"{pluralize(len(result.clip_ids), 'clip')} {verb}: "
            f"{pluralize(len(result.files), 'file')}, {file_size(result.num_bytes)}"
        )
        for name in result.files:
            if name.endswith("/"):
                print_result(f"  {name}")
    if result.splits:
        info(f"splits that contained them: {', '.join(result.splits)}; each says how many were removed")
    if result.runs:
        info(f"runs without predictions of them now: {', '.join(result.runs)}")
    if any(name.startswith(("reports/", "exports/")) for name in result.files):
        written = "; what was written into their documents by hand goes with them"
        mine = written if any(name.startswith("exports/") for name in result.files) else ""
        info(f"run dance report and dance export again{mine}; exports outside the workspace are not changed")
    submissions = [Path(name).stem for name in result.files if name.startswith("submissions/")]
    if submissions:
        names_text = ", ".join(submissions)
        info(f"submissions that contained them: {names_text}; write a site again: dance board --site DIR")
    if result.still_named_in:
        still = ", ".join(result.still_named_in)
        info(f"files that still name them, or cannot be read: {still}; correct them, and run this again")
        raise typer.Exit(3)
