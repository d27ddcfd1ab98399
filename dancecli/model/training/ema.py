"""EMA weights: an exponential moving average of the trained weights, which is evaluated and saved."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dancecli.model.networks.mmaction import HOOKS, Hook
from dancecli.model.training.distributed import unwrapped


@HOOKS.register_module(force=True)
class WeightAverageHook(Hook):  # type: ignore[misc]
    """Average the weights over the updates; validate, test and save the average.

    After update t the average moves by `1 - d` of its way to the weights, where `d` is the smaller
    of `decay` and `(1 + t) / (10 + t)`: a short run's average is not that of its beginning.
    Frozen parts do not change and are left out; batch norm's statistics are averaged too.

    Args:
        decay: from 0 up to but without 1; of 0.99, weights of 100 updates ago count 0.37.
    """

    # After what freezes, before what writes checkpoints.
    priority = "BELOW_NORMAL"

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.average: dict[str, Tensor] = {}

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:  # noqa: ARG002
        """Begin with the weights as they are, unless a checkpoint gave an average.

        Not earlier: some backbones freeze their stages only when they are put in training.
        """
        if not self.average:
            self.average = {
                key: value.clone() for key, value in _averaged_part(unwrapped(runner.model)).items()
            }

    @torch.no_grad()
    def after_train_iter(
        self,
        runner: Any,
        batch_idx: int,  # noqa: ARG002
        data_batch: Any = None,  # noqa: ARG002
        outputs: Any = None,  # noqa: ARG002
    ) -> None:
        """Follow, if this step has updated the weights."""
        if not runner.optim_wrapper.should_update():
            return
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for key, value in _averaged_part(unwrapped(runner.model)).items():
            self.average[key].lerp_(value, 1 - decay)

    @torch.no_grad()
    def swap(self, model: Any) -> None:
        """Put the average into the model, and the model's own weights into its place."""
        state = model.state_dict()
        for key, average in self.average.items():
            own = state[key].clone()
            state[key].copy_(average)
            average.copy_(own)

    def before_val_epoch(self, runner: Any) -> None:
        """Evaluate the average."""
        self.swap(unwrapped(runner.model))

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Train on with the weights."""
        self.swap(unwrapped(runner.model))

    def before_test_epoch(self, runner: Any) -> None:
        """Evaluate the average."""
        self.swap(unwrapped(runner.model))

    def after_test_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:  # noqa: ARG002
        """Give the weights back."""
        self.swap(unwrapped(runner.model))

    def before_save_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        """Save the average as the weights, and what is needed to train on beside it."""
        state = checkpoint["state_dict"]
        weights = {key: state[key] for key in self.average}
        checkpoint["weight_average"] = {"updates": self.updates, "weights": weights}
        checkpoint["state_dict"] = {**state, **self.average}

    def after_load_checkpoint(self, runner: Any, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        """Take both apart again, if this checkpoint is one of a run that goes on."""
        if found := checkpoint.pop("weight_average", None):
            self.updates = int(found["updates"])
            self.average = {key: checkpoint["state_dict"][key] for key in found["weights"]}
            checkpoint["state_dict"] = {**checkpoint["state_dict"], **found["weights"]}


def trained_state(model: Any) -> dict[str, Any]:
    """Take the part of a state dict that training can change: no module whose parameters are all frozen."""
    frozen = set()
    for name, module in model.named_modules():
        parameters = list(module.parameters(recurse=False))
        if parameters and not any(p.requires_grad for p in parameters):
            frozen.add(name)
    return {key: value for key, value in model.state_dict().items() if key.rpartition(".")[0] not in frozen}


def _averaged_part(model: Any) -> dict[str, Tensor]:
    # A batch counter has no average.
    return {key: value for key, value in trained_state(model).items() if value.is_floating_point()}
