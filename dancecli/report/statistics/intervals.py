"""Rates with their k, n and 95 % intervals. Pure.

Intervals are Wilson's (E. B. Wilson, JASA 22, 1927), which stay inside 0 to 1 and hold at small n
and at k = 0 or k = n. A count can take n + 1 values, so no interval covers the truth exactly 95 times in
100 at every rate: for rates from 5 to 95 % Wilson's holds it 94.4 to 95.5 times at n = 950, 93.6 to
96.5 at 105, 93.3 to 97.8 at 58, 92.5 to 97.9 at 20 and 89.6 to 99.2 at 5; over those rates, 95.0 to 95.7
in the mean. A proportion of nothing has neither rate nor interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

CONFIDENCE = 0.95
_NORMAL = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)


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


def by_video(
    values: npt.NDArray[np.bool_] | npt.NDArray[np.float64], groups: Sequence[str]
) -> Estimate | None:
    """Give a mean of values from 0 to 1 with an interval that counts clips of one source video as alike
    as they prove to be.

    Wilson's interval for as many independent clips as would be worth as much: n over the design
    effect, which is how much more the mean varies from video to video than independent clips would
    let it, times the share by which Student's quantile for so many videos is wider than the normal
    one, squared (E. L. Korn, B. I. Graubard, Survey Methodology 24, 1998). Where all clips are right,
    or all wrong, nothing of that can be seen, and clips of one video are taken as wholly alike.

    On 2,000 simulated test sets each, of 60 and of 200 videos with one to six clips, it holds the
    truth 94 to 97 times in 100; of 20 videos 92 to 98 times, for no interval can know from so few
    how alike their clips are.

    Args:
        values: for each clip whether it was correct, or by which share of several runs.
        groups: for each clip its source video.

    Returns:
        None without clips.
    """
    import numpy as np

    n = len(values)
    if n == 0:
        return None
    place = {name: i for i, name in enumerate(sorted(set(groups)))}
    where = np.array([place[group] for group in groups])
    sizes = np.bincount(where).astype(np.float64)
    flags, m = values.dtype == np.bool_, len(sizes)
    k = float(values.sum())
    if flags and m == n:
        return Estimate(k / n, *wilson(k, n))
    # Clips can make each other's results less; only a mean over runs can be surer than a clip's luck.
    effect, floor = float((sizes**2).sum()) / n, 1.0 if flags else 0.0
    if 0 < k < n and m > 1:
        surplus = np.bincount(where, weights=values) - k / n * sizes
        variance = float((surplus**2).sum()) / n**2 * m / (m - 1)
        seen = max(floor, variance / (k / n * (1 - k / n) / n))
        effect = (seen or effect) * (student(m - 1) / _NORMAL) ** 2
    return Estimate(k / n, *wilson(k / effect, n / effect))


def student(freedom: int) -> float:
    """Give the 97.5 % quantile of Student's distribution, within 1 % from two degrees of freedom on.

    By its expansion around the normal one (Abramowitz & Stegun, 26.7.5).
    """
    z = _NORMAL
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + fsum(term / freedom**power for power, term in enumerate(terms, start=1))
