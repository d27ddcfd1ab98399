"""Attentive probes: a grid of them trained side by side on stored tokens, one pass for all.

The settings are those that facebookresearch/vjepa2 publishes for its frozen evaluation
(`configs/eval/vitl/{k400,ssv2}.yaml`, `evals/video_classification_frozen/eval.py`): AdamW, five
learning rates by four weight decays, a cosine to zero without warm-up, 20 epochs, 16 attention heads.

What differs, and why: the best of the 20 is chosen by a grouped fifth of the training clips (there, by
the accuracy on the evaluation set, which flatters it) and trained again on all of them; batches are of
the recipe's size (there, of 256 clips, more than a small dataset has); a clip is seen as in
evaluation (there, with random crops and augmentation, which stored tokens cannot have).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from dancecli.core.progress import Reporter
from dancecli.core.recipe import ATTENTIVE
from dancecli.model.training.probes.choice import Choice, choose, folds_of

if TYPE_CHECKING:
    from dancecli.model.training.features.frozen import FeatureDataset

RATES = (0.005, 0.003, 0.001, 0.0003, 0.0001)
DECAYS = (0.01, 0.1, 0.4, 0.8)
EPOCHS = 20
# Blocks of the probe: of V-JEPA (one that pools), and of the published protocol of V-JEPA 2.
BLOCKS, VJEPA2_BLOCKS = 1, 4
# Where there are too few groups to choose: the middle rate, and the weakest decay.
_DEFAULT = (0.001, 0.01)


@dataclass(frozen=True)
class Tokens:
    """The stored tokens of training clips.

    Attributes:
        dataset: that holds them.
        rows: entries of its array, one per clip and view.
        labels: of the rows.
        groups: of the rows.
    """

    dataset: FeatureDataset
    rows: Sequence[int]
    labels: Tensor
    groups: Sequence[str]

    def batch(self, indices: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
        """Read rows: [N, views or frames, tokens, channels], and their labels."""
        found = self.dataset.array[[self.rows[i] for i in indices]]
        return torch.from_numpy(found).to(device).float(), self.labels[list(indices)].to(device)


@dataclass(frozen=True)
class Attentive:
    """A fitted attentive probe.

    Attributes:
        state: weights of its head.
        lr, weight_decay: with which it was trained.
        blocks: attention blocks.
        batch: clips per step.
    """

    state: dict[str, Tensor]
    lr: float
    weight_decay: float
    blocks: int
    batch: int
    choice: Choice

    def place(self, head: Any) -> None:
        """Put it into an `AttentiveHead`, with its temperature in the last layer."""
        head.load_state_dict(self.state)
        with torch.no_grad():
            head.fc_cls.weight.div_(self.choice.temperature)
            head.fc_cls.bias.div_(self.choice.temperature)

    @property
    def record(self) -> dict[str, Any]:
        """What `run.json` says of it."""
        return {
            "init": "fitted",
            "probe": ATTENTIVE,
            "blocks": self.blocks,
            "optimizer": "adamw",
            "epochs": EPOCHS,
            "batch": self.batch,
            "grid": len(RATES) * len(DECAYS) if self.choice.folds else 1,
            "lr": self.lr,
            "weight_decay": self.weight_decay,
            **self.choice.record,
        }


def fit_attentive(
    tokens: Tokens, head: Any, blocks: int, *, batch: int, seed: int, reporter: Reporter
) -> Attentive:
    """Train the grid side by side, choose by a grouped fifth, and train the chosen one on all clips.

    Args:
        tokens: of the training clips.
        head: an `AttentiveHead`, which is left with other weights.
        blocks: its attention blocks.
        batch: rows per step.
        seed: of the initial weights, and of the order.
        reporter: of progress in steps.
    """
    fold_of, choice, best = folds_of(tokens.labels, tokens.groups), Choice(), _DEFAULT
    everything = list(range(len(tokens.rows)))
    if fold_of is not None:
        inside = [i for i in everything if fold_of[i] == 0]
        outside = [i for i in everything if fold_of[i] != 0]
        grid = list(itertools.product(RATES, DECAYS))
        heads = _train(tokens, outside, head, grid, batch, seed, reporter)
        truth = tokens.labels[inside]
        found = [
            choose(scores, truth, int(fold_of.max()) + 1) for scores in _scores(tokens, inside, heads, batch)
        ]
        # The first of equals: the largest rate, with the weakest decay.
        number = max(range(len(grid)), key=lambda i: (found[i].correct, -i))
        choice, best = found[number], grid[number]
    (trained,) = _train(tokens, everything, head, [best], batch, seed, reporter)
    return Attentive(trained.state_dict(), *best, blocks, batch, choice)


def _train(
    tokens: Tokens,
    rows: Sequence[int],
    head: Any,
    grid: Sequence[tuple[float, float]],
    batch: int,
    seed: int,
    reporter: Reporter,
) -> list[Any]:
    """Train one probe per setting on the same batches, from the same weights."""
    device = next(head.parameters()).device
    heads = [_fresh(head, seed).train() for _ in grid]
    steps = EPOCHS * math.ceil(len(rows) / batch)
    optimizers = [
        torch.optim.AdamW(one.parameters(), lr=rate, weight_decay=decay)
        for one, (rate, decay) in zip(heads, grid, strict=True)
    ]
    order, step = torch.Generator().manual_seed(seed), 0
    for epoch in range(EPOCHS):
        shuffled = torch.randperm(len(rows), generator=order).tolist()
        for first in range(0, len(rows), batch):
            x, labels = tokens.batch([rows[i] for i in shuffled[first : first + batch]], device)
            step += 1
            factor = 0.5 * (1 + math.cos(math.pi * step / steps))
            for one, optimizer, (rate, _) in zip(heads, optimizers, grid, strict=True):
                optimizer.param_groups[0]["lr"] = rate * factor
                loss = cross_entropy(*_logits(one, x, labels))
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            words = f"{len(heads)} attentive probes" if len(heads) > 1 else "the chosen attentive probe"
            reporter.progress(step, steps, f"training · {words} · epoch {epoch + 1} of {EPOCHS}")
    return [one.eval() for one in heads]


def _fresh(head: Any, seed: int) -> Any:
    """Copy a head with initial weights that the seed gives."""
    import copy

    one = copy.deepcopy(head)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        one.pooler.reset()
        # As published: the layer after the pooler has torch's own initial weights.
        one.fc_cls.reset_parameters()
    return one


def _logits(head: Any, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Score rows [N, views or frames, tokens, channels]; each view of a clip is scored by itself."""
    logits = head(x.flatten(0, 1), num_segs=x.shape[1])
    return logits, labels.repeat_interleave(len(logits) // len(labels))


def _scores(tokens: Tokens, rows: Sequence[int], heads: Sequence[Any], batch: int) -> list[Tensor]:
    """Give the log probabilities of rows by each head, [rows, classes]; those of views are averaged."""
    device = next(heads[0].parameters()).device
    found: list[list[Tensor]] = [[] for _ in heads]
    with torch.inference_mode():
        for first in range(0, len(rows), batch):
            x, labels = tokens.batch(rows[first : first + batch], device)
            for one, scores in zip(heads, found, strict=True):
                logits, _ = _logits(one, x, labels)
                scores.append(
                    logits.softmax(1)
                    .view(len(labels), -1, logits.shape[1])
                    .mean(1)
                    .clamp(min=1e-12)
                    .log()
                    .cpu()
                )
    return [torch.cat(scores) for scores in found]
