"""The figures of a report and of a leaderboard for papers; see `plots.figures`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dancecli.report.plots import curves, layout
from dancecli.report.plots.confusion_matrix import draw_confusion
from dancecli.report.plots.figures import (
    draw_calibration,
    draw_chart,
    draw_cost,
    draw_forest,
    file_name,
)
from dancecli.report.results.leaderboard import Leaderboard
from dancecli.report.results.run_results import RunResults
from dancecli.report.results.slices import Sliced
from dancecli.report.statistics.metrics import Summary

_SIDE = 300.0
# More rows do not fit on a page.
_MOST_ROWS = 60


def write_report_figures(
    folder: Path, results: RunResults, summary: Summary, sliced: Sliced, subset: str
) -> None:
    """Draw every chart of a run's page into a folder, as PDF and SVG.

    Args:
        folder: the folder; it is created.
        results: the run.
        summary: the figures of one subset.
        sliced: accuracy by slice.
        subset: that subset.
    """
    labels = results.labels
    draw_confusion(folder, summary.confusion, labels)
    charts = (
        *layout.training_charts(results.history, top5=len(labels) > 5),
        *curves.score_charts([("accuracy", summary)]),
        *curves.class_charts(summary, labels),
    )
    for chart in charts:
        draw_chart(folder, file_name(chart.title), chart)
    if summary.calibration:
        whiskers = layout.calibration_whiskers(summary.calibration.bins, side=_SIDE, bar_top=0, bar=1)
        draw_calibration(folder, "calibration", whiskers, _SIDE)
    recalls = [(labels[c.index], e) for c in summary.per_class if (e := c.recall.estimate)]
    draw_forest(folder, "recall", recalls[:_MOST_ROWS], "recall")
    if rows := [
        (f"{s.attribute}: {s.value}", e) for s in sliced.slices.get(subset, ()) if (e := s.top1.estimate)
    ]:
        draw_forest(folder, "slices", rows[:_MOST_ROWS], "top-1")


def write_board_figures(
    folder: Path, boards: Sequence[Leaderboard], costs: Sequence[Sequence[layout.CostChart]]
) -> None:
    """Draw a leaderboard's accuracies, and accuracy against cost, as PDF and SVG.

    Args:
        folder: the folder; it is created.
        boards: the leaderboards, numbered where there are several.
        costs: for each the charts of its costs.
    """
    for number, (board, charts) in enumerate(zip(boards, costs, strict=True), start=1):
        end = f"-{number}" if len(boards) > 1 else ""
        rows = [(row.name, row.top1.estimate) for row in board.rows]
        draw_forest(folder, f"leaderboard{end}", rows[:_MOST_ROWS], "top-1")
        for chart in charts:
            draw_cost(folder, f"{file_name(chart.title)}{end}", chart)
