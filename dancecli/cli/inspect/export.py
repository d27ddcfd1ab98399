"""`dance export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, reporting
from dancecli.cli.options import DryRunOption, JsonOption, SplitOption, WorkspaceOption
from dancecli.core.errors import UsageError
from dancecli.core.text import agreeing

if TYPE_CHECKING:
    from dancecli.storage.workspace import Workspace


def command(
    workspace_dir: WorkspaceOption = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORM",
            help="Format of the export: lists (path, label, checksum and credit as text; no videos), "
            "videofolder or parquet (Hugging Face), webdataset (tar files), or fingerprint (hashes of the "
            "test clips, by which others find them); with --run pth, safetensors, torchscript or onnx. "
            "[default: lists; pth with --run]",
            show_default=False,
        ),
    ] = "",
    run: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Export the model of a run, with a model card, instead of a split; the file's predictions "
            "are compared with the run's.",
            show_default=False,
        ),
    ] = None,
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
    """Export a split, or the model of a run, in the format of another tool.

    Each export has a card (README.md), a datasheet (DATASHEET.md), Croissant metadata (croissant.json) and
    the license and credit of each clip (clips.csv). Lists and fingerprints have no videos; of the other
    formats a warning counts the videos that must not be published. An interrupted export resumes with the
    same command, and a finished one is not written again. Exits with 3 if a clip's file is lost or changed.

    Example: `dance export --format webdataset --to shards`, or `dance export --run NAME --format onnx`
    """
    workspace = open_workspace(workspace_dir, create=False)
    if run is not None:
        if split or augmented or link or dry_run:
            raise UsageError("--run exports a model, so it combines with --format and --to only")
        _export_model(workspace, run, form or "pth", to, json_output=json_output)
        return
    settings = (form or "lists", split, to, augmented, link, dry_run)
    _export_split(workspace, *settings, json_output=json_output)


def _export_model(workspace: Workspace, run: str, form: str, to: str | None, *, json_output: bool) -> None:
    """Export the model of a run, with its model card."""
    from dancecli.dataset.export.object_store import is_url, local_path
    from dancecli.model.inference.export import ModelForm, document_of, export_run
    from dancecli.report.pages.run_page import model_card
    from dancecli.report.results.run_results import read_run_results
    from dancecli.report.results.summaries import summarize
    from dancecli.storage.files import atomic_file

    if form not in list(ModelForm):
        raise typer.BadParameter(f"{form!r} is not one of {', '.join(ModelForm)}", param_hint="--format")
    place = local_path(to) if to and is_url(to) else Path(to) if to else None
    if to and place is None:
        raise UsageError(f"--run exports to a folder, not to {to}", "export to a folder, and upload that")
    with reporting("export") as reporter:
        found = export_run(workspace, run, ModelForm(form), place, reporter)
    results = read_run_results(workspace, run)
    subset = "test" if "test" in results.subsets else next(iter(results.subsets))
    with atomic_file(found.folder / "README.md") as file:
        file.write(model_card(run, results, summarize(results), subset))
    if json_output:
        print_json(document_of(found))
        return
    print_result(f"run {run} as {form}: {found.file}")
    print_result(
        f"compared with the run's own predictions of {found.checked} clips: at most "
        f"{found.difference:.1e} apart"
    )


def _export_split(
    workspace: Workspace,
    form: str,
    split: str | None,
    to: str | None,
    augmented: bool,
    link: bool,
    dry_run: bool,
    *,
    json_output: bool,
) -> None:
    """Export the clips of a split."""
    from dancecli.dataset.export.card_check import outdated_documents
    from dancecli.dataset.export.export import ExportSettings, Form, export
    from dancecli.storage.corrections import newer_corrections

    if form not in list(Form):
        raise typer.BadParameter(f"{form!r} is not one of {', '.join(Form)}", param_hint="--format")
    settings = ExportSettings(Form(form), split, to, augmented, link, dry_run=dry_run)
    with reporting("export") as reporter:
        result = export(workspace, settings, reporter)
        kept = isinstance(result.folder, Path) and not (result.num_new or dry_run)
        outdated = outdated_documents(workspace, settings, Path(result.folder)) if kept else ()
    if json_output:
        print_json(
            {
                "split": result.split,
                "folder": str(result.folder),
                "counts": result.counts,
                "files": result.num_files,
                "new": result.num_new,
                "missing": result.missing,
                "changed": result.changed,
                "not_to_publish": result.num_closed,
                "outdated": outdated,
            }
        )
    else:
        counts = ", ".join(f"{name} {count}" for name, count in result.counts.items())
        print_result(f"split {result.split} as {form}: {counts} in {result.folder}")
        if dry_run:
            print_result(f"{result.num_new} of {result.num_files} files would be written")
    if not result.num_new:
        info("the same export exists already; nothing changed")
    if outdated:
        info(
            f"no longer true in all: {', '.join(outdated)} (dance verify --card names each fact); delete "
            "them and run again to have them written anew"
        )
    if note := newer_corrections(workspace, result.split):
        info(note)
    if result.num_closed:
        info(
            f"do not publish this export: {result.num_closed} of its videos have no license that is known to "
            "allow passing them on (--format lists has no videos)"
        )
    num_changed = len(result.changed)
    for count, what in ((len(result.missing) - num_changed, "lost"), (num_changed, "changed")):
        if count:
            info(f"{agreeing(count, 'clip', 'is')} not exported: the file is {what}")
    if result.missing:
        raise typer.Exit(3)
