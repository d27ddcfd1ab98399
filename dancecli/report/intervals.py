"""Rates with their k, n and 95 % intervals. Pure.

Intervals are Wilson's (E. B. Wilson, JASA 22, 1927), which stay inside 0 to 1 and hold at small n
and at k = 0 or k = n. A proportion of nothing has neither rate nor interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % interval, all between 0 and 1."""

    rate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Proportion:
    """`k` of `n`."""

    k: int
    n: int

    @property
    def estimate(self) -> Estimate | None:
        """The rate with its Wilson interval; None where n is 0."""
        if self.n == 0:
            return None
        return Estimate(self.k / self.n, *wilson(self.k, self.n))


def wilson(k: float, n: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Give Wilson's score interval for k of n, n above 0."""
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    p, shrink = k / n, 1 + z * z / n
    centre = (p + z * z / (2 * n)) / shrink
    half = z / shrink * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At the ends the formula is exact and floating point is not.
    return (0.0 if k == 0 else centre - half), (1.0 if k == n else centre + half)


def by_video(right: npt.NDArray[np.bool_], groups: Sequence[str]) -> Estimate | None:
    """Give a rate with an interval that counts clips of one source video as alike as they prove to be.

    Wilson's interval for as many independent clips as would be worth as much: n over the design
    effect, which is how much more the rate varies from video to video than independent clips would
    let it (E. L. Korn, B. I. Graubard, Survey Methodology 24, 1998). Where all clips are right, or all
    wrong, that cannot be seen, and clips of one video are taken as wholly alike.

    Args:
        right: for each clip whether it was named right.
        groups: for each clip its source video.

    Returns:
        None without clips.
    """
    import numpy as np

    n, k = len(right), int(right.sum())
    if n == 0:
        return None
    place = {name: i for i, name in enumerate(sorted(set(groups)))}
    where = np.array([place[group] for group in groups])
    sizes = np.bincount(where).astype(np.float64)
    if 0 < k < n and len(sizes) > 1:
        surplus = np.bincount(where, weights=right) - k / n * sizes
        variance = float((surplus**2).sum()) / n**2 * len(sizes) / (len(sizes) - 1)
        effect = max(1.0, variance / (k / n * (1 - k / n) / n)) if len(sizes) < n else 1.0
    else:
        effect = float((sizes**2).sum()) / n
    return Estimate(k / n, *wilson(k / effect, n / effect))
