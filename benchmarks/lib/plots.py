"""Curves of growth, as SVG that reads on a light page and on a dark one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# Of middle lightness, and told apart by markers too.
_COLORS = ("#d1495b", "#2a8fbd", "#8a8a8a", "#b8860b", "#4f9d69")
_MARKERS = "osD^v"
_INK = "#808080"


def draw(plot: dict[str, Any], folder: Path) -> Path:
    """Draw a `side_by_side.Plot`, laid out as a dictionary, into `bench-<name>.svg`; give its path."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import LogLocator, NullFormatter

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"bench-{plot['name']}.svg"
    # Text stays text, in the reader's font; the same figures give the same bytes.
    style = {"svg.fonttype": "none", "svg.hashsalt": "bench", "font.family": "sans-serif", "font.size": 10}
    inked = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")
    with plt.rc_context(style | dict.fromkeys(inked, _INK)):
        figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
        # What is ours comes first, so that it has the same color everywhere.
        lines = sorted(plot["lines"].items(), key=lambda line: not line[0].startswith(("ours", "dance")))
        for i, (name, points) in enumerate(lines):
            few = len(points) < 20
            looks = {
                "color": _COLORS[i % len(_COLORS)],
                "marker": _MARKERS[i % len(_MARKERS)] if few else "",
            }
            axes.plot(*zip(*points, strict=True), label=name, linewidth=1.8, markersize=5, **looks)
        if plot["log"]:
            axes.set(xscale="log", yscale="log")
            for axis, (low, high) in ((axes.xaxis, axes.get_xlim()), (axes.yaxis, axes.get_ylim())):
                axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 150 * low else (1,)))
                axis.set_major_formatter(lambda value, _: f"{value:,.10g}")
                axis.set_minor_formatter(NullFormatter())
        else:
            axes.set_xlim(0)
            axes.set_ylim(0, 1.2 * max(y for points in plot["lines"].values() for _, y in points))
        axes.set(xlabel=plot["x"], ylabel=plot["y"])
        axes.grid(visible=True, color=_INK, alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        figure.savefig(path, transparent=True, metadata={"Date": None, "Creator": None})
        plt.close(figure)
    return path
