"""The charts of a run's scores, and of several runs' training. Pure: the template draws what is laid out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dancecli.report.plots.layout import (
    MOST_DOTS,
    SHARE,
    Axis,
    Chart,
    Points,
    epochs,
    line_chart,
    nice_ticks,
    thinned,
    training_points,
)
from dancecli.report.statistics.metrics import Summary

# More lines than this cannot be told apart; those of the lowest average precision are drawn.
MOST_CLASSES = 40
# Looks of lines that stand for runs; a further run begins again.
LOOKS = 6


def score_charts(summaries: Sequence[tuple[str, Summary]]) -> tuple[Chart, ...]:
    """Lay out the top-k curve and the accuracy at coverage of one subset, one line per run.

    Args:
        summaries: for each run its name and its figures.
    """
    found, first = [], summaries[0][1]
    looks = _looks(len(summaries))

    def lines(alone: str, marked: bool, points: Sequence[Points]) -> list[Any]:
        names = [alone] if len(summaries) == 1 else [name for name, _ in summaries]
        return [(n, look, own, marked, "") for n, look, own in zip(names, looks, points, strict=True)]

    if len(first.topk) > 1:
        across = Axis("k", tuple(float(k) for k in range(1, len(first.topk) + 1)), digits=0)
        topk = lines("top-k accuracy", True, [s.topk for _, s in summaries])
        found.append(line_chart("Top-k accuracy", topk, across, SHARE))
    if len(first.coverage) > 1:
        across = replace(SHARE, label="coverage: share of clips that are answered")
        coverage = lines("accuracy", False, [s.coverage for _, s in summaries])
        note = "most confident clips first"
        found.append(line_chart("Accuracy at coverage", coverage, across, SHARE, note))
    return tuple(found)


def calibration_chart(summaries: Sequence[tuple[str, Summary]]) -> Chart:
    """Lay out accuracy against confidence in tenths of the scale, one line per run; arguments as above."""
    lines = [
        (name, look, [(b.confidence, b.hits / b.n) for b in s.calibration.bins if b.n], True, "")
        for (name, s), look in zip(summaries, _looks(len(summaries)), strict=True)
        if s.calibration
    ]
    ideal = [("calibrated", "ideal", [(0.0, 0.0), (1.0, 1.0)], False, "")]
    across = replace(SHARE, label="confidence")
    return line_chart("Accuracy by confidence", [*lines, *ideal], across, SHARE)


def _looks(runs: int) -> list[str]:
    return ["train"] if runs == 1 else [f"run{i % LOOKS}" for i in range(runs)]


def class_charts(summary: Summary, labels: Sequence[str]) -> tuple[Chart, ...]:
    """Lay out precision-recall and ROC of each class, the class of lowest average precision first."""
    shown = sorted(summary.curves, key=lambda c: (c.ap, c.index))[:MOST_CLASSES]
    kinds = (
        ("Precision-recall", "recall", "precision", [(c, c.pr) for c in shown]),
        (
            "ROC",
            "false positive rate",
            "true positive rate",
            [(c, c.roc) for c in shown if c.auc is not None],
        ),
    )
    return tuple(
        line_chart(
            title,
            [(labels[c.index], "class", points, False, str(c.index)) for c, points in lines],
            replace(SHARE, label=label),
            replace(SHARE, label=beside),
        )
        for title, label, beside, lines in kinds
        if lines
    )


def run_charts(histories: Sequence[tuple[str, Iterable[Mapping[str, Any]]]]) -> tuple[Chart, ...]:
    """Lay out the training of several runs, one line per run: validation accuracy and the losses.

    Args:
        histories: for each run its name and the rows of `metrics.jsonl`.
    """
    kinds = (
        ("Validation top-1", "val top1"),
        ("Training loss", "train loss"),
        ("Validation loss", "val loss"),
    )
    points = [(name, training_points(rows)) for name, rows in histories]
    found = []
    for title, key in kinds:
        lines = [
            (name, f"run{i % LOOKS}", thinned(of[key]), len(of[key]) <= MOST_DOTS, "")
            for i, (name, of) in enumerate(points)
            if of[key]
        ]
        if len(lines) < 2:
            continue
        last = max(x for _, _, own, _, _ in lines for x, _ in own)
        high = max(y for _, _, own, _, _ in lines for _, y in own)
        up = SHARE if key.endswith("top1") else Axis("", tuple(nice_ticks(0, high, 4)))
        found.append(line_chart(title, lines, epochs(last), up))
    return tuple(found)
