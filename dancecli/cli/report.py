"""`dance report`."""

from __future__ import annotations

from typing import Annotated

import typer

from dancecli.cli.console import emit, open_workspace, progress, show, talk
from dancecli.cli.options import DryRunOption, JsonOption, WorkspaceOption
from dancecli.schema import PartName


def command(
    workspace: WorkspaceOption = None,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Run to report on. [default: the one made last]", show_default=False
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the report. [default: the run's name]", show_default=False
        ),
    ] = None,
    part: Annotated[PartName, typer.Option(help="Part that the headline is of.")] = PartName.TEST,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Draw a run's page: accuracy, confusion, and what was run.

    Writes one HTML file that needs nothing else, metrics.json, confusion.csv and confusion.png.

    Example: `dance report --run inception-demo-1`
    """
    from dancecli.report.report import ReportSettings, report

    space = open_workspace(workspace, create=False)
    with progress("report") as on_progress:
        result = report(space, ReportSettings(run, name, part.value), on_progress, dry_run=dry_run)
    if run is None:
        talk(f"run {result.run} (the one made last)")
    if json_output:
        emit({"page": str(result.page), "headline": result.headline, **result.document})
    else:
        show(result.headline)
        show(f"{result.page}{' (not written)' if dry_run else ''}")
