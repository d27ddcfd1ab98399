"""The confusion matrix as a figure for a paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dancecli.report.plots.papers import COLUMN, FONT, TEXT, save, style
from dancecli.report.results.comparison import CellChange

# Numbers stand in the cells up to here; a larger matrix is a picture.
MOST_NUMBERED = 40
# Of numbers that can be read at the width of one column; up to `MOST_NUMBERED` it takes both.
MOST_IN_A_COLUMN = 8
# The share of a row at which a mistake has its full color, if none is larger.
DEEPEST_MISTAKE = 0.5
_POINTS = 72


def draw_confusion(folder: Path, counts: Sequence[Sequence[float]], labels: Sequence[str]) -> None:
    """Draw the confusion matrix: counts in the cells, shares of a row as color.

    Args:
        folder: gets `confusion.pdf` and `confusion.svg`; the same counts give the same bytes.
        counts: one row per true class, a column a predicted one; of several runs their mean.
        labels: class names, cut to 32 characters; one that the font has no letters for is given by
            its number, from 0, in the order of `confusion.csv`.
    """
    import numpy as np

    table = np.array(counts, dtype=np.float64)
    rates = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    right = np.eye(len(labels), dtype=bool)
    # Mistakes deepen twice as fast: a tenth of a class gone wrong is to be seen.
    shades = np.where(right, rates, rates / max(DEEPEST_MISTAKE, float(rates[~right].max(initial=0))))
    texts = [[_number(value) for value in row] for row in table]
    _draw(folder, "confusion", texts, shades, right, labels)


def draw_change(folder: Path, cells: Sequence[CellChange], labels: Sequence[str]) -> None:
    """Draw the difference of two confusion matrices: clips in the cells, blue is better, orange is worse.

    Args:
        folder: gets `confusion-change.pdf` and `confusion-change.svg`.
        cells: the cells that differ.
        labels: class names, see `draw_confusion`.
    """
    import numpy as np

    size = len(labels)
    shades, texts = np.zeros((size, size)), [[""] * size for _ in range(size)]
    better = np.zeros((size, size), dtype=bool)
    for cell in cells:
        at = (cell.true, cell.called)
        shades[at], better[at] = min(1.0, abs(cell.change) / DEEPEST_MISTAKE), cell.better
        more = cell.second - cell.first
        texts[cell.true][cell.called] = ("+" if more > 0 else "\u2212") + _number(abs(more))
    _draw(folder, "confusion-change", texts, shades, better, labels)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0") if value else ""


def _draw(
    folder: Path, name: str, texts: Sequence[Sequence[str]], shades: Any, blue: Any, labels: Sequence[str]
) -> None:
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    size = len(labels)
    numbered = size <= MOST_NUMBERED
    side = TEXT if MOST_IN_A_COLUMN < size <= MOST_NUMBERED else COLUMN
    with style():
        figure = Figure(figsize=(side, side), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        # Squares, which stay sharp in print, as long as they are few.
        colors, edges = _colors(shades, blue), np.arange(size + 1) - 0.5
        if numbered:
            axes.pcolormesh(edges, edges, colors)
            axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), aspect="equal")
            _write_names(axes, _names(labels))
        else:
            axes.imshow(colors, interpolation="nearest", aspect="equal")
        axes.tick_params(which="both", length=0)
        for edge in axes.spines.values():
            edge.set_visible(False)
        by_number = "" if numbered else ", by number from 0"
        axes.set_xlabel(f"predicted{by_number}")
        axes.set_ylabel(f"true{by_number}")
        if numbered:
            # What the names left of the width is known once they are laid out.
            figure.draw_without_rendering()
            cell = axes.get_window_extent().width / figure.dpi * _POINTS / size
            # Where white is easier to read: on blue sooner than on orange.
            _write_texts(axes, texts, shades > np.where(blue, 0.7, 0.9), cell)
        save(figure, folder, name)


def _write_names(axes: Any, names: Sequence[str]) -> None:
    import numpy as np

    size = len(names)
    axes.set_xticks(range(size), names, rotation=90)
    axes.set_yticks(range(size), names)
    axes.set_xticks(np.arange(size + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(size + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=0.6)


def _write_texts(axes: Any, texts: Sequence[Sequence[str]], dark: Any, cell: float) -> None:
    """Write the numbers as large as the widest fits into a cell of so many points."""
    widest = max((len(text) for row in texts for text in row), default=0)
    font = min(7.0, 0.9 * cell / (0.65 * max(2, widest)))
    for i, row in enumerate(texts):
        for j, text in enumerate(row):
            if text:
                axes.text(
                    j, i, text, ha="center", va="center", fontsize=font,
                    color="white" if dark[i, j] else "black", fontweight="bold" if i == j else "normal",
                )  # fmt: skip


def _names(labels: Sequence[str]) -> list[str]:
    from matplotlib.font_manager import findfont, get_font

    # The font that comes with matplotlib: another machine's fonts would give other bytes.
    letters = get_font(findfont(FONT)).get_charmap()
    found = []
    for i, label in enumerate(labels):
        name = label if len(label) <= 32 else label[:31] + "…"
        # A dollar sign would make matplotlib read the label as a formula.
        drawn = all(ord(letter) in letters for letter in name)
        found.append(name.replace("$", r"\$") if drawn else f"class {i}")
    return found


def _colors(shades: Any, right: Any) -> Any:
    """Color right answers from pale to deep blue and mistakes from pale to deep orange, in OKLab."""
    import numpy as np

    pale, blue, orange = (_oklab(c) for c in ("#f4f3f0", "#0b4f8a", "#b8400a"))
    ends = np.where(right[..., None], blue, orange)
    return _srgb(pale + shades[..., None] * (ends - pale))


# B. Ottosson, "A perceptual color space for image processing", 2020.
_LMS = ((0.4122214708, 0.5363325363, 0.0514459929), (0.2119034982, 0.6806995451, 0.1073969566),
        (0.0883024619, 0.2817188376, 0.6299787005))  # fmt: skip
_LAB = ((0.2104542553, 0.7936177850, -0.0040720468), (1.9779984951, -2.4285922050, 0.4505937099),
        (0.0259040371, 0.7827717662, -0.8086757660))  # fmt: skip


def _oklab(color: str) -> Any:
    import numpy as np

    rgb = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return np.array(_LAB) @ np.cbrt(np.array(_LMS) @ linear)


def _srgb(lab: Any) -> Any:
    import numpy as np

    linear = (lab @ np.linalg.inv(np.array(_LAB)).T) ** 3 @ np.linalg.inv(np.array(_LMS)).T
    linear = np.clip(linear, 0, 1)
    found = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    # As bytes a picture is enlarged four times as fast as from floating point.
    return (255 * found).round().astype(np.uint8)
