"""What more training clips would bring: a power law through a learning curve. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dancecli.report.statistics.clusters import index_of, sums

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Flags = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float64]

_RESAMPLES = 1000


@dataclass(frozen=True)
class Forecast:
    """The accuracy expected with more training clips.

    Attributes:
        clips: number of training clips.
        rate: expected accuracy.
        gain: how much more that is than with the clips of now, with its 95 % interval.
    """

    clips: float
    rate: float
    gain: float
    low: float
    high: float


def fit_power_law(clips: Sequence[float], errors: Floats, tested: int) -> Floats:
    """Fit error = b * clips ** -c by weighted least squares on logarithms.

    A point weighs as much as it has errors, as the logarithm of a count varies by its inverse.

    Args:
        clips: training clips of each point.
        errors: [..., points], mean share of wrong clips.
        tested: number of tested clips.

    Returns:
        [..., 2]: log b and c; c is not below 0.
    """
    import numpy as np

    x = np.log(np.asarray(clips, dtype=float))
    count = errors * tested + 0.5
    y, weight = np.log(count / (tested + 1)), count
    total = weight.sum(-1, keepdims=True)
    mean_x, mean_y = ((weight * v).sum(-1, keepdims=True) / total for v in (x, y))
    spread = (weight * (x - mean_x) ** 2).sum(-1)
    slope = (weight * (x - mean_x) * (y - mean_y)).sum(-1) / np.maximum(spread, 1e-12)
    slope = np.minimum(slope, 0.0)
    found: Floats = np.stack([mean_y[..., 0] - slope * mean_x[..., 0], -slope], -1)
    return found


def forecast(
    clips: Sequence[float], hits: Sequence[Flags], groups: Sequence[str], more: Sequence[float]
) -> tuple[Forecast, ...]:
    """Extrapolate a learning curve; intervals are from resampling the tested groups and the draws.

    Args:
        clips: training clips of each point, ascending; two points or more.
        hits: for each point draws x tested clips.
        groups: one source video per tested clip.
        more: numbers of training clips to forecast.
    """
    import numpy as np

    where = index_of(groups)
    sizes = np.bincount(where).astype(float)
    wrong = [sums((~flags).astype(float), where) for flags in hits]
    errors = np.array([counts.sum(1).mean() / sizes.sum() for counts in wrong])
    fitted = fit_power_law(clips, errors, len(groups))
    random = np.random.default_rng(0)
    drawn = random.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), _RESAMPLES).astype(float)
    of_point = []
    for counts in wrong:
        shares = random.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), _RESAMPLES)
        mean = (shares / len(counts)) @ counts
        of_point.append((mean * drawn).sum(1) / (drawn @ sizes))
    resampled = fit_power_law(clips, np.stack(of_point, -1), len(groups))
    found = []
    for count in more:
        # The law lies above or below the last point, and nobody gains more than the errors that are left.
        gain = min(_error(fitted, clips[-1]) - _error(fitted, count), errors[-1])
        gains = np.minimum(_error(resampled, clips[-1]) - _error(resampled, count), of_point[-1])
        low, high = np.quantile(gains, (0.025, 0.975))
        found.append(
            Forecast(count, 1 - float(errors[-1]) + float(gain), float(gain), float(low), float(high))
        )
    return tuple(found)


def _error(law: Floats, clips: float) -> Floats:
    import numpy as np

    found: Floats = np.exp(law[..., 0]) * clips ** -law[..., 1]
    return found
