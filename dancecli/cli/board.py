"""`dance board`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dancecli.cli.console import emit, open_workspace, progress, show, table, talk
from dancecli.cli.options import DryRunOption, JsonOption, WorkspaceOption
from dancecli.schema import PartName

if TYPE_CHECKING:
    from dancecli.report.board import Row
    from dancecli.report.intervals import Proportion

COLUMNS = ("run", "place", "right", "top-1", "95 %", "top-5", "leaked videos")


def command(
    workspace: WorkspaceOption = None,
    split: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Runs of this split only. [default: of all]", show_default=False),
    ] = None,
    part: Annotated[PartName, typer.Option(help="Part that the runs are judged on.")] = PartName.TEST,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Set all runs side by side, with ties shown as ties.

    Runs stand in one table where they were judged on the same clips under the same protocol.
    Writes a page, board.csv and board.json.

    Example: `dance board`
    """
    from dancecli.report.board import BoardSettings, board

    space = open_workspace(workspace, create=False)
    with progress("board") as on_progress:
        result = board(space, BoardSettings(split, part.value), on_progress, dry_run=dry_run)
    if json_output:
        emit({"page": str(result.page), **result.document})
    else:
        for standing in result.standings:
            show(f"{standing.clips} clips, test set {standing.test[:12]}, {standing.protocol}")
            show(table(COLUMNS, [_cells(row) for row in standing.rows]))
        show(f"{result.page}{' (not written)' if dry_run else ''}")
    for run, why in result.left_out:
        talk(f"left out: {run}: {why}")


def _cells(row: Row) -> tuple[object, ...]:
    place = str(row.first_rank) if row.first_rank == row.last_rank else f"{row.first_rank}-{row.last_rank}"
    e = row.top1.estimate
    span = f"{100 * e.low:.1f}-{100 * e.high:.1f}" if e else ""
    right = f"{row.top1.k}/{row.top1.n}"
    return row.run, place, right, _rate(row.top1), span, _rate(row.top5), row.leaked or "none"


def _rate(of: Proportion | None) -> str:
    return f"{100 * of.estimate.rate:.1f} %" if of and of.estimate else ""
