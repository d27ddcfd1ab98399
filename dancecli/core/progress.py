"""How long work reports its progress and its messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long step is: `done` of `total` units, and a few words such as `2 missing`."""

    done: int
    total: int
    text: str = ""


# Lower layers report through this; what it looks like is decided in `dancecli.cli` alone.
OnProgress = Callable[[Progress], None]


def no_progress(_: Progress) -> None:
    """Take a report and show nothing."""


# What the user should know beside progress, one line each.
OnMessage = Callable[[str], None]


def no_message(_: str) -> None:
    """Take a line and show nothing."""


@dataclass(frozen=True, slots=True)
class Reporter:
    """Where long work reports to: progress, and messages of one line each.

    `Reporter()` is silent.

    Attributes:
        on_progress: called with how far the work is.
        on_message: called with what the user should know.
    """

    on_progress: OnProgress = no_progress
    on_message: OnMessage = no_message

    def progress(self, done: int, total: int, text: str = "") -> None:
        """Report that `done` of `total` units are finished."""
        self.on_progress(Progress(done, total, text))

    def message(self, text: str) -> None:
        """Tell the user one line."""
        self.on_message(text)

    def named(self, title: str) -> Reporter:
        """Give a reporter whose progress begins with a title, as `title · words`."""

        def on_progress(now: Progress) -> None:
            self.on_progress(replace(now, text=f"{title} · {now.text}" if now.text else title))

        return Reporter(on_progress, self.on_message)


SILENT = Reporter()
