"""Our own parts of MMAction2: what a generated config names beside MMAction2's.

Registered when `dancecli.model.mmaction` is imported.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from dancecli.core.errors import ModelError
from dancecli.model.augmenting import AugmentedCopy
from dancecli.model.clipreading import ClipDecode, ClipInit
from dancecli.model.distributed import rank_seed, unwrapped
from dancecli.model.flow import FlowDecode, FlowFlip, FlowInit
from dancecli.model.inception import InceptionI3D
from dancecli.model.mmaction import (
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    MODELS,
    OPTIM_WRAPPERS,
    TRANSFORMS,
    DefaultSampler,
    Hook,
    OptimWrapper,
    VideoDataset,
)
from dancecli.model.views import view_key, view_random_state


class ViewDataset(VideoDataset):  # type: ignore[misc]
    """A `VideoDataset` whose random crops, flips and frames depend on clip and view alone.

    Item `i` of a set of `n` clips is view `i // n` of clip `i % n`; see `ViewSampler`.

    Args:
        view_seed: another seed gives other views.
    """

    def __init__(self, *args: Any, view_seed: int = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.view_seed = view_seed

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline for one view of one clip."""
        view, place = divmod(idx, len(self))
        info = self.get_data_info(place)
        clip = Path(info["filename"]).stem
        info["view_key"] = view_key(self.view_seed, clip, view)
        with view_random_state(self.view_seed, clip, view):
            return self.pipeline(info)


class ViewSampler(DefaultSampler):  # type: ignore[misc]
    """Shuffle the clips each epoch and say which view of each is wanted.

    Args:
        views: how many views of a clip there are in turn; 0 for a new one every epoch.
    """

    def __init__(self, dataset: Any, views: int = 0, **kwargs: Any) -> None:
        super().__init__(dataset, **kwargs)
        self.views = views

    def __iter__(self) -> Iterator[int]:
        view = self.epoch % self.views if self.views else self.epoch
        return iter([place + view * len(self.dataset) for place in super().__iter__()])


def step_seed(seed: int, step: int) -> int:
    """Give torch's seed for a step of a run, counted from 0."""
    return seed * 1_000_003 + step


class StepSeedHook(Hook):  # type: ignore[misc]
    """Seed torch before every step, so that dropout depends on the step alone.

    A resumed run then drops what the whole one does, whoever has drawn in between: a data
    loader takes its workers' seed from the same generator.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:  # noqa: ARG002
        """Seed dropout and whatever else draws from torch while training."""
        torch.manual_seed(rank_seed(step_seed(self.seed, runner.iter), runner.rank))


class FreezeHook(Hook):  # type: ignore[misc]
    """Keep parts of a model as they are, in models that have no such setting of their own.

    Args:
        prefixes: names of modules or parameters; what lies below them is frozen too.
    """

    def __init__(self, prefixes: Sequence[str]) -> None:
        self.prefixes = tuple(prefixes)
        self._modules: list[Any] = []

    def before_train(self, runner: Any) -> None:
        """Take the gradients away.

        Raises:
            ModelError: a prefix names nothing.
        """
        model = unwrapped(runner.model)
        names = [name for name, _ in model.named_parameters()]
        for prefix in self.prefixes:
            if not any(_below(name, prefix) for name in names):
                raise ModelError(f"the model has no part {prefix!r} that could be frozen")
        for name, parameter in model.named_parameters():
            if any(_below(name, prefix) for prefix in self.prefixes):
                parameter.requires_grad_(requires_grad=False)
        self._modules = [
            module
            for name, module in model.named_modules()
            if any(_below(name, prefix) for prefix in self.prefixes)
        ]

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:  # noqa: ARG002
        """Leave the frozen part in evaluation, which the Runner switches off every epoch."""
        for module in self._modules:
            module.training = False


class CpuAmpOptimWrapper(OptimWrapper):  # type: ignore[misc]
    """What mmengine's `AmpOptimWrapper` is on a GPU: training steps in half precision, here bfloat16.

    Its range is that of float32, so the loss needs no scaling.
    """

    @contextmanager
    def optim_context(self, model: Any) -> Iterator[None]:
        """Run a step's forward pass under autocast; the scores come out in float32, for the loss."""
        head = getattr(model, "module", model).cls_head
        handle = head.register_forward_hook(lambda _, __, scores: scores.float())
        try:
            with super().optim_context(model), torch.autocast("cpu", torch.bfloat16):
                yield
        finally:
            handle.remove()


def _below(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


# `force` so that a second import under another name (a reload) does not fail.
MODELS.register_module(module=InceptionI3D, force=True)
DATASETS.register_module(module=ViewDataset, force=True)
DATA_SAMPLERS.register_module(module=ViewSampler, force=True)
for _transform in (AugmentedCopy, ClipInit, ClipDecode, FlowInit, FlowDecode, FlowFlip):
    TRANSFORMS.register_module(module=_transform, force=True)
OPTIM_WRAPPERS.register_module(module=CpuAmpOptimWrapper, force=True)
for _hook in (StepSeedHook, FreezeHook):
    HOOKS.register_module(module=_hook, force=True)
# These come through the door themselves and may be what is imported first: they register their own.
for _room in ("averaging", "headrows"):
    importlib.import_module(f"dancecli.model.{_room}")
