"""The pre-flight check: does a run's first batch train, and how long will the run take?

Nothing of it stays: what it trains is thrown away or set back, and all random states are restored, so that
the run is bit for bit what it is without.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from dancecli.core.errors import ModelError
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.text import pluralize, time_words
from dancecli.model.dataloading.datasets import DATASETS
from dancecli.model.hardware.device import workers_needed
from dancecli.model.networks.build import build_model
from dancecli.model.networks.mmaction import HOOKS, get_device, pseudo_collate
from dancecli.model.networks.stages import LAST_STAGE
from dancecli.model.training.features.frozen import FrozenBackbone, head_network_config
from dancecli.model.training.features.loaders import (
    PendingFeatures,
    check_room,
    frozen_backbone,
    store_entries,
)
from dancecli.model.training.overfit import OverfitCheck, overfit_one_batch, preserve_rng_state

if TYPE_CHECKING:
    from dancecli.model.training.job import Job

# Hooks that decide which layers of the model train.
_FREEZING = ("FreezeHook", "NormEvalHook")


@dataclass(frozen=True)
class PreflightCheck:
    """What a run's first batch has shown.

    Attributes:
        overfit: how the batch was overfitted.
        features_s: expected seconds for all features that are to be cached.
        epoch_s: expected seconds per epoch, validation included.
        total_s: of both, all epochs, and the evaluation at the end.
        frozen: the frozen backbone, where features are cached.
        model: the network as the run begins, where it is left: of a wholly frozen one only the head was
            changed, which is as before again.
        workers: decoding processes that keep a GPU busy; None where the recipe or the cores decide.
    """

    overfit: OverfitCheck
    features_s: float
    epoch_s: float
    total_s: float
    frozen: FrozenBackbone | None = None
    model: Any = None
    workers: int | None = None

    def __str__(self) -> str:
        what = f"{time_words(self.epoch_s)} per epoch"
        if self.features_s:
            what = f"{time_words(self.features_s)} for the features, then {what}"
        clips = self.overfit.clips
        return f"about {time_words(self.total_s)} in all: {what} (estimated from {pluralize(clips, 'clip')})"

    @property
    def record(self) -> dict[str, Any]:
        """The same for `run.json`, in seconds and losses."""
        found = asdict(self.overfit)
        del found["step_s"], found["evaluate_s"]
        times = {"features": self.features_s, "epoch": self.epoch_s, "total": self.total_s}
        return {**found, "expected_s": {key: round(value, 2) for key, value in times.items()}}


def run_preflight(job: Job, pending: PendingFeatures | None, reporter: Reporter = SILENT) -> PreflightCheck:
    """Overfit one batch of training views, and time what the run will do with each clip.

    The features of these views, where any are cached, are stored already.

    Args:
        job: the run.
        pending: features still to be computed; None where none are cached.
        reporter: told where another run is computing these features.

    Raises:
        ModelError: the loss does not fall, the head does not fit the labels, or the network does not
            take such views.
        WorkspaceError: the disk has no room for the features.
    """
    with preserve_rng_state():
        # First of all: it also takes mmengine's warnings, such as those of a dataset, off the terminal.
        model = _model(job)
        view_s, frozen = 0.0, None
        if job.cached:
            frozen = frozen_backbone(job, model)
            check_room(job, pending or PendingFeatures(0, {}), frozen, reporter)
        began = time.monotonic()
        indices, batch = _some_clips(job)
        decode_s = (time.monotonic() - began) / len(indices)
        read_s = decode_s
        # While the workers decode, the network computes on the same cores.
        decode_s /= 1 + int(job.config["train_dataloader"]["num_workers"])
        shape = tuple(batch["inputs"][0].shape)
        kept = _head_weights(model) if frozen and frozen.stage == LAST_STAGE else None
        try:
            if frozen:
                batch, view_s = _compute_features(job, frozen, indices, batch, reporter)
            freeze = _freezing(job.config, model)
            overfit = overfit_one_batch(model, batch, len(job.data.labels), freeze)
        except RuntimeError as error:
            raise _refused_view(shape, len(indices), error) from error
        if kept:
            model.cls_head.load_state_dict(kept)
            model.zero_grad()
    views = pending.views if pending else 0
    busy_s = view_s if job.cached else overfit.step_s / overfit.clips
    found = expect(job, overfit, view_s, decode_s, views)
    left = model if kept else None
    return replace(found, frozen=frozen, model=left, workers=_workers(job, read_s, busy_s))


def _head_weights(model: Any) -> dict[str, Any]:
    return {name: value.clone() for name, value in model.cls_head.state_dict().items()}


def _workers(job: Job, read_s: float, busy_s: float) -> int | None:
    """Choose the decoding processes by the seconds that a clip takes to be read and to be computed."""
    if not job.device.gpu or job.recipe.workers is not None:
        return None
    return workers_needed(read_s, busy_s, int(job.config["train_dataloader"]["num_workers"]))


def expect(job: Job, overfit: OverfitCheck, view_s: float, decode_s: float, pending: int) -> PreflightCheck:
    """Estimate the time that a run will take, from that of one clip; `pending` views are to be cached."""
    recipe, counts = job.recipe, job.data.counts
    views = recipe.num_clips * recipe.num_crops
    step_s, evaluate_s = (s / overfit.clips for s in (overfit.step_s, overfit.evaluate_s))
    features_s = pending * (view_s + decode_s) if job.cached else 0.0
    if not job.cached:
        step_s, evaluate_s = step_s + decode_s, evaluate_s + decode_s
    epoch_s = counts["train"] * step_s + counts["val"] * views * evaluate_s
    end_s = (counts["val"] + counts["test"]) * views * evaluate_s
    return PreflightCheck(overfit, features_s, epoch_s, features_s + recipe.epochs * epoch_s + end_s)


def _some_clips(job: Job) -> tuple[list[int], dict[str, Any]]:
    """Collate views of clips from all over the training list, so that they are not of one class."""
    dataset = DATASETS.build(job.config["train_dataloader"]["dataset"])
    total = len(dataset)
    count = min(total, job.recipe.batch, max(2, job.forward_batch))
    indices = [i * total // count for i in range(count)]
    return indices, pseudo_collate([dataset[i] for i in indices])


def _model(job: Job) -> Any:
    config = job.config["model"]
    if job.cached:
        config = head_network_config(config, job.recipe.frozen_stages)
    return build_model(config, job.seed, job.config["load_from"]).to(get_device())


def _compute_features(
    job: Job, frozen: FrozenBackbone, indices: Sequence[int], batch: dict[str, Any], reporter: Reporter
) -> tuple[dict[str, Any], float]:
    """Compute and store the features of a batch; give them as a batch, and the seconds per view."""
    samples = batch["data_samples"]
    found, view_s = [], 0.0
    # One apart from the others: the first pass is slower than all that follow.
    for some in (slice(1), slice(1, None)):
        if part := {key: values[some] for key, values in batch.items() if values[some]}:
            began = time.monotonic()
            found.append(frozen.features(part))
            view_s = (time.monotonic() - began) / len(found[-1])
    features = torch.cat(found)
    store_entries(job, indices, features, reporter)
    # Computed in inference mode, they could not be trained from.
    return {"inputs": list(features.clone().cpu()), "data_samples": samples}, view_s


def _refused_view(shape: tuple[int, ...], clips: int, error: RuntimeError) -> ModelError:
    """Say that a network cannot take the views, which torch tells as sizes that do not match."""
    reason = (str(error).strip().splitlines() or [""])[0][:200]
    if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in reason:
        return ModelError(
            f"there is no memory for {pluralize(clips, 'clip')} at once ({reason})", "use a smaller --batch"
        )
    return ModelError(
        f"the network does not take views of {' x '.join(map(str, shape))} ({reason})",
        "use another --recipe, or the clip_len, crop and short_side that the model was made for",
    )


def _freezing(config: Mapping[str, Any], model: Any) -> Callable[[], None]:
    """Freeze what the run's hooks will freeze, and give what keeps it so once the model is in training."""
    hooks = [HOOKS.build(hook) for hook in config["custom_hooks"] if hook["type"] in _FREEZING]
    for hook in hooks:
        hook.before_train(SimpleNamespace(model=model))

    def keep() -> None:
        for hook in hooks:
            hook.before_train_iter(None, 0)

    return keep
