"""Batched linear probes: many heads trained together on the same features.

A probe is dropout and a linear layer over the features of a frozen backbone. Probes that differ in
learning rate, dropout, optimizer and the like see the same clips in the same order, so shared work
is done once:

- A batch is gathered once, and stays in the processor's cache for all probes.
- The random numbers of dropout are drawn once per step. torch keeps a feature where a uniform
  number is below 1 - p, and draws the same numbers for the same seed whatever p is. So one draw,
  compared with each probe's own rate, gives the mask that it would have had on its own
  (common random numbers: P. Glasserman, D. Yao, Management Science 38, 1992).
- Losses and gradients are computed in closed form in one pass over the masked features; the
  optimizer states are batched too.

The formulas are those of `torch.nn` and `torch.optim`; only the order of float32 sums differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

# Rows of a batch and numbers of masked features at a time: sized for the second-level cache.
_ROWS = 128
_NUMBERS = 1 << 20
_BETA1, _BETA2, _EPS = 0.9, 0.999, 1e-8
_ADAMS = ("adam", "adamw")
_T = TypeVar("_T")


@dataclass(frozen=True)
class ProbeSettings:
    """Training settings of one probe.

    Attributes:
        lr: base learning rate.
        optimizer: `sgd`, `adam` or `adamw`, as in `torch.optim` with its other defaults.
        momentum: momentum of `sgd`.
        clip_grad: max norm of a step's gradient; 0 disables clipping.
        factors: learning-rate factors, one per step.
    """

    lr: float
    dropout: float
    optimizer: str
    factors: Sequence[float]
    momentum: float = 0.0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    clip_grad: float = 0.0


@dataclass(frozen=True)
class _Group:
    """Neighboring probes with the same dropout, which share one mask."""

    first: int
    size: int
    dropout: float


class LinearProbes:
    """Linear probes with the same initial weights.

    Args:
        weight: initial weights [classes, features], on the device of the features.
        bias: initial bias [classes].
        probes: settings of each probe; results are in this order.
    """

    def __init__(self, weight: Tensor, bias: Tensor, probes: Sequence[ProbeSettings]) -> None:
        # One slice per optimizer, and within it one per dropout rate.
        self._order = sorted(range(len(probes)), key=lambda i: (probes[i].optimizer, probes[i].dropout))
        self._ids = list(range(len(probes)))
        self._probes = list(probes)
        self._steps = 0
        n = len(probes)
        self._weight = weight.detach().repeat(n, 1, 1)
        self._bias = bias.detach().repeat(n, 1)
        self._state = [torch.zeros_like(t) for t in (self._weight, self._bias) for _ in range(2)]
        self._same_draws = _draws_can_be_shared(weight.device)
        self._buffer = torch.empty(0, device=weight.device)
        self._arrange()

    def __len__(self) -> int:
        return len(self._order)

    def step(self, x: Tensor, y: Tensor, seed: int) -> Tensor:
        """Take one step of every probe.

        Args:
            x: features of the batch [batch, features].
            y: classes of the batch [batch].
            seed: torch's random seed at this step of a single run.

        Returns:
            Each probe's loss before the step [probes].
        """
        losses, weight_grad, bias_grad = self._gradients(x, y, seed)
        self._clip(weight_grad, bias_grad)
        rate = self._lr * self._factors[:, self._steps]
        self._steps += 1
        for part, adam, decoupled in self._slices:
            update = self._adam if adam else self._sgd
            for value, grad, state in (
                (self._weight, weight_grad, self._state[:2]),
                (self._bias, bias_grad, self._state[2:]),
            ):
                shape = (-1, *[1] * (value.dim() - 1))
                decay = self._decay[part].view(shape)
                lr = rate[part].view(shape)
                if decoupled:
                    value[part].mul_(1 - lr * decay)
                elif self._decays:
                    grad[part].add_(decay * value[part])
                update(value[part], grad[part], [s[part] for s in state], lr, part)
        return losses[self._places]

    def scores(self, x: Tensor) -> Tensor:
        """Return the probabilities [probes, views, classes] of features [views, features]."""
        n, classes, features = self._weight.shape
        logits = (x @ self._weight.view(n * classes, features).T).view(len(x), n, classes) + self._bias
        return logits.softmax(-1).transpose(0, 1)[self._places]

    def keep(self, places: Sequence[int]) -> None:
        """Keep some of the probes only, by their positions in the present order of results."""
        kept = [self._ids[place] for place in places]
        stay = [i for i, name in enumerate(self._order) if name in set(kept)]
        index = torch.tensor(stay, dtype=torch.long, device=self._weight.device)
        self._order = [self._order[i] for i in stay]
        self._ids = [name for name in self._ids if name in set(kept)]
        self._weight, self._bias = self._weight[index], self._bias[index]
        self._state = [state[index] for state in self._state]
        self._arrange()

    def _arrange(self) -> None:
        """Lay out the tensors that depend on the set of probes."""
        probes = [self._probes[name] for name in self._order]
        device = self._weight.device

        def column(name: str) -> Tensor:
            return torch.tensor([getattr(probe, name) for probe in probes], device=device)

        self._lr, self._decay, self._momentum = column("lr"), column("weight_decay"), column("momentum")
        self._smoothing, self._limit = column("label_smoothing"), column("clip_grad")
        self._scale = 1 / (1 - column("dropout"))
        # From float64 lists: the factors are the schedule's, rounded once.
        self._factors = torch.tensor([list(probe.factors) for probe in probes], device=device)
        self._decays = bool(self._decay.any())
        self._smooths = bool(self._smoothing.any())
        place = {name: i for i, name in enumerate(self._order)}
        self._places = torch.tensor([place[name] for name in self._ids], dtype=torch.long, device=device)
        # An update reads and writes its numbers many times: few probes at once stay in the cache.
        few = max(1, _NUMBERS // 4 // self._weight[0].numel())
        self._slices = [
            (slice(start, min(start + few, first + count)), kind in _ADAMS, kind == "adamw")
            for kind, first, count in _stretches([probe.optimizer for probe in probes])
            for start in range(first, first + count, few)
        ]
        marks = [(probe.optimizer, probe.dropout) for probe in probes]
        self._groups = [_Group(first, count, mark[1]) for mark, first, count in _stretches(marks)]

    def _gradients(self, x: Tensor, y: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        n, classes, features = self._weight.shape
        losses = x.new_zeros(n)
        weight_grad, bias_grad = torch.zeros_like(self._weight), torch.zeros_like(self._bias)
        drawn = self._draw(x, seed)
        hot = torch.nn.functional.one_hot(y, classes).to(x.dtype)
        # If each rate draws its own mask, it does so once per step.
        rows = min(_ROWS, len(x)) if self._same_draws else len(x)
        most = max(1, _NUMBERS // (rows * features))
        for start in range(0, len(x), rows):
            block = slice(start, min(len(x), start + rows))
            for groups in _alike(self._groups, most):
                first, size = groups[0].first, groups[0].size
                mine = slice(first, first + size * len(groups))
                masked = self._masked(x, drawn, block, groups, seed)
                shape = (len(groups), masked.shape[1], size, classes)
                weight = self._weight[mine].view(len(groups), size * classes, features)
                scale = self._scale[mine].view(len(groups), 1, size, 1)
                logits = torch.bmm(masked, weight.mT).view(shape).mul_(scale)
                logits += self._bias[mine].view(len(groups), 1, size, classes)
                log_p = logits.log_softmax(-1)
                target = hot[block].view(1, -1, 1, classes)
                if self._smooths:
                    share = self._smoothing[mine].view(len(groups), 1, size, 1)
                    target = target * (1 - share) + share / classes
                losses[mine] -= (target * log_p).sum((1, 3)).flatten() / len(x)
                slope = log_p.exp_().sub_(target).div_(len(x))
                bias_grad[mine] += slope.sum(1).view(-1, classes)
                slope = slope.mul_(scale).view(len(groups), -1, size * classes)
                into = weight_grad[mine].view(len(groups), size * classes, features)
                into.baddbmm_(slope.mT, masked)
        return losses, weight_grad, bias_grad

    def _draw(self, x: Tensor, seed: int) -> Tensor | None:
        """Draw the numbers of `torch.nn.Dropout`, negated: a feature is kept above -(1 - p)."""
        if not self._same_draws or not any(group.dropout for group in self._groups):
            return None
        generator = torch.Generator().manual_seed(seed)
        return torch.rand(x.shape, dtype=torch.float64, generator=generator).neg_().float()

    def _masked(
        self, x: Tensor, drawn: Tensor | None, block: slice, groups: Sequence[_Group], seed: int
    ) -> Tensor:
        """Apply dropout without scaling to some rows: [groups, rows, features]."""
        part = x[block]
        if len(groups) == 1 and not groups[0].dropout:
            return part.unsqueeze(0)
        size = len(groups) * part.numel()
        if self._buffer.numel() < size:
            self._buffer = torch.empty(size, device=x.device)
        into = self._buffer[:size].view(len(groups), *part.shape)
        for i, group in enumerate(groups):
            if not group.dropout:
                into[i].copy_(part)
                continue
            noise, floor = (drawn, group.dropout - 1) if drawn is not None else (_noise(x, group, seed), 0.0)
            # One pass: the features where the noise is above the threshold, else 0.
            torch.ops.aten.threshold_backward.grad_input(part, noise[block], floor, grad_input=into[i])
        return into

    def _clip(self, weight_grad: Tensor, bias_grad: Tensor) -> None:
        """Clip gradients like `torch.nn.utils.clip_grad_norm_`."""
        if not self._limit.any():
            return
        norm = torch.hypot(weight_grad.flatten(1).norm(dim=1), bias_grad.norm(dim=1))
        factor = (self._limit / (norm + 1e-6)).clamp(max=1)
        factor = torch.where(self._limit > 0, factor, 1)
        if not (factor == 1).all():
            weight_grad *= factor[:, None, None]
            bias_grad *= factor[:, None]

    def _sgd(self, value: Tensor, grad: Tensor, state: list[Tensor], lr: Tensor, part: slice) -> None:
        moved = state[0].mul_(self._momentum[part].view(lr.shape)).add_(grad)
        value.sub_(moved * lr)

    def _adam(self, value: Tensor, grad: Tensor, state: list[Tensor], lr: Tensor, _: slice) -> None:
        mean, square = state
        mean.lerp_(grad, 1 - _BETA1)
        square.mul_(_BETA2).addcmul_(grad, grad, value=1 - _BETA2)
        size = square.sqrt().div_((1 - _BETA2**self._steps) ** 0.5).add_(_EPS)
        value.sub_(torch.div(mean, size, out=size).mul_(lr / (1 - _BETA1**self._steps)))


def _stretches(values: Sequence[_T]) -> Iterator[tuple[_T, int, int]]:
    """Yield runs of equal values: value, first position and length."""
    first = 0
    for i in range(1, len(values) + 1):
        if i == len(values) or values[i] != values[first]:
            yield values[first], first, i - first
            first = i


def _alike(groups: Sequence[_Group], most: int) -> Iterator[Sequence[_Group]]:
    """Cut neighbors of equal size into portions that fit the cache."""
    for _, first, count in _stretches([group.size for group in groups]):
        for start in range(first, first + count, most):
            yield groups[start : min(first + count, start + most)]


def _noise(x: Tensor, group: _Group, seed: int) -> Tensor:
    """Draw torch's own mask for one rate: 0 where a feature is dropped."""
    with torch.random.fork_rng([x.device] if x.is_cuda else []):
        torch.manual_seed(seed)
        return torch.dropout(torch.ones_like(x), group.dropout, train=True)


def _draws_can_be_shared(device: torch.device) -> bool:
    """Whether this build of torch draws its masks like `_draw`; if not, each rate draws its own."""
    if device.type != "cpu":
        return False
    generator = torch.Generator().manual_seed(1)
    drawn = torch.rand(4096, dtype=torch.float64, generator=generator)
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        kept = torch.dropout(torch.ones(4096), 0.3, train=True) > 0
    return bool((kept == (drawn < 0.7)).all())
