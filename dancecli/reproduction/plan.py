"""What a reproduction runs: its trials, how far each of them is, and the commands that make them."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dancecli.core.errors import UsageError, WorkspaceError
from dancecli.core.hashing import keyed_order
from dancecli.core.recipe import RECIPES, Recipe, read_recipe, recipe_names
from dancecli.core.records import SplitClip, Subset
from dancecli.model.runs.two_stream_plan import IMAGENET, NONE
from dancecli.report.results.paper import Experiment
from dancecli.reproduction.quick import QUICK_PRETRAIN, WHOLE_CLIPS, quick_changes, quick_recipe
from dancecli.storage import tables
from dancecli.storage.lockfile import write_lock
from dancecli.storage.runs import RunFolder, read_record
from dancecli.storage.workspace import Workspace

PUBLISHED, OURS = "published", "ours"
# A run whose validation set gives the published figures, and its test set ours.
ONE_RUN = "both"
# `pretrain` of what `dance train --stream both` makes.
TWO_STREAM = "two-stream"
STREAMS = ("rgb", "flow")
FLOW_METHOD = "dis"
# Of the training clips of a split; by source video, so a little more.
VAL_SHARE = 0.1
LARGEST = 1500


@dataclass(frozen=True)
class Trial:
    """One experiment under one protocol, as it will be run here.

    Attributes:
        protocol: `published`, `ours`, or `both` where one run gives both.
        pretrain, recipe: as they are given to `dance finetune`; see `TWO_STREAM`.
        split, base_split: the split, and the one without a validation set that it was made from.
        size: clips of the split; 0 for all.
        init: of two streams, as `dance train --init` takes it.
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
    init: str = IMAGENET
    status: str = ""

    @property
    def quick(self) -> bool:
        """Whether it is small, on the demo's dancers."""
        return self.split.startswith("quick-")

    @property
    def two_stream(self) -> bool:
        """Whether it is of two networks, one of them on optical flow."""
        return self.pretrain == TWO_STREAM

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs that are trained for it."""
        return tuple(f"{self.run}-{stream}" for stream in STREAMS) if self.two_stream else (self.run,)


def plan_trials(
    workspace: Workspace,
    experiments: Sequence[Experiment],
    *,
    quick: bool,
    clips: int,
    only: Sequence[str] = (),
    init: str = IMAGENET,
) -> tuple[list[Trial], dict[str, str]]:
    """List what will be run, and for each experiment that will not be, why.

    Args:
        workspace: where.
        experiments: the paper's.
        quick: small, on the demo's dancers.
        clips: how many there are.
        only: names of experiments; the others stay out, unless they are done. None: all.
        init: of two streams; with another than the paper's the runs have other names.

    Raises:
        UsageError: a name is no experiment's.
        WorkspaceError: a run of that name was made on another split or by another recipe.
    """
    names = [one.name for one in experiments]
    if odd := [name for name in only if name not in names]:
        raise UsageError(f"the paper has no experiment {odd[0]!r}", f"there are: {', '.join(names)}")
    known = set(recipe_names())
    trials: list[Trial] = []
    left_out = {}
    for one in experiments:
        if one.recipe not in known:
            left_out[one.name] = f"there is no recipe {one.recipe} yet"
        elif one.size > clips and not quick:
            left_out[one.name] = f"it takes {one.size:,} clips, and there are {clips:,}"
        else:
            # A split with a validation set gives the figures of both from one run.
            protocols = (PUBLISHED, OURS) if one.subset == Subset.TEST else (ONE_RUN,)
            found = [_trial(workspace, one, protocol, quick, clips, init) for protocol in protocols]
            if only and one.name not in only and any(trial.status != "done" for trial in found):
                left_out[one.name] = "it was left out this time"
            else:
                trials += found
    return trials, left_out


def _trial(workspace: Workspace, one: Experiment, protocol: str, quick: bool, clips: int, init: str) -> Trial:
    kind = "quick" if quick else "paper"
    base = f"{kind}-{one.size or 'all'}"
    two_stream = one.pretrain == TWO_STREAM
    # The quick form is offline, and says so of all its runs.
    other = "-random-init" if two_stream and init == NONE and not quick else ""
    trial = Trial(
        experiment=one,
        protocol=protocol,
        pretrain=QUICK_PRETRAIN if quick and not two_stream else one.pretrain,
        recipe=near(quick_recipe(workspace, one.recipe)) if quick else one.recipe,
        split=f"{base}-val" if protocol == OURS else base,
        base_split=base,
        size=_small(one, clips) if quick else one.size,
        run=f"{kind}-{one.name}" + (f"-{protocol}" if protocol != ONE_RUN else "") + other,
        init=NONE if quick else init,
    )
    return replace(trial, status=_status(workspace, trial))


def _small(one: Experiment, clips: int) -> int:
    """Say how many clips an experiment takes in the quick form."""
    return round(clips * one.size / LARGEST) if one.size else min(clips, WHOLE_CLIPS)


def recipe_of(trial: Trial) -> Recipe:
    """Give the recipe that a trial is run by, whether or not its small form is written yet."""
    changes = quick_changes(trial.experiment.recipe) if trial.quick else {}
    found = replace(read_recipe(trial.experiment.recipe), **changes)
    found = found.with_set(trial.experiment.changes)
    # As `dance train` has it: nothing that starts at random is frozen, its averages least of all.
    return replace(found, norm_eval=False) if trial.two_stream else found


def _status(workspace: Workspace, trial: Trial) -> str:
    """Read how far the trial's run is.

    Raises:
        WorkspaceError: a run of that name was made on another split or by another recipe.
    """
    begun = [_record(workspace, run) for run in trial.runs]
    found = [record for record in begun if record]
    for record in found:
        _refuse_other(workspace, trial, record)
    if not found:
        return ""
    whole = _record(workspace, trial.run)
    if whole:
        return str(whole["status"])
    return "interrupted"


def _record(workspace: Workspace, run: str) -> dict[str, Any]:
    return read_record(workspace, run) if RunFolder(workspace.run(run)).record.exists() else {}


def _refuse_other(workspace: Workspace, trial: Trial, record: Mapping[str, Any]) -> None:
    name, split = record["name"], workspace.split(trial.split)
    hint = f"remove {workspace.run(name)}, or reproduce in another workspace"
    if not split.exists() or tables.read_meta(split)["split.hash"] != record["split"]["hash"]:
        raise WorkspaceError(f"run {name!r} was made on another split than {trial.split!r} is now", hint)
    asked, was = json.loads(json.dumps(asdict(recipe_of(trial)))), record["recipe"]
    for key in _stated(trial):
        if was.get(key) != asked[key]:
            raise WorkspaceError(
                f"run {name!r} was made with {key} {was.get(key)}, and the recipe has {asked[key]}", hint
            )


def _stated(trial: Trial) -> list[str]:
    """List the keys that the trial's recipe states; all others are as the tool has them."""
    source = RECIPES / f"{trial.experiment.recipe}.toml"
    keys = {**tomllib.loads(source.read_text(encoding="utf-8"))}
    keys |= quick_changes(trial.experiment.recipe) if trial.quick else {}
    changed = [change.partition("=")[0] for change in trial.experiment.changes]
    return [key for key in dict.fromkeys([*keys, *changed]) if key != "description"]


def lock_with_val(workspace: Workspace, split: str) -> Path:
    """Where the lock of a split's form with a validation set lies."""
    return workspace.root / "reproduction" / f"{split}-val.lock.csv"


def write_lock_with_val(workspace: Workspace, split: str) -> None:
    """Set a tenth of the training clips apart as a validation set; the test set stays as it is.

    Whole source videos go, in the order of a hash of their names: the same on any machine.
    """
    rows = tables.read(workspace.split(split), SplitClip)
    train = [row for row in rows if row.subset == Subset.TRAIN]
    sizes: dict[str, int] = {}
    for row in train:
        sizes[row.group] = sizes.get(row.group, 0) + 1
    chosen: set[str] = set()
    for group in keyed_order(sizes, str, seed=0, purpose="reproduction val"):
        if sum(sizes[name] for name in chosen) >= VAL_SHARE * len(train):
            break
        chosen.add(group)
    moved = [
        replace(row, subset=Subset.VAL.value) if row.subset == Subset.TRAIN and row.group in chosen else row
        for row in rows
    ]
    write_lock(lock_with_val(workspace, split), moved)


def split_command(workspace: Workspace, trial: Trial) -> tuple[str, ...]:
    """The command that makes the trial's split."""
    if trial.protocol == OURS:
        lock = near(lock_with_val(workspace, trial.base_split))
        return ("split", *at(workspace), "--lock", lock, "--name", trial.split)
    subset = ("--subset", str(trial.size)) if trial.size else ()
    return ("split", *at(workspace), *subset, "--ratios", trial.experiment.ratios, "--name", trial.split)


def flow_command(workspace: Workspace, trial: Trial) -> tuple[str, ...]:
    """The command that computes what the second stream sees."""
    return ("flow", *at(workspace), "--method", FLOW_METHOD, "--split", trial.split)


def train_command(workspace: Workspace, trial: Trial) -> tuple[str, ...]:
    """The command that makes the trial's run, or resumes it."""
    command = "train" if trial.two_stream else "finetune"
    if trial.status:
        return (command, *at(workspace), "--resume", "--name", trial.run)
    what = ("--stream", "both", "--init", trial.init) if trial.two_stream else ("--pretrain", trial.pretrain)
    changes = [word for change in trial.experiment.changes for word in ("--set", change)]
    # What is over in a minute needs no estimate of its hours.
    short = ("--no-preflight",) if trial.quick and not trial.two_stream else ()
    named = (*what, "--split", trial.split, "--recipe", trial.recipe, *changes, *short)
    return (command, *at(workspace), *named, "--name", trial.run)


def report_command(workspace: Workspace, trial: Trial) -> tuple[str, ...]:
    """The command that draws the page of the trial's run."""
    return ("report", *at(workspace), "--run", trial.run)


def at(workspace: Workspace) -> tuple[str, str]:
    """The flag that names the workspace."""
    return "--workspace", near(workspace.root)


def near(path: Path) -> str:
    """Write a path as a user here would: relative where that is shorter."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)
