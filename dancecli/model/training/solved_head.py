"""Runs whose head is fitted to cached features, not trained by epochs; see `logistic` and `probes`."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Subset as Some

from dancecli.core.errors import ModelError
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.recipe import ATTENTIVE, KNN, MTEB, PROTOTYPE
from dancecli.core.records import Prediction, Subset
from dancecli.model.hardware.device import use_fast_math
from dancecli.model.networks.build import build_model
from dancecli.model.networks.mmaction import get_device, init_default_scope
from dancecli.model.training.features.frozen import head_network_config
from dancecli.model.training.features.loaders import cached_features
from dancecli.model.training.job import Job
from dancecli.model.training.logistic import SolvedHead, solve_head
from dancecli.model.training.probes.attentive import Tokens, fit_attentive
from dancecli.model.training.probes.mteb import draw, solve_as_mteb
from dancecli.model.training.probes.neighbors import fit_neighbors, fit_prototypes
from dancecli.model.training.probes.unknown import write_detector
from dancecli.model.training.runner import Outcome, silence
from dancecli.model.training.scoring import accuracy, predict_subset
from dancecli.storage.files import save_torch
from dancecli.storage.runs import append_metrics, trim_metrics


def use_evaluation_views(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config whose training clips are seen as in evaluation."""
    train = config["train_dataloader"]
    dataset = {**config["test_dataloader"]["dataset"], "ann_file": train["dataset"]["ann_file"]}
    return {**config, "train_dataloader": {**train, "dataset": dataset}}


class Fitted(Protocol):
    """A head that was fitted."""

    @property
    def record(self) -> dict[str, Any]:
        """What `run.json` says of it."""

    def place(self, head: Any) -> None:
        """Put its numbers into the head of a model."""


@dataclass(frozen=True)
class Linear:
    """A linear classifier, in the place of the last layer of a model's own head."""

    head: SolvedHead

    def place(self, head: Any) -> None:
        """Set the last layer.

        Raises:
            ModelError: the head is not one linear layer on the features.
        """
        layer = getattr(head, "fc_cls", None)
        if not isinstance(layer, torch.nn.Linear) or layer.weight.shape != self.head.weight.shape:
            raise ModelError(
                "the head of this model is not one linear layer on the pooled features",
                "train it by epochs: --set head=trained",
            )
        with torch.no_grad():
            layer.weight.copy_(self.head.weight)
            layer.bias.copy_(self.head.bias)

    @property
    def record(self) -> dict[str, Any]:
        """What `run.json` says of it."""
        head = self.head
        return {
            "init": "solved",
            "solver": "L-BFGS",
            "C": head.strength,
            "temperature": round(head.temperature, 4),
            "folds": head.folds,
            "held_out": {"n": head.held_out, "top1": head.held_out_correct},
        }


class HeadSolver:
    """Heads for the frozen backbone of a run: solved on the cached features of its clips, and applied.

    Features are computed where they are missing, once for all heads.

    Args:
        job: the run.
        reporter: receives the progress as `phase · words` in clips of the phase.

    Raises:
        WorkspaceError: there is no room for the features.
    """

    def __init__(self, job: Job, reporter: Reporter) -> None:
        self.job, self.reporter = job, reporter
        began = time.monotonic()
        features = cached_features(job, None, reporter)
        self._loaders, self.computed, self.engines = features.loaders, features.computed, features.engines
        self.features_s = round(time.monotonic() - began, 2)
        self._labels = torch.tensor([e.label_index for e in job.data.examples[Subset.TRAIN]])
        stages = job.recipe.frozen_stages
        network = head_network_config(job.config["model"], stages)
        self.model = build_model(network, job.seed, job.config["load_from"]).to(get_device())

    @cached_property
    def _features(self) -> Tensor:
        return _features(self._loaders[Subset.TRAIN].dataset)

    def solve(self, groups: Sequence[str], clips: Sequence[int] | None = None) -> Fitted:
        """Fit the head to training clips, and set it as the model's classifier.

        Args:
            groups: group of each training clip of the run.
            clips: indices of those to train on; None for all.

        Raises:
            ModelError: the classifier of the model is not one linear layer on the features.
        """
        chosen = list(range(len(self._labels)) if clips is None else clips)
        head = self._fit(chosen, [groups[i] for i in chosen])
        head.place(self.model.cls_head)
        return head

    def _fit(self, chosen: list[int], groups: Sequence[str]) -> Fitted:
        """Fit the head to the training clips with these indices, which have these groups."""
        recipe, labels, classes = self.job.recipe, self._labels[chosen], len(self.job.data.labels)
        if recipe.head == ATTENTIVE:
            stored = self._loaders[Subset.TRAIN].dataset
            rows = [view[i] for view in stored.places for i in chosen]
            views = len(stored.places)
            tokens = Tokens(stored, rows, labels.repeat(views), [*groups] * views)
            blocks = self.job.config["model"]["cls_head"]["blocks"]
            head, seed = self.model.cls_head, self.job.seed
            return fit_attentive(tokens, head, blocks, batch=recipe.batch, seed=seed, reporter=self.reporter)
        features = self._features[chosen]
        if recipe.head == KNN:
            return fit_neighbors(features, labels, groups, classes)
        if recipe.head == PROTOTYPE:
            return fit_prototypes(features, labels, groups, classes)
        if recipe.protocol == MTEB:
            drawn = draw(labels.tolist(), self.job.seed)
            return Linear(solve_as_mteb(features[drawn, 0], labels[drawn], classes))
        balanced = recipe.class_weights == "balanced"
        return Linear(solve_head(features, labels, groups, classes, balanced=balanced))

    def predict(self, subset: Subset, clips: Sequence[int] | None = None) -> list[Prediction]:
        """Score clips of a subset, given by index or all, with the head that was solved last."""
        examples, loader = self.job.data.examples[subset], self._loaders[subset]
        if clips is None:
            return predict_subset(self.model, loader, subset.value, examples, self.reporter)
        some = DataLoader(
            Some(loader.dataset, list(clips)), batch_size=loader.batch_size, collate_fn=loader.collate_fn
        )
        chosen = [examples[i] for i in clips]
        return predict_subset(self.model, some, subset.value, chosen, SILENT)

    def write_detector(self) -> None:
        """Write what tells clips of no known class; see `probes.unknown`."""
        write_detector(self.job, self._loaders)

    def save(self, path: Path) -> None:
        """Write the model with the head that was solved last."""
        self.job.save(path, self.model)

    @property
    def params(self) -> tuple[int, int]:
        """Number of parameters: in all, and of the classifier."""
        return _count(self.model), _count(self.model.cls_head)


def solve_job(job: Job, groups: Sequence[str], reporter: Reporter) -> tuple[Outcome, dict[str, Any]]:
    """Compute the features, solve the head, and evaluate it on val and test.

    Args:
        job: the run.
        groups: group of each training clip.
        reporter: receives the progress as `phase · words` in clips of the phase.

    Returns:
        The outcome, and the record of the head for `run.json`.

    Raises:
        ModelError: the classifier of the model is not one linear layer on the features.
        WorkspaceError: there is no room for the features.
    """
    use_fast_math(job.device)
    with silence(job.folder):
        init_default_scope("mmaction")
        solver = HeadSolver(job, reporter)
        last = time.monotonic()
        reporter.progress(0, 1, "training · solving the head")
        head = solver.solve(groups)
        seconds = {"features": solver.features_s, "train": round(time.monotonic() - last, 2)}
        last = time.monotonic()
        solver.save(job.folder.checkpoints / "last.pth")
        predictions: list[Prediction] = []
        for subset in (Subset.VAL, Subset.TEST):
            if job.data.examples[subset]:
                predictions += solver.predict(subset)
        solver.write_detector()
        seconds["evaluate"] = round(time.monotonic() - last, 2)
    _write_metrics(job, predictions, seconds["train"])
    return solved_outcome(solver, predictions, seconds), head.record


def save_start(job: Job, groups: Sequence[str], file: Path, reporter: Reporter) -> dict[str, Any]:
    """Solve the head that training by epochs starts from, and save its weights.

    Args:
        job: of a wholly frozen network, with nothing but training clips.
        groups: group of each of them.
        file: receives `weight` [classes, features] and `bias` [classes].
        reporter: receives the progress as `phase · words` in clips of the phase.

    Returns:
        The record of the head for `run.json`.

    Raises:
        ModelError: the classifier of the model is not one linear layer on the features.
        WorkspaceError: there is no room for the features.
    """
    use_fast_math(job.device)
    with silence(job.folder):
        init_default_scope("mmaction")
        solver = HeadSolver(job, reporter)
        head = solver.solve(groups)
        layer = solver.model.cls_head.fc_cls
        save_torch(file, {"weight": layer.weight.detach(), "bias": layer.bias.detach()})
    return head.record


def solved_outcome(solver: HeadSolver, predictions: list[Prediction], seconds: dict[str, float]) -> Outcome:
    """Return the outcome of a run whose checkpoint is the head that was solved last."""
    total, trainable = solver.params
    return Outcome(
        predictions=predictions,
        chosen="last",
        chosen_epoch=1,
        epochs_run=1,
        seconds=seconds,
        params_total=total,
        params_trainable=trainable,
        data_wait={"waited_s": 0.0, "of_s": 0.0},
        computed=solver.computed,
        engines=solver.engines,
    )


def _features(dataset: Any) -> Tensor:
    """Read stored features: [clips, views x rows, features]; a view may be stored as several rows."""
    views = [torch.from_numpy(dataset.array[places]).float() for places in dataset.places]
    return torch.cat([rows.reshape(len(rows), rows.shape[1], -1) for rows in views], 1)


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _write_metrics(job: Job, predictions: Sequence[Prediction], seconds: float) -> None:
    """Write the validation as the one epoch of this run."""
    trim_metrics(job.folder.metrics, 0)
    val = [row for row in predictions if row.subset == Subset.VAL]
    found = accuracy(val)
    if found is None:
        append_metrics(job.folder.metrics, [])
        return
    loss = -sum(math.log(max(row.scores[row.label_index], 1e-12)) for row in val) / len(val)
    shares = {key: found[key] / found["n"] for key in ("top1", "top5")}
    append_metrics(
        job.folder.metrics,
        [{"kind": "val", "epoch": 1, "loss": loss, **shares, "n": found["n"], "time_s": seconds}],
    )
