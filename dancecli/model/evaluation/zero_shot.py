"""The zero-shot baseline by class names: a model of the Hub that was trained on pictures and words."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from dancecli.core.errors import UsageError
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.recipe import read_recipe
from dancecli.core.records import Subset
from dancecli.model.dataloading.pipelines import frame_sampler
from dancecli.model.dataloading.split_data import load_split, split_record
from dancecli.model.evaluation.scored_runs import (
    find_existing,
    new_run,
    score_subsets,
    write_evaluation_run,
)
from dancecli.model.networks.base import at_its_size, model_base
from dancecli.model.networks.zoo import find_entry
from dancecli.model.training.config import DataPlan, build_config
from dancecli.model.training.scoring import views_record
from dancecli.storage import runs as rec
from dancecli.storage.runs import RunResult
from dancecli.storage.workspace import Workspace

ZERO_SHOT = "zero-shot"


@dataclass(frozen=True)
class ZeroShotSettings:
    """Which split to evaluate with which model of the Hub.

    Attributes:
        pretrain: `hf:REPO@REVISION`.
        prompts: file that puts labels into words; None for the built-in one.
        split: its name; None for the latest.
        num_clips: views of a clip in time that are averaged.
        name: of the new run; None gives `zero-shot-<split>-<n>`.
    """

    pretrain: str
    prompts: Path | None = None
    split: str | None = None
    num_clips: int | None = None
    name: str | None = None


def zero_shot(
    workspace: Workspace, settings: ZeroShotSettings, reporter: Reporter = SILENT, *, dry_run: bool = False
) -> RunResult:
    """Score the val and test clips of a split by the names of its labels, without training.

    Args:
        workspace: where the split is and the run goes.
        settings: what to evaluate.
        reporter: in clips.
        dry_run: only plan; the result's record describes what would be evaluated.

    Raises:
        UsageError: the model is not one of the Hub.
        InputError: the file of prompts is invalid.
        ModelError: the model knows no texts, or is unavailable.
        WorkspaceError: there is no such split, or the name is taken.
    """
    began, created = time.monotonic(), rec.now_utc()
    entry = find_entry(settings.pretrain)
    if entry.hub is None:
        raise UsageError(f"{entry.name} knows no texts", "name a CLIP, SigLIP or X-CLIP: --pretrain hf:...")
    from dancecli.model.networks.build import MODELS
    from dancecli.model.networks.hub.model import file_hashes
    from dancecli.model.networks.hub.repository import fetch_weights
    from dancecli.model.networks.hub.zero_shot import PROMPTS, read_prompts, text_matcher
    from dancecli.model.networks.mmaction import MMLogger, get_device, init_default_scope, silence

    data = load_split(workspace, settings.split)
    prompts = read_prompts(settings.prompts or PROMPTS, data.labels)
    recipe = read_recipe("default").with_changes(freeze="none", num_clips=settings.num_clips)
    base, recipe = model_base(entry), at_its_size(entry, recipe)
    views = {**views_record(recipe, frame_sampler(base, recipe), cached=False), "train": None}
    weights = fetch_weights(entry.hub.repository)
    evidence = {
        "on": ZERO_SHOT,
        "weights_sha256": weights.sha256,
        "split_hash": data.meta["split.hash"],
        "val_hash": data.val_hash,
        "test_hash": data.test_hash,
        "view_protocol": views["test"],
        "prompts": dict(zip(data.labels, prompts, strict=True)),
    }
    if there := find_existing(workspace, settings.name, "baseline", evidence):
        return there
    with new_run(workspace, settings.name, f"{ZERO_SHOT}-{data.name}", dry_run=dry_run) as name:
        told = f"prompts such as: {'; '.join(prompts[0])}"
        for note in (f"run {name}: {entry.title}, split {data.name}", *base.notes, told):
            reporter.message(note)
        if dry_run:
            return RunResult(name, evidence, (), fresh=True)
        reporter.progress(0, 1, "loading the model · a few seconds")
        plan = DataPlan(workspace.root, data.name, len(data.labels), bool(data.examples[Subset.VAL]))
        config = build_config(base, recipe, plan, None, 0, deterministic=False)
        init_default_scope("mmaction")
        silence(MMLogger.get_current_instance())
        model = MODELS.build(
            {
                **config["model"],
                "cls_head": {
                    "type": "ScoresHead",
                    "num_classes": len(data.labels),
                    "in_channels": 1,
                    "average_clips": "prob",
                },
            }
        )
        model.backbone = text_matcher(entry.hub, prompts)
        predictions = score_subsets(model.to(get_device()).eval(), config, data, reporter)
        facts = {
            "created_utc": created,
            "model": {
                "pretrain": ZERO_SHOT,
                "title": f"{entry.title}: zero-shot by the names of {len(data.labels)} labels",
                "base": entry.name,
                "backbone": "TextMatcher",
                "frozen_stages": None,
                "params_total": sum(p.numel() for p in model.parameters()),
                "params_trainable": 0,
            },
            "weights": {
                "name": entry.name,
                "source": entry.hub.repository.reference,
                "sha256": weights.sha256,
                "files": {**file_hashes(entry.hub), **weights.files},
            },
            "split": split_record(data),
            "labels": list(data.labels),
            "views": views,
            "baseline": evidence,
            "seconds": {"evaluate": round(time.monotonic() - began, 2)},
        }
        record = write_evaluation_run(workspace, name, facts, predictions)
    return RunResult(name, record, (), fresh=True)
