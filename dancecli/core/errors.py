"""The error classes: a message for the user, a hint that tells what to do, and an exit code.

Everything a user can cause is raised as a `DanceError`; `dancecli.cli.app` alone turns it
into output and an exit code. Any other exception is a bug and shows its traceback.
"""

from __future__ import annotations

from pathlib import Path


class DanceError(Exception):
    """A user-facing error with a fix hint.

    Args:
        message: one sentence without a trailing period that names what is at fault.
        hint: how to fix it, in one line; empty if the message suffices.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type[DanceError], tuple[str, str]]:
        # Errors are pickled between processes; the default reduce would lose the hint.
        return type(self), (self.message, self.hint)


class InputError(DanceError):
    """A file or a value given by the user is invalid."""

    @classmethod
    def at(cls, path: Path | str, row: int | None, what: str, hint: str = "") -> InputError:
        """Build the error for one location in a file.

        Args:
            path: the invalid file.
            row: line number, counted from 1, or None for the whole file.
            what: what is wrong there.
            hint: how to fix it.
        """
        where = f"{path}:{row}" if row is not None else str(path)
        return cls(f"{where}: {what}", hint)


class UsageError(DanceError):
    """The value of an option is invalid (wrong usage, exit code 2)."""

    exit_code = 2


class WorkspaceError(DanceError):
    """The workspace lacks something, is locked by another command, or is of a newer version."""


class MediaError(DanceError):
    """ffmpeg or a decoder failed on a file; the message keeps the end of its output."""


class ModelError(DanceError):
    """Weights, a configuration or a training run cannot be used as requested."""


class EngineError(DanceError):
    """A cluster is unreachable, lacks resources for the work, or its nodes do not match."""


class MissingDependencyError(DanceError):
    """A program or an optional package is not installed; the hint is the command that installs it."""
