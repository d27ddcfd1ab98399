"""How far a clip is from all classes that a model was trained on.

Features are centered and whitened by their covariance inside the classes, to which its mean variance is
added (as many clips as channels are rare); the distance is one less the largest cosine with the mean of
a class. Of fifteen scores (energy, largest probability and logit, entropy, nearest neighbors, Mahalanobis
distances and their like) it was the best on the synthetic corpus of `dance demo` with each of its six
styles withheld in turn: 0.92 of the area under the curve, 0.83 for energy, 0.85 for the largest
probability.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dancecli.model.networks import stages


@dataclass(frozen=True)
class Detector:
    """Distances from the classes of training clips.

    Attributes:
        center: mean of the features, [channels].
        basis: directions in which the classes vary, [channels, directions].
        variance: inside the classes along them, [directions].
        ridge: added to the variance in every direction.
        means: of the classes that have clips, centered, whitened and of unit length, [classes, channels].
    """

    center: Tensor
    basis: Tensor
    variance: Tensor
    ridge: float
    means: Tensor

    def distance(self, features: Tensor) -> Tensor:
        """Compute the distances of features [N, channels] from the nearest class: [N], 0 to 2."""
        white = normalize(
            _whitened(features.double() - self.center, self.basis, self.variance, self.ridge), dim=1
        )
        return 1 - (white @ self.means.T).amax(1)

    @property
    def state(self) -> dict[str, Any]:
        """All of it, for a file."""
        tensors = {"center": self.center, "basis": self.basis, "variance": self.variance, "means": self.means}
        return {**{key: value.float() for key, value in tensors.items()}, "ridge": self.ridge}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> Detector:
        """Rebuild what `state` gave."""
        tensors = {key: state[key].double() for key in ("center", "basis", "variance", "means")}
        return cls(**tensors, ridge=float(state["ridge"]))


def fit_detector(features: Tensor, labels: Tensor) -> Detector:
    """Fit a detector to training clips.

    Args:
        features: [clips, channels], more than one clip.
        labels: [clips].
    """
    x = features.double()
    center = x.mean(0)
    x = x - center
    known = torch.tensor(sorted(set(labels.tolist())))
    means = torch.stack([x[labels == label].mean(0) for label in known])
    inside = x - means[torch.searchsorted(known, labels)]
    basis, variance = _directions(inside)
    # Clips that are all alike vary in no direction.
    ridge = max(float(variance.sum()) / x.shape[1], 1e-12)
    return Detector(
        center, basis, variance, ridge, normalize(_whitened(means, basis, variance, ridge), dim=1)
    )


def _directions(x: Tensor) -> tuple[Tensor, Tensor]:
    """Find the directions in which rows vary, and the variance along each."""
    if len(x) < x.shape[1]:
        _, spread, basis = torch.linalg.svd(x, full_matrices=False)
        return basis.T, spread.square() / len(x)
    variance, basis = torch.linalg.eigh(x.T @ x / len(x))
    return basis, variance.clamp(min=0)


def _whitened(x: Tensor, basis: Tensor, variance: Tensor, ridge: float) -> Tensor:
    """Multiply by the inverse square root of the covariance: of its directions, and of all others."""
    rest = ridge**-0.5
    along = (variance + ridge).rsqrt() - rest
    white: Tensor = x * rest + (x @ basis * along) @ basis.T
    return white


def clip_features(head: Any, output: Any, clips: int) -> Tensor:
    """Give one vector per clip of what a backbone gave: the mean over views, frames and tokens.

    Args:
        head: the model's, of a type that `stages.HEADS` knows.
        output: the backbone's, of all views.
        clips: number of clips.

    Returns:
        [clips, channels].
    """
    own = getattr(head, "base", head)
    return mean_vectors(stages.head_row(own).pool(own, output), clips)


def mean_vectors(found: Tensor, clips: int) -> Tensor:
    """Average what is stored or pooled of each view, [clips x views, ...]: [clips, channels]."""
    # Tokens are the rows before the channels; maps have their channels first, and are pooled.
    channels = found.shape[2] if found.ndim == 3 else found.shape[1]
    return found.reshape(clips, -1, channels).double().mean(1)
