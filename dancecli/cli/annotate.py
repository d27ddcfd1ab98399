"""`dance annotate`."""

from __future__ import annotations

import typer

from dancecli.cli.console import emit, open_workspace, show, talk
from dancecli.cli.options import JsonOption, SplitOption, WorkspaceOption


def command(
    workspace: WorkspaceOption = None, split: SplitOption = None, json_output: JsonOption = False
) -> None:
    """Write the MMAction2 lists of a split again.

    `dance split` writes them too; this is for after files were removed or came back.

    Example: `dance annotate --split subset525`
    """
    from dancecli.dataset.annotate import annotate

    result = annotate(open_workspace(workspace, create=False), split)
    counts = ", ".join(f"{name} {count}" for name, count in result.counts.items())
    if json_output:
        emit(
            {
                "split": result.split,
                "folder": str(result.folder),
                "counts": result.counts,
                "missing": result.missing,
            }
        )
    else:
        show(f"lists of split {result.split}: {counts} in {result.folder}")
    if result.missing:
        talk(f"{len(result.missing)} clips have lost their file and are left out of the lists")
        raise typer.Exit(3)
