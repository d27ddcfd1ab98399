"""Arrays that are computed once and kept in a file."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.storage.files import atomic_file

if TYPE_CHECKING:
    import numpy.typing as npt


def read_arrays(path: Path, *names: str) -> list[npt.NDArray[Any]] | None:
    """Read kept arrays.

    Args:
        path: the file.
        names: of the arrays.

    Returns:
        The arrays in the order of their names, in the shapes in which they were kept; None if there is no
        file, or it is damaged.
    """
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as stored:
            return [stored[name] for name in names]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def write_arrays(path: Path, **arrays: Any) -> None:
    """Keep arrays, atomically.

    Raises:
        OSError: the disk is full or read-only.
    """
    import numpy as np

    with atomic_file(path, "wb") as file:
        np.savez(file, **arrays)
