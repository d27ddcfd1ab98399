"""A map of the clips: clips with like features are near each other. By t-SNE, computed once and kept."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.app.explore.kept import read_arrays, write_arrays
from dancecli.core.errors import InputError, MissingDependencyError, WorkspaceError
from dancecli.core.hashing import keyed_bytes, keyed_order, sha256_lines
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.statistics.vectors import normalize, shorten
from dancecli.storage.features import clip_features
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    Places = npt.NDArray[np.uint16]
    Floats = npt.NDArray[np.float32]

# Names what a map depends on beside the features: raise it when that changes.
_VERSION = "map-1"
# t-SNE places so many clips; each other clip goes to where those that look most like it are.
_PLACED = 10_000
# Iterations of t-SNE (van der Maaten & Hinton 2008) in stages, each stored, and the exaggeration of each.
_STAGES = ((250, 12.0), (500, 1.0))
_PERPLEXITY = 30.0
# With fewer clips there are no neighborhoods to keep.
_FEWEST = 8
_NEIGHBORS = 5
_PIECE = 4096
_SIDE = 65_535
_MARGIN = 0.03
# Corners of a lasso are given in so many steps a side, and there are no more of them than this.
STEPS = 9_999
_MOST_CORNERS = 200
_LASSO = re.compile(r"([0-9a-f]{12}):((?:\d{1,4}\.\d{1,4}_){2,}\d{1,4}\.\d{1,4})")


@dataclass(frozen=True)
class ClipMap:
    """Where each clip is on the map.

    Attributes:
        key: names the features and the clips that the map is of.
        clips: ids of the clips.
        places: uint16 (clips, 2): to the right and down, each from 0 to 65,535.
    """

    key: str
    clips: pd.Index[Any]
    places: Places

    def inside(self, lasso: str, among: pd.Index[Any]) -> npt.NDArray[np.bool_]:
        """Tell which clips are within a lasso, `KEY:X.Y_X.Y_X.Y`, its corners from 0 to 9,999.

        Args:
            lasso: the map that it was drawn on, and its corners.
            among: ids of the clips to tell of; those that are not on the map are not within.

        Returns:
            Bool, of shape (clips,).

        Raises:
            InputError: it is no lasso, or was drawn on another map.
        """
        import numpy as np

        found = _LASSO.fullmatch(lasso)
        corners = [tuple(map(int, corner.split("."))) for corner in found[2].split("_")] if found else []
        if not found or len(corners) > _MOST_CORNERS:
            raise InputError("this selection is no outline on the map", "draw it again")
        if found[1] != self.key:
            raise InputError(
                "this selection was drawn on an earlier map: the clips or their features have changed",
                "draw it again",
            )
        within = _in_outline(self.places.astype(np.float64) * STEPS / _SIDE, corners)
        rows = self.clips.get_indexer(among)
        chosen: npt.NDArray[np.bool_] = (rows >= 0) & within[rows]
        return chosen


def make_map(workspace: Workspace, checksums: Mapping[str, str], reporter: Reporter = SILENT) -> ClipMap:
    """Load the map of the clips with features; it is computed if it is not stored.

    Each stage is stored, so that a stopped computation resumes.

    Args:
        workspace: whose feature cache, and where the map is kept.
        checksums: of the clips' files, by id.
        reporter: progress, in iterations.

    Raises:
        WorkspaceError: fewer than eight clips have features.
        MissingDependencyError: there is no scikit-learn.
        OSError: the disk is full or read-only.
    """
    import pandas as pd

    features = clip_features(workspace, checksums)
    if len(features.clips) < _FEWEST:
        raise WorkspaceError(
            f"{workspace.root}: only {len(features.clips)} clips have features, and a map takes {_FEWEST}",
            "run dance features",
        )
    names = (f"{clip_id} {checksums[clip_id]}" for clip_id in features.clips)
    key = sha256_lines([_VERSION, features.store, *names])[:12]
    path = workspace.app_cache(f"map-{key}.npz")
    places = _read(path, len(features.clips))
    if places is None:
        # One program computes; another one waits for it, and finds the map.
        with workspace.lock("map", on_wait=lambda: reporter.message("waiting for another program")):
            places = _read(path, len(features.clips))
            if places is None:
                vectors = normalize(shorten(features.values))
                places = _whole(_arrange(features.clips, vectors, path, reporter))
                write_arrays(path, places=places)
                _stage_of(path).unlink(missing_ok=True)
                _forget_earlier(path)
    return ClipMap(key, pd.Index(features.clips), places)


def _arrange(clips: tuple[str, ...], vectors: Floats, path: Path, reporter: Reporter) -> Floats:
    """Place all clips: some by t-SNE, the others among them."""
    import numpy as np

    order = keyed_order(range(len(clips)), lambda i: clips[i], seed=0, purpose="map")
    chosen = np.sort(order[:_PLACED])
    placed = _by_tsne(vectors[chosen], path, reporter)
    places = np.zeros((len(clips), 2), np.float32)
    places[chosen] = placed
    others = np.setdiff1d(np.arange(len(clips)), chosen)
    # Clips with the same neighbors must not hide each other.
    drawn = np.frombuffer(keyed_bytes("map", "spread", 2 * len(others)), np.uint8)
    spread = (drawn.reshape(-1, 2).astype(np.float32) / 255 - 0.5) * float(np.ptp(placed)) / 150
    for at in range(0, len(others), _PIECE):
        mine = others[at : at + _PIECE]
        cosines = vectors[mine] @ vectors[chosen].T
        nearest = np.argpartition(-cosines, _NEIGHBORS, axis=1)[:, :_NEIGHBORS]
        weights = np.maximum(np.take_along_axis(cosines, nearest, axis=1), 0) ** 4 + 1e-9
        weights /= weights.sum(axis=1, keepdims=True)
        places[mine] = np.einsum("ij,ijk->ik", weights, placed[nearest]) + spread[at : at + _PIECE]
    return places


def _by_tsne(vectors: Floats, path: Path, reporter: Reporter) -> Floats:
    """Place clips by t-SNE, from the stage that is stored, or from their two main directions."""
    try:
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits
    except ImportError:
        raise MissingDependencyError("the map needs scikit-learn", "pip install 'dancecli[app]'") from None
    import numpy as np

    count = len(vectors)
    total = sum(iterations for iterations, _ in _STAGES)
    main = vectors[:, -2:] if vectors.shape[1] > 1 else np.hstack([vectors, vectors * 0])
    # As openTSNE and scikit-learn begin: so small that the order of the pulls decides.
    places: Floats = (main[:, ::-1] / max(float(main.std()), 1e-9) * 1e-4).astype(np.float32)
    stage, done = 0, 0
    stored = _read_stage(_stage_of(path), count)
    if stored is not None:
        stage, places = stored
        done = sum(iterations for iterations, _ in _STAGES[:stage])
    for number, (iterations, exaggeration) in enumerate(_STAGES[stage:], start=stage + 1):
        reporter.progress(done, total)
        tsne = TSNE(
            perplexity=min(_PERPLEXITY, (count - 1) / 3),
            early_exaggeration=exaggeration,
            # That of the whole, whichever stage it is (Belkina et al. 2019).
            learning_rate=max(count / _STAGES[0][1] / 4, 50.0),
            max_iter=iterations,
            init=places,
            random_state=0,
        )
        # A core is left to the pages; threads that wait for a busy core would only spin.
        with threadpool_limits(max(1, (os.cpu_count() or 1) - 1), user_api="openmp"):
            places = tsne.fit_transform(vectors).astype(np.float32)
        done += iterations
        write_arrays(_stage_of(path), stage=number, places=places)
    reporter.progress(total, total)
    return places


def _whole(places: Floats) -> Places:
    """Scale places to whole numbers that fill the map, and keep the shape."""
    import numpy as np

    low, high = places.min(axis=0), places.max(axis=0)
    middle, side = (low + high) / 2, max(float((high - low).max()), 1e-9) * (1 + 2 * _MARGIN)
    found: Places = np.rint(((places - middle) / side + 0.5) * _SIDE).astype(np.uint16)
    return found


def _in_outline(places: npt.NDArray[np.float64], corners: list[tuple[int, ...]]) -> npt.NDArray[np.bool_]:
    """Tell which places are within an outline: a ray to the right crosses it an odd number of times."""
    import numpy as np

    x, y = places.T
    within = np.zeros(len(places), bool)
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if y1 != y2:
            crossed = (y1 > y) != (y2 > y)
            within ^= crossed & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return within


def _stage_of(path: Path) -> Path:
    return path.with_suffix(".stage.npz")


def _forget_earlier(path: Path) -> None:
    for other in path.parent.glob("map-*.npz"):
        if not other.name.startswith(path.stem):
            other.unlink(missing_ok=True)


def _read(path: Path, count: int) -> Places | None:
    """Read a stored map; None if there is none of so many clips."""
    import numpy as np

    stored = read_arrays(path, "places")
    if stored is None or stored[0].shape != (count, 2) or stored[0].dtype != np.uint16:
        return None
    return stored[0]


def _read_stage(path: Path, count: int) -> tuple[int, Floats] | None:
    stored = read_arrays(path, "stage", "places")
    if stored is None or stored[0].shape != () or stored[1].shape != (count, 2):
        return None
    return int(stored[0]), stored[1]
