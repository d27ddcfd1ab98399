"""The feature cache: what a frozen backbone gives, computed once per clip and view, kept in the workspace.

A store is a folder named by the hash of all that its features depend on: weights, layers, transform,
stage. It holds entries of one size, one per clip and view, appended as they are computed:
`features.bin` (read memory-mapped) and `rows.txt` (their names, which hold the clip's checksum).
An entry counts only when its name is written, so a stopped extraction resumes, and another split
reuses the clips that it shares.
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
from dancecli.storage.features import DATA, KEY, NAMES, SHAPE, entry_bytes, read_shape
from dancecli.storage.files import atomic_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# A full disk would break more than this run: leave some room.
_SPARE_BYTES = 1 << 30


def entry_name(clip_id: str, sha256: str, view: int) -> str:
    """Name the features of one view of one clip; a changed file has another name."""
    return f"{clip_id}.{view}.{sha256}"


def store_key(**parts: Any) -> str:
    """Hash what the features depend on: the same settings name the same folder, on any machine."""
    text = json.dumps(parts, sort_keys=True, default=list)
    return sha256_text(text)[:16]


def check_disk_space(folder: Path, views: int, size: int) -> None:
    """Refuse before the work if the features would not fit on the disk.

    Args:
        folder: where they go.
        views: of all clips, that are still to be computed.
        size: of all of them, in bytes.

    Raises:
        WorkspaceError: they do not fit.
    """
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if size + _SPARE_BYTES > free:
        raise WorkspaceError(
            f"the features of {views} views need {size / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free",
            "free some space, freeze a later stage, or use --no-cache",
        )


@dataclass
class FeatureStore:
    """One store: entries of equal shape, by name. Open with `open_store`.

    Attributes:
        folder: where it is.
        dtype: of the features, `float16` or `float32`.
        shape: of one entry, [views, ...]; empty while there is none.
        entries: each entry's index in the data, by its name.
    """

    folder: Path
    dtype: str
    shape: tuple[int, ...]
    entries: dict[str, int]

    @property
    def data(self) -> Path:
        """The features."""
        return self.folder / DATA

    @property
    def names(self) -> Path:
        """The names of the entries."""
        return self.folder / NAMES

    def missing(self, names: Sequence[str]) -> list[int]:
        """Give the indices into `names` that have no entry yet."""
        return [i for i, name in enumerate(names) if name not in self.entries]

    def append(self, names: Sequence[str], features: NDArray[Any]) -> None:
        """Add entries, [N, views, ...] for N names: they reach the disk first, then their names.

        Raises:
            ModelError: they have another shape than the entries that are there, or values beyond the
                range of the store's precision.
            OSError: the disk is full.
        """
        import numpy as np

        # Checked below, and said in words.
        with np.errstate(over="ignore"):
            batch = features.astype(self.dtype)
        if not np.isfinite(batch).all():
            clip = names[int(np.argmin(np.isfinite(batch).reshape(len(batch), -1).all(axis=1)))]
            raise ModelError(
                f"the features of {clip.partition('.')[0]} reach {np.abs(features).max():.3g}, beyond the "
                f"range of {self.dtype}",
                "use --no-cache",
            )
        if not self.shape:
            self.shape = tuple(batch.shape[1:])
            with atomic_file(self.folder / SHAPE) as file:
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
            self.entries[name] = len(self.entries)

    def array(self) -> np.memmap[Any, Any]:
        """All entries, memory-mapped and read-only: [entries, *shape]."""
        import numpy as np

        return np.memmap(self.data, dtype=self.dtype, mode="r", shape=(len(self.entries), *self.shape))


def open_store(root: Path, dtype: str, parts: Mapping[str, Any]) -> FeatureStore:
    """Open the store for these settings below `root`, or create it; half-written entries are dropped.

    Args:
        root: the workspace's folder for features.
        dtype: `float16` or `float32`.
        parts: all that the features depend on, plain data.
    """
    folder = root / store_key(dtype=dtype, **parts)
    if not folder.is_dir():
        folder.mkdir(parents=True)
        with atomic_file(folder / KEY) as file:
            json.dump({"dtype": dtype, **parts}, file, indent=2, default=list)
    shape = read_shape(folder)
    store = FeatureStore(folder, dtype, shape, {})
    names, size = _whole_lines(store.names), entry_bytes(shape, dtype)
    # Killed before its first name, a store has features only; they go as well, since entries are appended.
    there = store.data.stat().st_size // size if shape and store.data.exists() else 0
    whole = min(len(names), there)
    _cut(store.data, whole * size)
    _cut(store.names, sum(len(name.encode()) + 1 for name in names[:whole]))
    store.entries = {name: i for i, name in enumerate(names[:whole])}
    return store


def _whole_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    return text[: text.rfind("\n") + 1].splitlines()


def _cut(path: Path, size: int) -> None:
    if path.exists() and path.stat().st_size > size:
        with path.open("r+b") as file:
            file.truncate(size)
