"""Conditions of a clip's content that a dataset may not want: black, static, letterboxed, damaged.

They are read off the measures that the validation of a clip leaves in its record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from dancecli.core.errors import UsageError

# The shares from which on the validation of a clip writes a note about it.
BLACK_SHARE = 0.5
FROZEN_SHARE = 0.9
BARS_SHARE = 0.08


class MeasuredClip(Protocol):
    """The measures of a clip; see `dancecli.core.records.Clip`."""

    @property
    def black_share(self) -> float:
        """Share of the frames that are black."""

    @property
    def frozen_share(self) -> float:
        """Share of the frames that repeat the one before."""

    @property
    def bars_share(self) -> float:
        """Share of the picture that black bars cover."""

    @property
    def damaged_frames(self) -> int:
        """Frames that the decoder could not restore."""


CONDITIONS: Mapping[str, Callable[[MeasuredClip], bool]] = {
    "black": lambda clip: clip.black_share > BLACK_SHARE,
    "static": lambda clip: clip.frozen_share > FROZEN_SHARE,
    "letterboxed": lambda clip: clip.bars_share > BARS_SHARE,
    "damaged": lambda clip: clip.damaged_frames > 0,
}


def conditions_of(clip: MeasuredClip) -> tuple[str, ...]:
    """Name the conditions that a clip meets, in the order of `CONDITIONS`."""
    return tuple(name for name, meets in CONDITIONS.items() if meets(clip))


def parse_conditions(text: str) -> tuple[str, ...]:
    """Read names of conditions, separated by commas.

    Raises:
        UsageError: a name is not one of them.
    """
    names = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    for name in names:
        if name not in CONDITIONS:
            raise UsageError(f"{name!r} is not a condition of a clip", f"known: {', '.join(CONDITIONS)}")
    return names
