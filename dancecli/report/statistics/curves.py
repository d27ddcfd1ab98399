"""Curves of a classifier's scores: top-k, accuracy at coverage, precision-recall and ROC. Pure.

Average precision and the area under the ROC curve are as scikit-learn has them (its import costs more
than a whole report): clips with one score are taken together, precision is not interpolated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Flags = npt.NDArray[np.bool_]
    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class ClassCurves:
    """One class against all others, by its score.

    Attributes:
        ap: average precision.
        auc: area under the ROC curve; None where all clips are of the class.
        pr: recall and precision, thinned for drawing.
        roc: false and true positive rate, thinned likewise.
    """

    index: int
    positives: int
    ap: float
    auc: float | None
    pr: Points
    roc: Points


def class_curves(scores: Floats, truth: Ints, points: int = 40) -> tuple[ClassCurves, ...]:
    """Give the curves of every class that occurs.

    Args:
        scores: n x classes.
        truth: n class indices.
        points: how many points to keep of a curve at most.
    """
    import numpy as np

    return tuple(_class_curves(scores[:, i], truth == i, int(i), points) for i in np.unique(truth))


def _class_curves(scores: Floats, positive: Flags, index: int, points: int) -> ClassCurves:
    import numpy as np

    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], positive[order]
    # Where the next score is another one: clips with equal scores cannot be told apart.
    ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    true = np.cumsum(hits)[ends].astype(np.float64)
    called = ends + 1.0
    positives, negatives = int(hits.sum()), int((~hits).sum())
    precision, recall = true / called, true / positives
    gained = np.diff(recall, prepend=0.0)
    false = (called - true) / max(1, negatives)
    tpr, fpr = np.append(0.0, recall), np.append(0.0, false)
    auc = float(np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2)) if negatives else None
    return ClassCurves(
        index=index,
        positives=positives,
        ap=float((gained * precision).sum()),
        auc=auc,
        pr=_thinned(np.append(0.0, recall), np.append(precision[0], precision), points),
        roc=_thinned(fpr, tpr, points),
    )


def _thinned(x: Floats, y: Floats, points: int) -> Points:
    import numpy as np

    # Evenly along the line: most of the points of a curve lie where nothing happens.
    along = np.append(0.0, np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y))))
    wanted = np.linspace(0, along[-1], min(points, len(x)))
    kept = np.unique(np.append(np.searchsorted(along, wanted), (0, len(x) - 1)).clip(0, len(x) - 1))
    return tuple((round(float(a), 4), round(float(b), 4)) for a, b in zip(x[kept], y[kept], strict=True))


def topk_curve(ranks: Ints, classes: int, most: int = 10) -> Points:
    """Give the share of clips whose true class ranks among the first k, for k from 1.

    Args:
        ranks: n places of the true class, from 1.
        classes: how many there are; the last is left out, as it is always 100 %.
        most: the largest k.
    """
    return tuple((float(k), float((ranks <= k).mean())) for k in range(1, min(most, classes - 1) + 1))


def coverage_curve(confidence: Floats, hits: Flags, points: int = 50) -> Points:
    """Give the accuracy on the most confident clips, from the fewest to all: coverage and accuracy.

    Clips of equal confidence are taken together. The first point holds at least ten clips (or all),
    below which an accuracy says nothing.

    Args:
        confidence: n highest scores.
        hits: n flags.
        points: how many points to keep at most.
    """
    import numpy as np

    order = np.argsort(-confidence, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(confidence[order])), len(order) - 1)
    ends = ends[(ends >= 9) | (ends == len(order) - 1)]
    right = np.cumsum(hits[order])[ends] / (ends + 1)
    return _thinned((ends + 1) / len(order), right, points)
