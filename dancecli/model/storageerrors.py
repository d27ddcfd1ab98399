"""What a study's storage refuses, in the words of `dance`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dancecli.core.errors import WorkspaceError


@contextmanager
def storage_errors() -> Iterator[None]:
    """Say in a sentence what a storage refuses.

    Raises:
        WorkspaceError: it refused something in the block.
    """
    import sqlite3

    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (optuna.exceptions.StorageInternalError, SQLAlchemyError, sqlite3.Error, ImportError) as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        said = str(getattr(cause, "orig", None) or cause).strip().splitlines()[0]
        raise WorkspaceError(
            f"the study's storage cannot be used: {said[:200]}",
            "mend that and run the same command again: it goes on where it stopped",
        ) from error
