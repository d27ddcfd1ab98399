"""What a replay runs: splits, runs and their commands, and what they will cost."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import tomllib
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

from dancecli import manifest
from dancecli.errors import WorkspaceError
from dancecli.model.recipe import RECIPES, Recipe, read_recipe, recipe_names
from dancecli.model.zoo import read_zoo
from dancecli.report.paper import Experiment
from dancecli.schema import Part, PartName
from dancecli.workspace import Workspace

PUBLISHED, OURS = "published", "ours"
# Of the training clips of a split; by source video, so a little more.
VAL_SHARE = 0.1
LARGEST = 1500
# One backbone whose weights come as a package, small frames: the experiments' shape, not their size.
QUICK_PRETRAIN = "inception"
QUICK_VIEW: dict[str, Any] = {"clip_len": 8, "frame_interval": 4, "short_side": 128, "crop": 112, "views": 1}
# The share of a residual network's work that lies in its last stage, forward and backward.
_LAST_STAGE = 0.5
_STORED_VIEWS = 2
_START_S = 12.0


@dataclass(frozen=True)
class Trial:
    """One experiment under one protocol, as it will be run here.

    Attributes:
        protocol: `published` or `ours`.
        pretrain, recipe: as they are given to `dance finetune`.
        split, base_split: the split, and the one without a validation part that it was made from.
        size: clips of the split; 0 for all.
        status: of the run: empty if there is none, else as its record says.
    """

    experiment: Experiment
    protocol: str
    pretrain: str
    recipe: str
    split: str
    base_split: str
    size: int
    run: str
    status: str = ""


def plan_trials(
    workspace: Workspace, experiments: Sequence[Experiment], *, quick: bool, clips: int
) -> tuple[list[Trial], dict[str, str]]:
    """List what will be run, and for each experiment that will not be, why.

    Args:
        workspace: where.
        experiments: the paper's.
        quick: small, on the demo's dancers.
        clips: how many there are.
    """
    known = set(recipe_names())
    trials: list[Trial] = []
    left_out = {}
    for one in experiments:
        if one.recipe not in known:
            left_out[one.name] = f"there is no recipe {one.recipe} yet"
        elif one.part != PartName.TEST:
            left_out[one.name] = "its figures are of a validation part; dance train and dance tune repeat it"
        elif one.subset > clips and not quick:
            left_out[one.name] = f"it takes {one.subset:,} clips, and there are {clips:,}"
        else:
            trials += [_trial(workspace, one, protocol, quick, clips) for protocol in (PUBLISHED, OURS)]
    return trials, left_out


def _trial(workspace: Workspace, one: Experiment, protocol: str, quick: bool, clips: int) -> Trial:
    kind = "quick" if quick else "paper"
    base = f"{kind}-{one.subset or 'all'}"
    recipe = _near(quick_recipe(workspace, one.recipe)) if quick else one.recipe
    trial = Trial(
        experiment=one,
        protocol=protocol,
        pretrain=QUICK_PRETRAIN if quick else one.pretrain,
        recipe=recipe,
        split=base if protocol == PUBLISHED else f"{base}-val",
        base_split=base,
        size=round(clips * one.subset / LARGEST) if quick else one.subset,
        run=f"{kind}-{one.name}-{protocol}",
    )
    return replace(trial, status=_status(workspace, trial))


def _status(workspace: Workspace, trial: Trial) -> str:
    """Read how far the trial's run is.

    Raises:
        WorkspaceError: a run of that name was made on another split or by another recipe.
    """
    path = workspace.run(trial.run) / "run.json"
    if not path.exists():
        return ""
    record = json.loads(path.read_text(encoding="utf-8"))
    split = workspace.split(trial.split)
    hint = f"remove {path.parent}, or replay in another workspace"
    if not split.exists() or manifest.read_meta(split)["split.hash"] != record["split"]["hash"]:
        raise WorkspaceError(f"run {trial.run!r} was made on another split than {trial.split!r} is now", hint)
    source = RECIPES / f"{trial.experiment.recipe}.toml"
    asked = tomllib.loads(source.read_text(encoding="utf-8"))
    if trial.split.startswith("quick-"):
        asked |= QUICK_VIEW
    for key, value in asked.items():
        if key != "description" and record["recipe"].get(key) != value:
            was = record["recipe"].get(key)
            raise WorkspaceError(
                f"run {trial.run!r} was made with {key} {was}, and the recipe has {value}", hint
            )
    return str(record["status"])


def quick_recipe(workspace: Workspace, name: str) -> Path:
    """Where the small form of a recipe lies."""
    return workspace.root / "replay" / f"{name}.toml"


def write_quick_recipe(workspace: Workspace, name: str) -> None:
    """Write a recipe with small frames and few of them, all else as it is."""
    text = (RECIPES / f"{name}.toml").read_text(encoding="utf-8")
    kept = [line for line in text.splitlines() if line.partition("=")[0].strip() not in QUICK_VIEW]
    with manifest.atomic_file(quick_recipe(workspace, name)) as file:
        file.write("\n".join([*kept, *(f"{key} = {value}" for key, value in QUICK_VIEW.items())]) + "\n")


def lock_with_val(workspace: Workspace, split: str) -> Path:
    """Where the lock of a split's form with a validation part lies."""
    return workspace.root / "replay" / f"{split}-val.lock.csv"


def write_lock_with_val(workspace: Workspace, split: str) -> None:
    """Set a tenth of the training clips apart as a validation part; the test part stays as it is.

    Whole source videos go, in the order of a hash of their names: the same on any machine.
    """
    rows = manifest.read(workspace.split(split), Part)
    train = [row for row in rows if row.part == PartName.TRAIN]
    sizes: dict[str, int] = {}
    for row in train:
        sizes[row.group] = sizes.get(row.group, 0) + 1
    chosen: set[str] = set()
    for group in sorted(sizes, key=lambda name: hashlib.sha256(f"replay val {name}".encode()).digest()):
        if sum(sizes[name] for name in chosen) >= VAL_SHARE * len(train):
            break
        chosen.add(group)
    with manifest.atomic_file(lock_with_val(workspace, split)) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(Part))
        for row in rows:
            moves = row.part == PartName.TRAIN and row.group in chosen
            writer.writerow(astuple(replace(row, part=PartName.VAL.value) if moves else row))


def split_command(workspace: Workspace, trial: Trial) -> tuple[str, ...]:
    """The command that makes the trial's split."""
    if trial.protocol == OURS:
        lock = _near(lock_with_val(workspace, trial.base_split))
        return ("split", *at(workspace), "--lock", lock, "--name", trial.split)
    subset = ("--subset", str(trial.size)) if trial.size else ()
    return ("split", *at(workspace), *subset, "--ratios", trial.experiment.ratios, "--name", trial.split)


def finetune_command(workspace: Workspace, trial: Trial) -> tuple[str, ...]:
    """The command that makes the trial's run, or goes on with it."""
    if trial.status:
        return ("finetune", *at(workspace), "--resume", "--name", trial.run)
    named = ("--pretrain", trial.pretrain, "--split", trial.split, "--recipe", trial.recipe)
    return ("finetune", *at(workspace), *named, "--name", trial.run)


def work(trials: Sequence[Trial], clips: int) -> float:
    """Estimate what the runs that are not done will compute, in 10^9 multiply-adds.

    What two of them share (the frozen part over the same clips) is counted once.
    """
    total, shared = 0.0, set()
    for trial in trials:
        if trial.status == "done":
            continue
        recipe = read_recipe(trial.experiment.recipe)
        if trial.split.startswith("quick-"):
            recipe = replace(recipe, **QUICK_VIEW)
        one = _gflops(trial, recipe)
        size = trial.size or clips
        views = recipe.views or _STORED_VIEWS
        frozen = (trial.pretrain, recipe.freeze, size, views)
        if recipe.frozen_stages >= 3:
            total += 0 if frozen in shared else one * size * views
            total += one * size * recipe.epochs * _LAST_STAGE * (recipe.frozen_stages == 3)
            shared.add(frozen)
        else:
            total += one * size * (3 * recipe.epochs + 1)
    return total


def seconds(trials: Sequence[Trial], clips: int, gflops_per_s: float) -> float:
    """Estimate how long the runs that are not done will take."""
    open_ones = sum(trial.status != "done" for trial in trials)
    return work(trials, clips) / gflops_per_s + _START_S * open_ones


def _gflops(trial: Trial, recipe: Recipe) -> float:
    """One view of a model of the zoo, whose figures are for 224 pixels and its own number of frames."""
    entry = read_zoo()[trial.pretrain]
    own = 32 if entry.config else 64
    return entry.gflops * (recipe.clip_len or own) / own * (recipe.crop / 224) ** 2


def measured_pace() -> float:
    """Time a 3-D convolution here: 10^9 multiply-adds a second that a network can hope for."""
    import time

    import torch

    place = "cuda" if torch.cuda.is_available() else "cpu"
    x = torch.zeros(1, 64, 8, 56, 56, device=place)
    layer = torch.nn.Conv3d(64, 64, 3, padding=1, device=place)
    best = float("inf")
    with torch.inference_mode():
        for _ in range(3):
            began = time.perf_counter()
            float(layer(x).sum())  # waits for the device
            best = min(best, time.perf_counter() - began)
    # Decoding, small layers and waiting for memory take about half of what remains.
    return 0.5 * 64 * 64 * 27 * 8 * 56 * 56 / 1e9 / best


def at(workspace: Workspace) -> tuple[str, str]:
    """The flag that names the workspace."""
    return "--workspace", _near(workspace.root)


def _near(path: Path) -> str:
    """Write a path as a user here would: relative where that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)
