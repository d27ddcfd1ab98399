"""Which clips resemble each other: stored features as short vectors, to compare one clip with all others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import WorkspaceError
from dancecli.storage.features import KEY, feature_folders, read_entries, read_shape
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    Vectors = npt.NDArray[np.float32]

# So many numbers hold nearly all by which features differ; 100,000 clips are 26 MB.
_WIDTH = 64
# The directions are found on so many clips, evenly taken.
_SAMPLE = 4096
_PIECE = 8192


@dataclass(frozen=True)
class Likeness:
    """Vectors of clips; clips that resemble each other have vectors of one direction.

    Attributes:
        model: whose features they are.
        clips: their ids, in the order of the vectors.
        vectors: (clips, at most 64), of length 1.
    """

    model: str
    clips: pd.Index[Any]
    vectors: Vectors

    def nearest(self, clip_id: str, among: pd.Index[Any]) -> list[int]:
        """Return the places of clips in a list, those most like one of them first, which is itself.

        Args:
            clip_id: a clip with features.
            among: ids of the clips to order; those without features are left out.
        """
        import numpy as np

        rows = self.clips.get_indexer(among)
        known = np.flatnonzero(rows >= 0)
        cosines = (self.vectors @ self.vectors[self.clips.get_loc(clip_id)])[rows[known]]
        found: list[int] = known[np.argsort(-cosines, kind="stable")].tolist()
        return found


def load_likeness(workspace: Workspace, checksums: Mapping[str, str]) -> Likeness:
    """Load the features of the backbone that most clips have features of.

    Args:
        workspace: whose feature cache.
        checksums: of the clips' files, by id; features of an earlier file are no features of a clip.

    Raises:
        WorkspaceError: there are no features of two clips.
    """
    import pandas as pd

    best: tuple[int, Path] | None = None
    for folder in feature_folders(workspace):
        # Maps of a network that is cut in the middle tell less than what its head is given.
        if len(read_shape(folder)) == 2:
            known = len({clip for clip in _clips_of(folder, checksums) if clip})
            best = max(best or (1, folder), (known, folder))
    if best is None or best[0] < 2:
        raise WorkspaceError(
            f"{workspace.root}: no features are stored, by which clips could be compared",
            "run dance finetune or dance features",
        )
    folder = best[1]
    ids, means = _mean_features(folder, _clips_of(folder, checksums))
    key = json.loads((folder / KEY).read_text(encoding="utf-8"))
    return Likeness(str(key.get("model", "")), pd.Index(ids), _shorten(means))


def _clips_of(folder: Path, checksums: Mapping[str, str]) -> list[str]:
    """Return the clip of each entry; empty for augmented clips, and clips that are gone or changed."""
    found = []
    for name in read_entries(folder)[0]:
        clip_id, _, rest = name.partition(".")
        view, _, sha256 = rest.partition(".")
        found.append(clip_id if view.isdecimal() and checksums.get(clip_id) == sha256 else "")
    return found


def _mean_features(folder: Path, clips: list[str]) -> tuple[list[str], Vectors]:
    """Average the views of each clip; the clips are sorted."""
    import numpy as np

    ids = sorted(set(clips) - {""})
    place = {clip_id: i for i, clip_id in enumerate(ids)}
    rows = np.array([place.get(clip_id, -1) for clip_id in clips])
    entries = read_entries(folder)[1]
    sums: Vectors
    sums, counts = np.zeros((len(place), entries.shape[-1]), np.float32), np.zeros(len(place), np.float32)
    for at in range(0, len(rows), _PIECE):
        mine = rows[at : at + _PIECE]
        kept = mine >= 0
        views = entries[at : at + _PIECE][kept].astype(np.float32).mean(axis=1)
        np.add.at(sums, mine[kept], views)
        np.add.at(counts, mine[kept], 1)
    sums /= counts[:, None]
    return ids, sums


def _shorten(features: Vectors) -> Vectors:
    """Rotate features to the directions in which they differ most, keep those, and normalize."""
    import numpy as np
    from scipy.linalg import eigh

    sample = features[:: max(1, len(features) // _SAMPLE)]
    center = sample.mean(axis=0)
    spread = np.cov((sample - center).T.astype(np.float64))
    size = len(spread)
    _, directions = eigh(spread, subset_by_index=(max(0, size - _WIDTH), size - 1))
    short: Vectors = ((features - center) @ directions.astype(np.float32)).astype(np.float32)
    lengths: Any = np.linalg.norm(short, axis=1, keepdims=True)
    normal: Vectors = short / np.maximum(lengths, np.finfo(np.float32).tiny)
    return normal
