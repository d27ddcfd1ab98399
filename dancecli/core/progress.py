"""How long-running work reports its progress and its messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a step: `done` of `total` units, and a few words such as `2 missing`."""

    done: int
    total: int
    text: str = ""


# Lower layers report through this; how it is displayed is decided in `dancecli.cli` alone.
OnProgress = Callable[[Progress], None]


def no_progress(_: Progress) -> None:
    """Ignore a progress report."""


# Messages for the user beside progress, one line each.
OnMessage = Callable[[str], None]


def no_message(_: str) -> None:
    """Ignore a message."""


@dataclass(frozen=True, slots=True)
class Reporter:
    """Receives the progress of long-running work, and its messages of one line each.

    Attributes:
        on_progress: called with the progress.
        on_message: called with each message.
    """

    on_progress: OnProgress = no_progress
    on_message: OnMessage = no_message

    def progress(self, done: int, total: int, text: str = "") -> None:
        """Report that `done` of `total` units are finished."""
        self.on_progress(Progress(done, total, text))

    def message(self, text: str) -> None:
        """Report one line of text."""
        self.on_message(text)

    def named(self, title: str) -> Reporter:
        """Return a reporter whose progress texts begin with a title: `title · text`."""

        def on_progress(now: Progress) -> None:
            self.on_progress(replace(now, text=f"{title} · {now.text}" if now.text else title))

        return Reporter(on_progress, self.on_message)


# The default reporter: ignores everything.
SILENT = Reporter()
