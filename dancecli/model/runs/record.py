"""The record of a run in `run.json`: model, initial weights, data, recipe and protocol."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dancecli.core.recipe import ATTENTIVE, KNN, PROBES, PROTOTYPE, SOLVED, Recipe
from dancecli.core.redaction import redact_command
from dancecli.model.dataloading.pipelines import frame_sampler
from dancecli.model.dataloading.split_data import split_record
from dancecli.model.networks.base import has_dropout
from dancecli.model.networks.weights import weights_record
from dancecli.model.runs.plan import Plan
from dancecli.model.training.config import amp_dtype
from dancecli.model.training.flops import cost_of_view
from dancecli.model.training.scoring import views_record
from dancecli.storage import runs as rec

if TYPE_CHECKING:
    from dancecli.model.training.job import Job


# What a solved head is called among other probes.
LINEAR = "linear"
# Fitted heads have no epochs, rates or batches of their own.
_FITTED_OPTIM: dict[str, dict[str, Any]] = {
    SOLVED: {"epochs": 1, "optimizer": "L-BFGS, to convergence", "lr": None},
    ATTENTIVE: {"epochs": 1, "optimizer": "AdamW, a grid side by side", "lr": None},
    KNN: {"epochs": 1, "optimizer": "none: nearest neighbors", "lr": None},
    PROTOTYPE: {"epochs": 1, "optimizer": "none: class means", "lr": None},
}


def begun_record(plan: Plan, job: Job) -> dict[str, Any]:
    """Return the record of a run at its start."""
    recipe, data = plan.recipe, plan.data
    return {
        "schema": rec.SCHEMA,
        "name": plan.name,
        **({"group": plan.settings.group} if plan.settings.group else {}),
        "status": rec.RUNNING,
        "process": rec.process_record(),
        "created_utc": rec.now_utc(),
        "finished_utc": None,
        "command": redact_command(sys.argv),
        "model": {
            "pretrain": plan.entry.name,
            "title": plan.entry.title + (", on drawn skeletons" if plan.base.drawn else ""),
            "backbone": plan.base.model["backbone"]["type"],
            "frozen_stages": recipe.frozen_stages,
            "flow": plan.base.flow or None,
            "pose": plan.base.reads_poses,
            "params_total": None,
            "params_trainable": None,
            **cost_of_view(plan.entry, job.config["model"], plan.base, recipe),
        },
        "weights": weights_record(job.start),
        "split": split_record(data),
        "labels": list(data.labels),
        "views": _views(plan),
        **({"probe": probe_record(recipe)} if recipe.head in PROBES else {}),
        "optim": _FITTED_OPTIM.get(recipe.head)
        or {
            "epochs": recipe.epochs,
            "lr": recipe.scaled_lr(),
            "optimizer": recipe.optimizer,
            "schedule": recipe.schedule,
            "batch_size": recipe.batch,
            "dropout": recipe.dropout if has_dropout(plan.base.model["cls_head"]) else None,
            "momentum": recipe.momentum if recipe.optimizer == "sgd" else None,
            "weight_decay": recipe.weight_decay,
            "accumulate": recipe.accumulate,
            "label_smoothing": recipe.label_smoothing,
            "class_weights": recipe.class_weights,
            "ema": recipe.ema or None,
            "amp": amp_dtype(recipe, job.device),
            "patience": recipe.patience or None,
            "processes": 1 if plan.cached else plan.settings.execution.processes,
        },
        "seed": plan.settings.seed,
        "cache": {
            "used": plan.cached,
            "stage": recipe.frozen_stages if plan.cached else None,
            "dtype": job.dtype if plan.cached else None,
        },
        "decoder": job.decoder.record,
        "recipe": asdict(recipe),
        "settings": asdict(plan.settings),
        "versions": rec.versions(*(plan.entry.hub.packages if plan.entry.hub else ())),
        "seconds": {},
        "results": {"val": None, "test": None},
    }


def probe_record(recipe: Recipe) -> dict[str, str]:
    """Name the probe of a run: how it is fitted, and its head."""
    return {"protocol": recipe.protocol, "head": LINEAR if recipe.head == SOLVED else recipe.head}


def _views(plan: Plan) -> dict[str, Any]:
    views = views_record(plan.recipe, frame_sampler(plan.base, plan.recipe), plan.cached)
    if plan.recipe.head in PROBES and plan.recipe.views is None:
        return {**views, "train": f"as in evaluation: {views['test']}"}
    return views
