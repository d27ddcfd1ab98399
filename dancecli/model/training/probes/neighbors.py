"""Probes that train nothing: the vote of nearest neighbors, and the nearest mean of a class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dancecli.core.recipe import KNN, PROTOTYPE
from dancecli.model.networks.heads.pooled import IMPOSSIBLE, vote
from dancecli.model.training.probes.choice import Choice, choose, folds_of

# Numbers of neighbors to choose from; DINO (Caron et al., ICCV 2021) reports 10, 20, 100 and 200.
NEIGHBORS = (1, 3, 5, 10, 20, 50, 100, 200)


@dataclass(frozen=True)
class Neighbors:
    """Fitted nearest neighbors.

    Attributes:
        bank: features of unit length, [rows, channels].
        labels: [rows].
        neighbors: how many vote.
    """

    bank: Tensor
    labels: Tensor
    neighbors: int
    choice: Choice

    def place(self, head: Any) -> None:
        """Put them into a `NeighborHead`."""
        device = head.bank.device
        head.bank, head.labels = self.bank.to(device), self.labels.to(device)
        head.neighbors.fill_(self.neighbors)
        head.temperature.fill_(self.choice.temperature)

    @property
    def record(self) -> dict[str, Any]:
        """What `run.json` says of it."""
        return {"init": "fitted", "probe": KNN, "neighbors": self.neighbors, **self.choice.record}


@dataclass(frozen=True)
class Prototypes:
    """Fitted class means.

    Attributes:
        center: mean of the features, [channels].
        means: of the centered features of unit length, [classes, channels].
        known: whether a class has a clip, [classes].
    """

    center: Tensor
    means: Tensor
    known: Tensor
    choice: Choice

    def place(self, head: Any) -> None:
        """Put them into a `PrototypeHead`."""
        head.center.copy_(self.center)
        head.prototypes.copy_(self.means)
        head.known.copy_(self.known)
        head.temperature.fill_(self.choice.temperature)

    @property
    def record(self) -> dict[str, Any]:
        """What `run.json` says of it."""
        return {"init": "fitted", "probe": PROTOTYPE, **self.choice.record}


def fit_neighbors(features: Tensor, labels: Tensor, groups: Sequence[str], classes: int) -> Neighbors:
    """Choose the number of neighbors by grouped cross-validation, the smallest of equals.

    Args:
        features: [clips, views, channels]; each view is a row of its own.
        labels: [clips].
        groups: group of each clip; clips of a group are never on both sides of a fold.
        classes: number of classes.
    """
    clips, views, _ = features.shape
    bank = normalize(features.float(), dim=2)
    rows, of_rows = bank.flatten(0, 1), labels.repeat_interleave(views)
    fold_of = folds_of(labels, groups)
    best, count = Choice(), NEIGHBORS[0]
    if fold_of is not None:
        folds = int(fold_of.max()) + 1
        for tried in [k for k in NEIGHBORS if k <= clips * views]:
            scores = features.new_empty(clips, classes, dtype=torch.float32)
            for fold in range(folds):
                inside = fold_of == fold
                kept = (~inside).repeat_interleave(views)
                similarity = bank[inside].flatten(0, 1) @ rows[kept].T
                of_views = vote(similarity, of_rows[kept], classes, tried).exp()
                scores[inside] = of_views.view(-1, views, classes).mean(1).log()
            found = choose(scores, labels, folds)
            if not best.folds or found.correct > best.correct:
                best, count = found, tried
    return Neighbors(rows, of_rows, count, best)


def fit_prototypes(features: Tensor, labels: Tensor, groups: Sequence[str], classes: int) -> Prototypes:
    """Compute the means of the classes; cross-validation gives their temperature.

    Args:
        features: [clips, views, channels]; each view is a row of its own.
        labels: [clips].
        groups: group of each clip; clips of a group are never on both sides of a fold.
        classes: number of classes.
    """
    clips, views, _ = features.shape
    x, of_rows = features.float().flatten(0, 1), labels.repeat_interleave(views)
    fold_of, choice = folds_of(labels, groups), Choice()
    if fold_of is not None:
        scores, folds = x.new_empty(clips, classes), int(fold_of.max()) + 1
        for fold in range(folds):
            inside = fold_of == fold
            kept = (~inside).repeat_interleave(views)
            center, means, known = _means(x[kept], of_rows[kept], classes)
            unit = normalize(features[inside].float().flatten(0, 1) - center, dim=1)
            near = (-torch.cdist(unit, means).square()).masked_fill(~known, IMPOSSIBLE)
            scores[inside] = near.view(-1, views, classes).mean(1)
        choice = choose(scores, labels, folds)
    return Prototypes(*_means(x, of_rows, classes), choice)


def _means(x: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    center = x.mean(0)
    unit = normalize(x - center, dim=1)
    counts = torch.bincount(labels, minlength=classes)
    sums = x.new_zeros(classes, x.shape[1]).index_add_(0, labels, unit)
    return center, sums / counts.clamp(min=1)[:, None], counts > 0
