"""How far a clip is from all classes that a model was trained on.

Two distances are added. The first is one less the largest cosine with the mean of a class, of features that
are centered and whitened by their covariance inside the classes. To this their whole variance is added,
divided by the number of clips: much where clips are fewer than channels and say little of the covariance,
next to nothing where they are many. The second is the length of what is left of a clip outside the
directions in which training clips vary most, as in ViM (Wang et al., CVPR 2022), but weighed against the
cosine in the place of logits. docs/howto/probes.md compares the sum with other scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dancecli.model.networks import stages

# Of 0, 0.25, 0.5, 1 and 2 the one that finds most clips of a withheld style of the demo.
RESIDUAL = 0.5
_DIRECTIONS = 64
# Of a vector that is longer than there are clips. With 64 or 128 of Inception's 1,024 channels as many clips
# of a withheld style are found as with all.
_REDUCED = 128
_LEAST_SHARE = 1e-6
# Of vectors of unit length.
FARTHEST = 2.0
# Of 1, 3, 5 and 10 the one that finds most clips of a withheld style of the demo.
_NEIGHBORS = 3
# No measure counts more than this, in standard deviations.
_MOST_SPREADS = 10.0
# In which measures of movement vary most. With 20 or 60 nearly as many clips of a withheld style are found.
_MOVEMENTS = 40
_LEAST_SPREAD = 1e-6
_TENSORS = ("center", "basis", "variance", "means", "principal")


@dataclass(frozen=True)
class Detector:
    """Distances from the classes of training clips.

    Attributes:
        center: mean of the features, [channels].
        basis: directions in which the classes vary, [channels, directions].
        variance: inside the classes along them, [directions].
        ridge: added to the variance in every direction.
        means: of the classes that have clips, centered, whitened and of unit length, [classes, channels].
        principal: the directions in which clips vary most, [channels, fewer directions].
        weight: of the length of what is left outside of them.
    """

    center: Tensor
    basis: Tensor
    variance: Tensor
    ridge: float
    means: Tensor
    principal: Tensor
    weight: float

    def distance(self, features: Tensor) -> Tensor:
        """Compute the distances of features [N, channels] from the nearest class: [N], from 0."""
        return 1 - self.cosine(features) + self.weight * self.residual(features)

    def cosine(self, features: Tensor) -> Tensor:
        """Compute the largest cosine of features [N, channels] with the mean of a class: [N]."""
        return (self.white(features) @ self.means.T).amax(1)

    def residual(self, features: Tensor) -> Tensor:
        """Compute the length of features [N, channels] outside the principal directions: [N]."""
        centered = features.double() - self.center
        left: Tensor = (centered - centered @ self.principal @ self.principal.T).norm(dim=1)
        return left

    def white(self, features: Tensor) -> Tensor:
        """Center features [N, channels], whiten them and give them unit length."""
        centered = features.double() - self.center
        return normalize(_whitened(centered, self.basis, self.variance, self.ridge), dim=1)

    @property
    def state(self) -> dict[str, Any]:
        """All of it, for a file."""
        tensors = {key: getattr(self, key).float() for key in _TENSORS}
        return {**tensors, "ridge": self.ridge, "weight": self.weight}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> Detector:
        """Rebuild what `state` gave."""
        tensors = {key: state[key].double() for key in _TENSORS}
        return cls(**tensors, ridge=float(state["ridge"]), weight=float(state["weight"]))


@dataclass(frozen=True)
class ReducedDetector:
    """Distances in the few directions in which long vectors of training clips vary most.

    Attributes:
        center: mean of the vectors, [width].
        directions: of length 1, [directions, width].
        detector: in these directions.
    """

    center: Tensor
    directions: Tensor
    detector: Detector

    def distance(self, features: Tensor) -> Tensor:
        """Compute the distances of vectors [N, width] from the nearest class: [N], from 0."""
        return self.detector.distance((features - self.center) @ self.directions.T)

    @property
    def state(self) -> dict[str, Any]:
        """All of it, for a file."""
        return {"center": self.center, "directions": self.directions, "detector": self.detector.state}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> ReducedDetector:
        """Rebuild what `state` gave."""
        return cls(state["center"], state["directions"], Detector.of_state(state["detector"]))


@dataclass(frozen=True)
class NeighborDetector:
    """Distances from the training clips themselves: of vectors of unit length to the third-nearest.

    As Sun et al. (ICML 2022) do with the features of a network. It is for vectors of few, telling measures,
    as those of a movement: most of a network's 1,024 channels say nothing, and neighbors are near by chance.

    Attributes:
        center: mean of each measure, [measures].
        scale: standard deviation of each inside the classes, [measures].
        middle: mean of the scaled training clips, [measures].
        directions: in which these vary most, of length 1, [measures, directions].
        known: the training clips along them, of unit length, [clips, directions].
    """

    center: Tensor
    scale: Tensor
    middle: Tensor
    directions: Tensor
    known: Tensor

    def distance(self, vectors: Tensor) -> Tensor:
        """Compute the distances of vectors [N, measures] from their neighbors: [N], from 0 to `FARTHEST`.

        NaN, for a clip that has no vector, is `FARTHEST`.
        """
        count = min(_NEIGHBORS, len(self.known))
        nothing = vectors.isnan().any(1)
        unit = self._unit(vectors.nan_to_num())
        nearest: Tensor = torch.cdist(unit, self.known).topk(count, largest=False).values
        return nearest[:, -1].masked_fill(nothing, FARTHEST)

    def _unit(self, vectors: Tensor) -> Tensor:
        return normalize((_scaled(vectors, self.center, self.scale) - self.middle) @ self.directions, dim=1)

    @property
    def state(self) -> dict[str, Any]:
        """All of it, for a file."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> NeighborDetector:
        """Rebuild what `state` gave."""
        return cls(**{field.name: state[field.name] for field in fields(cls)})


AnyDetector = Detector | ReducedDetector | NeighborDetector


def detector_of_state(state: Mapping[str, Any]) -> AnyDetector:
    """Rebuild any detector of its `state`."""
    if "known" in state:
        return NeighborDetector.of_state(state)
    return (ReducedDetector if "directions" in state else Detector).of_state(state)


def fit_neighbors(vectors: Tensor, labels: Tensor) -> NeighborDetector:
    """Fit a detector to training clips by vectors of few measures.

    Args:
        vectors: [clips, measures], at least one that is not NaN.
        labels: [clips].
    """
    there = ~vectors.isnan().any(1)
    x, labels = vectors[there].double(), labels[there]
    _, inside = _by_class(x, labels)
    spread = inside.square().mean(0).sqrt()
    # A measure in which no clips differ tells nothing.
    scale = spread.where(spread > _LEAST_SPREAD, torch.inf)
    scaled = _scaled(x, x.mean(0), scale)
    middle = scaled.mean(0)
    basis, variance = _directions(scaled - middle)
    directions = basis[:, variance.topk(min(_MOVEMENTS, basis.shape[1])).indices]
    found = NeighborDetector(x.mean(0), scale, middle, directions, x)
    return replace(found, known=found._unit(x))


def _scaled(vectors: Tensor, center: Tensor, scale: Tensor) -> Tensor:
    """Count measures in standard deviations from the center."""
    return ((vectors.double() - center) / scale).clamp(-_MOST_SPREADS, _MOST_SPREADS)


def fit_reduced_detector(vectors: Tensor, labels: Tensor) -> ReducedDetector:
    """Fit a detector to training clips whose vectors are far longer than there are clips.

    Args:
        vectors: [clips, width], more than one clip.
        labels: [clips].
    """
    center = vectors.mean(0)
    centered = vectors - center
    # The directions are found by the products of the clips: a covariance of this width fits in no memory.
    variance, shares = torch.linalg.eigh((centered @ centered.T).double())
    # Clips that are alike leave directions of rounding errors.
    count = int((variance > _LEAST_SHARE * variance[-1]).sum().clamp(1, _REDUCED))
    directions = normalize(shares[:, -count:].T.to(vectors.dtype) @ centered, dim=1)
    return ReducedDetector(center, directions, fit_detector(centered @ directions.T, labels))


def fit_detector(features: Tensor, labels: Tensor, residual: float = RESIDUAL) -> Detector:
    """Fit a detector to training clips.

    Args:
        features: [clips, channels], more than one clip.
        labels: [clips].
        residual: what the second distance counts, in cosines: of training clips its mean is so many times the
            mean cosine.
    """
    x = features.double()
    center = x.mean(0)
    x = x - center
    means, inside = _by_class(x, labels)
    basis, variance = _directions(inside)
    # Clips that are all alike vary in no direction.
    ridge = max(float(variance.sum()) / len(x), 1e-12)
    unit = normalize(_whitened(means, basis, variance, ridge), dim=1)
    every, of_all = _directions(x)
    count = min(_DIRECTIONS, len(x) // 2, x.shape[1] // 2)
    principal = every[:, of_all.topk(count).indices]
    found = Detector(center, basis, variance, ridge, unit, principal, 0.0)
    # Clips that are all alike leave nothing.
    left = max(float(found.residual(features).mean()), 1e-12)
    return replace(found, weight=residual * float(found.cosine(features).mean()) / left)


def _by_class(x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Give the mean of each class that has rows, and what of each row is beside that of its class."""
    known = torch.tensor(sorted(set(labels.tolist())))
    means = torch.stack([x[labels == label].mean(0) for label in known])
    return means, x - means[torch.searchsorted(known, labels)]


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
