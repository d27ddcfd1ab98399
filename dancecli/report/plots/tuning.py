"""A study as a picture for a paper: the same panels as on its page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from dancecli.report.plots.layout import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH
from dancecli.report.plots.tuning_layout import Panel
from dancecli.storage.files import atomic_file

_COLORS = {
    "chosen": "#b8400a",
    "tied": "#0b5fa5",
    "worse": "#8fb4d3",
    "pruned": "#b5b8bd",
    "baseline": "#3d7f63",
}
_COLUMNS = 2
_INCHES = (3.5, 2.2)


def draw_study(path: Path, panels: Sequence[Panel]) -> None:
    """Draw a study's panels, 300 dots an inch; the same panels give the same bytes."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    rows = math.ceil(len(panels) / _COLUMNS)
    with mpl.rc_context({"font.family": "DejaVu Sans", "font.size": 7.5, "text.usetex": False}):
        figure = Figure(figsize=(_INCHES[0] * _COLUMNS, _INCHES[1] * rows + 0.35), dpi=300)
        FigureCanvasAgg(figure)
        grid = figure.subplots(rows, _COLUMNS, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        for axes in grid[:, 0]:
            axes.set_ylabel("top-1, validation", color="#5b626c")
        for axes, panel in zip(grid.flat, panels, strict=False):
            title = panel.title.replace("$", r"\$") + (f", {panel.note}" if panel.note else "")
            axes.set_title(title, loc="left", fontsize=8.5, fontweight="bold")
            axes.set_xlim(LEFT - 8, WIDTH - RIGHT + 8)
            axes.set_ylim(HEIGHT - BOTTOM + 3, TOP - 5)
            axes.set_xticks([x for x, _ in panel.x_ticks], [text for _, text in panel.x_ticks])
            axes.set_yticks([y for y, _ in panel.y_ticks], [text for _, text in panel.y_ticks])
            axes.grid(axis="y", color="#e2dfd9", linewidth=0.6)
            axes.tick_params(length=0, colors="#5b626c")
            axes.set_axisbelow(True)
            for edge in axes.spines.values():
                edge.set_visible(False)
            if panel.best:
                axes.plot(*_corners(panel.best), color="#b8400a", linewidth=1.0, alpha=0.7)
            for point in panel.points:
                color = _COLORS[point.kind]
                axes.plot([point.x] * 2, [point.top, point.bottom], color=color, linewidth=0.7, alpha=0.35)
                size = 4.6 if point.kind in ("chosen", "baseline") else 3.2
                axes.plot(point.x, point.y, "o", color=color, markersize=size, markeredgewidth=0)
        kinds = {point.kind for panel in panels for point in panel.points}
        marks = [
            Line2D([], [], color=color, marker="o", linestyle="", markersize=4, label=kind)
            for kind, color in _COLORS.items()
            if kind in kinds
        ]
        figure.legend(handles=marks, loc="lower center", ncols=len(marks), frameon=False)
        figure.tight_layout(rect=(0, 0.3 / (_INCHES[1] * rows + 0.35), 1, 1))
        with atomic_file(path, "wb") as file:
            figure.savefig(file, format="png", metadata={"Software": None})


def _corners(path: str) -> tuple[list[float], list[float]]:
    """Read a path of steps: `M x y`, then `H x` and `V y`."""
    start, *steps = path[1:].replace("H", "|H").replace("V", "|V").split("|")
    x, y = (float(word) for word in start.split())
    xs, ys = [x], [y]
    for step in steps:
        x, y = (float(step[1:]), y) if step[0] == "H" else (x, float(step[1:]))
        xs.append(x)
        ys.append(y)
    return xs, ys
