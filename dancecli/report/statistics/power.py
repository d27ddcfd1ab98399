"""How large a gap between two models a test set can show, said before anybody trains.

Two models evaluated on the same clips are compared by McNemar's exact test, which looks only at
the clips on which they disagree. See McNemar 1947, Psychometrika 12(2); the power is summed
exactly, since the normal approximation promises small test sets too much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, cast

if TYPE_CHECKING:
    import numpy as np

    Floats: TypeAlias = np.ndarray[tuple[int], np.dtype[np.float64]]

# Fine-tuned models of like strength disagree on about a fifth of the clips.
DISCORDANT = 0.20
ALPHA = 0.05
POWER = 0.80


def smallest_gap(num_clips: int) -> float | None:
    """Give the smallest accuracy difference that is found four times in five.

    Args:
        num_clips: size of the test set.

    Returns:
        The difference as a share of 1, to three digits, or None if not even a test in which one
        model wins every disagreement reaches significance that often.
    """
    low, high = 0.0, DISCORDANT
    if power(num_clips, high) < POWER:
        return None
    while high - low > 0.001:
        middle = (low + high) / 2
        low, high = (low, middle) if power(num_clips, middle) >= POWER else (middle, high)
    return round(high, 3)


def power(num_clips: int, gap: float, discordant: float = DISCORDANT) -> float:
    """Give the chance that McNemar's exact two-sided test at 5 % finds a gap.

    Args:
        num_clips: size of the test set.
        gap: true difference of the two accuracies, at most `discordant`.
        discordant: share of the clips on which one model is right and the other wrong.
    """
    import numpy as np

    total = 0.0
    win = 0.5 + gap / (2 * discordant)
    log_factorial = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, num_clips + 1)))))

    def pmf(n: int, p: float) -> Floats:
        k = np.arange(n + 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(k > 0, k * np.log(p), 0.0) + np.where(n - k > 0, (n - k) * np.log1p(-p), 0.0)
        log_choose = log_factorial[n] - log_factorial[k] - log_factorial[n - k]
        return cast("Floats", np.exp(log_choose + terms))

    weights = pmf(num_clips, discordant)
    for disagreements in np.flatnonzero(weights > 1e-7):
        tail = np.cumsum(pmf(int(disagreements), 0.5))
        # The largest count of the weaker side that is still significant in a two-sided test.
        critical = int(np.searchsorted(tail, ALPHA / 2, side="right")) - 1
        if critical >= 0:
            wins = pmf(int(disagreements), win)
            found = wins[: critical + 1].sum() + wins[disagreements - critical :].sum()
            total += float(weights[disagreements] * found)
    return total
