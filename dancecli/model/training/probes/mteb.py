"""The video classification probe of MTEB: logistic regression on eight clips of each class.

The Massive Text Embedding Benchmark (Muennighoff et al., EACL 2023; embeddings-benchmark/mteb,
`mteb/abstasks/classification.py`) embeds a clip as one vector, draws `samples_per_label = 8` clips of
each class from train, fits scikit-learn's `LogisticRegression(n_jobs=-1, max_iter=100)` with its other
defaults (L2, C = 1, L-BFGS) and its `random_state`, predicts the whole test set, and reports the mean
accuracy over `n_experiments = 10` draws. The draws follow each other: `RandomState(42)` shuffles the
indices of train once more for each, and the first eight of a class are taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from dancecli.core.errors import MissingDependencyError
from dancecli.model.training.logistic import SolvedHead

DRAWS = 10
PER_LABEL = 8
_SEED = 42
_MAX_ITER = 100


def draw(labels: Sequence[int], number: int) -> list[int]:
    """Draw eight clips of each class, or all of a class that has fewer.

    Args:
        labels: class of each training clip.
        number: of the draw, from 0.

    Returns:
        Indices of clips, in the order in which they are fitted.
    """
    import numpy as np

    indices = list(range(len(labels)))
    for _ in range(number + 1):
        # The legacy generator, whose stream NumPy keeps as it is.
        np.random.RandomState(_SEED).shuffle(indices)
    taken: Counter[int] = Counter()
    chosen = []
    for i in indices:
        if taken[labels[i]] < PER_LABEL:
            chosen.append(i)
            taken[labels[i]] += 1
    return chosen


def solve_as_mteb(features: Tensor, labels: Tensor, classes: int) -> SolvedHead:
    """Fit scikit-learn's logistic regression as MTEB does.

    Args:
        features: [clips, channels], of the drawn clips.
        labels: [clips], at least two classes.
        classes: number of classes; one without a clip is never predicted.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise MissingDependencyError(
            f"protocol mteb is fitted by scikit-learn, which is not installed ({error})",
            "pip install 'dancecli[train]'",
        ) from error
    fitted = LogisticRegression(max_iter=_MAX_ITER, random_state=_SEED)
    fitted.fit(features.float().numpy(), labels.numpy())
    rows, offsets = torch.from_numpy(fitted.coef_).double(), torch.from_numpy(fitted.intercept_).double()
    if len(fitted.classes_) == 2:
        # scikit-learn keeps the logit of the second class alone.
        rows, offsets = torch.cat([0 * rows, rows]), torch.cat([0 * offsets, offsets])
    weight, bias = rows.new_zeros(classes, features.shape[1]), rows.new_full((classes,), -1e4)
    weight[fitted.classes_], bias[fitted.classes_] = rows, offsets
    return SolvedHead(weight, bias, strength=1.0, temperature=1.0, folds=0, held_out=0, held_out_correct=0)
