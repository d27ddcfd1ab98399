"""The charts of a page as figures for a paper: PDF and SVG at the width of a column.

They are drawn from the same layout as on the page, so that a figure and a page never differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dancecli.report.plots.layout import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Chart, CostChart, Whisker
from dancecli.report.plots.papers import COLUMN, save, style
from dancecli.report.statistics.intervals import Estimate

# Told apart without color too: each look has a line style of its own.
_LOOKS = {
    "raw": ("#0b5fa5", "-", 0.5), "train": ("#0b5fa5", "-", 1.2), "val": ("#b8400a", "--", 1.2),
    "val5": ("#3d7f63", ":", 1.2), "class": ("#888888", "-", 0.4), "run0": ("#0b5fa5", "-", 1.1),
    "run1": ("#b8400a", "--", 1.1), "run2": ("#3d7f63", ":", 1.1), "run3": ("#5b626c", "-.", 1.1),
    "run4": ("#1b1e23", "-", 0.7), "run5": ("#0b5fa5", "--", 0.7), "ideal": ("#777777", ":", 0.8),
}  # fmt: skip


@contextmanager
def _figure(folder: Path, name: str, height: float) -> Iterator[Any]:
    """Give the axes of a figure of a column's width; it is written in both forms when the block ends."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(COLUMN, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure.add_subplot()
        save(figure, folder, name)


def _frame(axes: Any, chart: Chart | CostChart) -> None:
    """Give the axes the page's view box, its ticks and its grid."""
    axes.set(xlim=(LEFT, WIDTH - RIGHT), ylim=(HEIGHT - BOTTOM, TOP))
    axes.set_xticks([x for x, _ in chart.x_ticks], [text for _, text in chart.x_ticks])
    axes.set_yticks([y for y, _ in chart.y_ticks], [text for _, text in chart.y_ticks])
    axes.grid(axis="y", linewidth=0.3, color="#cccccc")
    axes.tick_params(length=2, width=0.5)


def draw_chart(folder: Path, name: str, chart: Chart) -> None:
    """Draw a chart of lines as `<name>.pdf` and `.svg`."""
    with _figure(folder, name, 2.1) as axes:
        _frame(axes, chart)
        axes.set(xlabel=chart.x_label, ylabel=chart.y_label)
        several = len(chart.lines) > 1 and not any(line.key for line in chart.lines)
        for line in chart.lines:
            color, style, width = _LOOKS[line.css]
            axes.plot(
                [x for x, _ in line.points], [y for _, y in line.points], color=color, linestyle=style,
                linewidth=width, clip_on=False, marker="o" if line.marked else "", markersize=2,
                label=line.name if several else None,
            )  # fmt: skip
        if several:
            axes.legend(frameon=False, fontsize=6, handlelength=2.4)


def draw_cost(folder: Path, name: str, chart: CostChart) -> None:
    """Draw accuracy against cost as `<name>.pdf` and `.svg`."""
    with _figure(folder, name, 2.3) as axes:
        _frame(axes, chart)
        axes.set(xlabel=chart.label, ylabel="top-1 accuracy")
        axes.plot([x for x, _ in chart.steps], [y for _, y in chart.steps], color="#0b5fa5", ls="--", lw=0.7)
        for spot in chart.spots:
            color = "#0b5fa5" if spot.front else "#777777"
            axes.plot([spot.x] * 2, [spot.top, spot.bottom], color=color, linewidth=0.6, alpha=0.6)
            axes.plot(spot.x, spot.y, "o", color=color, markersize=3)
            if spot.label:
                x, y, side = spot.label
                axes.annotate(
                    spot.short, (spot.x, spot.y), (0.5 * (x - spot.x), -0.5 * (y - spot.y)),
                    textcoords="offset points", fontsize=6, ha="left" if side == "start" else "right",
                )  # fmt: skip


def draw_calibration(folder: Path, name: str, whiskers: Sequence[Whisker], side: float) -> None:
    """Draw the reliability diagram as `<name>.pdf` and `.svg`; its layout is a square of `side`."""
    with _figure(folder, name, 2.9) as axes:
        axes.set(xlim=(0, side), ylim=(side, 0), aspect="equal", xlabel="confidence", ylabel="accuracy")
        marks = [side * i / 5 for i in range(6)]
        texts = [f"{20 * i} %" for i in range(6)]
        axes.set_xticks(marks, texts)
        axes.set_yticks([side - mark for mark in marks], texts)
        axes.plot([0, side], [side, 0], color="#777777", linestyle=":", linewidth=0.8)
        for w in whiskers:
            axes.plot([w.x] * 2, [w.top, w.bottom], color="#0b5fa5", linewidth=0.8, alpha=0.6)
            axes.plot(w.x, w.y, "o", color="#0b5fa5", markersize=w.radius * 0.7, markeredgewidth=0)


def draw_forest(folder: Path, name: str, rows: Sequence[tuple[str, Estimate]], label: str) -> None:
    """Draw rates with their intervals, one per row, as `<name>.pdf` and `.svg`.

    Args:
        folder: where.
        name: the figure's name.
        rows: from the top, a name and its estimate.
        label: what the rates are.
    """
    with _figure(folder, name, 0.5 + 0.14 * len(rows)) as axes:
        places = range(len(rows))
        axes.hlines(
            places, [100 * e.low for _, e in rows], [100 * e.high for _, e in rows], color="#0b5fa5", lw=1
        )
        axes.plot([100 * e.rate for _, e in rows], places, "o", color="#0b5fa5", markersize=2.6)
        axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel=f"{label}, %")
        axes.set_yticks(places, [text[:32] for text, _ in rows])
        axes.grid(axis="x", linewidth=0.3, color="#cccccc")
        axes.tick_params(length=2, width=0.5)


def draw_pairs(
    folder: Path, name: str, rows: Sequence[tuple[str, float, float]], names: tuple[str, str], label: str
) -> None:
    """Draw two rates per row, joined by a line, as `<name>.pdf` and `.svg`.

    Args:
        folder: where.
        name: the figure's name.
        rows: from the top, a name and its two rates.
        names: what the two are of.
        label: what the rates are.
    """
    with _figure(folder, name, 0.7 + 0.14 * len(rows)) as axes:
        places = range(len(rows))
        axes.hlines(
            places, [100 * a for _, a, _ in rows], [100 * b for _, _, b in rows], color="#999999", lw=0.8
        )
        axes.plot(
            [100 * a for _, a, _ in rows], places, "o", color="#0b5fa5", markersize=3, fillstyle="none",
            markeredgewidth=0.7, label=names[0][:32],
        )  # fmt: skip
        axes.plot(
            [100 * b for _, _, b in rows], places, "o", color="#0b5fa5", markersize=3, label=names[1][:32]
        )
        axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel=f"{label}, %")
        axes.set_yticks(places, [text[:32] for text, _, _ in rows])
        axes.grid(axis="x", linewidth=0.3, color="#cccccc")
        axes.tick_params(length=2, width=0.5)
        axes.get_figure().legend(loc="outside upper center", ncols=2, frameon=False, fontsize=6)


def file_name(title: str) -> str:
    """Make a file's name of a chart's title: `Top-k accuracy` is `top-k-accuracy`."""
    return "-".join(title.lower().split())
