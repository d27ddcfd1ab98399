"""The figures of a report, a comparison and a leaderboard for papers; see `plots.figures`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dancecli.core.records import Subset
from dancecli.report.plots import curves, layout
from dancecli.report.plots.confusion_matrix import draw_change, draw_confusion
from dancecli.report.plots.figures import (
    draw_calibration,
    draw_chart,
    draw_cost,
    draw_forest,
    draw_pairs,
    file_name,
)
from dancecli.report.results.comparison import Comparison, Controlled
from dancecli.report.results.entries import Entry
from dancecli.report.results.leaderboard import Leaderboard
from dancecli.report.results.run_results import RunResults
from dancecli.report.results.seed_group import GroupSubset
from dancecli.report.results.slices import Sliced
from dancecli.report.statistics.metrics import Summary

_SIDE = 300.0
# More rows do not fit on a page.
_MOST_ROWS = 60


def write_report_figures(
    folder: Path,
    results: RunResults,
    summary: Summary,
    sliced: Sliced,
    subset: str,
    controls: Sequence[Controlled],
) -> None:
    """Draw every chart of a run's page into a folder, as PDF and SVG.

    Args:
        folder: the folder; it is created.
        results: the run.
        summary: the figures of one subset.
        sliced: accuracy by slice.
        subset: that subset.
        controls: accuracy of the test clips under controls.
    """
    labels = results.labels
    draw_confusion(folder, summary.confusion, labels)
    charts = (
        *layout.training_charts(results.history, top5=len(labels) > 5),
        *curves.score_charts([(str(results.run["name"]), summary)]),
        *curves.class_charts(summary, labels),
    )
    for chart in charts:
        draw_chart(folder, file_name(chart.title), chart)
    if summary.calibration:
        whiskers = layout.calibration_whiskers(summary.calibration.bins, side=_SIDE, bar_top=0, bar=1)
        draw_calibration(folder, "calibration", whiskers, _SIDE)
    recalls = [(labels[c.index], e) for c in summary.per_class if (e := c.recall.estimate)]
    draw_forest(folder, "recall", recalls[:_MOST_ROWS], "recall")
    _draw_slices(folder, sliced, subset)
    shown = [("intact", summary.top1), *((one.control, one.under) for one in controls)]
    if controls and subset == Subset.TEST:
        draw_forest(folder, "controls", [(name, e) for name, of in shown if (e := of.estimate)], "top-1")


def write_group_figures(
    folder: Path, runs: Sequence[RunResults], group: GroupSubset, sliced: Sliced, subset: str
) -> None:
    """Draw every chart of the page of a group into a folder, as PDF and SVG; arguments as above."""
    names = [str(run.run["name"]) for run in runs]
    summaries = list(zip(names, group.summaries, strict=True))
    draw_confusion(folder, group.confusion, runs[0].labels)
    charts = (
        *curves.run_charts(list(zip(names, (run.history for run in runs), strict=True))),
        *curves.score_charts(summaries),
        replace(curves.calibration_chart(summaries), title="calibration"),
    )
    for chart in charts:
        draw_chart(folder, file_name(chart.title), chart)
    _draw_slices(folder, sliced, subset)


def write_comparison_figures(
    folder: Path, first: Entry, second: Entry, found: Comparison, charts: Sequence[layout.Chart]
) -> None:
    """Draw a comparison's accuracies, recalls, changes of the confusion matrix and training, as PDF and SVG.

    Args:
        folder: the folder; it is created.
        first: the first run or method.
        second: the second.
        found: their comparison.
        charts: of their training.
    """
    labels, names = first.first.labels, (first.name, second.name)
    accuracies = [(names[0], found.first.estimate), (names[1], found.second.estimate)]
    draw_forest(folder, "accuracy", accuracies, "top-1")
    recalls = [(labels[c.index], c.first.estimate.rate, c.second.estimate.rate) for c in found.classes]
    draw_pairs(folder, "recall", recalls[:_MOST_ROWS], names, "recall")
    draw_change(folder, found.cells, labels)
    for chart in charts:
        draw_chart(folder, file_name(chart.title), chart)


def _draw_slices(folder: Path, sliced: Sliced, subset: str) -> None:
    if rows := [(f"{s.attribute}: {s.value}", s.top1.estimate) for s in sliced.slices.get(subset, ())]:
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
