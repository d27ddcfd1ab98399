"""`dance annotate`."""

from __future__ import annotations

from typing import Annotated

import typer

from dancecli.cli.console import emit, open_workspace, show, talk
from dancecli.cli.options import DryRunOption, JsonOption, SplitOption, WorkspaceOption


def command(
    workspace: WorkspaceOption = None,
    split: SplitOption = None,
    augmented: Annotated[
        bool, typer.Option(help="List the augmented copies of the training clips too, if there are any.")
    ] = True,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Write the MMAction2 lists of a split again.

    `dance split` and `dance augment` write them too; this is for after files were removed or came
    back, or to leave the augmented copies out.

    Example: `dance annotate --no-augmented`
    """
    from dancecli.dataset.split.annotations import annotate

    space = open_workspace(workspace, create=False)
    result = annotate(space, split, augmented=augmented, dry_run=dry_run)
    counts = ", ".join(f"{name} {count}" for name, count in result.counts.items())
    if json_output:
        emit(
            {
                "split": result.split,
                "folder": str(result.folder),
                "counts": result.counts,
                "copies": result.num_copies,
                "missing": result.missing,
            }
        )
    else:
        show(f"lists of split {result.split}: {counts} in {result.folder}")
        if result.num_copies:
            show(f"train holds {result.num_copies} augmented copies")
        if dry_run:
            show("nothing was written (--dry-run)")
    if result.missing:
        talk(f"{len(result.missing)} clips have lost their file and are left out of the lists")
        raise typer.Exit(3)
