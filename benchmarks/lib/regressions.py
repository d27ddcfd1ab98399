"""Which figures are worse than on the last page: ratios of one machine hold roughly on another."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# A change of less is taken for noise.
ALLOWED = 0.15
_BAR = re.compile(r"^\| (.+?) \| (.+?) \| (.+?) \| (?:met|\*\*missed\*\*) \|$", re.MULTILINE)
_NUMBER = re.compile(r"\d[\d,]*\.?\d*(?:e-?\d+)?")
# How a bar says that less is better; all others ask for at least so much.
_LESS = re.compile(r"\bat most\b|\bunder\b|\bbelow\b|\bwithin\b|\bin a minute\b")


def worse_than_before(page: str, bars: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    """Compare bars that were measured now with those of a page, and list those that are worse.

    Args:
        page: the text of the last page; empty if there is none.
        bars: of each title, what was measured now: `what` and `figure`, of `Bar`.

    Returns:
        A line for each figure that is worse by more than `ALLOWED`.
    """
    before = {(title, _key(what)): figure for title, what, figure in _BAR.findall(page)}
    found = []
    for title, rows in bars.items():
        for bar in rows:
            old = before.get((title, _key(bar["what"])))
            if old is not None and _is_worse(bar["what"], _number(old), _number(bar["figure"])):
                found.append(f"{title}, {bar['what']}: {old} before, {bar['figure']} now")
    return found


def _key(what: str) -> str:
    """Name a bar without what differs from run to run: figures in it, and what is in brackets."""
    return " ".join(re.sub(r"\(.*?\)|\d+\.\d+", "", what).split())


def _number(figure: str) -> float | None:
    """Read the first number of a figure."""
    found = _NUMBER.search(figure)
    return float(found[0].replace(",", "")) if found else None


def _is_worse(what: str, old: float | None, new: float | None) -> bool:
    if old is None or new is None:
        return False
    return new > old * (1 + ALLOWED) if _LESS.search(what) else new < old * (1 - ALLOWED)
