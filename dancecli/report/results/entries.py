"""What is compared and ranked: a run, or a method, which is several runs that differ by their seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dancecli.core.errors import DanceError, InputError, WorkspaceError
from dancecli.core.records import Clip
from dancecli.core.text import pluralize
from dancecli.report.results.run_results import RunResults, SubsetScores, read_run_results
from dancecli.report.statistics.clusters import join_groups
from dancecli.report.statistics.metrics import true_ranks
from dancecli.report.statistics.protocols import comparable
from dancecli.storage import tables
from dancecli.storage.corrections import Field, current, read_corrections
from dancecli.storage.runs import runs_of_group
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    from dancecli.report.statistics.significance import Flags


@dataclass(frozen=True)
class Entry:
    """One run, or several that differ by their seed, evaluated on the same clips."""

    name: str
    runs: tuple[RunResults, ...]

    @property
    def first(self) -> RunResults:
        """The run that stands for what all of them have in common."""
        return self.runs[0]

    def flags(self, subset: str, k: int = 1) -> Flags:
        """Tell for each run and clip whether the true class ranks among the first k: runs x clips."""
        import numpy as np

        return np.stack([hits(run.subsets[subset], k) for run in self.runs])

    def groups(self, subset: str) -> tuple[str, ...]:
        """Give for each clip what it is grouped with, in the split of any of the runs."""
        return join_groups(*(run.subsets[subset].groups for run in self.runs))


def hits(of: SubsetScores, k: int = 1) -> Flags:
    """Tell for each clip whether its true class ranks among the first k; see `core.topk`."""
    flags: Flags = true_ranks(of.scores, of.truth) <= k
    return flags


def read_entry(workspace: Workspace, name: str, subset: str) -> tuple[Entry, list[str]]:
    """Read a run, or the runs of a group; give it with the runs that could not be read, and why.

    Raises:
        WorkspaceError: there is no such run or group, or fewer than two runs of it are finished.
        InputError: the runs of the group were not evaluated alike.
    """
    names = runs_of_group(workspace, name)
    if names and not (workspace.run(name) / "run.json").exists():
        found, left_out = read_group(workspace, name, names, subset)
        return Entry(name, tuple(found)), left_out
    return Entry(name, (read_run_results(workspace, name),)), []


def read_group(
    workspace: Workspace, group: str, names: Sequence[str], subset: str
) -> tuple[list[RunResults], list[str]]:
    """Read the runs of a group, and report which could not be read, with the reason.

    Raises:
        WorkspaceError: fewer than two of them are finished.
        InputError: they were not evaluated alike.
    """
    found, left_out = [], []
    for name in names:
        try:
            results = read_run_results(workspace, name)
        except DanceError as error:
            left_out.append(f"{name}: {error.message}")
        else:
            found.append(results)
    if len(found) < 2:
        why = f" ({left_out[0]})" if left_out else ""
        raise WorkspaceError(
            f"of the {len(names)} runs of {group!r}, {len(found)} can be read{why}",
            "finish them, or report on one: dance report --run RUN",
        )
    for other in found[1:]:
        refuse_unlike(found[0], other, subset)
    return found, left_out


def by_labels_in_force(
    workspace: Workspace, first: Entry, second: Entry, subset: str
) -> tuple[Entry, Entry, int]:
    """Score two entries by the labels in force, where corrections came between them.

    Returns:
        The two, and of how many clips the labels differed; 0 leaves them as they are.

    Raises:
        InputError: a clip's label in force is none of the entries' labels, or the clip is gone.
    """
    import numpy as np

    runs = (*first.runs, *second.runs)
    if any(subset not in run.subsets or run.labels != first.first.labels for run in runs):
        return first, second, 0
    clips = first.first.subsets[subset].clips
    if any(run.subsets[subset].clips != clips for run in runs):
        return first, second, 0
    truths = np.stack([run.subsets[subset].truth for run in runs])
    differing = int((truths != truths[0]).any(axis=0).sum())
    if not differing:
        return first, second, 0
    listed = dict(tables.read_columns(workspace.clips, Clip, ("clip_id", "label")))
    changes = current(read_corrections(workspace))
    now = [changes.get(clip, {}).get(Field.LABEL) or listed.get(clip, "") for clip in clips]
    index = {label: i for i, label in enumerate(first.first.labels)}
    if lost := [clip for clip, label in zip(clips, now, strict=True) if label not in index]:
        raise InputError(
            f"{first.name} and {second.name} have other labels of {pluralize(differing, 'clip')}, and "
            f"{lost[0]} has no label of theirs now",
            "train or evaluate both on one split",
        )
    truth = np.array([index[label] for label in now])

    def scored(entry: Entry) -> Entry:
        return Entry(
            entry.name,
            tuple(
                replace(run, subsets={**run.subsets, subset: replace(run.subsets[subset], truth=truth)})
                for run in entry.runs
            ),
        )

    return scored(first), scored(second), differing


def protocols_of(first: Entry, second: Entry) -> tuple[str, ...]:
    """Return the view protocol of two entries, or both if they differ."""
    return tuple(dict.fromkeys(e.first.predictions.get("view.protocol", "") for e in (first, second)))


def refuse_unlike(first: RunResults, second: RunResults, subset: str, *, across_views: bool = False) -> None:
    """Refuse two runs that were not evaluated alike.

    Args:
        first: a run.
        second: another.
        subset: the subset that both are evaluated on.
        across_views: let view protocols differ: what was seen is part of what is compared.

    Raises:
        InputError: the labels or the clips of the subset differ, or the view protocols of what both saw.
    """
    names = f"{first.run['name']} and {second.run['name']} cannot be compared"
    hint = "train or evaluate both on one split under one protocol"
    for results in (first, second):
        if subset not in results.subsets:
            raise InputError(f"{names}: {results.run['name']} has no predictions for subset {subset!r}", hint)
    if first.labels != second.labels:
        raise InputError(f"{names}: their labels differ", hint)
    ours, theirs = first.subsets[subset], second.subsets[subset]
    if ours.clips != theirs.clips or first.files[subset] != second.files[subset]:
        shared = len(set(ours.clips) & set(theirs.clips))
        raise InputError(
            f"{names}: their {subset} sets differ ({len(ours.clips)} and {len(theirs.clips)} clips, "
            f"{shared} in both, {_changed(first, second, subset)} of those with another file)",
            hint,
        )
    if relabeled := int((ours.truth != theirs.truth).sum()):
        raise InputError(f"{names}: the labels of {pluralize(relabeled, 'clip')} differ", hint)
    protocols = [results.predictions.get("view.protocol", "") for results in (first, second)]
    if not (across_views or comparable(*protocols)):
        raise InputError(
            f"{names}: one saw {protocols[0]!r}, the other {protocols[1]!r}",
            f"{hint}, or compare what they saw, too: dance compare --across-views",
        )


def _changed(first: RunResults, second: RunResults, subset: str) -> int:
    mine = dict(zip(first.subsets[subset].clips, first.files[subset], strict=True))
    theirs = dict(zip(second.subsets[subset].clips, second.files[subset], strict=True))
    return sum(mine[clip] != theirs[clip] for clip in mine.keys() & theirs.keys())
