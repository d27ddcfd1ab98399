"""Batched trials: linear probes trained together on cached features.

Each trial equals `dance finetune` with the same seed: same features, initial weights, shuffling,
dropout masks, steps and schedule; see `linear_probes`. A run also writes checkpoints and goes
through MMAction2, and adds its sums in another order.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from dancecli.core.progress import Reporter
from dancecli.core.recipe import RANDOM, Recipe
from dancecli.core.records import Subset
from dancecli.core.topk import true_ranks
from dancecli.model.networks.build import lr_factors
from dancecli.model.networks.mmaction import get_device, init_default_scope
from dancecli.model.networks.stages import LAST_STAGE, is_linear_probe
from dancecli.model.runs.finetune import make_job
from dancecli.model.runs.plan import Plan
from dancecli.model.training.components import step_seed
from dancecli.model.training.config import schedulers
from dancecli.model.training.features.loaders import cached_features, frozen_backbone, whole_model
from dancecli.model.training.job import Job
from dancecli.model.training.runner import silence
from dancecli.model.tuning.linear_probes import LinearProbes, ProbeSettings
from dancecli.model.tuning.search_space import Space
from dancecli.model.tuning.trial import LEAST_SCORE, End, Report, TrialRequest, TrialResult
from dancecli.storage.runs import RunFolder
from dancecli.storage.workspace import Workspace

# Enough to share work, and few enough that the sampler learns between batches.
BATCHED_TRIALS = 8
_HEAD_KEYS = {
    *("lr", "dropout", "optimizer", "momentum", "weight_decay", "label_smoothing", "clip_grad"),
    *("schedule", "warmup_epochs", "milestones", "gamma"),
}
# These define the features, or are read by the loop below.
_SHARED_KEYS = {
    *("description", "clip_len", "frame_interval", "fps", "short_side", "crop", "train_crop", "flip"),
    *("views", "view_seed", "freeze", "epochs", "batch", "lr_batch", "norm_eval", "num_clips", "num_crops"),
    *("augment", "workers", "head_init", "validation"),
}


def why_sequential(plan: Plan, space: Space) -> str:
    """Return why the trials of a study cannot be trained in one batch; empty if they can."""
    recipe = plan.recipe
    if recipe.frozen_stages != LAST_STAGE or not plan.cached:
        return (
            "more than the head is trained"
            if recipe.frozen_stages != LAST_STAGE
            else "features are not cached"
        )
    if not is_linear_probe(plan.base.model, LAST_STAGE):
        return f"a {plan.base.model['cls_head']['type']} is more than dropout and one linear layer"
    searched = [key for key in space.keys if key not in _HEAD_KEYS]
    if searched:
        return f"{searched[0]} is searched, and batched trials share it"
    if recipe.head_init != RANDOM:
        return f"the head starts {recipe.head_init}"
    usual = Recipe()
    for field in fields(Recipe):
        other = field.name not in _HEAD_KEYS | _SHARED_KEYS
        if other and getattr(recipe, field.name) != getattr(usual, field.name):
            return f"batched trials do not support {field.name}"
    return ""


class HeadTrials:
    """Trains the head of each trial on the features of one plan.

    Args:
        workspace: holds the feature cache.
        plan: plan that all trials share.
        folder: receives the log.
        reporter: receives the progress of features to compute.
    """

    batched = BATCHED_TRIALS

    def __init__(self, workspace: Workspace, plan: Plan, folder: RunFolder, reporter: Reporter) -> None:
        self._job = job = replace(make_job(workspace, plan, reporter), folder=folder)
        # Trials are evaluated on the validation subset: the test subset is never read.
        seen = replace(job, data=plan.data.without_test())
        self.weights_sha256 = job.start.sha256 if job.start else None
        self._device = torch.device(get_device())
        with silence(folder):
            init_default_scope("mmaction")
            model = whole_model(job)
            loaders = cached_features(seen, frozen_backbone(seen, model), reporter).loaders
            head = model.cls_head.fc_cls
        self._weight, self._bias = head.weight.detach(), head.bias.detach()
        train, val = loaders[Subset.TRAIN], loaders[Subset.VAL]
        self._sampler, self._batch = train.sampler, job.recipe.batch
        # [views x clips, features], in the order in which the sampler counts them.
        self._features = torch.cat([self._rows(train.dataset, view) for view in train.dataset.places])
        self._labels = self._classes(job, Subset.TRAIN)
        # [clips, views, features]: probabilities are averaged over the views.
        self._val = self._rows(val.dataset, val.dataset.places[0], keep_views=True)
        self._val_labels = self._classes(job, Subset.VAL)
        self._schedules: dict[str, list[float]] = {}

    def _rows(self, dataset: Any, places: Sequence[int], keep_views: bool = False) -> Tensor:
        rows = torch.from_numpy(dataset.array[places]).float().to(self._device)
        shape = (len(places), rows.shape[1], -1) if keep_views else (len(places) * rows.shape[1], -1)
        return rows.reshape(shape)

    def _classes(self, job: Job, subset: Subset) -> Tensor:
        return torch.tensor([e.label_index for e in job.data.examples[subset]], device=self._device)

    @property
    def _steps(self) -> int:
        return math.ceil(len(self._labels) / self._batch)

    def _probe(self, recipe: Recipe) -> ProbeSettings:
        plan = schedulers(recipe)
        factors = self._schedules.setdefault(str(plan), lr_factors(plan, recipe.epochs, self._steps))
        return ProbeSettings(
            lr=recipe.scaled_lr(),
            dropout=recipe.dropout,
            optimizer=recipe.optimizer,
            factors=factors,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            label_smoothing=recipe.label_smoothing,
            clip_grad=recipe.clip_grad,
        )

    def train(self, requests: Sequence[TrialRequest], report: Report, end: End, reporter: Reporter) -> None:
        """Train trials in one batch; see `trial.Trainer`."""
        began, epochs = time.monotonic(), self._job.recipe.epochs
        probes = LinearProbes(self._weight, self._bias, [self._probe(trial.recipe) for trial in requests])
        running, best = list(requests), {trial.number: TrialResult() for trial in requests}
        for epoch in range(1, epochs + 1):
            losses = self._epoch(probes, epoch)
            right, loss = self._evaluate(probes)
            seconds = round((time.monotonic() - began) / len(requests), 3)
            stay = []
            for i, trial in enumerate(running):
                top1, before = sum(right[i]) / len(right[i]), best[trial.number]
                found = before if top1 < before.top1 else TrialResult(top1, right[i], loss[i], epoch)
                found = replace(found, epochs=epoch, seconds=seconds)
                best[trial.number] = found
                if not math.isfinite(losses[i]) or math.isnan(loss[i]):
                    end(trial, replace(found, failed=f"the loss became NaN or infinite in epoch {epoch}"))
                elif report(trial, epoch, top1):
                    end(trial, replace(found, pruned=True))
                elif epoch == epochs:
                    end(trial, found)
                else:
                    stay.append(i)
            if not stay:
                return
            if len(stay) < len(running):
                probes.keep(stay)
                running = [running[i] for i in stay]
            reporter.progress(epoch, epochs)

    def _epoch(self, probes: LinearProbes, epoch: int) -> list[float]:
        """Train one epoch; return the sum of the losses per probe, NaN if one was NaN."""
        self._sampler.set_epoch(epoch - 1)
        order = torch.tensor(list(self._sampler), device=self._device)
        total = torch.zeros(len(probes), device=self._device)
        for i, start in enumerate(range(0, len(order), self._batch)):
            rows = order[start : start + self._batch]
            seed = step_seed(self._job.seed, (epoch - 1) * self._steps + i)
            total += probes.step(self._features[rows], self._labels[rows % len(self._labels)], seed)
        return [float(value) for value in total.tolist()]

    def _evaluate(self, probes: LinearProbes) -> tuple[list[tuple[bool, ...]], list[float]]:
        clips, views, features = self._val.shape
        scores = probes.scores(self._val.view(-1, features)).view(len(probes), clips, views, -1).mean(2)
        of_truth = scores[:, torch.arange(clips, device=self._device), self._val_labels]
        right = (true_ranks(scores, of_truth) == 1).tolist()
        loss = of_truth.double().clamp(min=LEAST_SCORE).log().neg().mean(1).tolist()
        return [tuple(row) for row in right], loss
