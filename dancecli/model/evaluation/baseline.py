"""The zero-shot baseline: the Kinetics-400 classifier of a pre-trained network, without training.

Every label that is a class of Kinetics-400 has its weights in the pre-trained classifier; the others
are never predicted. Nothing is trained, so the accuracy is what any training has to beat.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from dancecli.core.errors import ModelError, UsageError
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.recipe import Recipe, read_recipe, recipe_names, recorded_recipe
from dancecli.core.records import Subset
from dancecli.model.dataloading.pipelines import frame_sampler
from dancecli.model.dataloading.split_data import SplitData, load_split, split_record
from dancecli.model.evaluation.scored_runs import (
    find_existing,
    new_run,
    score_subsets,
    write_evaluation_run,
)
from dancecli.model.networks.base import at_its_size, build_model_config, model_base
from dancecli.model.networks.head import (
    kinetics_labels,
    match_labels,
    pretrained_head,
    set_classifier_weights,
)
from dancecli.model.networks.weights import NO_WEIGHTS, resolve_weights, weights_record
from dancecli.model.networks.zoo import DEFAULT_PRETRAIN, find_entry
from dancecli.model.training.config import DataPlan, build_config
from dancecli.model.training.scoring import views_record
from dancecli.storage import runs as rec
from dancecli.storage.runs import RunResult
from dancecli.storage.workspace import Workspace

KINETICS400 = "kinetics400"
PRETRAIN = "kinetics400-baseline"


@dataclass(frozen=True)
class BaselineSettings:
    """Which split to evaluate with which network.

    Attributes:
        pretrain: a name of the zoo, or the path of an MMAction2 config.
        weights: None for the model's own, or a file with its head.
        split: its name; None for the latest.
        recipe: whose views it uses, by name or file, or a run that it is compared with.
        num_clips, num_crops: views of a clip that are averaged.
        name: of the new run; None gives `kinetics400-baseline-<split>-<n>`.
    """

    pretrain: str = DEFAULT_PRETRAIN
    weights: str | None = None
    split: str | None = None
    recipe: str = "default"
    num_clips: int | None = None
    num_crops: int | None = None
    name: str | None = None


@dataclass(frozen=True)
class Known:
    """Which labels of the split the network knows.

    Attributes:
        rows: our index to its class.
        classes: label of the split to name of the class.
        unknown: labels that it does not know.
        ceiling: for each subset, clips with a known label, of all clips: no more can be right.
    """

    rows: dict[int, int]
    classes: dict[str, str]
    unknown: tuple[str, ...]
    ceiling: dict[str, tuple[int, int]]


def baseline(
    workspace: Workspace,
    settings: BaselineSettings,
    reporter: Reporter = SILENT,
    *,
    dry_run: bool = False,
) -> RunResult:
    """Evaluate the pre-trained head, masked to the labels that it knows, on a split's val and test.

    Args:
        workspace: where the split is and the run goes.
        settings: what to evaluate.
        reporter: in clips.
        dry_run: only plan; the result's record describes what would be evaluated.

    Raises:
        ModelError: it knows none of the labels; or its weights are unavailable, unreadable, or not
            known to be in the order of Kinetics-400.
        UsageError: random weights, which know nothing; or a run without a recipe.
        WorkspaceError: there is no such split, or the name is taken.
    """
    began, created = time.monotonic(), rec.now_utc()
    if settings.weights == NO_WEIGHTS:
        raise UsageError("a baseline needs pre-trained weights", "omit --weights none")
    entry = find_entry(settings.pretrain)
    if entry.modality != "rgb":
        raise UsageError(f"{entry.name} has no classifier for Kinetics-400", "use a model of RGB frames")
    data = load_split(workspace, settings.split)
    known = find_known(data)
    recipe = _recipe_of(workspace, settings.recipe).with_changes(
        freeze="none", num_clips=settings.num_clips, num_crops=settings.num_crops
    )
    base, recipe = model_base(entry), at_its_size(entry, recipe)
    views = {**views_record(recipe, frame_sampler(base, recipe), cached=False), "train": None}
    from dancecli.model.networks.build import build_model, shapes_of
    from dancecli.model.networks.checkpoint import for_evaluation

    reporter.progress(0, 1, "loading the model · a few seconds")
    shapes = shapes_of(build_model_config(base, recipe, len(data.labels), None))
    start = resolve_weights(entry, settings.weights, shapes, reporter)
    assert start is not None  # noqa: S101 - for the type checker; only `none` gives none
    head = pretrained_head(entry, start)
    if head.labels != kinetics_labels():
        raise ModelError(
            f"{start.source}: its {len(head.labels)} classes are not those of Kinetics-400",
            "use weights trained on Kinetics-400",
        )
    evidence = _evidence(known, weights_record(start), data, views)
    if there := find_existing(workspace, settings.name, "baseline", evidence):
        return there
    with new_run(workspace, settings.name, f"{PRETRAIN}-{data.name}", dry_run=dry_run) as name:
        for note in (f"run {name}: {entry.title}, split {data.name}", *notes(known)):
            reporter.message(note)
        if dry_run:
            return RunResult(name, evidence, (), fresh=True)
        has_val = bool(data.examples[Subset.VAL])
        plan = DataPlan(workspace.root, data.name, len(data.labels), has_val)
        config = build_config(base, recipe, plan, start, 0, deterministic=False)
        model = build_model(config["model"], 0, config["load_from"])
        set_classifier_weights(model, known.rows, head, mask=True)
        predictions = score_subsets(for_evaluation(model), config, data, reporter)
        facts = {
            "created_utc": created,
            "model": {
                "pretrain": PRETRAIN,
                "title": f"{entry.title}: Kinetics-400 head, {len(known.rows)} of {len(data.labels)} labels",
                "base": entry.name,
                "backbone": base.model["backbone"]["type"],
                "frozen_stages": None,
                "params_total": sum(p.numel() for p in model.parameters()),
                "params_trainable": 0,
            },
            "weights": weights_record(start),
            "split": split_record(data),
            "labels": list(data.labels),
            "views": views,
            "baseline": evidence,
            "seconds": {"evaluate": round(time.monotonic() - began, 2)},
        }
        record = write_evaluation_run(workspace, name, facts, predictions)
    return RunResult(name, record, (), fresh=True)


def _recipe_of(workspace: Workspace, name: str) -> Recipe:
    """Read a recipe, or that of a run or a group of seeds with the changes that it was trained with."""
    if name in recipe_names():
        return read_recipe(name)
    # The runs of a group differ by their seed alone.
    run = name if name in workspace.runs() else next(iter(rec.runs_of_group(workspace, name)), None)
    if run is None:
        return read_recipe(name)
    found = rec.read_record(workspace, run).get("recipe")
    if not found:
        raise UsageError(f"run {run!r} has no recipe: it was not trained", "name the run that was trained")
    return recorded_recipe(found, rec.RunFolder(workspace.run(run)).record)


def find_known(data: SplitData) -> Known:
    """Find which labels of a split are classes of Kinetics-400.

    Raises:
        ModelError: none is.
    """
    theirs = kinetics_labels()
    rows = match_labels(data.labels, theirs)
    if not rows:
        raise ModelError(
            f"none of the {len(data.labels)} labels of split {data.name!r} is a class of Kinetics-400: "
            "the baseline cannot predict any of them",
            f"the labels are {', '.join(data.labels[:4])}, ...",
        )
    ceiling = {
        subset.value: (sum(e.label_index in rows for e in data.examples[subset]), len(data.examples[subset]))
        for subset in (Subset.VAL, Subset.TEST)
    }
    return Known(
        rows=rows,
        classes={data.labels[ours]: theirs[row] for ours, row in rows.items()},
        unknown=tuple(name for i, name in enumerate(data.labels) if i not in rows),
        ceiling=ceiling,
    )


def notes(known: Known) -> list[str]:
    """Report which labels the network does not know, and the accuracy that it can reach at most."""
    if not known.unknown:
        return ["all labels are classes of Kinetics-400"]
    k, n = known.ceiling[Subset.TEST.value]
    names = ", ".join(known.unknown)
    return [
        f"not classes of Kinetics-400, so never predicted: {names}",
        f"with these, at most {k}/{n} ({100 * k / n:.1f} %) of the test clips can be right",
    ]


def _evidence(
    known: Known, weights: dict[str, Any] | None, data: SplitData, views: dict[str, Any]
) -> dict[str, Any]:
    """All that the scores depend on, and what they can be at most."""
    return {
        "on": KINETICS400,
        "weights_sha256": (weights or {}).get("sha256"),
        "split_hash": data.meta["split.hash"],
        "val_hash": data.val_hash,
        "test_hash": data.test_hash,
        "view_protocol": views["test"],
        "classes": known.classes,
        "unknown": list(known.unknown),
        "ceiling": {subset: {"n": n, "top1": k} for subset, (k, n) in known.ceiling.items()},
    }
