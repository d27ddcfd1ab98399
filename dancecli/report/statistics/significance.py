"""Whether two models differ, on clips that both were evaluated on. Pure.

The exact McNemar test sees nothing but the clips that one model alone got right. It is exact
at any n, but takes clips as independent, and clips cut from one video are not. So the verdict
rests on its form for source videos: under the null hypothesis the two models may be swapped
within any video, and the net gain over all videos is compared with what all such swaps would
give. Where every video gave one clip, the two tests are the same. The interval of the difference
comes from resampling source videos.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dancecli.report.statistics.bootstrap import interval_of_difference, resamples_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Flags = npt.NDArray[np.bool_]
    Ints = npt.NDArray[np.int64]

ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Paired:
    """Two models on the same clips.

    Attributes:
        both, first, second, neither: how many clips both, only the first, only the second, and
            none of the two got right.
        p_clips: of the exact McNemar test, two-sided.
        p: the same by source video; this one decides.
        low, high: 95 % interval of the difference in accuracy (second minus first), by
            resampling source videos.
        videos: how many of those there are.
        resamples: how often they were resampled.
    """

    both: int
    first: int
    second: int
    neither: int
    p_clips: float
    p: float
    low: float
    high: float
    videos: int
    resamples: int

    @property
    def n(self) -> int:
        """All clips."""
        return self.both + self.first + self.second + self.neither

    @property
    def difference(self) -> float:
        """Accuracy of the second minus that of the first."""
        return (self.second - self.first) / self.n

    @property
    def shown(self) -> bool:
        """Whether the test and the interval both distinguish the models."""
        return self.p < ALPHA and not self.low <= 0 <= self.high


def mcnemar(first: int, second: int) -> float:
    """Give the two-sided p of the exact McNemar test (Q. McNemar, Psychometrika 12, 1947).

    Args:
        first: clips that only the first model got right.
        second: clips that only the second one did.
    """
    n, fewer = first + second, min(first, second)
    # Whole numbers, so that a p near 0 is neither lost nor rounded.
    term = total = 1
    for k in range(1, fewer + 1):
        term = term * (n - k + 1) // k
        total += term
    return min(1.0, 2 * total / 2**n) if n < 1000 else min(1.0, math.exp(_log(2 * total) - n * math.log(2)))


def _log(value: int) -> float:
    shift = max(0, value.bit_length() - 900)
    return math.log(value >> shift) + shift * math.log(2)


def permutation_test(gains: Sequence[int]) -> float:
    """Give the two-sided p of swapping the models within videos, exactly.

    Args:
        gains: for each video how many more of its clips the second model got right than the first.
    """
    import numpy as np

    sizes = [abs(g) for g in gains if g]
    if max(sizes, default=1) == 1:
        return mcnemar(sum(g < 0 for g in gains), sum(g > 0 for g in gains))
    chances = np.ones(1)
    for size in sizes:  # the distribution of the sum, a video at a time: half up, half down
        wider = np.zeros(len(chances) + 2 * size)
        wider[: len(chances)] += chances / 2
        wider[2 * size :] += chances / 2
        chances = wider
    reach, seen = sum(sizes), abs(sum(gains))
    sums = np.abs(np.arange(-reach, reach + 1))
    return min(1.0, float(chances[sums >= seen].sum()))


def wins_needed(discordant: int) -> int | None:
    """Say how many of so many clips classified differently one model must win to be distinguished.

    Returns:
        None where winning all of them would not do.
    """
    for wins in range((discordant + 1) // 2, discordant + 1):
        if mcnemar(discordant - wins, wins) < ALPHA:
            return wins
    return None


def holm(ps: Sequence[float]) -> list[float]:
    """Adjust p-values for their number (S. Holm, Scand. J. Statist. 6, 1979)."""
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    adjusted, highest = [0.0] * len(ps), 0.0
    for place, i in enumerate(order):
        highest = max(highest, min(1.0, (len(ps) - place) * ps[i]))
        adjusted[i] = highest
    return adjusted


def differences_by_video(first: Flags, second: Flags, groups: Sequence[str]) -> tuple[Ints, Ints]:
    """Count, for each source video, the second model's net gain in clips, and its clips.

    Args:
        first: for each clip whether the first model was right.
        second: the same for the second.
        groups: for each clip the source video that it stands and falls with.
    """
    import numpy as np

    place = {name: i for i, name in enumerate(sorted(set(groups)))}
    where = np.array([place[group] for group in groups])
    gains = np.zeros(len(place), dtype=np.int64)
    np.add.at(gains, where, second.astype(np.int64) - first.astype(np.int64))
    return gains, np.bincount(where, minlength=len(place))


def pair(first: Flags, second: Flags, groups: Sequence[str]) -> Paired:
    """Compare two models clip by clip; arguments as in `differences_by_video`, at least one clip."""
    gains, sizes = differences_by_video(first, second, groups)
    low, high = interval_of_difference(gains, sizes)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    return Paired(
        both=int((first & second).sum()),
        first=only_first,
        second=only_second,
        neither=int((~first & ~second).sum()),
        p_clips=mcnemar(only_first, only_second),
        p=permutation_test(gains.tolist()),
        low=low,
        high=high,
        videos=len(gains),
        resamples=resamples_of(len(gains) + 2),
    )
