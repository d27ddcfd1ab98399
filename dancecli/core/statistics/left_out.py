"""Scores of every clip by a linear classifier that has not seen its group. Pure.

Ridge regression on the indicators of the classes. What the fit without a group says of the group follows from
the fit of all clips (the leave-one-out identity of least squares, Allen 1974, for blocks), so that nothing is
drawn at random and every fit has all other groups to learn from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

# Directions whose variance is smaller by this factor than the largest are rounding errors.
_EMPTY = 1e-10
# A clip of no weight would have no residual to divide by.
_LEAST_WEIGHT = 1e-3
# Of the covariance towards a multiple of the identity; between 0.01 and 0.5 it made no difference.
_SHRINK = 0.1


def left_out_scores(
    features: npt.NDArray[np.floating],
    targets: Floats,
    groups: Ints,
    weights: Floats,
    ridges: Sequence[float],
) -> Iterator[Floats]:
    """Predict the targets of every clip from the clips of the other groups.

    Args:
        features: [clips, features].
        targets: [clips, classes].
        groups: [clips] group of each clip; clips of a group are left out together.
        weights: [clips] from 0 to 1, how much a clip counts for the others.
        ridges: regularization strengths to try, as multiples of the mean squared length of a clip's
            features, which are centered.

    Yields:
        [clips, classes], for one strength after the other.
    """
    import numpy as np

    root = np.sqrt(np.maximum(weights, _LEAST_WEIGHT))[:, None]
    left, size = _principal(root * _standardize(features))
    wanted = root * targets
    projected = left.T @ wanted
    members = _members(groups)
    for ridge in ridges:
        shrink = size / (size + ridge)
        residual = wanted - left @ (shrink[:, None] * projected)
        for rows in members:
            hat = (left[rows] * shrink) @ left[rows].T
            residual[rows] = np.linalg.solve(np.eye(len(rows)) - hat, residual[rows])
        yield targets - residual / root


def _standardize(features: npt.NDArray[np.floating]) -> Floats:
    """Center, scale to a mean squared length of 1, and append a constant."""
    import numpy as np

    x = features.astype(np.float64)
    x -= x.mean(axis=0)
    x /= np.sqrt(max(np.square(x).sum(axis=1).mean(), np.finfo(np.float64).tiny))
    return np.hstack([x, np.ones((len(x), 1))])


def _principal(weighted: Floats) -> tuple[Floats, Floats]:
    """Return the left singular vectors [clips, rank] and the squared singular values [rank] of a matrix."""
    import numpy as np
    from scipy.linalg import eigh

    # By the smaller of the two products, which a full decomposition would take much longer to find.
    wide = weighted.shape[1] > weighted.shape[0]
    size, vectors = eigh(weighted @ weighted.T if wide else weighted.T @ weighted)
    kept = size > _EMPTY * max(size[-1], np.finfo(np.float64).tiny)
    size, vectors = size[kept], vectors[:, kept]
    return (vectors if wide else (weighted @ vectors) / np.sqrt(size)), size


def left_out_discriminant(outputs: Floats, labels: Ints, groups: Ints, weights: Floats) -> Floats:
    """Turn predictions into logits of classes: normal distributions that share one covariance.

    Least squares treats all classes alike, so one temperature would be too low for classes that are mixed up
    with each other or too high for the others. The covariance tells them apart: with it, regression becomes
    discriminant analysis (Hastie, Buja & Tibshirani 1995). Clips of a clip's group have no part in it.

    Args:
        outputs: [clips, classes] as of `left_out_scores`.
        labels: [clips] index of the class; each is that of clips of two groups at least.
        groups: [clips] as there.
        weights: [clips] as there.

    Returns:
        [clips, classes] logits.
    """
    import numpy as np

    classes = outputs.shape[1]
    counted = np.eye(classes)[labels] * np.maximum(weights, _LEAST_WEIGHT)[:, None]
    weighted = outputs * counted.sum(axis=1)[:, None]
    counts, sums, products = counted.sum(axis=0), counted.T @ outputs, weighted.T @ outputs
    logits = np.empty_like(outputs)
    for rows in _members(groups):
        count = counts - counted[rows].sum(axis=0)
        mean = (sums - counted[rows].T @ outputs[rows]) / count[:, None]
        within = products - weighted[rows].T @ outputs[rows] - (mean * count[:, None]).T @ mean
        spread = within / count.sum()
        spread += _SHRINK * np.trace(spread) / classes * np.eye(classes)
        axes = np.linalg.solve(spread, mean.T)
        # A class whose clips count little is rare by that alone, not by what is known of it.
        share = np.log((count + 1) / (count + 1).sum())
        logits[rows] = outputs[rows] @ axes - 0.5 * np.einsum("ck,kc->c", mean, axes) + share
    return logits


def _members(groups: Ints) -> list[Ints]:
    """Return the rows of each group."""
    import numpy as np

    order = np.argsort(groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
