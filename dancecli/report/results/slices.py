"""Accuracy by slice, and at the levels of a hierarchy of its classes, such as families of dances."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dancecli.core.csv_files import read_csv
from dancecli.core.errors import InputError
from dancecli.report.results.attributes import Attributes
from dancecli.report.results.entries import Entry
from dancecli.report.statistics.metrics import predicted
from dancecli.report.statistics.significance import Accuracy, accuracy
from dancecli.report.statistics.slices import Slice, slice_accuracy


@dataclass(frozen=True)
class Level:
    """One level of a hierarchy: for each class, in the order of the labels, what it belongs to."""

    name: str
    parents: tuple[str, ...]


@dataclass(frozen=True)
class LevelAccuracy:
    """Accuracy at one level: a mistake within what a class belongs to counts as correct.

    Attributes:
        chance: of guessing among the classes with equal chance.
        members: for each parent, its recall: of the clips of its classes, those predicted as one of them.
    """

    name: str
    top1: Accuracy
    chance: float
    members: tuple[tuple[str, Accuracy], ...]


def read_hierarchy(path: Path, labels: Sequence[str]) -> tuple[Level, ...]:
    """Read a table with one row per class: a column `label`, and one column per level.

    Raises:
        InputError: a class has no row or several, or a cell is empty.
    """
    table = read_csv(path, "hierarchy of classes")
    names = [column for column in table.columns if column and column != "label"]
    if "label" not in table.columns or not names:
        raise InputError.at(
            path, 1, "is no hierarchy of classes: it needs a column label and one per level",
            "for example label,family in the first line",
        )  # fmt: skip
    rows: dict[str, dict[str, str]] = {}
    for row in table.rows:
        label = row.cells["label"]
        if label in rows:
            raise InputError.at(path, row.line, f"names the class {label!r} a second time")
        if label in labels and (empty := [name for name in names if not row.cells[name]]):
            raise InputError.at(path, row.line, f"the class {label!r} has no {empty[0]}")
        rows[label] = row.cells
    if missing := [label for label in labels if label not in rows]:
        raise InputError.at(
            path, None, f"lacks {len(missing)} of the {len(labels)} classes, the first is {missing[0]!r}",
            "add a row for each",
        )  # fmt: skip
    return tuple(Level(name, tuple(rows[label][name] for label in labels)) for name in names)


def level_accuracy(entry: Entry, subset: str, levels: Sequence[Level]) -> tuple[LevelAccuracy, ...]:
    """Give the accuracy at each level, by the parent of the predicted class."""
    import numpy as np

    truth, names = entry.first.subsets[subset].truth, np.array(entry.groups(subset), dtype=object)
    calls = np.stack([predicted(run.subsets[subset].scores, truth) for run in entry.runs])
    found = []
    for level in levels:
        parents = np.array(level.parents, dtype=object)
        hits = (parents[calls] == parents[truth]).astype(bool)
        sizes = Counter(level.parents)
        members = []
        for parent in dict.fromkeys(level.parents):
            inside = parents[truth] == parent
            if own := accuracy(hits[:, inside], names[inside].tolist()):
                members.append((parent, own))
        chance = float(np.mean([sizes[parent] / len(parents) for parent in parents[truth]]))
        if whole := accuracy(hits, names.tolist()):
            found.append(LevelAccuracy(level.name, whole, chance, tuple(members)))
    return tuple(found)


@dataclass(frozen=True)
class Sliced:
    """Slices and levels of each subset, and what was read of the files of attributes."""

    slices: Mapping[str, tuple[Slice, ...]] = field(default_factory=dict)
    levels: Mapping[str, tuple[LevelAccuracy, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


NOT_SLICED = Sliced()


def slice_entry(entry: Entry, attributes: Attributes, levels: Sequence[Level]) -> Sliced:
    """Compute the accuracy of every slice and level of each subset, of one run or the mean of several."""
    slices = {
        name: slice_accuracy(entry.flags(name), of.truth, entry.groups(name), attributes.of(of.clips))
        for name, of in entry.first.subsets.items()
    }
    by_level = {name: level_accuracy(entry, name, levels) for name in slices}
    return Sliced(slices, by_level if levels else {}, attributes.notes)
