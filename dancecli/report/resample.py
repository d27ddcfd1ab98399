"""Intervals by resampling source videos: clips of one video are one piece of evidence. Pure.

The draws come from a hash, so they are the same on any machine.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

from dancecli.report.intervals import Estimate, by_video

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


def draws(videos: int, name: str, resamples: int) -> Iterator[Ints]:
    """Give all resamples, a block at a time: resamples x videos, each a video's place.

    Args:
        videos: how many there are.
        name: what it is for; another name gives other draws.
        resamples: how many.
    """
    import numpy as np

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

    every = draws(len(sums), name, resamples_of(len(sums)))
    found = [sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1) for drawn in every]
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


def intervals_of_class_means(
    truth: Ints, calls: Ints, classes: int, groups: Sequence[str]
) -> tuple[Estimate, Estimate]:
    """Give balanced accuracy and macro F1 with their 95 % intervals.

    Neither is a proportion. Their standard error is that of 1,000 resamples of source videos, made
    larger as m / (m - 1) under the root for m videos a class, and the interval is symmetric in the
    log-odds, so that it stays between 0 and 1. Percentiles of the resamples held the truth as rarely
    as 81 times in 100 where classes have few clips; these do 94 to 98 times. Where all clips are
    right, or all wrong, no resample differs, and Wilson's interval by source video stands in.

    Args:
        truth: for each clip its class; at least one clip.
        calls: for each clip what it was called.
        classes: how many classes there are.
        groups: for each clip its source video.
    """
    import numpy as np

    place = {name: i for i, name in enumerate(sorted(set(groups)))}
    where = np.array([place[group] for group in groups])
    right = (truth == calls).astype(np.float64)
    shown = class_means(truth, calls, right, np.ones(len(truth)), classes)
    rows = []
    for drawn in draws(len(place), "class means", FEWEST_RESAMPLES):
        for one in drawn:
            weights = np.bincount(one, minlength=len(place))[where].astype(np.float64)
            rows.append(class_means(truth, calls, right, weights, classes))
    per_class = max(2.0, len(place) / max(1, len(set(truth.tolist()))))
    errors = np.array(rows).std(axis=0) * np.sqrt(per_class / (per_class - 1))
    whole = by_video(right > 0, groups)
    assert whole is not None  # noqa: S101 - for the type checker; there are clips
    balanced, f1 = (_around(value, float(error), whole) for value, error in zip(shown, errors, strict=True))
    return balanced, f1


def class_means(
    truth: Ints, calls: Ints, right: Floats, weights: Floats, classes: int
) -> tuple[float, float]:
    """Give balanced accuracy and macro F1 of clips that count as often as their weights say."""
    import numpy as np

    support, called = (np.bincount(of, weights, classes) for of in (truth, calls))
    hits = np.bincount(truth, weights * right, classes)
    occurs, either = support > 0, support + called > 0
    recall = (hits[occurs] / support[occurs]).mean()
    return float(recall), float((2 * hits[either] / (support + called)[either]).mean())


def _around(value: float, error: float, whole: Estimate) -> Estimate:
    if error == 0 or not 0 < value < 1:
        return Estimate(value, whole.low, whole.high)
    reach = NormalDist().inv_cdf(LEVELS[1]) * error / (value * (1 - value))
    middle = math.log(value / (1 - value))
    low, high = (1 / (1 + math.exp(-min(700.0, max(-700.0, middle + s * reach)))) for s in (-1, 1))
    return Estimate(value, low, high)
