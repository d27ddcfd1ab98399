"""What held-out clips say of new ones: temperatures, prediction sets and false alarms. Pure.

The clips of one group (source video, dancer) are alike, so the unit of calibration is the group: each has
the same weight, however many clips it has, and a new clip is one of a new group. The sets are those of
hierarchical conformal prediction (Lee, Barber & Willett 2023): exchangeable groups are all that is
assumed. Their score is the probability of the true class (Sadinle, Lei & Wasserman, JASA 2019).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence

# Those that are tried, of which the one with the least log loss is taken.
TEMPERATURES = tuple(10.0 ** (i / 20) for i in range(-20, 21))
# Beyond which a probability says no more.
_LEAST = 1e-12
# Sums of shares are equal within this.
_EQUAL = 1e-9


def groups_needed(level: float) -> int:
    """Return the number of groups by which a threshold of this level can be set."""
    return math.ceil(level / (1 - level) - _EQUAL)


def percent_possible(groups: int) -> int:
    """Return the highest level, in whole per cent, whose threshold can be set by so many groups."""
    return 100 * groups // (groups + 1)


def group_threshold(scores: Sequence[float], groups: Sequence[Hashable], level: float) -> float | None:
    """Find the threshold that the score of a clip of a new group stays within, with this probability.

    Args:
        scores: of clips.
        groups: group of each clip.
        level: the probability, at least; for many groups it is that, not more.

    Returns:
        The threshold; None if there are fewer groups than `groups_needed`.
    """
    sizes = Counter(groups)
    reached = 0.0
    for score, group in sorted(zip(scores, groups, strict=True)):
        # The new group has a share too, of which nothing is known.
        reached += 1 / ((len(sizes) + 1) * sizes[group])
        if reached >= level - _EQUAL:
            return score
    return None


def set_threshold(
    probabilities: Sequence[Sequence[float]], truth: Sequence[int], groups: Sequence[str], level: float
) -> float | None:
    """Find the least probability of a class in a prediction set that holds the truth at this level.

    Args:
        probabilities: of calibration clips, [clips][classes].
        truth: their classes.
        groups: their groups.
        level: probability that the set of a clip of a new group holds its class.

    Returns:
        The probability; None if there are fewer groups than `groups_needed`.
    """
    misfit = [-row[label] for row, label in zip(probabilities, truth, strict=True)]
    found = group_threshold(misfit, groups, level)
    return None if found is None else -found


def prediction_set(probabilities: Sequence[float], threshold: float) -> tuple[int, ...]:
    """Return the classes that are probable enough, the likeliest first; it may be none of them."""
    inside = [i for i, p in enumerate(probabilities) if p >= threshold]
    return tuple(sorted(inside, key=lambda i: (-probabilities[i], i)))


def tempered(probabilities: Sequence[float], temperature: float) -> tuple[float, ...]:
    """Apply a temperature to probabilities: softmax of their logarithms divided by it (Guo et al. 2017)."""
    if temperature == 1:
        return tuple(probabilities)
    logs = [math.log(max(p, _LEAST)) / temperature for p in probabilities]
    highest = max(logs)
    weights = [math.exp(value - highest) for value in logs]
    total = sum(weights)
    return tuple(weight / total for weight in weights)


def best_temperature(probabilities: Sequence[Sequence[float]], truth: Sequence[int]) -> float:
    """Find the temperature with the least log loss.

    Args:
        probabilities: of held-out clips, [clips][classes]; at least one clip.
        truth: their classes.
    """
    import numpy as np

    logs = np.log(np.maximum(np.asarray(probabilities, dtype=float), _LEAST))
    of_truth = logs[np.arange(len(logs)), list(truth)]
    losses = []
    for temperature in TEMPERATURES:
        scaled = logs / temperature
        highest = scaled.max(axis=1)
        total = np.log(np.exp(scaled - highest[:, None]).sum(axis=1)) + highest
        losses.append(float((total - of_truth / temperature).mean()))
    return float(TEMPERATURES[losses.index(min(losses))])
