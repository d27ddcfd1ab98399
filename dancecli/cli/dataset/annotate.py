"""`dance annotate`."""

from __future__ import annotations

from typing import Annotated

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result
from dancecli.cli.options import DryRunOption, JsonOption, SplitOption, WorkspaceOption
from dancecli.core.text import agreeing


def command(
    workspace_dir: WorkspaceOption = None,
    split: SplitOption = None,
    augmented: Annotated[
        bool, typer.Option(help="List the augmented clips of the training clips too, if there are any.")
    ] = True,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Rewrite the MMAction2 annotation lists of a split.

    `dance split` and `dance augment` write them too. Use this after files were removed or restored,
    or to leave the augmented clips out. Exits with 3 if clips have lost their file.

    Example: `dance annotate --no-augmented`
    """
    from dancecli.dataset.split.annotations import annotate
    from dancecli.storage.corrections import newer_corrections

    workspace = open_workspace(workspace_dir, create=False)
    result = annotate(workspace, split, augmented=augmented, dry_run=dry_run)
    counts = ", ".join(f"{name} {count}" for name, count in result.counts.items())
    if json_output:
        print_json(
            {
                "split": result.split,
                "folder": str(result.folder),
                "counts": result.counts,
                "augmented": result.num_augmented,
                "missing": result.missing,
            }
        )
    else:
        print_result(f"lists of split {result.split}: {counts} in {result.folder}")
        if result.num_augmented:
            print_result(f"train contains {result.num_augmented} augmented clips")
        if dry_run:
            print_result("nothing was written (--dry-run)")
    if note := newer_corrections(workspace, result.split):
        info(note)
    if result.missing:
        info(f"{agreeing(len(result.missing), 'clip', 'is')} not in the lists: the file is lost")
        raise typer.Exit(3)
