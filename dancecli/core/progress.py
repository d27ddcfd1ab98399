"""How long work reports what it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long step is: `done` of `total` units, and a few words such as `2 missing`."""

    done: int
    total: int
    text: str = ""


# Lower floors report through this; what it looks like is decided in `dancecli.cli` alone.
OnProgress = Callable[[Progress], None]


def no_progress(_: Progress) -> None:
    """Take a report and show nothing."""


# What the user should know beside progress, a line each; it goes where `dancecli.cli` lets it.
Say = Callable[[str], None]


def say_nothing(_: str) -> None:
    """Take a line and show nothing."""
