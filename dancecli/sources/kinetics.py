"""Annotation lists in every form in which Kinetics has been published.

CSV with the columns `label, youtube_id, time_start, time_end` (`split` and more may follow:
Kinetics-400, -600, -700, 700-2020 and the re-released test lists), or JSON
`{id: {"annotations": {"label", "segment": [s, e]}, "subset"}}`. Rows are read one by one and
only those with a wanted label are looked at, so that a list of 650,000 rows costs what the csv
module costs.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dancecli.core.errors import InputError
from dancecli.core.labels import LabelSet
from dancecli.core.records import Segment, clip_id_of

NEEDED = ("label", "youtube_id", "time_start", "time_end")
_SPLITS = {"train": "train", "val": "val", "validate": "val", "validation": "val", "test": "test", "": ""}
# Longer is a typing error, not a video: a day.
_LONGEST_S = 86_400
_SHOWN = 3


class UnlabelledError(InputError):
    """A list has everything but labels."""


@dataclass
class Listing:
    """What a set of lists holds for a label set.

    Attributes:
        segments: one a clip, in the order of the lists.
        num_wanted: rows read that have a label of the set.
        num_repeated: rows that say again what another one said.
        conflicts: clips listed under two labels, as sentences; the first label is kept.
        other_labels: rows with labels outside the set, counted by label.
    """

    segments: list[Segment]
    num_wanted: int = 0
    num_repeated: int = 0
    conflicts: list[str] = field(default_factory=list)
    other_labels: Counter[str] = field(default_factory=Counter)

    @property
    def num_rows(self) -> int:
        """Rows read, of all labels."""
        return self.num_wanted + self.other_labels.total()


@dataclass(frozen=True, slots=True)
class _Row:
    """One row, with its times as they came; `place` is its line, or what names it in JSON."""

    place: int | str
    label: str
    video_id: str
    start: object
    end: object
    split: str


def read_lists(paths: Iterable[Path], labels: LabelSet) -> Listing:
    """Read annotation files and keep the rows of a label set.

    Raises:
        InputError: a file is missing or in no known form, a wanted row is wrong (the message
            says where), or no row has a wanted label.
    """
    paths = list(paths)
    listing = Listing([])
    seen: dict[str, Segment] = {}
    for path in paths:
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                # The file's name may be in another encoding than UTF-8.
                name = path.stem.encode(errors="replace").decode()
                add_list(file, path, labels, listing, seen, dataset=name)
        except FileNotFoundError:
            raise InputError.at(path, None, "there is no such annotation file") from None
        except IsADirectoryError:
            raise InputError.at(path, None, "is a folder, not an annotation file") from None
    check_not_empty(listing, ", ".join(str(path) for path in paths), labels)
    return listing


def add_list(
    file: io.TextIOBase | Any,
    path: Path,
    labels: LabelSet,
    listing: Listing,
    seen: dict[str, Segment],
    dataset: str,
) -> None:
    """Add one open list to a listing.

    Args:
        file: its text, opened with `newline=""`.
        path: its name in messages; `.json` is read as JSON, all else as CSV.
        labels: the labels to keep.
        listing: what to add to.
        seen: the segments so far by clip id, shared between the lists of one listing.
        dataset: what its segments will say they come from.

    Raises:
        InputError: it is no such list, or not UTF-8.
    """
    try:
        rows = _json_rows if path.suffix.lower() == ".json" else _csv_rows
        for row in rows(file, path, frozenset(labels.names), listing.other_labels):
            listing.num_wanted += 1
            _take(row, path, listing, seen, dataset)
    except UnicodeDecodeError as error:
        what = f"is not UTF-8 text ({error.reason})"
        raise InputError.at(path, _first_foreign_line(path), what, "save it as UTF-8") from None


def _first_foreign_line(path: Path) -> int | None:
    """Find the first line that is not UTF-8; None where that cannot be told, as inside an archive."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        for row, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return row
    return None


def check_not_empty(listing: Listing, name: str, labels: LabelSet) -> None:
    """Refuse a listing without a segment, and say what the lists held instead.

    Raises:
        InputError: nothing is left.
    """
    if listing.segments:
        return
    if not listing.num_rows:
        raise InputError.at(name, None, "the list has no rows", "give a list that is not empty")
    common = ", ".join(f"{label!r} ({n})" for label, n in listing.other_labels.most_common(_SHOWN))
    raise InputError.at(
        name,
        None,
        f"none of its {listing.num_rows} rows has one of the {len(labels)} labels; it has {common}",
        "give the label file that belongs to it with --labels",
    )


def _take(row: _Row, path: Path, listing: Listing, seen: dict[str, Segment], dataset: str) -> None:
    segment = _segment(row, path, dataset)
    clip_id = segment.clip_id
    before = seen.get(clip_id)
    if before is None:
        seen[clip_id] = segment
        listing.segments.append(segment)
    elif before.label == segment.label:
        listing.num_repeated += 1
    else:
        listing.conflicts.append(
            f"{path}:{row.place}: {clip_id} is {segment.label!r} here and {before.label!r} before"
        )


def _segment(row: _Row, path: Path, dataset: str) -> Segment:
    line = row.place if isinstance(row.place, int) else None
    named = "" if line is not None else f"entry {row.place}: "
    start_ms, end_ms = (
        _milliseconds(value, column, path, line, named)
        for value, column in ((row.start, "time_start"), (row.end, "time_end"))
    )
    if end_ms <= start_ms:
        what = f"{named}time_end {row.end} is not after time_start {row.start}"
        raise InputError.at(path, line, what, "correct the row, or remove it")
    if row.split.strip() not in _SPLITS:
        what = f"{named}split {_short(row.split)} is not train, val, validate or test"
        raise InputError.at(path, line, what, "correct the row, or remove the column")
    try:
        clip_id_of(row.video_id, start_ms, end_ms)
    except InputError as error:
        raise InputError.at(path, line, named + error.message, error.hint) from None
    return Segment(row.video_id, start_ms, end_ms, row.label, _SPLITS[row.split.strip()], dataset)


def _milliseconds(value: object, column: str, path: Path, line: int | None, named: str) -> int:
    try:
        seconds = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    # Also false for NaN.
    if not 0 <= seconds <= _LONGEST_S:
        what = f"{named}{column} {_short(value)} is not a number of seconds"
        raise InputError.at(path, line, what, "correct the row, or remove it")
    return round(seconds * 1000)


def _csv_rows(
    file: Iterable[str], path: Path, wanted: frozenset[str], others: Counter[str]
) -> Iterator[_Row]:
    reader = csv.reader(file, strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        columns = _columns(header, path)
        label, video_id, start, end = (columns[name] for name in NEEDED)
        split = columns.get("split")
        widest = max(columns.values())
        # One text for a label, not one a row: a list may have hundreds of thousands.
        names = {name: name for name in wanted}
        for values in reader:
            if not values:
                continue
            if len(values) <= widest:
                what = f"has {len(values)} columns where {len(header)} are named"
                raise InputError.at(path, reader.line_num, what, "correct the row, or remove it")
            name = names.get(values[label])
            if name is None:
                others[values[label]] += 1
                continue
            yield _Row(
                reader.line_num,
                name,
                values[video_id],
                values[start],
                values[end],
                values[split] if split is not None else "",
            )
    except csv.Error as error:
        raise InputError.at(path, reader.line_num, f"is not CSV: {error}", "correct that line") from None


def _columns(header: list[str], path: Path) -> dict[str, int]:
    if not any(header):
        raise InputError.at(path, None, "the list is empty", "give a list with a header and rows")
    columns = {name: header.index(name) for name in (*NEEDED, "split") if name in header}
    missing = [name for name in NEEDED if name not in columns]
    if missing == ["label"]:
        raise UnlabelledError.at(
            path,
            1,
            "has no column 'label' (test lists were published without)",
            "give the list that carries labels",
        )
    if missing:
        raise InputError.at(
            path, 1, f"lacks the column {missing[0]!r}", f"a list starts with the line {','.join(NEEDED)}"
        )
    return columns


def _json_rows(file: Any, path: Path, wanted: frozenset[str], others: Counter[str]) -> Iterator[_Row]:
    text = file.read()
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError.at(path, error.lineno, f"is not JSON: {error.msg}", "correct that line") from None
    except (RecursionError, ValueError) as error:
        # Nested, or a number with digits, beyond what Python reads.
        raise InputError.at(path, None, f"is not JSON of a list: {error}", "give the list itself") from None
    if not isinstance(entries, dict):
        raise InputError.at(path, 1, "is not a JSON object of videos", 'see {id: {"annotations": ...}}')
    for video_id, entry in entries.items():
        try:
            told = entry["annotations"]
            label, (start, end) = str(told["label"]), told["segment"]
        except (TypeError, KeyError, ValueError):
            raise InputError.at(
                path, None, f"entry {_short(video_id)} lacks a label or a segment", "correct it, or remove it"
            ) from None
        if label not in wanted:
            others[label] += 1
            continue
        yield _Row(_short(video_id), label, video_id, start, end, str(entry.get("subset", "")))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
