"""`dance export`."""

from __future__ import annotations

from typing import Annotated

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, reporting
from dancecli.cli.options import DryRunOption, JsonOption, SplitOption, WorkspaceOption


def command(
    workspace_dir: WorkspaceOption = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORM",
            help="Format of the export: videofolder or parquet (Hugging Face), webdataset (tar files), or "
            "lists (path and label as text, tab-separated and CSV).",
        ),
    ] = "videofolder",
    to: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|URL",
            help="Folder to create, or location in an object store, such as s3://bucket/dance. "
            "[default: exports/SPLIT-FORM in the workspace]",
            show_default=False,
        ),
    ] = None,
    split: SplitOption = None,
    augmented: Annotated[
        bool, typer.Option(help="Export the augmented clips of the training clips too.")
    ] = False,
    link: Annotated[
        bool,
        typer.Option(
            "--link/--copy", help="For videofolder: create hard links, which take no space, or copies."
        ),
    ] = False,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Export a split in the format of another tool.

    An interrupted export resumes with the same command, and a finished one is not written again. Exits
    with 3 if clips of the split have lost their file.

    Example: `dance export --format webdataset --to shards`
    """
    from dancecli.dataset.export.export import ExportSettings, Form, export
    from dancecli.storage.corrections import newer_corrections

    if form not in list(Form):
        raise typer.BadParameter(f"{form!r} is not one of {', '.join(Form)}", param_hint="--format")
    workspace = open_workspace(workspace_dir, create=False)
    settings = ExportSettings(Form(form), split, to, augmented, link, dry_run=dry_run)
    with reporting("export") as reporter:
        result = export(workspace, settings, reporter)
    if json_output:
        print_json(
            {
                "split": result.split,
                "folder": str(result.folder),
                "counts": result.counts,
                "files": result.num_files,
                "new": result.num_new,
                "missing": result.missing,
            }
        )
    else:
        counts = ", ".join(f"{name} {count}" for name, count in result.counts.items())
        print_result(f"split {result.split} as {form}: {counts} in {result.folder}")
        if dry_run:
            print_result(f"{result.num_new} of {result.num_files} files would be written")
    if not result.num_new:
        info("the same export exists already; nothing changed")
    if note := newer_corrections(workspace, result.split):
        info(note)
    if result.missing:
        info(f"{len(result.missing)} clips have lost their file and are not exported")
        raise typer.Exit(3)
