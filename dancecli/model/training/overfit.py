"""Sanity check before training starts: overfit one batch, with a model that is thrown away after.

Labels that do not match the clips, a head of another size, weights that no gradient reaches: all of
that shows within seconds, on a few clips. The time of the steps tells how long the run will take.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from dancecli.core.errors import ModelError
from dancecli.core.text import pluralize

_STEPS = 10
# A loss that has halved has shown enough, and so has one that falls at all after this time.
_ENOUGH = 0.5
_PATIENCE_S = 20.0
# Rates for Adam; the second for a network that the first is too much for.
_RATES = (1e-3, 1e-4)


@dataclass(frozen=True)
class OverfitCheck:
    """How a batch was overfitted.

    Attributes:
        clips: in the batch.
        steps: that were taken.
        loss_before, loss_after: on the batch.
        step_s: seconds per step, without the first one.
        evaluate_s: seconds of a forward pass in evaluation.
    """

    clips: int
    steps: int
    loss_before: float
    loss_after: float
    step_s: float
    evaluate_s: float


@contextmanager
def preserve_rng_state() -> Iterator[None]:
    """Restore all random states afterwards."""
    plain, numbers = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(plain)
            np.random.set_state(numbers)


def overfit_one_batch(
    model: Any, batch: dict[str, Any], num_classes: int, freeze: Callable[[], None] = lambda: None
) -> OverfitCheck:
    """Overfit one batch, and check that the model gives one score per class.

    Args:
        model: as a run begins; not usable afterwards.
        batch: as a data loader collates it, training views.
        num_classes: of the split.
        freeze: puts the frozen layers into evaluation mode.

    Raises:
        ModelError: the loss does not fall or is not finite, or the head has other classes.
    """
    samples = batch["data_samples"]
    tries: list[OverfitCheck] = []
    model.train()
    freeze()
    trained = [p for p in model.parameters() if p.requires_grad]
    start = [p.detach().clone() for p in trained]
    for rate in _RATES:
        with torch.no_grad():
            for parameter, value in zip(trained, start, strict=True):
                parameter.copy_(value)
        losses, times = _overfit(model, batch, trained, rate)
        if not all(np.isfinite(losses[:1])):
            names = ", ".join(Path(sample.filename).stem for sample in samples)
            raise ModelError(
                f"the loss is {losses[0]} before the first step; clips: {names}",
                "check these clips and the weights; --no-preflight trains anyway",
            )
        done = OverfitCheck(
            len(samples), len(losses) - 1, losses[0], losses[-1], statistics.median(times[1:] or times), 0.0
        )
        tries.append(done)
        if done.loss_after < done.loss_before:
            return _checked_head(model, batch, num_classes, done)
    worst = tries[0]
    raise ModelError(
        f"the loss on one batch of {pluralize(worst.clips, 'clip')} did not fall in {worst.steps} steps "
        f"({worst.loss_before:.3f} to {worst.loss_after:.3f})",
        "the weights, frozen stages or labels do not fit this model; --no-preflight trains anyway",
    )


def _overfit(
    model: Any, batch: dict[str, Any], trained: Sequence[nn.Parameter], rate: float
) -> tuple[list[float], list[float]]:
    """Give the loss before and after each step, and the steps' seconds."""
    optimizer = torch.optim.Adam(trained, lr=rate)
    losses: list[float] = []
    times: list[float] = []
    began = time.monotonic()
    while True:
        at = time.monotonic()
        # The same random state in every step, so that only the weights change the loss.
        torch.manual_seed(0)
        data = model.data_preprocessor(batch, training=True)
        loss, _ = model.parse_losses(model(**data, mode="loss"))
        losses.append(float(loss))
        fell = losses[-1] < losses[0]
        enough = losses[-1] <= _ENOUGH * losses[0] or (fell and at - began > _PATIENCE_S)
        # At least two steps: the first one is slower than the rest.
        if not np.isfinite(losses[-1]) or len(losses) > _STEPS or (enough and len(losses) > 2):
            return losses, times
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        times.append(time.monotonic() - at)


def _checked_head(model: Any, batch: dict[str, Any], num_classes: int, done: OverfitCheck) -> OverfitCheck:
    model.eval()
    began = time.monotonic()
    with torch.inference_mode():
        found = model.test_step(batch)
    evaluate_s = time.monotonic() - began
    width = found[0].pred_score.numel()
    if width != num_classes:
        raise ModelError(
            f"the model's head has {width} classes, the split has {num_classes}",
            "its config sets the number of classes outside of cls_head.num_classes",
        )
    return OverfitCheck(**{**done.__dict__, "evaluate_s": evaluate_s})
