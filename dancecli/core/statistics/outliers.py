"""Which clips are far from all others: a fence above the distances to neighbors. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

# Tukey's outer fence (Exploratory Data Analysis, 1977): of normal values one in 850,000 is above.
_FENCE = 3.0


def far_out(distances: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Name the distances that are far above the others.

    Distances are compared by their logarithm, since they are positive and skewed. Clips are called outliers
    if their distance to the k-th neighbor (Ramaswamy, Rastogi & Shim, SIGMOD 2000) is beyond the upper
    quartile by three times the distance between the quartiles.

    Args:
        distances: of shape (clips,), of each clip to its k-th nearest neighbor; infinite where it has none.

    Returns:
        Places of the outliers, of shape (outliers,), the farthest first.
    """
    import numpy as np

    known = np.isfinite(distances) & (distances > 0)
    if not known.any():
        return np.zeros(0, np.int64)
    logs = np.full(len(distances), -np.inf)
    logs[known] = np.log(distances[known])
    low, high = np.quantile(logs[known], (0.25, 0.75))
    beyond = np.flatnonzero(logs > high + _FENCE * (high - low))
    found: npt.NDArray[np.int64] = beyond[np.argsort(-logs[beyond], kind="stable")]
    return found
