"""`evaluate --run`: a run's weights with other views, or on another split's clips."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dancecli.core import hashing
from dancecli.core.errors import ModelError
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.recipe import PROBES, Recipe, recorded_recipe
from dancecli.core.records import Clip, SplitClip, Subset
from dancecli.model.dataloading.decoding.choice import AUTO, check_decoder, decoder_of, with_decoder
from dancecli.model.dataloading.pipelines import frame_sampler
from dancecli.model.dataloading.pose_data import with_input
from dancecli.model.dataloading.split_data import SplitData, clip_files, load_split, split_record
from dancecli.model.evaluation.parallel import EvaluatedNetwork, score_subsets_in_processes
from dancecli.model.evaluation.scored_runs import (
    find_existing,
    new_run,
    score_subsets,
    write_evaluation_run,
)
from dancecli.model.hardware.device import Device, current_device
from dancecli.model.networks.base import FRAMES, ModelBase, at_its_size, model_base
from dancecli.model.networks.checkpoint import build_network, open_checkpoint, run_checkpoint
from dancecli.model.networks.weights import read_whole, state_of
from dancecli.model.networks.zoo import find_entry
from dancecli.model.training.config import DataPlan, amp_dtype, build_config
from dancecli.model.training.scoring import views_record
from dancecli.storage import runs as rec
from dancecli.storage import tables
from dancecli.storage.runs import RunResult
from dancecli.storage.workspace import Workspace


@dataclass(frozen=True)
class EvaluateSettings:
    """Which weights to evaluate, on what, and how; None takes the run's own value.

    Attributes:
        run: whose weights; None for the latest run that has any.
        split: whose val and test clips to evaluate.
        num_clips, num_crops: views of a clip that are averaged.
        name: of the new run; None gives `<run>-eval-<n>`.
        processes: that share the clips; one per GPU, or on the CPU.
        decoder: of clips, see `decoding.choice`.
    """

    run: str | None = None
    split: str | None = None
    num_clips: int | None = None
    num_crops: int | None = None
    name: str | None = None
    processes: int = 1
    decoder: str = AUTO


@dataclass(frozen=True)
class TrainedRun:
    """A run's weights, and what they are to be evaluated on.

    Attributes:
        name: of the run.
        record: its `run.json`.
        checkpoint: the file with its weights.
        base, recipe: the model, and its views.
        data: the split.
    """

    name: str
    record: Mapping[str, Any]
    checkpoint: Path
    base: ModelBase
    recipe: Recipe
    data: SplitData

    @property
    def views(self) -> dict[str, Any]:
        """Its views, as in `run.json`."""
        return views_record(self.recipe, frame_sampler(self.base, self.recipe), cached=False)

    def config(self, workspace: Workspace, device: Device) -> dict[str, Any]:
        """Build a run's config, for its model and loaders."""
        data = self.data
        plan = DataPlan(workspace.root, data.name, len(data.labels), bool(data.examples[Subset.VAL]))
        config = build_config(self.base, self.recipe, plan, None, 0, deterministic=False, device=device)
        if self.recipe.head in PROBES:
            # The probe's head is in the checkpoint alone.
            config = {**config, "model": open_checkpoint(self.checkpoint).model}
        return config


def read_trained(
    workspace: Workspace,
    run: str | None,
    split: str | None = None,
    num_clips: int | None = None,
    num_crops: int | None = None,
) -> TrainedRun:
    """Read which weights a run left behind, for how they are evaluated; None takes the run's own value.

    Raises:
        WorkspaceError: there is no such run or split, or the run has no weights.
        ModelError: the run's labels are not the split's, or the split lacks what the model reads.
    """
    name, trained, path = run_checkpoint(workspace, run)
    data = load_split(workspace, split or trained["split"]["name"])
    refuse_other_labels(name, trained["labels"], data)
    recipe = recorded_recipe(trained["recipe"], rec.RunFolder(workspace.run(name)).record)
    recipe = recipe.with_changes(num_clips=num_clips, num_crops=num_crops)
    entry = find_entry(trained["settings"]["pretrain"])
    base, recipe = model_base(entry), at_its_size(entry, recipe)
    method, shown = trained["settings"]["flow_method"], trained["settings"].get("input", FRAMES)
    base, data = with_input(workspace, base, data, entry.modality, method, shown)
    return TrainedRun(name, trained, path, base, recipe, data)


def evaluate(
    workspace: Workspace,
    settings: EvaluateSettings,
    reporter: Reporter = SILENT,
    *,
    dry_run: bool = False,
) -> RunResult:
    """Evaluate a run's weights again, as a run of its own with `model.of_run`.

    Args:
        workspace: where the run and the split are.
        settings: what to evaluate, and how.
        reporter: in clips.
        dry_run: only plan; the result's record describes what would be evaluated.

    Raises:
        WorkspaceError: there is no such run or split, or the run has no weights.
        ModelError: the run's labels are not the split's, or its weights do not fit.
    """
    began, created = time.monotonic(), rec.now_utc()
    check_decoder(settings.decoder)
    of = read_trained(workspace, settings.run, settings.split, settings.num_clips, settings.num_crops)
    name, trained, path, data, recipe = of.name, of.record, of.checkpoint, of.data, of.recipe
    overlap = find_overlap(workspace, trained, data)
    for note in (f"run {name}, {path.name}, on split {data.name}", *overlap_notes(name, overlap)):
        reporter.message(note)
    views = {**of.views, "train": None}
    evidence = {
        "run": name,
        "checkpoint": path.name,
        "checkpoint_sha256": hashing.sha256_file(path),
        "split_hash": data.meta["split.hash"],
        "val_hash": data.val_hash,
        "test_hash": data.test_hash,
        "view_protocol": views["test"],
        "overlap": overlap,
        "trained": trained_on(workspace, trained),
    }
    if there := find_existing(workspace, settings.name, "evaluated", evidence):
        return there
    with new_run(workspace, settings.name, f"{name}-eval", dry_run=dry_run) as new:
        if dry_run:
            return RunResult(new, evidence, (), fresh=True)
        reporter.progress(0, 1, "loading the model · a few seconds")
        device = current_device()
        config, precision = of.config(workspace, device), amp_dtype(recipe, device)
        decoder = decoder_of(
            settings.decoder,
            device.gpu,
            config,
            lambda: clip_files(workspace, data.only_evaluated()),
            reporter,
        )
        config = with_decoder(config, decoder)
        if decoder.words:
            reporter.message(decoder.words)
        if settings.processes > 1:
            network = EvaluatedNetwork(config["model"], path, workspace.root / ".locks", precision)
            predictions = score_subsets_in_processes(
                workspace.root, network, config, data, settings.processes, reporter
            )
        else:
            model = build_network(config["model"], state_of(read_whole(path)), path)
            predictions = score_subsets(model, config, data, reporter, precision)
        facts = {
            "created_utc": created,
            "model": {**trained["model"], "of_run": name},
            "weights": trained["weights"],
            "split": split_record(data),
            "labels": trained["labels"],
            "views": views,
            **({"probe": trained["probe"]} if trained.get("probe") else {}),
            "optim": trained.get("optim"),
            "seed": trained.get("seed"),
            "decoder": decoder.record,
            "evaluated": evidence,
            "seconds": {"evaluate": round(time.monotonic() - began, 2)},
        }
        record = write_evaluation_run(workspace, new, facts, predictions)
    return RunResult(new, record, (), fresh=True)


def find_overlap(
    workspace: Workspace, trained: Mapping[str, Any], data: SplitData
) -> dict[str, dict[str, int]] | None:
    """Count the clips to be evaluated that share a source video, or a group, with clips that a run used.

    For test these are its training and validation clips: the latter chose the epoch. For val they
    are its training clips, with those of the validation subset that it was trained on.

    Returns:
        For each subset `clips` of `n`, from so many `videos`; None if the split that the run was
        trained on has changed or is gone.
    """
    video_of = dict(tables.read_columns(workspace.clips, Clip, ("clip_id", "video_id")))
    used = used_sources(workspace, trained, video_of)
    if used is None:
        return None
    group_of = {clip.clip_id: clip.group for clip in tables.read(workspace.split(data.name), SplitClip)}
    found = {}
    for subset, sources in used.items():
        ids = [example.clip_id for example in data.examples[subset]]
        shared = [clip for clip in ids if group_of[clip] in sources or video_of[clip] in sources]
        found[subset.value] = {
            "clips": len(shared),
            "n": len(ids),
            "videos": len({group_of[clip] for clip in shared}),
        }
    return found


def used_sources(
    workspace: Workspace, trained: Mapping[str, Any], video_of: Mapping[str, str]
) -> dict[Subset, set[str]] | None:
    """Name the source videos, and the groups, of the clips that a run used; see `find_overlap`.

    Args:
        workspace: where the run's split is.
        trained: the run's record.
        video_of: source video of each clip.

    Returns:
        What clips of val, and of test, may not be of; None if the split that the run was trained on has
        changed or is gone.
    """
    before = rec.split_of_run(workspace, trained)
    if before is None:
        return None
    both = (Subset.TRAIN, Subset.VAL)
    of_val = both if trained["split"].get("val_in_train") else (Subset.TRAIN,)
    found = {}
    for subset, used in ((Subset.VAL, of_val), (Subset.TEST, both)):
        # The checkpoint of a cross-validation is trained on all its clips.
        seen = [clip for clip in before if clip.subset in used or clip.folds]
        videos = {video_of.get(clip.clip_id, clip.clip_id) for clip in seen}
        found[subset] = videos | {clip.group for clip in seen}
    return found


def trained_on(workspace: Workspace, trained: Mapping[str, Any]) -> dict[str, Any]:
    """Record what a run was trained on and how, for the record of its evaluation on any split.

    Args:
        workspace: where the run's split is.
        trained: the run's record.

    Returns:
        `split` and `hash` of its split, `train_hash` of the clips as listed, `recipe_sha256` of all that
        seeds share, and `counts`, the training clips of each class in the order of the labels: without
        augmented ones, and None if the split has changed or is gone.
    """
    split, clips = trained["split"], rec.training_clips(workspace, trained)
    found = Counter(clip.label for clip in clips or ())
    recipe = {key: trained.get(key) for key in ("recipe", "cache")}
    return {
        "split": split["name"],
        "hash": split["hash"],
        "train_hash": split.get("train_hash"),
        "recipe_sha256": hashing.sha256_text(json.dumps(recipe, sort_keys=True)),
        "counts": None if clips is None else [found[label] for label in trained["labels"]],
    }


def overlap_notes(run: str, overlap: Mapping[str, Mapping[str, int]] | None) -> list[str]:
    """Warn of clips that the run has used, on which its accuracy is too high."""
    if overlap is None:
        return [
            f"warning: the split that run {run} was trained on has changed or is gone, "
            "so it is unknown whether it was trained on these clips"
        ]
    return [
        f"warning: {count['clips']} of {count['n']} {subset} clips are from videos that run {run} "
        f"was trained on{' or chose its epoch by' if subset == Subset.TEST else ''}: "
        "its accuracy there is too high"
        for subset, count in overlap.items()
        if count["clips"]
    ]


def refuse_other_labels(run: str, labels: list[str], data: SplitData) -> None:
    """Refuse a split with other labels than a run has, or in another order.

    Raises:
        ModelError: it has.
    """
    if list(data.labels) == labels:
        return
    if len(labels) != len(data.labels):
        what = f"run {run!r} has {len(labels)} labels, split {data.name!r} has {len(data.labels)}"
    else:
        i = next(i for i, pair in enumerate(zip(labels, data.labels, strict=True)) if pair[0] != pair[1])
        what = f"class {i} of run {run!r} is {labels[i]!r}, that of split {data.name!r} is {data.labels[i]!r}"
    raise ModelError(what, "evaluate a run on splits with the labels that it was trained on")
