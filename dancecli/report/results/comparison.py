"""How two runs on the same clips stand to each other, and when they cannot be held side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import InputError
from dancecli.report.results.run_results import RunResults, SubsetScores
from dancecli.report.statistics.intervals import Proportion
from dancecli.report.statistics.metrics import true_ranks
from dancecli.report.statistics.significance import Paired, holm, mcnemar, pair, wins_needed

if TYPE_CHECKING:
    from dancecli.report.statistics.significance import Flags

# What a run records of itself, and may be another's difference.
MADE_BY = ("model", "weights", "split", "views", "optim", "seed", "cache", "versions")


@dataclass(frozen=True)
class ClassPair:
    """One class under both models; `p` is McNemar's, adjusted for the number of classes."""

    index: int
    first: Proportion
    second: Proportion
    only_first: int
    only_second: int
    p: float


@dataclass(frozen=True)
class Comparison:
    """Two runs on the same clips.

    Attributes:
        paired: how the two stand to each other on top-1.
        first, second: top-1 of each.
        needed: of the clips classified differently, how many one run would have to win; None if
            there are too few of them for any verdict.
        classes: the classes that occur.
        made: how the runs differ: a name, and its value in each run.
    """

    paired: Paired
    first: Proportion
    second: Proportion
    needed: int | None
    classes: tuple[ClassPair, ...]
    made: tuple[tuple[str, str, str], ...]


def refuse_unlike(first: RunResults, second: RunResults, subset: str) -> None:
    """Refuse two runs that were not evaluated alike.

    Raises:
        InputError: the labels, the clips of the subset or the view protocol differ.
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
    protocols = [results.predictions.get("view.protocol", "") for results in (first, second)]
    if protocols[0] != protocols[1]:
        raise InputError(f"{names}: one saw {protocols[0]!r}, the other {protocols[1]!r}", hint)


def _changed(first: RunResults, second: RunResults, subset: str) -> int:
    mine = dict(zip(first.subsets[subset].clips, first.files[subset], strict=True))
    theirs = dict(zip(second.subsets[subset].clips, second.files[subset], strict=True))
    return sum(mine[clip] != theirs[clip] for clip in mine.keys() & theirs.keys())


def compared(first: RunResults, second: RunResults, subset: str) -> Comparison:
    """Work out how two runs, alike in what they were evaluated on, stand to each other."""
    ours = first.subsets[subset]
    a, b = right(ours), right(second.subsets[subset])
    paired = pair(a, b, ours.groups)
    n = len(ours.clips)
    return Comparison(
        paired=paired,
        first=Proportion(int(a.sum()), n),
        second=Proportion(int(b.sum()), n),
        needed=wins_needed(paired.first + paired.second),
        classes=_classes(ours, a, b),
        made=tuple(_differences(first.run, second.run)),
    )


def right(subset: SubsetScores) -> Flags:
    """Say for each clip whether its true class is first; ties count against the model."""
    flags: Flags = true_ranks(subset.scores, subset.truth) == 1
    return flags


def verdict_of(first: str, second: str, paired: Paired) -> str:
    """Say in a sentence whether one run is better."""
    if not paired.shown:
        return "No significant difference"
    better = second if paired.difference > 0 else first
    return f"{better} is better by {100 * abs(paired.difference):.1f} points"


def _classes(subset: SubsetScores, a: Flags, b: Flags) -> tuple[ClassPair, ...]:
    found = []
    for index in sorted({int(i) for i in subset.truth}):
        inside = subset.truth == index
        mine, theirs, n = a[inside], b[inside], int(inside.sum())
        only = int((mine & ~theirs).sum()), int((theirs & ~mine).sum())
        found.append((index, Proportion(int(mine.sum()), n), Proportion(int(theirs.sum()), n), *only))
    ps = holm([mcnemar(only_a, only_b) for *_, only_a, only_b in found])
    return tuple(ClassPair(*row, p) for row, p in zip(found, ps, strict=True))


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
