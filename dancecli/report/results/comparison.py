"""How two runs, or two methods, on the same clips compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import DanceError, InputError
from dancecli.report.results.entries import Entry, hits, refuse_unlike
from dancecli.report.results.run_results import RunResults, read_run_results
from dancecli.report.statistics.clusters import join_groups
from dancecli.report.statistics.intervals import Proportion
from dancecli.report.statistics.metrics import confusion, predicted
from dancecli.report.statistics.significance import Accuracy, Paired, accuracy, compare, holm, wins_needed
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from dancecli.report.statistics.metrics import Ints
    from dancecli.report.statistics.significance import Flags

# What a run records of itself, and may be another's difference.
MADE_BY = ("model", "weights", "split", "views", "probe", "optim", "seed", "cache", "versions")

# What must be known of the controls of `dance evaluate --control`.
CAVEAT = (
    "Controls evaluate the one trained model on changed input, unlike all that it was trained on. What "
    "survives can be told from what is left. What is lost was needed, or the change itself put the model off."
)


@dataclass(frozen=True)
class ClassPair:
    """One class under both: their recalls, and the test of the difference.

    Attributes:
        only_first, only_second: clips that one alone got right; the mean over pairs of runs.
        p: by source video, adjusted for the number of classes.
    """

    index: int
    first: Accuracy
    second: Accuracy
    only_first: float
    only_second: float
    p: float


@dataclass(frozen=True)
class CellChange:
    """One cell of the confusion matrix under both: clips of class `true` that were predicted `called`.

    Attributes:
        first, second: how many; the mean over the runs of a method.
        n: clips of class `true`.
    """

    true: int
    called: int
    first: float
    second: float
    n: int

    @property
    def change(self) -> float:
        """How many more the second has, as a share of the class."""
        return (self.second - self.first) / self.n

    @property
    def better(self) -> bool:
        """Whether the second is better in this cell: more correct, or fewer mistakes."""
        return (self.change > 0) == (self.true == self.called)


@dataclass(frozen=True)
class MemberWorth:
    """What a member adds to an ensemble.

    Attributes:
        name: the run.
        weight: its share of the mean.
        alone: its own top-1 accuracy.
        paired: the ensemble without it (first) against the ensemble (second), on the same clips.
        p: of that test, adjusted for the number of members.
    """

    name: str
    weight: float
    alone: Accuracy
    paired: Paired
    p: float


@dataclass(frozen=True)
class Survival:
    """The share of what is above chance that survives: (under - chance) / (intact - chance).

    Attributes:
        low, high: its 95 % interval.
    """

    share: float
    low: float
    high: float


@dataclass(frozen=True)
class Controlled:
    """A model's accuracy under a control.

    Attributes:
        control: its name.
        sees, lacks: what the model sees under it, and what it is without.
        under: under the control.
        intact: of the same clips as they are.
        chance: what guessing gives.
        paired: under the control (first) against as they are (second), clip by clip.
        survival: None where the intact accuracy is not above chance by its own interval.
        p: of the paired test, adjusted for the number of controls.
    """

    control: str
    sees: str
    lacks: str
    under: Proportion
    intact: Proportion
    chance: float
    paired: Paired
    survival: Survival | None
    p: float

    @property
    def at_chance(self) -> bool:
        """Whether chance is within the interval of the accuracy under the control."""
        found = self.under.estimate
        return found is not None and found.low <= self.chance <= found.high


@dataclass(frozen=True)
class Comparison:
    """Two entries on the same clips.

    Attributes:
        paired: the comparison of their top-1 accuracies.
        first, second: top-1 of each.
        needed: of the discordant clips, how many one run would have to win; None if there are too few
            of them for any verdict, or where several seeds are compared.
        classes: the classes that occur.
        cells: of the two confusion matrices those that differ, the largest change of a class's share first.
        made: how the runs differ: a name, and its value in each.
    """

    paired: Paired
    first: Accuracy
    second: Accuracy
    needed: int | None
    classes: tuple[ClassPair, ...]
    cells: tuple[CellChange, ...]
    made: tuple[tuple[str, str, str], ...]


def compare_entries(first: Entry, second: Entry, subset: str, *, across_views: bool = False) -> Comparison:
    """Compare two runs or methods; the other way round gives the same, mirrored.

    Clips count as one source video where the split of any of the runs groups them.

    Raises:
        InputError: the two share a run, or were not evaluated alike.
    """
    if shared := {r.run["name"] for r in first.runs} & {r.run["name"] for r in second.runs}:
        raise InputError(f"run {min(shared)!r} is in both {first.name!r} and {second.name!r}", "name two")
    refuse_unlike(first.first, second.first, subset, across_views=across_views)
    groups = join_groups(first.groups(subset), second.groups(subset))
    a, b = first.flags(subset), second.flags(subset)
    paired = compare(a, b, groups)
    single = len(a) == len(b) == 1
    own, other = accuracy(a, groups), accuracy(b, groups)
    assert own and other  # noqa: S101 - for the type checker; a subset has clips
    return Comparison(
        paired=paired,
        first=own,
        second=other,
        needed=wins_needed(round(paired.first + paired.second)) if single else None,
        classes=_classes(first.first.subsets[subset].truth, a, b, groups),
        cells=_cells(first, second, subset),
        made=tuple(_differences(first.first.run, second.first.run)),
    )


def verdict_of(first: str, second: str, paired: Paired) -> str:
    """State in a sentence whether one is better."""
    if not paired.shown:
        return "No significant difference"
    better = second if paired.difference > 0 else first
    return f"{better} is better by {100 * abs(paired.difference):.1f} points"


def _classes(truth: Ints, a: Flags, b: Flags, groups: Sequence[str]) -> tuple[ClassPair, ...]:
    found = []
    for index in sorted({int(i) for i in truth}):
        inside = (truth == index).nonzero()[0]
        mine, theirs, own = a[:, inside], b[:, inside], [groups[i] for i in inside]
        paired = compare(mine, theirs, own)
        rates = accuracy(mine, own), accuracy(theirs, own)
        assert rates[0] and rates[1]  # noqa: S101 - for the type checker; the class has clips
        found.append((index, rates[0], rates[1], paired))
    ps = holm([paired.p for *_, paired in found])
    return tuple(
        ClassPair(index, one, other, paired.first, paired.second, p)
        for (index, one, other, paired), p in zip(found, ps, strict=True)
    )


def _cells(first: Entry, second: Entry, subset: str) -> tuple[CellChange, ...]:
    import numpy as np

    classes = len(first.first.labels)

    def mean_counts(entry: Entry) -> npt.NDArray[np.float64]:
        found = []
        for run in entry.runs:
            of = run.subsets[subset]
            found.append(confusion(of.truth, predicted(of.scores, of.truth), classes))
        mean: npt.NDArray[np.float64] = np.mean(found, axis=0)
        return mean

    a, b = mean_counts(first), mean_counts(second)
    sums = a.sum(axis=1)
    cells = [
        CellChange(int(i), int(j), float(a[i, j]), float(b[i, j]), round(sums[i]))
        for i, j in np.argwhere(np.abs(a - b) > 1e-9)
    ]
    return tuple(sorted(cells, key=lambda c: (-abs(c.change), -c.n, c.true, c.called)))


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    ours, theirs = _flat(first), _flat(second)
    return [
        (key, ours.get(key, ""), theirs.get(key, ""))
        for key in dict.fromkeys([*ours, *theirs])
        if ours.get(key) != theirs.get(key)
    ]


def _flat(run: Mapping[str, Any]) -> dict[str, str]:
    """Lay a run's record out as one level of named texts, without what it did not record."""
    found = {}
    for group in MADE_BY:
        value = run.get(group)
        rows = value.items() if isinstance(value, Mapping) else [("", value)]
        for key, held in rows:
            if held in (None, ""):
                continue
            name = f"{group} {key}".strip().replace("_", " ")
            found[name] = f"{held:g}" if isinstance(held, float) else str(held)
    return found


def worth_of_members(workspace: Workspace, ensemble: RunResults, subset: str) -> tuple[MemberWorth, ...]:
    """Test what each member of an ensemble adds: the ensemble against itself without that member.

    Nothing for other runs, and where a member's run is gone or was evaluated again since.
    """
    model = ensemble.run.get("model") or {}
    names, evidence = model.get("members") or [], ensemble.run.get("members") or []
    if len(names) < 2 or len(names) != len(evidence):
        return ()
    try:
        runs = [read_run_results(workspace, name) for name in names]
    except DanceError:
        return ()
    whole = ensemble.subsets[subset]
    scores = [run.subsets[subset] for run in runs if subset in run.subsets]
    if len(scores) != len(runs) or any(one.clips != whole.clips for one in scores):
        return ()
    weights = model.get("member_weights") or [1 / len(names)] * len(names)
    found = []
    for i, name in enumerate(names):
        rest = sum(w * one.scores for j, (w, one) in enumerate(zip(weights, scores, strict=True)) if j != i)
        without = replace(whole, scores=rest / sum(w for j, w in enumerate(weights) if j != i))
        alone = accuracy(hits(scores[i])[None], whole.groups)
        if alone is None:
            return ()
        paired = compare(hits(without)[None], hits(whole)[None], whole.groups)
        found.append((name, weights[i], alone, paired))
    adjusted = holm([paired.p for _, _, _, paired in found])
    return tuple(MemberWorth(*one, p) for one, p in zip(found, adjusted, strict=True))
