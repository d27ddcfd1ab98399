"""What the clips of a run say of a new clip: its set of styles, and whether it is of none.

The guarantee is for clips like those of val, seen as in evaluation: a set of level 0.9 holds the style of a
clip of a new group (source video, dancer) with a probability of at least 0.9, whatever the model is. The rate
of false alarms of unknown clips is calibrated on val and, by cross-validation, on train. Of other clips, and
of windows of a long video that are not like the training clips, nothing is promised.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import UsageError, WorkspaceError
from dancecli.core.records import Prediction, SplitClip, Subset
from dancecli.core.statistics.calibration import (
    group_threshold,
    groups_needed,
    percent_possible,
    set_threshold,
    tempered,
)
from dancecli.core.text import pluralize
from dancecli.storage import tables
from dancecli.storage.runs import RunFolder
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    from dancecli.model.networks.heads.unknown import AnyDetector

# Decimals of a probability and of a distance in a result.
DIGITS = 6


@dataclass(frozen=True)
class Calibration:
    """How the scores of a clip are read.

    Attributes:
        temperature: applied to the probabilities; 1 where the head has its own already.
        level: of the sets; None without sets.
        least: the least probability of a style in a set.
        rate: of false alarms of unknown clips; None where none is called unknown.
        farthest: the largest distance of a clip of a known style.
        detector: gives the distance.
        sets_by: numbers of clips and groups of val by which sets were calibrated.
        unknown_by: numbers of clips and groups of train and val by which unknown clips are told.
    """

    temperature: float = 1.0
    level: float | None = None
    least: float = 0.0
    rate: float | None = None
    farthest: float = 0.0
    detector: AnyDetector | None = None
    sets_by: Mapping[str, int] = field(default_factory=dict)
    unknown_by: Mapping[str, int] = field(default_factory=dict)

    @property
    def record(self) -> dict[str, Any]:
        """What the result says of it."""
        return {
            "temperature": self.temperature,
            "sets": None
            if self.level is None
            else {"level": self.level, "least_probability": self.least, **self.sets_by},
            "unknown": None
            if self.rate is None
            else {"rate": self.rate, "farthest": self.farthest, **self.unknown_by},
        }


# How a run gets more validation clips: a small val is trained on unless it is to be held out.
_LARGER_VAL = (
    "for a larger val both steps are needed: dance split --ratios 60/20/20, then dance finetune "
    "--set validation=held-out"
)
# Scores as the network gives them.
UNCALIBRATED = Calibration()


def calibrate(
    workspace: Workspace, run: str | None, record: Mapping[str, Any], level: float | None, rate: float | None
) -> Calibration:
    """Read the calibration of a run from its scores of val.

    Args:
        workspace: of the run, and of its split, which says the groups.
        run: its name; None for a checkpoint without a run, which has no val.
        record: its `run.json`; empty without a run.
        level: of the sets; None for no sets.
        rate: of false alarms; None to call no clip unknown.

    Raises:
        UsageError: a level or rate is not between 0 and 1.
        WorkspaceError: val has too few groups, its split has changed, or the run has stored no distances.
    """
    temperature = float((record.get("calibration") or {}).get("temperature", 1.0))
    if level is None and rate is None:
        return Calibration(temperature)
    for name, value in (("--sets", level), ("--unknown", rate)):
        if value is not None and not 0 < value < 1:
            raise UsageError(f"{name} {value:g} is not between 0 and 1", "such as --sets 0.9, --unknown 0.05")
    if run is None:
        raise WorkspaceError(
            "a checkpoint alone has no validation clips to calibrate by", "name its run: --run NAME"
        )
    found = Calibration(temperature)
    if level is not None:
        found = _with_sets(found, workspace, run, level, _groups(workspace, run, record))
    if rate is not None:
        detector, distances, groups = _read_detector(workspace, run, record)
        _check_groups(f"run {run!r}", len(set(groups)), 1 - rate, "--unknown")
        limit = group_threshold(distances, groups, 1 - rate)
        assert limit is not None  # noqa: S101 - there are enough groups
        count = {"clips": len(distances), "groups": len(set(groups))}
        found = replace(found, rate=rate, farthest=round(limit, DIGITS), detector=detector, unknown_by=count)
    return found


def _with_sets(
    found: Calibration,
    workspace: Workspace,
    run: str,
    level: float,
    group_of: Mapping[str, str],
) -> Calibration:
    """Calibrate sets on the scores of val."""
    predictions = tables.read(RunFolder(workspace.run(run)).predictions, Prediction)
    rows = [row for row in predictions if row.subset == Subset.VAL]
    if not rows:
        raise WorkspaceError(
            f"run {run!r} kept no validation clips apart, by which sets could be calibrated",
            f"--sets {level:g} needs {pluralize(groups_needed(level), 'group')} in val; {_LARGER_VAL}",
        )
    groups = [group_of[row.clip_id] for row in rows]
    _check_groups(f"val of run {run!r}", len(set(groups)), level, "--sets")
    scores = [tempered(row.scores, found.temperature) for row in rows]
    least = set_threshold(scores, [row.label_index for row in rows], groups, level)
    assert least is not None  # noqa: S101 - there are enough groups
    count = {"clips": len(rows), "groups": len(set(groups))}
    return replace(found, level=level, least=least, sets_by=count)


def _check_groups(what: str, groups: int, level: float, option: str) -> None:
    needed, sets = groups_needed(level), option == "--sets"
    if groups < needed:
        percent = percent_possible(groups)
        least_or_most = (
            f"at most --sets {percent / 100:g}" if sets else f"at least --unknown {1 - percent / 100:g}"
        )
        possible = f"with {pluralize(groups, 'group')} {least_or_most}"
        raise WorkspaceError(
            f"{what} has {pluralize(groups, 'group')} (source videos) to calibrate by; {option} at "
            f"this level needs "
            f"{needed}",
            f"{possible}; {_LARGER_VAL if sets else 'for more, train on more source videos'}",
        )


def _groups(workspace: Workspace, run: str, record: Mapping[str, Any]) -> dict[str, str]:
    """Read the group of each clip from the split of a run."""
    name, digest = record["split"]["name"], record["split"]["hash"]
    path = workspace.split(name)
    if not path.exists() or tables.read_meta(path).get("split.hash") != digest:
        raise WorkspaceError(
            f"split {name!r} has changed since run {run!r}: the groups of its validation clips are not known",
            "train again on the split as it is",
        )
    return {row.clip_id: row.group for row in tables.read(path, SplitClip)}


def _read_detector(
    workspace: Workspace, run: str, record: Mapping[str, Any]
) -> tuple[AnyDetector, list[float], list[int]]:
    """Read the detector of a run, with the distances of clips that it was not fitted to and their groups."""
    from dancecli.model.networks.heads.unknown import NeighborDetector, detector_of_state
    from dancecli.model.networks.mmaction import read_checkpoint

    folder = RunFolder(workspace.run(run))
    path = folder.detector
    if not path.exists() and folder.trajectory_model.exists():
        raise WorkspaceError(
            f"run {run!r} has no distances by which unknown clips are told: it was trained without torch",
            "pip install torch, and train again: dance train --model idt --name NEW",
        )
    if not path.exists():
        raise WorkspaceError(
            f"run {run!r} has no distances by which unknown clips are told: only a run on cached features "
            "of a wholly frozen backbone, on poses or on trajectories has them",
            "train with --freeze 4, or again",
        )
    content = read_checkpoint(path)
    by_movement = bool((record.get("model") or {}).get("pose"))
    try:
        detector = detector_of_state(content["detector"])
        if isinstance(detector, NeighborDetector) == by_movement:
            return detector, content["distances"].tolist(), content["groups"].tolist()
    except LookupError:
        pass
    raise WorkspaceError(f"run {run!r} has distances of another version", "train again")
