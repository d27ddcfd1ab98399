"""Short vectors that tell what is alike: features turned to the directions in which they differ. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]

# So many numbers hold nearly all by which features differ; 100,000 clips are 26 MB.
WIDTH = 64
# The directions are found on so many clips, evenly taken.
_SAMPLE = 4096
# Distances from so many clips at a time.
_PIECE = 1024


def shorten(features: Vectors, width: int = WIDTH) -> Vectors:
    """Rotate features to the directions in which they differ most, and keep those (PCA).

    Args:
        features: of shape (clips, features).
        width: how many directions to keep at most.

    Returns:
        (clips, at most `width`), centered; the direction with the largest variance is the last.
    """
    import numpy as np
    from scipy.linalg import eigh

    sample = features[:: max(1, len(features) // _SAMPLE)]
    center = sample.mean(axis=0)
    spread = np.atleast_2d(np.cov((sample - center).T.astype(np.float64)))
    size = len(spread)
    _, directions = eigh(spread, subset_by_index=(max(0, size - width), size - 1))
    short: Vectors = ((features - center) @ directions.astype(np.float32)).astype(np.float32)
    return short


def normalize(vectors: Vectors) -> Vectors:
    """Scale vectors to length 1; one without length stays."""
    import numpy as np

    lengths: Any = np.linalg.norm(vectors, axis=1, keepdims=True)
    normal: Vectors = vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
    return normal


def neighbor_distances(vectors: Vectors, groups: npt.NDArray[np.int64], k: int) -> npt.NDArray[np.float64]:
    """Measure how far each clip is from the k-th nearest clip of another group.

    Args:
        vectors: of shape (clips, n).
        groups: group of each clip, such as its source video: clips of one are alike for that alone.
        k: which neighbor.

    Returns:
        Euclidean distances, of shape (clips,); infinite where other groups have fewer than k clips.
    """
    import numpy as np

    squares = np.einsum("ij,ij->i", vectors, vectors)
    found = np.full(len(vectors), np.inf)
    for at in range(0, len(vectors), _PIECE):
        mine = slice(at, at + _PIECE)
        distances = squares[mine, None] + squares[None] - 2 * (vectors[mine] @ vectors.T)
        distances[groups[mine, None] == groups[None]] = np.inf
        if k <= len(vectors):
            found[mine] = np.partition(distances, k - 1, axis=1)[:, k - 1]
    nearest: npt.NDArray[np.float64] = np.sqrt(np.maximum(found, 0))
    return nearest
