"""Probes of pooled features without trained layers: nearest neighbors and class means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dancecli.model.networks.mmaction import MODELS, BaseHead
from dancecli.model.networks.stages import HEADS

# Log probability of a class that no training clip has: 0 in single and half precision.
IMPOSSIBLE = -1e4
# As DINO weights its neighbors (Caron et al., ICCV 2021, section 4.1; Wu et al., CVPR 2018).
NEIGHBOR_TEMPERATURE = 0.07
# A class without a neighbor among the nearest is improbable, not impossible.
_FLOOR = 1e-3


def vote(similarity: Tensor, labels: Tensor, classes: int, neighbors: int) -> Tensor:
    """Let the nearest neighbors vote, each with the weight exp(similarity / 0.07).

    Args:
        similarity: cosines [rows, entries].
        labels: class of each entry, [entries].
        classes: number of classes.
        neighbors: how many vote.

    Returns:
        Log probabilities [rows, classes].
    """
    near = similarity.topk(min(neighbors, similarity.shape[1]), dim=1)
    # Less the largest, so that nothing overflows.
    weight = ((near.values - near.values[:, :1]) / NEIGHBOR_TEMPERATURE).exp()
    votes = similarity.new_zeros(len(similarity), classes).scatter_add_(1, labels[near.indices], weight)
    return (votes / votes.sum(1, keepdim=True) + _FLOOR).log()


class PooledProbe(BaseHead):  # type: ignore[misc]
    """A head over what the model's own head pools.

    Args:
        base: config of the model's own head, whose layers are not used.
        frames: the network is 2-D: the features of its frames are averaged.
    """

    def __init__(
        self, num_classes: int, in_channels: int, base: Mapping[str, Any], *, frames: bool, **kwargs: Any
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.base = MODELS.build({**base, "num_classes": num_classes})
        for name, layer in self.base.named_children():
            if isinstance(layer, nn.Linear):
                setattr(self.base, name, nn.Identity())
        self.frames = frames
        self.register_buffer("temperature", torch.ones(()))

    def pooled(self, x: Any, num_segs: int) -> Tensor:
        """Pool the backbone's output: [N, channels], of a 2-D network of N clips."""
        found = HEADS[type(self.base).__name__].pool(self.base, x)
        found = found.reshape(len(found), -1)
        return found.reshape(-1, num_segs, found.shape[1]).mean(1) if self.frames else found

    def forward(self, x: Any, num_segs: int = 1, **_: Any) -> Tensor:
        """Score the backbone's output: logits [N, classes]."""
        logits: Tensor = self.score(self.pooled(x, num_segs)) / self.temperature
        return logits

    def score(self, features: Tensor) -> Tensor:
        """Score features [N, channels]: [N, classes]."""
        raise NotImplementedError


@MODELS.register_module(force=True)
class NeighborHead(PooledProbe):
    """Weighted vote of the nearest training clips by cosine similarity.

    Args:
        entries: number of rows of features that are kept.
    """

    def __init__(self, *args: Any, entries: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer("bank", torch.zeros(entries, self.in_channels))
        self.register_buffer("labels", torch.zeros(entries, dtype=torch.long))
        self.register_buffer("neighbors", torch.ones((), dtype=torch.long))

    def score(self, features: Tensor) -> Tensor:
        """Score features [N, channels] by the vote of their neighbors; see `vote`."""
        similarity = nn.functional.normalize(features.float(), dim=1) @ self.bank.T
        return vote(similarity, self.labels, self.num_classes, int(self.neighbors))


@MODELS.register_module(force=True)
class PrototypeHead(PooledProbe):
    """Nearest mean of a class, of centered features of unit length (Wang et al. 2019, SimpleShot)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer("center", torch.zeros(self.in_channels))
        self.register_buffer("prototypes", torch.zeros(self.num_classes, self.in_channels))
        self.register_buffer("known", torch.ones(self.num_classes, dtype=torch.bool))

    def score(self, features: Tensor) -> Tensor:
        """Score features [N, channels] by the negative squared distance from each mean."""
        unit = nn.functional.normalize(features.float() - self.center, dim=1)
        distance = torch.cdist(unit, self.prototypes).square()
        return (-distance).masked_fill(~self.known, IMPOSSIBLE)
