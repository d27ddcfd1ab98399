"""The files of the feature cache, `cache/features/KEY/`: one vector per clip, and what
`dance clean` and `dance remove` need of them.

`dancecli.model.training.features.store` writes and reads the features themselves.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import WorkspaceError
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# The features, their names, the shape of one of them, and all that they depend on.
DATA, NAMES, SHAPE, KEY = "features.bin", "rows.txt", "shape.json", "key.json"
_ITEM_BYTES = {"float16": 2, "float32": 4}
# In place of the name of a removed clip's features.
_ERASED = "removed"
# So many entries are read at a time.
_PIECE = 8192


def feature_folders(workspace: Workspace) -> list[Path]:
    """Return the folders of the stores of a workspace."""
    return sorted(path.parent for path in workspace.root.glob(f"cache/features/*/{KEY}"))


def entry_bytes(shape: Sequence[int], dtype: str) -> int:
    """Size of an entry of this shape on the disk."""
    return _ITEM_BYTES[dtype] * math.prod(shape)


def read_shape(folder: Path) -> tuple[int, ...]:
    """Return the shape of a store's entries, [views, ...]; empty while there is none."""
    path = folder / SHAPE
    return tuple(json.loads(path.read_text(encoding="utf-8"))["shape"]) if path.exists() else ()


def read_entries(folder: Path) -> tuple[list[str], np.ndarray[Any, Any]]:
    """Open the features of a store, without loading them.

    Returns:
        The name of each entry, `CLIP.VIEW.CHECKSUM`, and the entries, of shape (n, views, ...).
    """
    import numpy as np

    shape = read_shape(folder)
    if not shape or not (folder / NAMES).exists() or not (folder / DATA).exists():
        return [], np.zeros((0, 0), np.float32)
    names = (folder / NAMES).read_text(encoding="utf-8").splitlines()
    dtype = json.loads((folder / KEY).read_text(encoding="utf-8"))["dtype"]
    # A killed run may have written one without the other.
    n = min(len(names), (folder / DATA).stat().st_size // entry_bytes(shape, dtype))
    if not n:
        return [], np.zeros((0, *shape), dtype)
    return names[:n], np.memmap(folder / DATA, dtype, "r", shape=(n, *shape))


@dataclass(frozen=True)
class ClipFeatures:
    """One vector of features per clip: the mean of its views.

    Attributes:
        model: type of the backbone whose features they are, such as `InceptionI3D`.
        store: name of their folder, which names all that they depend on.
        clips: ids of the clips, sorted.
        values: float32 (clips, features).
    """

    model: str
    store: str
    clips: tuple[str, ...]
    values: npt.NDArray[np.float32]


def clip_features(workspace: Workspace, checksums: Mapping[str, str]) -> ClipFeatures:
    """Load the features of the backbone that most clips have features of.

    Args:
        workspace: whose feature cache.
        checksums: of the clips' files, by id; features of an earlier file are no features of a clip.

    Raises:
        WorkspaceError: there are no features of two clips.
    """
    best: tuple[int, Path, list[str]] = (1, Path(), [])
    for folder in feature_folders(workspace):
        # Maps of a network that is cut in the middle tell less than what its head is given; Inception's
        # backbone ends with a map of one place.
        if read_shape(folder) and all(side == 1 for side in read_shape(folder)[2:]):
            clips = _current_clips(folder, checksums)
            best = max(best, (len(set(clips) - {""}), folder, clips))
    known, folder, clips = best
    if known < 2:
        raise WorkspaceError(
            f"{workspace.root}: no features are stored, by which clips could be compared",
            "run dance finetune or dance features",
        )
    ids, means = _mean_features(folder, clips)
    key = json.loads((folder / KEY).read_text(encoding="utf-8"))
    return ClipFeatures(str(key["backbone"]["type"]), folder.name, tuple(ids), means)


def _current_clips(folder: Path, checksums: Mapping[str, str]) -> list[str]:
    """Return the clip of each entry; empty for augmented clips, and clips that are gone or changed."""
    found = []
    for name in read_entries(folder)[0]:
        clip_id, _, rest = name.partition(".")
        view, _, sha256 = rest.partition(".")
        found.append(clip_id if view.isdecimal() and checksums.get(clip_id) == sha256 else "")
    return found


def _mean_features(folder: Path, clips: list[str]) -> tuple[list[str], npt.NDArray[np.float32]]:
    """Average the views of each clip; the clips are sorted."""
    import numpy as np

    ids = sorted(set(clips) - {""})
    place = {clip_id: i for i, clip_id in enumerate(ids)}
    rows = np.array([place.get(clip_id, -1) for clip_id in clips])
    # A run may have added some since the clips were read.
    entries = read_entries(folder)[1][: len(clips)]
    entries = entries.reshape(*entries.shape[:3])
    sums: npt.NDArray[np.float32]
    sums, counts = np.zeros((len(place), entries.shape[-1]), np.float32), np.zeros(len(place), np.float32)
    for at in range(0, len(rows), _PIECE):
        mine = rows[at : at + _PIECE]
        kept = mine >= 0
        views = entries[at : at + _PIECE][kept].astype(np.float32).mean(axis=1)
        np.add.at(sums, mine[kept], views)
        np.add.at(counts, mine[kept], 1)
    sums /= counts[:, None]
    return ids, sums


def forget_entries(folder: Path, clip_ids: Collection[str]) -> int:
    """Overwrite the features of clips, and of what was made of them, with zeros; their places stay.

    No run may be computing features meanwhile.

    Args:
        folder: of the store.
        clip_ids: the clips.

    Returns:
        Number of erased entries.
    """
    names, shape = folder / NAMES, read_shape(folder)
    if not shape or not names.exists():
        return 0
    lines = names.read_text(encoding="utf-8").splitlines()
    size = entry_bytes(shape, json.loads((folder / KEY).read_text(encoding="utf-8"))["dtype"])
    data = folder / DATA
    whole = data.stat().st_size // size if data.exists() else 0
    erased = [i for i, name in enumerate(lines) if _clip_of(name) in clip_ids]
    if erased and whole:
        with data.open("r+b") as file:
            for i in erased:
                if i < whole:
                    file.seek(i * size)
                    file.write(bytes(size))
            os.fsync(file.fileno())
    for i in erased:
        lines[i] = f"{_ERASED}.{i}"
    if erased:
        # After the features, so that a killed call is completed by the next one.
        with atomic_file(names) as file:
            file.writelines(f"{name}\n" for name in lines)
    return len(erased)


def _clip_of(name: str) -> str:
    """Return the clip of an entry's name, `CLIP.VIEW.CHECKSUM` or `CLIP.OP.VIEW.CHECKSUM`."""
    return name.partition(".")[0]
