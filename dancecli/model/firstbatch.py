"""A run's first batch, before its hours begin: is it learnt, and how long will all of them take?

Nothing of it stays: the models are built for it and thrown away, and all random states are put
back, so that the run is bit for bit what it is without.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from dancecli.model.boundary import boundary_model, boundary_rows, frozen_part
from dancecli.model.hooks import time_words
from dancecli.model.mmaction import DATASETS, MODELS, build_model, get_device, pseudo_collate
from dancecli.model.parts import FreezeHook
from dancecli.model.rehearsal import Rehearsal, rehearse, untouched_chance

if TYPE_CHECKING:
    from dancecli.model.training import Job


@dataclass(frozen=True)
class FirstBatch:
    """What a first batch has shown.

    Attributes:
        rehearsal: how it was learnt.
        features_s: what the frozen part will take, for all views that are to be stored.
        epoch_s: what an epoch will take, its validation included.
        total_s: both, all epochs, and the evaluation at the end.
    """

    rehearsal: Rehearsal
    features_s: float
    epoch_s: float
    total_s: float

    def __str__(self) -> str:
        what = f"{time_words(self.epoch_s)} an epoch"
        if self.features_s:
            what = f"{time_words(self.features_s)} for the frozen part, then {what}"
        return f"about {time_words(self.total_s)} in all: {what} (judged by {self.rehearsal.clips} clips)"

    @property
    def record(self) -> dict[str, Any]:
        """The same for `run.json`, in seconds and losses."""
        found = asdict(self.rehearsal)
        del found["step_s"], found["evaluate_s"]
        times = {"features": self.features_s, "epoch": self.epoch_s, "total": self.total_s}
        return {**found, "expected_s": {key: round(value, 2) for key, value in times.items()}}


def try_first_batch(job: Job, unstored: int) -> FirstBatch:
    """Overfit a batch of training views and time what the run will do with each clip.

    Args:
        job: the run.
        unstored: views whose features are still to be computed.

    Raises:
        ModelError: the batch is not learnt, or the head does not fit the labels.
    """
    with untouched_chance():
        # First of all: it also takes mmengine's warnings, such as those of a dataset, off the terminal.
        model = _model(job)
        began = time.monotonic()
        batch = _some_clips(job)
        clips = len(batch["data_samples"])
        decode_s = (time.monotonic() - began) / clips
        # While the workers decode, the network computes on the same cores.
        decode_s /= 1 + int(job.config["train_dataloader"]["num_workers"])
        view_s = 0.0
        if job.cached:
            batch, view_s = _at_the_boundary(job, model, batch)
        _freeze(job.config, model)
        rehearsal = rehearse(model, batch, len(job.data.labels))
    return expect(job, rehearsal, view_s, decode_s, unstored)


def expect(job: Job, rehearsal: Rehearsal, view_s: float, decode_s: float, unstored: int) -> FirstBatch:
    """Add up what a run will take, from what one clip does."""
    recipe, counts = job.recipe, job.data.counts
    views = recipe.num_clips * recipe.num_crops
    step_s, evaluate_s = (s / rehearsal.clips for s in (rehearsal.step_s, rehearsal.evaluate_s))
    features_s = unstored * (view_s + decode_s) if job.cached else 0.0
    if not job.cached:
        step_s, evaluate_s = step_s + decode_s, evaluate_s + decode_s
    epoch_s = counts["train"] * step_s + counts["val"] * views * evaluate_s
    end_s = (counts["val"] + counts["test"]) * views * evaluate_s
    return FirstBatch(rehearsal, features_s, epoch_s, features_s + recipe.epochs * epoch_s + end_s)


def _some_clips(job: Job) -> dict[str, Any]:
    """Collate views of clips from all over the training list, so that they are not of one class."""
    dataset = DATASETS.build(job.config["train_dataloader"]["dataset"])
    total = len(dataset)
    count = min(total, job.recipe.batch, max(2, job.forward_batch))
    batch: dict[str, Any] = pseudo_collate([dataset[i * total // count] for i in range(count)])
    return batch


def _model(job: Job) -> Any:
    config = job.config["model"]
    if job.cached:
        config = boundary_model(config, job.recipe.frozen_stages)
    return build_model(config, job.seed, job.config["load_from"]).to(get_device())


def _at_the_boundary(job: Job, model: Any, batch: dict[str, Any]) -> tuple[dict[str, Any], float]:
    """Run the frozen part over a batch; give its rows as a batch, and the seconds a view."""
    preprocessor = MODELS.build(job.config["model"]["data_preprocessor"]).to(get_device())
    model.eval()
    backbone = frozen_part(model.backbone)
    with torch.inference_mode():
        inputs = preprocessor(batch, training=False)["inputs"]
        # The first pass is slower than all that follow.
        boundary_rows(backbone, inputs[:1], job.recipe.frozen_stages)
        began = time.monotonic()
        rows = boundary_rows(backbone, inputs, job.recipe.frozen_stages)
        view_s = (time.monotonic() - began) / len(inputs)
    return {"inputs": list(rows.clone().cpu()), "data_samples": batch["data_samples"]}, view_s


def _freeze(config: Mapping[str, Any], model: Any) -> None:
    """Freeze what the run's hooks will freeze: not every backbone can do it by itself."""
    for hook in config["custom_hooks"]:
        if hook["type"] == FreezeHook.__name__:
            FreezeHook(hook["prefixes"]).before_train(SimpleNamespace(model=model))
