"""Features at the freeze boundary, computed once per clip and view, and kept in the workspace.

A store is a folder named by the hash of all that its features depend on: weights, layers,
transform, stage. In it lie rows of one size, one a clip and view, appended as they are made:
`features.bin` (read memory-mapped) and `rows.txt` (their names, which hold the clip's checksum).
A row counts only when its name is written, so a stopped extraction goes on where it was, and
another split reuses the clips that it shares.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import ModelError, WorkspaceError
from dancecli.core.hashing import sha256_text
from dancecli.storage.files import atomic_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# What a full disk would break is more than this run: leave some room.
_SPARE_BYTES = 1 << 30


def entry_name(clip_id: str, sha256: str, view: int) -> str:
    """Name the features of one view of one clip; a changed file has another name."""
    return f"{clip_id}.{view}.{sha256}"


def store_key(**parts: Any) -> str:
    """Hash what the features depend on: the same settings name the same folder, on any machine."""
    text = json.dumps(parts, sort_keys=True, default=list)
    return sha256_text(text)[:16]


@dataclass
class FeatureStore:
    """One store: rows of equal shape, by name. Open with `open_store`.

    Attributes:
        folder: where it lies.
        dtype: of the features, `float16` or `float32`.
        shape: of one row; empty while there is none.
        rows: each row's place by its name.
    """

    folder: Path
    dtype: str
    shape: tuple[int, ...]
    rows: dict[str, int]

    @property
    def data(self) -> Path:
        """The features."""
        return self.folder / "features.bin"

    @property
    def names(self) -> Path:
        """The rows' names."""
        return self.folder / "rows.txt"

    def missing(self, names: Sequence[str]) -> list[int]:
        """Places in `names` that have no row yet."""
        return [i for i, name in enumerate(names) if name not in self.rows]

    def append(self, names: Sequence[str], features: NDArray[Any]) -> None:
        """Add rows, [N, views, C, t, h, w] for N names: they reach the disk first, then their names.

        Raises:
            ModelError: they are of another shape than the rows that are there.
            OSError: the disk has no room.
        """
        batch = features.astype(self.dtype)
        if not self.shape:
            self.shape = tuple(batch.shape[1:])
            with atomic_file(self.folder / "shape.json") as file:
                json.dump({"shape": self.shape, "dtype": self.dtype}, file)
        if tuple(batch.shape[1:]) != self.shape:
            raise ModelError(
                f"{self.folder}: features of shape {batch.shape[1:]}, the store has {self.shape}"
            )
        with self.data.open("ab") as file:
            file.write(batch.tobytes())
            file.flush()
            os.fsync(file.fileno())
        with self.names.open("a", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{name}\n" for name in names)
        for name in names:
            self.rows[name] = len(self.rows)

    def check_room(self, rows: int) -> None:
        """Refuse before the work if `rows` more would not fit on the disk; needs one row to be there.

        Raises:
            WorkspaceError: they would not.
        """
        need = rows * _row_bytes(self.shape, self.dtype)
        free = shutil.disk_usage(self.folder).free
        if need + _SPARE_BYTES > free:
            raise WorkspaceError(
                f"the features of {rows} views need {need / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free",
                "free some space, freeze a later stage, or use --no-cache",
            )

    def array(self) -> np.memmap[Any, Any]:
        """All rows, memory-mapped and read-only: [rows, *shape]."""
        import numpy as np

        return np.memmap(self.data, dtype=self.dtype, mode="r", shape=(len(self.rows), *self.shape))


def open_store(root: Path, dtype: str, parts: Mapping[str, Any]) -> FeatureStore:
    """Open the store for these settings below `root`, or make it; what a kill left half-written goes.

    Args:
        root: the workspace's folder for features.
        dtype: `float16` or `float32`.
        parts: all that the features depend on, plain data.
    """
    folder = root / store_key(dtype=dtype, **parts)
    if not folder.is_dir():
        folder.mkdir(parents=True)
        with atomic_file(folder / "key.json") as file:
            json.dump({"dtype": dtype, **parts}, file, indent=2, default=list)
    shape_file = folder / "shape.json"
    shape = tuple(json.loads(shape_file.read_text(encoding="utf-8"))["shape"]) if shape_file.exists() else ()
    store = FeatureStore(folder, dtype, shape, {})
    names = _whole_lines(store.names)
    if shape and store.data.exists():
        row = _row_bytes(shape, dtype)
        whole = min(len(names), store.data.stat().st_size // row)
        _cut(store.data, whole * row)
        _cut(store.names, sum(len(name.encode()) + 1 for name in names[:whole]))
        store.rows = {name: i for i, name in enumerate(names[:whole])}
    return store


def _whole_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return text[: text.rfind("\n") + 1].splitlines()


def _cut(path: Path, size: int) -> None:
    if path.stat().st_size > size:
        with path.open("r+b") as file:
            file.truncate(size)


def _row_bytes(shape: Sequence[int], dtype: str) -> int:
    size = {"float16": 2, "float32": 4}[dtype]
    for n in shape:
        size *= n
    return size
