"""Whether the true class is among a model's k highest scores: the one rule, used wherever that is counted.

*Ties count against the model*: the true class ranks behind every class with the same score, so a
model that answers the same for everything scores nothing. *A class with probability 0 is never a
hit*: a model that cannot answer a class has not named it.

Imports nothing: the functions for tables take NumPy arrays and torch tensors alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def true_rank(scores: Sequence[float], label: int) -> int:
    """Give the rank of the true class: 1 is best; the number of classes + 1 where its score is not above 0.

    Args:
        scores: one probability per class.
        label: index of the true class.
    """
    own = scores[label]
    if not own > 0:
        return len(scores) + 1
    return sum(score >= own for score in scores)


def top_k_correct(scores: Sequence[float], label: int, k: int) -> bool:
    """Tell whether the true class ranks among the first k; arguments as for `true_rank`."""
    own = scores[label]
    return bool(own > 0) and sum(score >= own for score in scores) <= k


def true_ranks(scores: Any, own: Any) -> Any:
    """Give the rank of the true class of each clip, as `true_rank` does of one.

    Args:
        scores: [..., classes] probabilities, as an array or a tensor.
        own: [...] the scores of the true classes.

    Returns:
        [...] integers.
    """
    ranks = (scores >= own[..., None]).sum(-1)
    ranks[~(own > 0)] = scores.shape[-1] + 1
    return ranks
