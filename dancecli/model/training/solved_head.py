"""Runs whose head is solved on cached features instead of being trained by epochs; see `logistic`."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from dancecli.core.errors import ModelError
from dancecli.core.progress import Reporter
from dancecli.core.records import Prediction, Subset
from dancecli.model.networks.build import build_model
from dancecli.model.networks.mmaction import get_device, init_default_scope
from dancecli.model.training.features.frozen import head_network_config
from dancecli.model.training.features.loaders import feature_loaders, views_to_compute
from dancecli.model.training.job import Job
from dancecli.model.training.logistic import SolvedHead, solve_head
from dancecli.model.training.runner import Outcome, silence
from dancecli.model.training.scoring import accuracy, predict_subset
from dancecli.storage.files import save_torch
from dancecli.storage.runs import append_metrics, trim_metrics


def use_evaluation_views(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config whose training clips are seen as in evaluation."""
    train = config["train_dataloader"]
    dataset = {**config["test_dataloader"]["dataset"], "ann_file": train["dataset"]["ann_file"]}
    return {**config, "train_dataloader": {**train, "dataset": dataset}}


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
    with silence(job.folder):
        init_default_scope("mmaction")
        seconds, last = {}, time.monotonic()
        computed = views_to_compute(job, reporter).views
        loaders = feature_loaders(job, None, reporter)
        seconds["features"], last = round(time.monotonic() - last, 2), time.monotonic()
        reporter.progress(0, 1, "training · solving the head")
        head = _solve(job, loaders[Subset.TRAIN].dataset, groups)
        model = build_model(
            head_network_config(job.config["model"], job.recipe.frozen_stages),
            job.seed,
            job.config["load_from"],
        ).to(get_device())
        _set_classifier(model, head)
        seconds["train"], last = round(time.monotonic() - last, 2), time.monotonic()
        save_torch(job.folder.checkpoints / "last.pth", {"meta": job.meta, "state_dict": model.state_dict()})
        predictions: list[Prediction] = []
        for subset in (Subset.VAL, Subset.TEST):
            if examples := job.data.examples[subset]:
                predictions += predict_subset(model, loaders[subset], subset.value, examples, reporter)
        seconds["evaluate"] = round(time.monotonic() - last, 2)
    _write_metrics(job, predictions, seconds["train"])
    layer = model.cls_head.fc_cls
    outcome = Outcome(
        predictions=predictions,
        chosen="last",
        chosen_epoch=1,
        epochs_run=1,
        seconds=seconds,
        params_total=sum(p.numel() for p in model.parameters()),
        params_trainable=sum(p.numel() for p in layer.parameters()),
        data_wait={"waited_s": 0.0, "of_s": 0.0},
        computed=computed,
    )
    return outcome, _record(head)


def _solve(job: Job, dataset: Any, groups: Sequence[str]) -> SolvedHead:
    # [clips, views x rows, features]: a training view may itself be stored as several rows.
    views = [torch.from_numpy(dataset.array[places]).float() for places in dataset.places]
    features = torch.cat([rows.reshape(len(rows), rows.shape[1], -1) for rows in views], 1)
    labels = torch.tensor([example.label_index for example in job.data.examples[Subset.TRAIN]])
    balanced = job.recipe.class_weights == "balanced"
    return solve_head(features, labels, groups, len(job.data.labels), balanced=balanced)


def _set_classifier(model: Any, head: SolvedHead) -> None:
    layer = getattr(model.cls_head, "fc_cls", None)
    if not isinstance(layer, torch.nn.Linear) or layer.weight.shape != head.weight.shape:
        raise ModelError(
            "the head of this model is not one linear layer on the pooled features",
            "train it by epochs: --set head=trained",
        )
    with torch.no_grad():
        layer.weight.copy_(head.weight)
        layer.bias.copy_(head.bias)


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


def _record(head: SolvedHead) -> dict[str, Any]:
    return {
        "init": "solved",
        "solver": "L-BFGS",
        "C": head.strength,
        "temperature": round(head.temperature, 4),
        "folds": head.folds,
        "held_out": {"n": head.held_out, "top1": head.held_out_correct},
    }
