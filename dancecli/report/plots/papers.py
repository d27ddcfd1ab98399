"""What all figures for papers share: widths, letters, and files that are the same bytes each time."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from dancecli.storage.files import atomic_file

# Of one column of a two-column paper (IEEE, CVF, ACM), and of both, in inches.
COLUMN = 3.25
TEXT = 6.875
# It comes with matplotlib: another machine's fonts would give other bytes.
FONT = "DejaVu Sans"
FORMS = ("pdf", "svg")
# What a format would note of itself: neither the day nor matplotlib's version may change the bytes.
_MUTE: Mapping[str, tuple[str, ...]] = {
    "pdf": ("CreationDate", "Creator", "Producer"),
    "svg": ("Date", "Creator"),
}


def style() -> AbstractContextManager[None]:
    """Set matplotlib for a figure: 7 points; in PDF as fonts (journals refuse Type 3), in SVG as paths."""
    import matplotlib as mpl

    settings: Any = {
        "font.family": FONT, "font.size": 7, "text.usetex": False, "pdf.fonttype": 42, "svg.fonttype": "path",
        "svg.hashsalt": "dance", "axes.linewidth": 0.6, "axes.spines.top": False, "axes.spines.right": False,
    }  # fmt: skip
    return mpl.rc_context(settings)


def save(figure: Any, folder: Path, name: str) -> None:
    """Write a figure of matplotlib as `<name>.pdf` and `<name>.svg`."""
    for form in FORMS:
        with atomic_file(folder / f"{name}.{form}", "wb") as file:
            figure.savefig(file, format=form, metadata=dict.fromkeys(_MUTE[form]))
