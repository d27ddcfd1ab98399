"""The timeline of a video, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dancecli.model.inference.fonts import fonts_for
from dancecli.model.inference.timeline import Scored, Segment
from dancecli.storage.files import atomic_file

# More rows than these cannot be read, and the rest are the least likely.
_MOST_ROWS = 10
# Distinct colors for most kinds of color vision (Okabe & Ito 2008), gray last.
_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#666666")
_DARK = {"#0072B2", "#009E73", "#D55E00", "#666666", "#CC79A7"}


def draw_timeline(
    path: Path, title: str, labels: Sequence[str], slots: Sequence[Scored], segments: Sequence[Segment]
) -> None:
    """Draw the segments as a band, and below it how likely each style is in each stretch.

    Args:
        path: the PNG; the same scores give the same bytes, with the same fonts where names need others
            than matplotlib's.
        title: the video's name; letters that no font of this system has are drawn as question marks.
        labels: class names; one with such letters is given by its number, from 0.
        slots: the smoothed scores; see `dancecli.model.inference.timeline.slots`.
        segments: the sequence of styles.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = _rows(slots, segments)
    # The styles of the band get the colors in order, there and before their rows.
    danced = [label for label in rows if label in {segment.label_index for segment in segments}]
    colors = {label: _COLORS[min(i, len(_COLORS) - 1)] for i, label in enumerate(danced)}
    fonts, missing = fonts_for([title, *labels])
    title = "".join("?" if letter in missing else letter for letter in title)
    labels = [f"class {i}" if missing & set(label) else label for i, label in enumerate(labels)]
    with mpl.rc_context({"font.family": fonts, "font.size": 9, "text.usetex": False}):
        figure = Figure(figsize=(10, 1.9 + 0.28 * len(rows)), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        band, table = figure.subplots(
            2, 1, sharex=True, gridspec_kw={"height_ratios": [1.6, max(2, len(rows))]}
        )
        _draw_band(band, labels, segments, colors)
        _draw_table(figure, table, labels, slots, rows, colors)
        band.set_title(_plain(title), loc="left", fontsize=11)
        with atomic_file(path, "wb") as file:
            figure.savefig(file, format="png", metadata={"Software": None})


def _rows(slots: Sequence[Scored], segments: Sequence[Segment]) -> list[int]:
    """The styles to show: those of the segments, then the likeliest others."""
    spans = [slot.end_s - slot.start_s for slot in slots]
    weight = [
        sum(span * slot.scores[i] for span, slot in zip(spans, slots, strict=True))
        for i in range(len(slots[0].scores))
    ]
    danced = {segment.label_index for segment in segments}
    order = sorted(range(len(weight)), key=lambda i: (i not in danced, -weight[i], i))
    return order[: max(_MOST_ROWS, min(len(danced), 2 * _MOST_ROWS))]


def _draw_band(axes: Any, labels: Sequence[str], segments: Sequence[Segment], colors: dict[int, str]) -> None:
    end = segments[-1].end_s
    for segment in segments:
        span = segment.end_s - segment.start_s
        color = colors.get(segment.label_index, _COLORS[-1])
        axes.broken_barh([(segment.start_s, span)], (0, 1), color=color, edgecolor="white", linewidth=1)
        words = f"{labels[segment.label_index]}\n{segment.probability:.0%}"
        # A letter is about 1/130 of the width; what does not fit is named by its color below.
        if span / end * 130 > max(map(len, words.split("\n"))):
            axes.text(
                segment.start_s + span / 2, 0.5, _plain(words), ha="center", va="center", fontsize=8,
                color="white" if color in _DARK else "black",
            )  # fmt: skip
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.tick_params(bottom=False, labelbottom=False)
    for edge in axes.spines.values():
        edge.set_visible(False)


def _draw_table(
    figure: Any,
    axes: Any,
    labels: Sequence[str],
    slots: Sequence[Scored],
    rows: Sequence[int],
    colors: dict[int, str],
) -> None:
    import numpy as np

    # One column per slot, an empty one where the video has a gap.
    edges, columns = [slots[0].start_s], []
    for slot in slots:
        if slot.start_s > edges[-1]:
            edges.append(slot.start_s)
            columns.append([np.nan] * len(rows))
        edges.append(slot.end_s)
        columns.append([slot.scores[i] for i in rows])
    mesh = axes.pcolormesh(
        edges, np.arange(len(rows) + 1), np.array(columns).T, vmin=0, vmax=1, cmap="Greys", linewidth=0
    )
    axes.set_ylim(len(rows), 0)
    axes.set_yticks(np.arange(len(rows)) + 0.5, [_plain(labels[i][:32]) for i in rows])
    axes.set_xlim(edges[0], edges[-1])
    axes.set_xticks(_ticks(edges[-1]))
    axes.xaxis.set_major_formatter(lambda value, _: _clock(value, edges[-1]))
    axes.set_xlabel("time")
    axes.tick_params(axis="y", length=0, pad=14)
    for i, row in enumerate(rows):
        if row in colors:
            axes.plot(-0.008, i + 0.5, "s", color=colors[row], markersize=7, clip_on=False,
                      transform=axes.get_yaxis_transform())  # fmt: skip
    figure.colorbar(mesh, ax=axes, label="probability", pad=0.01, aspect=12)


def _ticks(end: float) -> list[float]:
    """Round times, at most ten."""
    steps = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
    step = next((step for step in steps if end / step <= 10), 3600 * max(1, round(end / 36000)))
    return [i * step for i in range(int(end / step) + 1)]


def _clock(seconds: float, longest: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if longest < 60:
        return f"{seconds:g} s"
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if longest >= 3600 else f"{minutes}:{rest:02d}"


def _plain(text: str) -> str:
    # Matplotlib reads what stands between two dollars as mathematics.
    return text.replace("$", r"\$")
