"""A linear SVM on encoded clips, one class against the rest, whose values are made probabilities.

The vectors are longer than there are clips, so that all is computed from their products. The SVM's values
for clips of held-out source videos give the one number, a temperature, that turns values into probabilities
(softmax); it changes no decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dancecli.core.hashing import INNER_FOLDS, assign_folds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float32]

# As Wang & Schmid.
STRENGTH = 100.0
_TEMPERATURES = tuple(10.0 ** (i / 20) for i in range(-60, 21))
# Of a class that no training clip has: surer than any clip is not of it.
_NEVER = -10.0


@dataclass(frozen=True)
class LinearSvm:
    """A trained SVM: a weight per class and element of a vector.

    Attributes:
        weights: [classes, width]; zero for a class that no training clip has.
        intercepts: [classes].
        temperature: the values are divided by it; 1 if there were too few videos to find it.
        held_out: training clips whose video the SVM that scored them had not seen.
        held_out_correct: of them, those that were classified correctly.
    """

    weights: Numbers
    intercepts: Numbers
    temperature: float
    held_out: int
    held_out_correct: int

    def probabilities(self, vectors: Numbers) -> Numbers:
        """Score encoded clips [clips, width]: [clips, classes]."""
        from scipy.special import softmax

        values = vectors @ self.weights.T + self.intercepts
        found: Numbers = softmax(values / self.temperature, axis=1)
        return found


def train_svm(train: Numbers, labels: Sequence[int], groups: Sequence[str], classes: int) -> LinearSvm:
    """Train on encoded clips.

    Args:
        train: [clips, width].
        labels: class of each.
        groups: group of each clip, which is not divided between folds.
        classes: number of classes.
    """
    import numpy as np

    y = np.asarray(labels)
    products = train @ train.T
    fold_of = np.array(assign_folds(list(labels), groups, INNER_FOLDS))
    held_out = np.full((len(y), classes), np.nan)
    if fold_of.max(initial=0):
        for fold in range(int(fold_of.max()) + 1):
            own, rest = np.flatnonzero(fold_of == fold), np.flatnonzero(fold_of != fold)
            shares, intercepts = _solved(products[np.ix_(rest, rest)], y[rest], classes)
            held_out[own] = products[np.ix_(own, rest)] @ shares.T + intercepts
    # A class that occurs in one group only cannot be known when that group is held out.
    scored = np.array(
        [not np.isnan(row).any() and row[own] > _NEVER for row, own in zip(held_out, y, strict=True)]
    )
    shares, intercepts = _solved(products, y, classes)
    return LinearSvm(
        weights=(shares @ train).astype(np.float32),
        intercepts=intercepts,
        temperature=_temperature(held_out[scored], y[scored]),
        held_out=int(scored.sum()),
        held_out_correct=int((held_out[scored].argmax(axis=1) == y[scored]).sum()),
    )


def _solved(products: Numbers, y: NDArray[np.int64], classes: int) -> tuple[Numbers, Numbers]:
    """Give the share of each training clip in the weights of each class, and the intercepts.

    Args:
        products: of the training clips with each other.
        y: their classes.
        classes: number of classes.

    Returns:
        [classes, training clips] and [classes].
    """
    import numpy as np
    from sklearn.svm import SVC

    shares: Any = np.zeros((classes, len(y)))
    intercepts: Any = np.full(classes, _NEVER)
    for label in np.unique(y):
        if len(np.unique(y)) > 1:
            machine: Any = SVC(C=STRENGTH, kernel="precomputed").fit(products, y == label)
            shares[label, machine.support_] = machine.dual_coef_[0]
            intercepts[label] = machine.intercept_[0]
        else:
            intercepts[label] = 0
    return shares, intercepts


def _temperature(values: Numbers, y: NDArray[np.int64]) -> float:
    """Find the temperature under which the true classes are most likely; 1 without clips.

    One clip of each class is added to the n clips (Laplace), as Platt (1999) does: where all held-out clips
    are right, the next one is not sure to be.
    """
    import numpy as np
    from scipy.special import log_softmax

    count, classes = values.shape
    if not count:
        return 1.0
    wanted = (np.eye(classes)[y] * count + 1) / (count + classes)
    losses = [-float((wanted * log_softmax(values / t, axis=1)).sum()) for t in _TEMPERATURES]
    return float(_TEMPERATURES[int(np.argmin(losses))])
