"""Fonts for the names in a picture: matplotlib's own, and others of the system for letters that it lacks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

# It comes with matplotlib: what it has letters for looks the same on every machine.
FONT = "DejaVu Sans"


def fonts_for(texts: Iterable[str]) -> tuple[list[str], frozenset[str]]:
    """Find the fonts that draw some texts.

    Args:
        texts: what is to be drawn, in any script.

    Returns:
        Names of the fonts for matplotlib, which asks them in turn for each letter, and the letters that
        no font of this system has.
    """
    from matplotlib.font_manager import findfont, findSystemFonts, fontManager, get_font

    found = [FONT]
    known = get_font(findfont(FONT)).get_charmap()
    missing = {letter for text in texts for letter in text if ord(letter) not in known}
    for path in sorted(findSystemFonts(), key=_regular_first) if missing else ():
        try:
            font = get_font(path)
            has = {letter for letter in missing if ord(letter) in font.get_charmap()}
            if has and font.family_name not in fontManager.get_font_names():
                fontManager.addfont(path)
        except (OSError, RuntimeError):  # a damaged font, or one of a kind that matplotlib cannot draw
            continue
        if has:
            found.append(font.family_name)
            missing -= has
        if not missing:
            break
    return found, frozenset(missing)


def _regular_first(path: str) -> tuple[bool, str]:
    return "regular" not in Path(path).name.lower(), path
