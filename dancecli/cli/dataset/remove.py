"""`dance remove`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result
from dancecli.cli.options import DryRunOption, JsonOption, WorkspaceOption


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
    """Remove clips with all that was derived from them, for good.

    Each clip keeps its history, with the reason, and `dance fetch` does not download it again.
    Splits and lock files stay as they are: run `dance split` again to leave the clips out. Runs,
    reports and exports that exist already are not changed.

    Example: `dance remove -0L4z8D2eGs --reason "take-down request"`
    """
    from dancecli.dataset.removal import remove

    workspace = open_workspace(workspace_dir, create=False)
    result = remove(workspace, names, reason, dry_run=dry_run)
    if json_output:
        print_json(asdict(result))
    else:
        verb = "would be removed" if dry_run else "removed"
        print_result(f"{len(result.clip_ids)} clips and {len(result.files)} files {verb}")
    if result.splits:
        info(f"splits that still contain some of them: {', '.join(result.splits)}; run dance split again")
