"""A run's first batch, before its hours begin: is it learnt, and how long will all of them take?

Nothing of it stays: the models are built for it and thrown away, and all random states are put
back, so that the run is bit for bit what it is without.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from dancecli.core.errors import ModelError
from dancecli.core.progress import SILENT, Reporter
from dancecli.model.dataloading.datasets import DATASETS
from dancecli.model.networks.build import build_model
from dancecli.model.networks.mmaction import get_device, pseudo_collate
from dancecli.model.training.components import FreezeHook
from dancecli.model.training.features.frozen import FrozenBackbone, head_network_config
from dancecli.model.training.features.loaders import frozen_backbone, store_entries
from dancecli.model.training.overfit import OverfitCheck, overfit_one_batch, preserve_rng_state
from dancecli.model.training.run_hook import time_words

if TYPE_CHECKING:
    from dancecli.model.training.job import Job


@dataclass(frozen=True)
class PreflightCheck:
    """What a first batch has shown.

    Attributes:
        overfit: how it was learnt.
        features_s: what the frozen part will take, for all views that are to be stored.
        epoch_s: what an epoch will take, its validation included.
        total_s: both, all epochs, and the evaluation at the end.
        frozen: what lies below the freeze boundary, where features are stored.
    """

    overfit: OverfitCheck
    features_s: float
    epoch_s: float
    total_s: float
    frozen: FrozenBackbone | None = None

    def __str__(self) -> str:
        what = f"{time_words(self.epoch_s)} an epoch"
        if self.features_s:
            what = f"{time_words(self.features_s)} for the frozen part, then {what}"
        return f"about {time_words(self.total_s)} in all: {what} (judged by {self.overfit.clips} clips)"

    @property
    def record(self) -> dict[str, Any]:
        """The same for `run.json`, in seconds and losses."""
        found = asdict(self.overfit)
        del found["step_s"], found["evaluate_s"]
        times = {"features": self.features_s, "epoch": self.epoch_s, "total": self.total_s}
        return {**found, "expected_s": {key: round(value, 2) for key, value in times.items()}}


def run_preflight(job: Job, unstored: int, reporter: Reporter = SILENT) -> PreflightCheck:
    """Overfit a batch of training views and time what the run will do with each clip.

    The features of these views, where any are to be stored, are stored already.

    Args:
        job: the run.
        unstored: views whose features are still to be computed.
        reporter: hears of it where another run is at these features.

    Raises:
        ModelError: the batch is not learnt, or the head does not fit the labels, or the network
            does not take such views.
    """
    with preserve_rng_state():
        # First of all: it also takes mmengine's warnings, such as those of a dataset, off the terminal.
        model = _model(job)
        began = time.monotonic()
        places, batch = _some_clips(job)
        decode_s = (time.monotonic() - began) / len(places)
        # While the workers decode, the network computes on the same cores.
        decode_s /= 1 + int(job.config["train_dataloader"]["num_workers"])
        view_s, frozen = 0.0, None
        shape = tuple(batch["inputs"][0].shape)
        try:
            if job.cached:
                frozen = frozen_backbone(job, model)
                batch, view_s = _at_the_boundary(job, frozen, places, batch, reporter)
            _freeze(job.config, model)
            overfit = overfit_one_batch(model, batch, len(job.data.labels))
        except RuntimeError as error:
            raise _refused_view(shape, len(places), error) from error
    return replace(expect(job, overfit, view_s, decode_s, unstored), frozen=frozen)


def expect(job: Job, overfit: OverfitCheck, view_s: float, decode_s: float, unstored: int) -> PreflightCheck:
    """Add up what a run will take, from what one clip does."""
    recipe, counts = job.recipe, job.data.counts
    views = recipe.num_clips * recipe.num_crops
    step_s, evaluate_s = (s / overfit.clips for s in (overfit.step_s, overfit.evaluate_s))
    features_s = unstored * (view_s + decode_s) if job.cached else 0.0
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
    places = [i * total // count for i in range(count)]
    return places, pseudo_collate([dataset[place] for place in places])


def _model(job: Job) -> Any:
    config = job.config["model"]
    if job.cached:
        config = head_network_config(config, job.recipe.frozen_stages)
    return build_model(config, job.seed, job.config["load_from"]).to(get_device())


def _at_the_boundary(
    job: Job, frozen: FrozenBackbone, places: Sequence[int], batch: dict[str, Any], reporter: Reporter
) -> tuple[dict[str, Any], float]:
    """Run the frozen part over a batch; give its rows as a batch, and the seconds a view."""
    samples = batch["data_samples"]
    found, times = [], []
    # One by one: the first pass is slower than all that follow.
    for inputs, sample in zip(batch["inputs"], samples, strict=True):
        began = time.monotonic()
        found.append(frozen.rows({"inputs": [inputs], "data_samples": [sample]}))
        times.append(time.monotonic() - began)
    rows = torch.cat(found)
    store_entries(job, places, rows, reporter)
    # Made in inference mode, they could not be trained from.
    return {"inputs": list(rows.clone().cpu()), "data_samples": samples}, statistics.median(times)


def _refused_view(shape: tuple[int, ...], clips: int, error: RuntimeError) -> ModelError:
    """Say that a network cannot take the views, which torch tells as sizes that do not match."""
    said = (str(error).strip().splitlines() or [""])[0][:200]
    if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in said:
        return ModelError(f"there is no memory for {clips} clips at once ({said})", "give a smaller --batch")
    return ModelError(
        f"the network does not take views of {' x '.join(map(str, shape))} ({said})",
        "take another --recipe, or clip_len, crop and short_side as the model was made for",
    )


def _freeze(config: Mapping[str, Any], model: Any) -> None:
    """Freeze what the run's hooks will freeze: not every backbone can do it by itself."""
    for hook in config["custom_hooks"]:
        if hook["type"] == FreezeHook.__name__:
            FreezeHook(hook["prefixes"]).before_train(SimpleNamespace(model=model))
