"""Intervals by resampling source videos: clips of one video are one piece of evidence. Pure.

The draws come from a hash, so they are the same on any machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

RESAMPLES = 10_000
# Draws of a resampling in all; with very many videos fewer resamples settle the interval too.
MOST_DRAWS = 50_000_000
FEWEST_RESAMPLES = 1_000
LEVELS = (0.025, 0.975)


def resamples_of(videos: int) -> int:
    """Say how many resamples of so many videos are taken."""
    return max(FEWEST_RESAMPLES, min(RESAMPLES, MOST_DRAWS // videos))


def draws(videos: int, name: str) -> Iterator[Ints]:
    """Give all resamples, a block at a time: resamples x videos, each a video's place.

    Args:
        videos: how many there are.
        name: what it is for; another name gives other draws.
    """
    import numpy as np

    resamples = resamples_of(videos)
    block = max(1, 4_000_000 // videos)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        stream = hashlib.shake_256(f"{name} {videos} {start}".encode())
        words = np.frombuffer(stream.digest(4 * rows * videos), dtype="<u4").astype(np.uint64)
        # The high bits of a product spread 32 bits evenly over the videos, but for 1 in 4 billion.
        yield ((words * np.uint64(videos)) >> np.uint64(32)).astype(np.int64).reshape(rows, videos)


def interval_of_ratio(sums: Floats | Ints, sizes: Floats | Ints, name: str) -> tuple[float, float]:
    """Give the 95 % interval of a mean over clips.

    Args:
        sums: for each video the sum over its clips.
        sizes: for each video how many clips it has.
        name: what it is for.
    """
    import numpy as np

    found = [sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1) for drawn in draws(len(sums), name)]
    low, high = np.quantile(np.concatenate(found), LEVELS)
    return float(low), float(high)


def interval_of_means(values: Floats, groups: Sequence[str]) -> tuple[float, float]:
    """Give the 95 % interval of the mean of one value a clip, clips of one video staying together.

    Args:
        values: for each clip.
        groups: for each clip its source video.
    """
    import numpy as np

    place = {name: i for i, name in enumerate(sorted(set(groups)))}
    where = np.array([place[group] for group in groups])
    sums = np.bincount(where, weights=values)
    return interval_of_ratio(sums, np.bincount(where).astype(np.float64), "mean bootstrap")
