"""The one error family: a sentence for the user, a hint that says what to do, an exit code.

Everything a user can cause is raised as a `DanceError`; `dancecli.cli.app` alone turns it
into text and a status. Anything else that escapes is a bug and shows its traceback.
"""

from __future__ import annotations

from pathlib import Path


class DanceError(Exception):
    """An error that the user can understand and mend.

    Args:
        message: one sentence, no trailing full stop, that names the thing at fault.
        hint: what to do about it, in one line; empty if the message says it all.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type[DanceError], tuple[str, str]]:
        # Errors cross process borders in the engine; the default reduce would lose the hint.
        return type(self), (self.message, self.hint)


class InputError(DanceError):
    """A file or a value that the user gave is wrong."""

    @classmethod
    def at(cls, path: Path | str, row: int | None, what: str, hint: str = "") -> InputError:
        """Build the error for one place of a file.

        Args:
            path: the file at fault.
            row: its line, counted from 1 as an editor does, or None for the whole file.
            what: what is wrong there.
            hint: what to do.
        """
        where = f"{path}:{row}" if row is not None else str(path)
        return cls(f"{where}: {what}", hint)


class UsageError(DanceError):
    """A flag's value that only a lower floor can judge is wrong."""

    exit_code = 2


class WorkspaceError(DanceError):
    """The workspace is missing something, locked by another command, or from a newer version."""


class MediaError(DanceError):
    """ffmpeg or a decoder failed on a file; the message keeps the end of what it said."""


class ModelError(DanceError):
    """Weights, a configuration or a training run cannot be used as asked."""


class EngineError(DanceError):
    """A cluster cannot be reached, has no place for the work, or its nodes do not fit."""


class MissingDependencyError(DanceError):
    """A program or an optional package is not installed; the hint is the line that adds it."""
