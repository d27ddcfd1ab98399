"""`dance import`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, reporting, table
from dancecli.cli.dataset.import_options import AudioOption, LinkOption, lines_of
from dancecli.cli.options import DryRunOption, JsonOption, WorkersOption, WorkspaceOption

if TYPE_CHECKING:
    from dancecli.dataset.ingest.import_folder import ImportResult

_SHOWN = 5


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the clips lie.")],
    workspace_dir: WorkspaceOption = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Label file. [default: the workspace's set, else the 19 dances if a folder bears one of "
            "their names, else the folders' names]",
            show_default=False,
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Where the clips are from. [default: kinetics, lets-dance, plain]"),
    ] = None,
    link: LinkOption = False,
    audio: AudioOption = True,
    workers: WorkersOption = 0,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Import clips that are already on disk.

    Reads Kinetics downloads (`<label>/<id>_<start>_<end>.mp4` in every known spelling), Let's Dance
    frame folders, and any videos in a folder per label. Each clip is made as `dance fetch` makes
    it, proven by a full decode, and recorded. Run it again and it goes on where it was.

    Example: `dance import ~/kinetics700/val --dry-run`
    """
    from dancecli.dataset.ingest.import_folder import ImportSettings, import_folder
    from dancecli.dataset.ingest.importer import ImportOptions

    settings = ImportSettings(folder, labels, dataset, ImportOptions(link, audio, workers), dry_run)
    with reporting("import") as reporter:
        result = import_folder(open_workspace(workspace_dir, create=not dry_run), settings, reporter)
    if json_output:
        print_json(asdict(result))
    else:
        _show(result)
    for sentence in result.conflicts[:_SHOWN]:
        info(sentence)
    if len(result.conflicts) > _SHOWN:
        info(f"and {len(result.conflicts) - _SHOWN} more under two labels (all of them: --json)")
    if result.intake is not None and not result.intake.complete:
        raise typer.Exit(3)


def _show(result: ImportResult) -> None:
    rows = [(label, result.found[label], result.there.get(label, 0)) for label in sorted(result.found)]
    rows.append(("all", sum(result.found.values()), sum(result.there.values())))
    forms = ", ".join(f"{count} {form}" for form, count in result.forms.items())
    print_result(f"found: {forms}; labels: the {len(result.labels)} of {result.labels_from}")
    print_result(table(("label", "clips", "there already"), rows))
    if result.left_out:
        print_result("left out: " + ", ".join(f"{count} {why}" for why, count in result.left_out.items()))
    if result.intake is None:
        print_result("nothing was written (--dry-run)")
        return
    print_result("\n".join(lines_of(result.intake)))
