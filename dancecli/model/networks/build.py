"""Building networks from their configs, ours among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

import dancecli.model.networks.heads.attentive
import dancecli.model.networks.heads.pooled
import dancecli.model.networks.hub.backbone
import dancecli.model.networks.inception  # noqa: F401 - these register themselves
from dancecli.model.networks.mmaction import (
    MODELS,
    PARAM_SCHEDULERS,
    MMLogger,
    init_default_scope,
    load_checkpoint_to_model,
    set_random_seed,
    silence,
)
from dancecli.model.networks.weights import read_whole

__all__ = ["MODELS", "build_model", "load_into", "lr_factors", "shapes_of"]


_FILLING = frozenset({torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.erfinv_})


def build_model(model: dict[str, Any], seed: int, load_from: str | None = None) -> Any:
    """Build a recognizer with the weights with which a run of this seed begins.

    Seeds first, then builds, initializes and loads: the order in which mmengine's Runner does it.
    """
    init_default_scope("mmaction")
    silence(MMLogger.get_current_instance())
    set_random_seed(seed)
    built = MODELS.build(model)
    built.init_weights()
    if load_from is not None:
        load_into(built, read_whole(load_from))
    return built


def load_into(model: Any, checkpoint: dict[str, Any]) -> None:
    """Load what fits of a checkpoint, as mmengine's Runner does; misfits are for the caller to count."""
    load_checkpoint_to_model(
        model, checkpoint, strict=False, logger="silent", revise_keys=[(r"^module\.", "")]
    )


def lr_factors(schedulers: Sequence[dict[str, Any]], epochs: int, steps: int) -> list[float]:
    """Give the factor of the learning rate at every step of a run, as mmengine's schedulers set it.

    Args:
        schedulers: their configs.
        epochs: of the run.
        steps: of an epoch.
    """
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    known = {"optimizer": optimizer, "epoch_length": steps}
    built = [PARAM_SCHEDULERS.build({**config}, default_args=known) for config in schedulers]
    factors = []
    for step in range(1, epochs * steps + 1):
        factors.append(float(optimizer.param_groups[0]["lr"]))
        # No gradient is ever applied here; without a step mmengine warns of the wrong order.
        optimizer.step()
        for scheduler in built:
            if not scheduler.by_epoch or step % steps == 0:
                scheduler.step()
    return factors


class _NoValues(TorchFunctionMode):
    """Fill no tensors: those without memory need no values, and torch takes seconds to see that."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch, unless it draws values."""
        if func in _FILLING and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))


def shapes_of(model: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Give the state dict of a recognizer for its names and shapes, in most cases without memory."""
    init_default_scope("mmaction")
    try:
        with torch.device("meta"), _NoValues():
            shapes: dict[str, torch.Tensor] = MODELS.build(model).state_dict()
    except RuntimeError:
        # Some transformers compute with their settings in tensors, which must then have values.
        shapes = MODELS.build(model).state_dict()
    return shapes
