"""Hooks and wrappers that a generated config names beside MMAction2's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from dancecli.core.errors import ModelError
from dancecli.core.topk import true_rank
from dancecli.model.hardware.device import half_precision_pass
from dancecli.model.networks.mmaction import (
    HOOKS,
    LOOPS,
    METRICS,
    OPTIM_WRAPPERS,
    AccMetric,
    CheckpointLoader,
    Hook,
    OptimWrapper,
    ValLoop,
    read_checkpoint,
)
from dancecli.model.networks.weights import read_whole
from dancecli.model.training.distributed import rank_seed, unwrapped
from dancecli.model.training.sync_layers import begin_step


def _load_whole(filename: str, map_location: Any) -> dict[str, Any]:  # noqa: ARG001 - as mmengine calls it
    return read_whole(filename)


# mmengine asks the longest fitting prefix, so this takes the place of its loader for plain paths: in
# our runs, and where its own tools read a run's config.
CheckpointLoader.register_scheme("", _load_whole, force=True)


def step_seed(seed: int, step: int) -> int:
    """Give torch's seed for a step of a run, counted from 0."""
    return seed * 1_000_003 + step


@HOOKS.register_module(force=True)
class StepSeedHook(Hook):  # type: ignore[misc]
    """Seed torch before every step, so that dropout depends on the step alone.

    A resumed run then drops what an uninterrupted one does, whatever was drawn in between: a data
    loader takes its workers' seed from the same generator.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:  # noqa: ARG002
        """Seed dropout and whatever else draws from torch while training."""
        seed = step_seed(self.seed, runner.iter)
        torch.manual_seed(rank_seed(seed, runner.rank))
        if runner.world_size > 1:
            begin_step(unwrapped(runner.model), seed, len(data_batch["data_samples"]))


def freeze_parameters(model: Any, prefixes: Sequence[str]) -> None:
    """Switch off the gradients of all that lies below the prefixes.

    Raises:
        ModelError: a prefix names nothing.
    """
    names = [name for name, _ in model.named_parameters()]
    for prefix in prefixes:
        if not any(_below(name, prefix) for name in names):
            raise ModelError(f"the model has no part {prefix!r} that could be frozen")
    for name, parameter in model.named_parameters():
        if any(_below(name, prefix) for prefix in prefixes):
            parameter.requires_grad_(requires_grad=False)


@HOOKS.register_module(force=True)
class FreezeHook(Hook):  # type: ignore[misc]
    """Freeze parts of models that have no such setting of their own: no gradients, evaluation mode.

    Args:
        prefixes: names of modules or parameters; what is below them is frozen too.
    """

    def __init__(self, prefixes: Sequence[str]) -> None:
        self.prefixes = tuple(prefixes)
        self._modules: list[Any] = []

    def before_train(self, runner: Any) -> None:
        """Switch the gradients off.

        Raises:
            ModelError: a prefix names nothing.
        """
        model = unwrapped(runner.model)
        freeze_parameters(model, self.prefixes)
        self._modules = [
            module
            for name, module in model.named_modules()
            if any(_below(name, prefix) for prefix in self.prefixes)
        ]

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:  # noqa: ARG002
        """Put the frozen part back into evaluation mode, which the Runner switches off every epoch."""
        for module in self._modules:
            module.training = False


@HOOKS.register_module(force=True)
class NormEvalHook(Hook):  # type: ignore[misc]
    """Fix the batch-norm statistics of backbones that have no setting `norm_eval` of their own."""

    def __init__(self) -> None:
        self._modules: list[Any] = []

    def before_train(self, runner: Any) -> None:
        """Find the batch-norm layers of the backbone."""
        backbone = unwrapped(runner.model).backbone
        self._modules = [module for module in backbone.modules() if isinstance(module, _BatchNorm)]

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:  # noqa: ARG002
        """Put them back into evaluation mode, which the Runner switches off every epoch."""
        for module in self._modules:
            module.training = False


@OPTIM_WRAPPERS.register_module(force=True)
class Bfloat16OptimWrapper(OptimWrapper):  # type: ignore[misc]
    """Training steps in bfloat16, on a CPU or a GPU.

    Its range is that of float32, so the loss needs no scaling, as mmengine's `AmpOptimWrapper` does it.
    """

    @contextmanager
    def optim_context(self, model: Any) -> Iterator[None]:
        """Run a step's forward pass under autocast; the scores come out in float32, for the loss."""
        head = unwrapped(model).cls_head
        handle = head.register_forward_hook(lambda _, __, scores: scores.float())
        device = next(model.parameters()).device
        try:
            with super().optim_context(model), half_precision_pass("bfloat16", device):
                yield
        finally:
            handle.remove()


@LOOPS.register_module(force=True)
class HalfPrecisionValLoop(ValLoop):  # type: ignore[misc]
    """Validation in half precision.

    Args:
        dtype: `bfloat16` or `float16`.
    """

    def __init__(self, *args: Any, dtype: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.dtype = dtype

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Run one batch under autocast."""
        device = next(unwrapped(self.runner.model).parameters()).device
        with half_precision_pass(self.dtype, device):
            super().run_iter(idx, data_batch)


def _below(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


@HOOKS.register_module(force=True)
class ClassifierWeightsHook(Hook):  # type: ignore[misc]
    """Load known classifier weights into the last layer before the first step; a resumed run has them.

    Args:
        file: holds `weight` [classes, features] and `bias` [classes].
        classes: the index of the class that each row is for.
    """

    # Before what takes a copy of the weights.
    priority = "VERY_HIGH"

    def __init__(self, file: str, classes: Sequence[int]) -> None:
        self.file, self.classes = file, list(classes)

    def before_train(self, runner: Any) -> None:
        """Load them.

        Raises:
            ModelError: the file is not of this head.
        """
        if runner.iter > 0:
            return
        known, layer = read_checkpoint(Path(self.file)), unwrapped(runner.model).cls_head.fc_cls
        if known["weight"].shape[1:] != layer.weight.shape[1:]:
            raise ModelError(f"{self.file}: holds classifier weights of another head")
        with torch.no_grad():
            layer.weight[self.classes] = known["weight"].to(layer.weight)
            layer.bias[self.classes] = known["bias"].to(layer.bias)


@METRICS.register_module(force=True)
class TopKAccuracy(AccMetric):  # type: ignore[misc]
    """MMAction2's accuracy, with the one rule for ties of `dancecli.core.topk`."""

    def calculate(self, preds: Sequence[Any], labels: Sequence[int]) -> dict[str, float]:
        """Compute top-1, top-5 and mean class accuracy.

        Args:
            preds: for each clip its scores [classes].
            labels: for each clip the index of its class.
        """
        found: dict[str, float] = super().calculate(preds, labels)
        ranks = [true_rank(scores.tolist(), label) for scores, label in zip(preds, labels, strict=True)]
        for k in (1, 5):
            found[f"top{k}"] = sum(rank <= k for rank in ranks) / len(ranks)
        return found
