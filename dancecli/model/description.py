"""What `run.json` says of a run: the model, what it starts from, and what it is judged on."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dancecli.model.config import amp_dtype, drops
from dancecli.model.evaluate import views_record
from dancecli.model.flops import cost_of_view
from dancecli.model.pipelines import frame_sampler
from dancecli.model.plan import Plan
from dancecli.model.splitdata import SplitData
from dancecli.model.weights import StartWeights
from dancecli.storage import runs as rec

if TYPE_CHECKING:
    from dancecli.model.job import Job


def begun_record(plan: Plan, job: Job) -> dict[str, Any]:
    """The run's record as it begins."""
    recipe, data = plan.recipe, plan.data
    return {
        "schema": rec.SCHEMA,
        "name": plan.name,
        **({"group": plan.settings.group} if plan.settings.group else {}),
        "status": rec.RUNNING,
        "created_utc": rec.now_utc(),
        "finished_utc": None,
        "command": list(sys.argv),
        "model": {
            "pretrain": plan.entry.name,
            "title": plan.entry.title,
            "backbone": plan.base.model["backbone"]["type"],
            "frozen_stages": recipe.frozen_stages,
            "flow": plan.base.flow or None,
            "params_total": None,
            "params_trainable": None,
            **cost_of_view(plan.entry, job.config["model"], plan.base, recipe),
        },
        "weights": weights_record(job.start),
        "split": split_record(data),
        "labels": list(data.labels),
        "views": views_record(recipe, frame_sampler(plan.base, recipe), plan.cached),
        "optim": {
            "epochs": recipe.epochs,
            "lr": recipe.scaled_lr(),
            "optimizer": recipe.optimizer,
            "schedule": recipe.schedule,
            "batch_size": recipe.batch,
            "dropout": recipe.dropout if drops(plan.base.model["cls_head"]) else None,
            "momentum": recipe.momentum if recipe.optimizer == "sgd" else None,
            "weight_decay": recipe.weight_decay,
            "accumulate": recipe.accumulate,
            "label_smoothing": recipe.label_smoothing,
            "class_weights": recipe.class_weights,
            "ema": recipe.ema or None,
            "amp": amp_dtype(recipe, job.gpu),
            "patience": recipe.patience or None,
            "processes": plan.settings.processes,
        },
        "seed": plan.settings.seed,
        "cache": {
            "used": plan.cached,
            "stage": recipe.frozen_stages if plan.cached else None,
            "dtype": job.dtype if plan.cached else None,
        },
        "recipe": asdict(recipe),
        "settings": asdict(plan.settings),
        "versions": rec.versions(),
        "seconds": {},
        "results": {"val": None, "test": None},
    }


def split_record(data: SplitData) -> dict[str, Any]:
    """Say in `run.json` what a run is judged on."""
    return {
        "name": data.name,
        "hash": data.meta["split.hash"],
        "seed": int(data.meta["split.seed"]) if data.meta["split.seed"] else None,
        "ratios": data.meta["split.ratios"],
        "flags": data.meta.get("split.flags", ""),
        "counts": data.counts,
        "test_hash": data.test_hash,
    }


def weights_record(start: StartWeights | None) -> dict[str, Any] | None:
    """Say in `run.json` which weights a run starts from."""
    if start is None:
        return None
    return {
        "name": start.name,
        "source": start.source,
        "sha256": start.sha256,
        "matched_keys": start.matched,
        "total_keys": start.total,
    }
