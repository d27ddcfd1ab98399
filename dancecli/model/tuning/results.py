"""The files of a study: `study.json`, `trials.csv`, and the best trial as a recipe."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.recipe import Recipe
from dancecli.core.records import SplitClip, Subset
from dancecli.core.redaction import redact_command, redact_word
from dancecli.model.dataloading.split_data import subset_hash
from dancecli.storage import runs as rec
from dancecli.storage import tables
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    from dancecli.model.tuning.plan import TunePlan
    from dancecli.model.tuning.study import TrialRow
    from dancecli.model.tuning.trial import Trainer


@dataclass(frozen=True)
class StudyFolder:
    """The paths of one study's results."""

    root: Path

    @property
    def record(self) -> Path:
        """`study.json`."""
        return self.root / "study.json"

    @property
    def table(self) -> Path:
        """All trials, one line each."""
        return self.root / "trials.csv"

    @property
    def best(self) -> Path:
        """The best trial, as a recipe."""
        return self.root / "best.toml"


def study_record(workspace: Workspace, plan: TunePlan, trainer: Trainer) -> dict[str, Any]:
    """Build the part of `study.json` that does not depend on the trials."""
    from dancecli.model.dataloading.pipelines import frame_sampler
    from dancecli.model.training.scoring import views_record
    from dancecli.model.tuning.sampler import SAMPLING
    from dancecli.model.tuning.storage import PRUNING

    base, data = plan.base, plan.base.data
    val = data.examples[Subset.VAL]
    group = {part.clip_id: part.group for part in tables.read(workspace.split(data.name), SplitClip)}
    return {
        "schema": rec.SCHEMA,
        "name": plan.name,
        "status": rec.RUNNING,
        "updated_utc": "",
        "command": redact_command(sys.argv),
        "storage": redact_word(plan.settings.storage or f"studies/{workspace.study(plan.name).name}"),
        "model": {"pretrain": base.entry.name, "given": plan.settings.pretrain, "title": base.entry.title},
        "weights": {"given": plan.settings.weights, "sha256": trainer.weights_sha256},
        "split": {"name": data.name, "hash": data.meta["split.hash"], "counts": data.counts},
        "classes": len(data.labels),
        "view": views_record(base.recipe, frame_sampler(base.base, base.recipe), base.cached)["test"],
        "flow_method": plan.settings.flow_method if base.base.flow else None,
        "seed": plan.settings.seed,
        "wanted": plan.settings.trials,
        "epochs": base.recipe.epochs,
        "solved_by_default": plan.solved_by_default,
        "recipe": {**asdict(base.recipe), "lr": base.recipe.scaled_lr(), "name": plan.settings.recipe},
        "space": plan.space.table(),
        "sampling": SAMPLING,
        "pruning": PRUNING,
        "trained": {
            "batched": trainer.batched,
            "sequential": plan.sequential,
            "batch": base.recipe.batch,
        },
        "versions": rec.versions(),
        "val": {
            "n": len(val),
            "hash": subset_hash(val, data.labels),
            "clips": [example.clip_id for example in val],
            "groups": [group[example.clip_id] for example in val],
        },
    }


def trial_records(rows: Sequence[TrialRow], n: int) -> list[dict[str, Any]]:
    """Build the trials of `study.json`; `n` is the number of validation clips."""
    found = []
    for row in rows:
        result = row.result
        found.append(
            {
                "number": row.number,
                "state": row.state,
                "baseline": row.baseline,
                "params": dict(row.params),
                "val": {"n": n, "top1": round(result["top1"] * n)} if result else None,
                "loss": result.get("loss"),
                "epoch": result.get("epoch"),
                "epochs": result.get("epochs"),
                "seconds": result.get("seconds"),
                "curve": list(row.curve),
                "right": result.get("right", ""),
                "note": row.note,
            }
        )
    return found


def best_trial(trials: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Choose among completed trials: most correct clips, then the lower loss, then the earlier."""
    done = [trial for trial in trials if trial["state"] == "done"]
    return min(done, key=lambda t: (-t["val"]["top1"], t["loss"], t["number"]), default=None)


def write_study(folder: StudyFolder, record: Mapping[str, Any], best: Recipe | None) -> None:
    """Write the files, each atomically."""
    if best is not None:
        with atomic_file(folder.best) as file:
            file.write(recipe_text(best, record["space"]))
    keys = list(record["space"])
    with atomic_file(folder.table) as file:
        writer = csv.writer(file, lineterminator="\n")
        outcome = ("val_right", "val_n", "val_top1", "val_loss", "epoch", "epochs", "seconds", "note")
        writer.writerow(["trial", "state", "baseline", *keys, *outcome])
        for trial in record["trials"]:
            val = trial["val"] or {}
            top1 = val["top1"] / val["n"] if val else None
            start = [trial["number"], trial["state"], "yes" if trial["baseline"] else ""]
            values = [trial["params"].get(key) for key in keys]
            evaluated = [val.get("top1"), val.get("n"), None if top1 is None else round(top1, 6)]
            rest = [trial[key] for key in ("loss", "epoch", "epochs", "seconds", "note")]
            writer.writerow([*start, *values, *evaluated, *rest])
    rec.write_study(folder.record, record)


def recipe_text(recipe: Recipe, always: Collection[str] = ()) -> str:
    """Write a recipe as TOML: keys that differ from their default, and the keys in `always`."""
    usual, lines = Recipe(), []
    for field in fields(Recipe):
        value = getattr(recipe, field.name)
        if value is not None and (field.name in always or value != getattr(usual, field.name)):
            plain = list(value) if isinstance(value, tuple) else value
            lines.append(f"{field.name} = {json.dumps(plain, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"
