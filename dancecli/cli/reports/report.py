"""`dance report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, reporting
from dancecli.cli.options import (
    CsvOption,
    DryRunOption,
    FiguresOption,
    JsonOption,
    LatexOption,
    MarkdownOption,
    WorkspaceOption,
    table_format,
)
from dancecli.core.records import Subset

if TYPE_CHECKING:
    from dancecli.storage.workspace import Workspace


# Slices that are named on the terminal; the page has all.
_MOST_SLICES = 3


def command(
    workspace_dir: WorkspaceOption = None,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Run, or group of seeds, to report on. [default: the latest run]",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the report. [default: the run's name]", show_default=False
        ),
    ] = None,
    subset: Annotated[Subset, typer.Option(help="Subset of the headline and the table.")] = Subset.TEST,
    grad_cam: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Add Grad-CAM heat maps of N clips: the most confident mistakes and some correct "
            "predictions.",
            show_default=False,
        ),
    ] = None,
    attributes: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="CSV file with further attributes of clips or videos (a column clip_id or video_id, and any "
            "others) to slice the accuracy by; can be repeated.",
            show_default=False,
        ),
    ] = None,
    hierarchy: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV file that says what each class belongs to (a column label, and one per level): adds "
            "the accuracy at each level.",
            show_default=False,
        ),
    ] = None,
    figures: FiguresOption = False,
    bundle: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR|FILE.zip",
            help="Write the report with the clips of val and test there too, to be sent and opened offline.",
            show_default=False,
        ),
    ] = None,
    latex: LatexOption = False,
    markdown: MarkdownOption = False,
    as_csv: CsvOption = False,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Write a run's report: accuracy, confusion matrix and how it was trained.

    Writes reports/NAME with index.html (it holds everything but the clips' files), metrics.json,
    model-card.md, references.bib (BibTeX) and confusion.csv. For a group, the runs of
    `dance finetune --seeds`, it shows mean and standard deviation, and writes each
    run's page too. Accuracy is sliced by what is known of the clips (dataset, resolution, length, year,
    sound, groups, content), and slices that are significantly worse than the rest are named.

    Example: `dance report --run inception-demo-1 --grad-cam 8`
    """
    from dancecli.report.report import ReportSettings, report

    form = table_format(latex=latex, markdown=markdown, csv=as_csv)
    workspace = open_workspace(workspace_dir, create=False)
    if grad_cam and not dry_run:
        _look_into(workspace, run or _last(workspace), subset, grad_cam)
    with reporting("report") as reporter:
        settings = ReportSettings(
            run, name, subset.value, tuple(attributes or ()), hierarchy, bundle, figures
        )
        result = report(workspace, settings, reporter, dry_run=dry_run)
    if run is None:
        info(f"run {result.run} (the latest)")
    if form:
        from dancecli.report.results.paper_tables import (
            TableFormat,
            controls_table,
            report_table,
            write_table,
        )

        print_result(write_table(report_table(result.document, subset.value), TableFormat(form)).rstrip())
        if subset is Subset.TEST and (controls := controls_table(result.document)):
            # Readers of CSV take one table.
            if form == TableFormat.CSV:
                info("not in this table: the controls, which --latex and --markdown give in one of their own")
            else:
                print_result("\n" + write_table(controls, TableFormat(form)).rstrip())
    elif json_output:
        print_json({"page": str(result.page), "headline": result.headline, **result.document})
    else:
        print_result(result.headline)
        for phrase in result.worst[:_MOST_SLICES]:
            print_result(f"worse than the rest: {phrase}")
        print_result(f"{result.page}{' (not written)' if dry_run else ''}")


def _last(workspace: Workspace) -> str | None:
    runs = workspace.runs()
    return runs[-1] if runs else None


def _look_into(workspace: Workspace, run: str | None, subset: Subset, count: int) -> None:
    """Draw where the run's network looked; without a run, the report itself says what is missing."""
    from dancecli.model.evaluation.gradcam import GradcamSettings, gradcam
    from dancecli.report.plots.gradcam import pick_clips

    if run is None:
        return
    clips = pick_clips(workspace, run, subset.value, count)
    with reporting("Grad-CAM") as reporter:
        gradcam(workspace, GradcamSettings(run, clips), reporter)
