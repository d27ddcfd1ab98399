"""Annotation lists in every form in which Kinetics, ActivityNet and others are passed on.

CSV with the columns `label, youtube_id, time_start, time_end` (`split` and more may follow), with
any common separator, encoding and spelling of the columns; or JSON: Kinetics'
`{id: {"annotations": {"label", "segment": [s, e]}, "subset"}}`, ActivityNet's
`{"database": {id: {"annotations": [...]}}}` with several segments per video, or an array of rows; or
the timeline of one recording, as `dance predict` writes and ELAN corrects it.
Rows are read one by one and only those with a requested label are looked at, so that a list of
650,000 rows costs what the csv module costs.

Every row is accounted for: a clip, a repetition, another label, or refused with its reason.
"""

from __future__ import annotations

import contextlib
import csv
import difflib
import io
import itertools
import json
import math
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dancecli.core.csv_files import check_unique, csv_records
from dancecli.core.errors import InputError
from dancecli.core.labels import LabelSet
from dancecli.core.records import RECORDING_COLUMN, Segment
from dancecli.core.text import shown
from dancecli.core.video_files import recording_id, recording_stem
from dancecli.sources.list_format import (
    END_COLUMNS,
    ID_COLUMNS,
    LABEL_COLUMNS,
    START_COLUMNS,
    SUBSET_COLUMNS,
    RefusedRow,
    RowError,
    Unit,
    column_name,
    delimiter_name,
    find_column,
    find_delimiter,
    fold_label,
    read_subset,
    read_times,
    read_video_id,
    short,
    spellings_of,
    stated_delimiter,
)
from dancecli.sources.text_files import is_text, open_text
from dancecli.sources.timelines import (
    Stretch,
    is_elan,
    is_webvtt,
    read_elan,
    read_webvtt,
)

NEEDED = ("label", "youtube_id", "time_start", "time_end")
NO_LABEL = "(no label)"
_PLAIN_SUBSETS = {"": "", "train": "train", "val": "val", "validate": "val", "test": "test"}
_TIMELINE_COLUMNS = {"start_s", "end_s", "label"}
_KNOWN_COLUMNS = (*LABEL_COLUMNS, *ID_COLUMNS, *START_COLUMNS, *END_COLUMNS, *SUBSET_COLUMNS)
_SHOWN = 3
_BLOCK_LINES = 4096
# A label that differs by more is another label.
_NEAR = 0.8
_NO_TEXT = ("is not UTF-8 text", "save the list as UTF-8 (in Excel: CSV UTF-8)")


class UnlabelledError(InputError):
    """A list has everything but labels."""


@dataclass
class Listing:
    """What a set of lists holds for a label set.

    Attributes:
        segments: one per clip, in the order of the lists.
        num_repeated: rows whose clip was listed before; those that contradict it included.
        conflicts: clips listed under two labels or in two subsets, as sentences; the first row counts.
        refused: rows that cannot be used.
        other_labels: rows with labels outside the set, counted by label.
        spelled: rows whose label is spelled otherwise than in the set, by (their spelling, ours).
        notes: what was inferred about the lists, in sentences, each once per list.
        recordings: names of recordings as timelines give them, by video id.
    """

    segments: list[Segment]
    num_repeated: int = 0
    conflicts: list[str] = field(default_factory=list)
    refused: list[RefusedRow] = field(default_factory=list)
    other_labels: Counter[str] = field(default_factory=Counter)
    spelled: Counter[tuple[str, str]] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    recordings: dict[str, str] = field(default_factory=dict)

    @property
    def num_rows(self) -> int:
        """Rows given: those of the segments, repeated, of other labels, and refused."""
        return len(self.segments) + self.num_repeated + len(self.refused) + self.other_labels.total()

    def missing_labels(self, labels: LabelSet) -> dict[str, str]:
        """Give the labels that no list has, each with the nearest one that a list has, or with none."""
        found = {segment.label for segment in self.segments}
        there = {label.casefold(): label for label in self.other_labels}
        missing = {}
        for name in labels:
            if name not in found:
                near = difflib.get_close_matches(name.casefold(), there, n=1, cutoff=_NEAR)
                missing[name] = there[near[0]] if near else ""
        return missing


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of a requested label; `place` is its line, or what names it in JSON."""

    place: int | str
    label: str
    video_id: str
    start: object
    end: object
    subset: str
    units: tuple[Unit, Unit] = (None, None)


class ListReader:
    """Reads several lists into one listing; knows the labels, and what was listed before.

    Attributes:
        listing: what was read so far.
    """

    def __init__(self, labels: LabelSet) -> None:
        self.listing = Listing([])
        self._seen: dict[str, Segment] = {}
        # The labels of the set as they are, one text per label and not one per row; None for another label.
        self._names: dict[str, str | None] = {name: name for name in labels}
        self._spellings: Mapping[str, str] = spellings_of(labels)

    def label_of(self, text: str) -> str | None:
        """Give the label of the set that a text names; None for another label, which is counted."""
        if text in self._names:
            name = self._names[text]
            if name is None:
                self.listing.other_labels[text] += 1
            return name
        name = self._spellings.get(fold_label(text))
        if name is not None:
            self.listing.spelled[text, name] += 1
            return name
        label = text.strip() or NO_LABEL
        self.listing.other_labels[label] += 1
        if label == text:
            self._names[text] = None
        return None

    def label_at(self, text: str, path: Path, place: int | str) -> str | None:
        """Give the label of the set that a row names; None for another one, or what is no text: refused."""
        if is_text(text):
            return self.label_of(text)
        self.refuse(path, place, *_NO_TEXT)
        return None

    def refuse(self, path: Path, place: int | str, reason: str, hint: str = "") -> None:
        """Keep a row that cannot be used, with its reason."""
        self.listing.refused.append(RefusedRow(str(path), place, reason, hint))

    def note(self, path: Path, text: str) -> None:
        """Keep what was inferred about a list, once."""
        said = f"{path}: {text}"
        if said not in self.listing.notes:
            self.listing.notes.append(said)

    def take(self, row: _Row, path: Path, dataset: str) -> None:
        """Add one row, or refuse it."""
        try:
            segment = self._segment(row, path, dataset)
        except RowError as error:
            self.refuse(path, row.place, str(error), error.hint)
            return
        clip_id = segment.clip_id
        before = self._seen.get(clip_id)
        if before is None:
            self._seen[clip_id] = segment
            self.listing.segments.append(segment)
            return
        self.listing.num_repeated += 1
        same_label = before.label == segment.label
        here, there = (
            (segment.official_split, before.official_split) if same_label else (segment.label, before.label)
        )
        if here != there:
            said = f"{path}:{row.place}: {clip_id} is {here!r} here and {there!r} before"
            self.listing.conflicts.append(said)

    def _segment(self, row: _Row, path: Path, dataset: str) -> Segment:
        if not is_text(row.video_id):
            raise RowError(*_NO_TEXT)
        start_ms, end_ms = read_times(row.start, row.end, row.units)
        video_id = read_video_id(row.video_id)
        if isinstance(row.start, str) and ":" in row.start:
            self.note(path, "times are read as HH:MM:SS")
        if len(video_id) < len(row.video_id.strip()):
            self.note(path, "ids are taken out of addresses, and from behind ActivityNet's v_")
        word = row.subset.strip()
        if word in _PLAIN_SUBSETS:
            subset = _PLAIN_SUBSETS[word]
        else:
            known = read_subset(word)
            self.note(path, f"split {short(word)} is {f'read as {known}' if known else 'not known: ignored'}")
            subset = known or ""
        return Segment(video_id, start_ms, end_ms, row.label, subset, dataset)


def read_lists(paths: Iterable[Path], labels: LabelSet) -> Listing:
    """Read annotation files and keep the rows of a label set.

    Raises:
        InputError: a file is missing or is no annotation list, or no row can be used.
    """
    paths = list(paths)
    reader = ListReader(labels)
    for path in paths:
        with open_text(path, "annotation file") as (file, forms):
            # The file's name may be in another encoding than UTF-8.
            name = path.name.encode(errors="replace").decode().removesuffix(".gz")
            add_list(file, path, reader, dataset=name.rpartition(".")[0] or name)
        if forms:
            reader.note(path, f"read as {' and '.join(forms)}")
    check_not_empty(reader.listing, ", ".join(str(path) for path in paths), labels)
    return reader.listing


def add_list(file: io.TextIOBase | Any, path: Path, reader: ListReader, dataset: str) -> None:
    """Add one open list to a listing.

    Args:
        file: its text, opened with `newline=""`; bytes that are not UTF-8 as lone surrogates.
        path: its name in messages; one that ends as JSON is read as JSON, and so is what begins like it.
        reader: what it is added to.
        dataset: what its segments will name as their origin.

    Raises:
        InputError: it is no annotation list.
    """
    num_before, first, stated = 0, "", ""
    for first in file:
        if one := stated_delimiter(first):
            stated = one
        elif first.strip() and not first.startswith("#"):
            break
        num_before += 1
    if path.name.lower().removesuffix(".gz").endswith(".json") or first.lstrip().startswith(("{", "[")):
        rows = _json_rows("\n" * num_before + first + file.read(), path, reader)
    elif is_elan(first, path):
        rows = _timeline_rows(read_elan(first + file.read(), path), path, reader)
    elif is_webvtt(first):
        rows = _timeline_rows(read_webvtt(file, num_before + 1), path, reader)
    else:
        rows = _csv_rows(first, file, num_before, path, reader, stated)
    for row in rows:
        reader.take(row, path, dataset)


def _timeline_rows(stretches: Iterable[Stretch], path: Path, reader: ListReader) -> Iterator[_Row]:
    """Give the rows of a timeline: of the recording that it names, else of the one named like itself."""
    for stretch in stretches:
        video = stretch.video or _named_like(path)
        video_id = _recording_id(video, path, reader)
        label = reader.label_at(stretch.label, path, stretch.place)
        if label is not None:
            yield _Row(stretch.place, label, video_id, stretch.start, stretch.end, "", stretch.units)


def _recording_id(name: str, path: Path, reader: ListReader) -> str:
    """Give the id of a recording that a timeline names, and note it; a name that is no text stays."""
    if not is_text(name):
        return name
    reader.note(path, f"is a timeline of the recording {short(name)}")
    video_id = recording_id(name)
    reader.listing.recordings[video_id] = name
    return video_id


def _named_like(path: Path) -> str:
    """Return what a timeline that names no recording is of: `Gala.csv` and `Gala.mp4.csv` are of `Gala`.

    Raises:
        InputError: the file's name is no text.
    """
    if not is_text(path.name):
        raise InputError.at(shown(path), None, "the name is not text in UTF-8", "rename it as its recording")
    return recording_stem(path.name.removesuffix(".gz").rpartition(".")[0] or path.name)


def check_not_empty(listing: Listing, name: str, labels: LabelSet) -> None:
    """Refuse a listing without a segment, and list what there is instead.

    Raises:
        InputError: nothing is left.
    """
    if listing.segments:
        return
    if not listing.num_rows:
        raise InputError.at(name, None, "the list has no rows", "give a list that is not empty")
    if listing.refused:
        first, more = listing.refused[0], listing.num_rows - 1
        also = f" (and none of {more} other rows can be used)" if more else ""
        raise InputError(f"{first}{also}", first.hint)
    common = ", ".join(f"{label!r} ({n})" for label, n in listing.other_labels.most_common(_SHOWN))
    near = next(((ours, near) for ours, near in listing.missing_labels(labels).items() if near), None)
    raise InputError.at(
        name,
        None,
        f"none of its {listing.num_rows} rows has one of the {len(labels)} labels; it has {common}",
        f"did you mean {near[1]!r} by {near[0]!r}?"
        if near
        else "give the label file that belongs to it with --labels",
    )


def _csv_rows(
    first: str, lines: Iterator[str], num_before: int, path: Path, reader: ListReader, stated: str
) -> Iterator[_Row]:
    _check_is_list(first, path)
    delimiter = stated or find_delimiter(first, _KNOWN_COLUMNS)
    if delimiter_name(delimiter):
        reader.note(path, f"columns are separated by {delimiter_name(delimiter)}")
    _, header = next(csv_records(path, first, delimiter, skipinitialspace=True), (1, []))
    columns = _Columns.find(header, path, reader)
    widest, label, others = columns.widest, columns.label, reader.listing.other_labels
    for number, values in _records(lines, delimiter, num_before + 1, path, reader):
        if len(values) != columns.count:
            if misfit := columns.misfit(values, delimiter):
                reader.refuse(path, number, misfit, "correct the row, or remove it")
            if misfit or len(values) <= widest:
                continue
        text = values[label]
        # Most rows are of labels that were met before: a look-up here costs less than a call.
        if text in others:
            others[text] += 1
        elif (name := reader.label_at(text, path, number)) is not None:
            video = "" if columns.recording is None else recording_stem(values[columns.recording].strip())
            video_id = _recording_id(video, path, reader) if video else ""
            yield columns.row(number, name, values, video_id)
        elif not text and not any(map(str.strip, values)):
            # A line of separators alone is an empty line.
            _uncount(reader.listing.other_labels, NO_LABEL)


def _uncount(counts: Counter[str], key: str) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]


def _records(
    lines: Iterator[str], delimiter: str, num_before: int, path: Path, reader: ListReader
) -> Iterator[tuple[int, list[str]]]:
    """Give the records with their line numbers; a line that is no CSV is refused, and the next are read."""
    number = num_before
    while block := list(itertools.islice(lines, _BLOCK_LINES)):
        done = 0
        # Without quotation marks each line is a record, which is read at the speed of the csv module.
        if '"' not in "".join(block):
            with contextlib.suppress(csv.Error):
                for values in csv.reader(block, delimiter=delimiter):
                    done += 1
                    if values:
                        yield number + done, values
        if done < len(block):
            rest = block[done:]
            number = yield from _quoted_records(rest, lines, delimiter, number + done, path, reader)
        else:
            number += done


def _quoted_records(
    block: list[str], lines: Iterator[str], delimiter: str, number: int, path: Path, reader: ListReader
) -> Generator[tuple[int, list[str]], None, int]:
    """Give the records of some lines, which may be quoted and run on; see `_records`.

    Returns:
        The number of the last line that was read.
    """
    pending = deque(block)
    while pending:
        taken: list[str] = []

        def feed(taken: list[str] = taken) -> Iterator[str]:
            while True:
                line = pending.popleft() if pending else next(lines, None)
                if line is None:
                    return
                taken.append(line)
                yield line

        records = csv.reader(feed(), delimiter=delimiter, strict=True, skipinitialspace=delimiter != "\t")
        try:
            for values in records:
                number += len(taken)
                taken.clear()
                if values:
                    yield number, values
                if not pending:
                    break
        except csv.Error as error:
            # An open quotation mark swallows the lines after it: they are read again without it.
            number += 1
            reader.refuse(path, number, f"is not CSV: {error}", "correct that line")
            pending.extendleft(reversed(taken[1:]))
    return number


@dataclass(frozen=True, slots=True)
class _Columns:
    label: int
    video_id: int | None
    start: int
    end: int
    subset: int | None
    units: tuple[Unit, Unit]
    count: int
    video: str = ""
    recording: int | None = None

    @property
    def widest(self) -> int:
        return max(
            self.label, self.video_id or 0, self.start, self.end, self.subset or 0, self.recording or 0
        )

    def misfit(self, values: list[str], delimiter: str) -> str:
        """Say what is wrong with the number of a row's cells; empty for a blank row, or blanks to spare."""
        what = f"has {len(values)} cells where {self.count} are named"
        if any(map(str.strip, values[self.count :])):
            return f"{what}: quote cells that hold {short(delimiter)}"
        return what if len(values) <= self.widest and any(map(str.strip, values)) else ""

    def row(self, number: int, label: str, values: list[str], recording: str) -> _Row:
        """Pick a row's values; it is of the recording with this id, if it names one."""
        subset = values[self.subset] if self.subset is not None else ""
        video_id = recording or (self.video if self.video_id is None else values[self.video_id])
        return _Row(number, label, video_id, values[self.start], values[self.end], subset, self.units)

    @classmethod
    def find(cls, cells: list[str], path: Path, reader: ListReader) -> _Columns:
        header = [column_name(cell) for cell in cells]
        found = [
            find_column(header, names) for names in (LABEL_COLUMNS, ID_COLUMNS, START_COLUMNS, END_COLUMNS)
        ]
        missing = [name for name, column in zip(NEEDED, found, strict=True) if column is None]
        video = ""
        if found[1] is None and _is_timeline(header):
            missing, named = [], _named_like(path)
            video = recording_id(named) if RECORDING_COLUMN in header else _recording_id(named, path, reader)
        if missing == ["label"]:
            raise UnlabelledError.at(
                path,
                1,
                "has no column 'label' (test lists were published without)",
                "give the list that carries labels",
            )
        if missing:
            hint = (
                f"a list starts with the line {','.join(NEEDED)}, "
                f"a timeline with start_s,end_s,label,{RECORDING_COLUMN}"
            )
            raise InputError.at(path, 1, f"lacks the column {missing[0]!r}", hint)
        label, start, end = (column for column in (found[0], *found[2:]) if column is not None)
        others = [
            f"{cells[c].strip()} as {n}"
            for n, c in zip(NEEDED, found, strict=True)
            if c is not None and header[c] != n
        ]
        if others:
            reader.note(path, f"columns read: {', '.join(others)}")
        units = START_COLUMNS[header[start]], END_COLUMNS[header[end]]
        subset = find_column(header, SUBSET_COLUMNS)
        used = {header[column] for column in (*found, subset) if column is not None}
        check_unique(path, 1, [name for name in header if name in used])
        recording = header.index(RECORDING_COLUMN) if video and RECORDING_COLUMN in header else None
        return cls(label, found[1], start, end, subset, units, len(header), video, recording)


def _is_timeline(header: list[str]) -> bool:
    """Tell a timeline, whoever wrote it, from a list that names its videos in a way that is not known."""
    others = set(header) - _TIMELINE_COLUMNS
    return set(header) >= _TIMELINE_COLUMNS and (
        not others or bool(others & {"probability", RECORDING_COLUMN})
    )


def _check_is_list(first: str, path: Path) -> None:
    """Refuse what is no list at all, by its first line.

    Raises:
        InputError: it is empty, a web page, or another kind of list.
    """
    text = first.strip()
    if not text:
        raise InputError.at(path, None, "the list is empty", "give a list with a header and rows")
    if text.lower().startswith(("<!doctype", "<html", "<?xml")):
        raise InputError.at(path, 1, "is a web page, not a list", "download the file that the page links to")
    if text.startswith("PK\x03\x04"):
        raise InputError.at(path, None, "is a spreadsheet or a zip file, not text", "save it as CSV")
    words = text.rsplit(maxsplit=1)
    if len(words) == 2 and words[1].isdecimal() and "." in Path(words[0]).name:
        raise InputError.at(
            path,
            1,
            "is a list of MMAction2 (video file and class number), not an annotation list",
            "import the folder of its videos: dance import DIR",
        )


class _Pairs(dict[str, Any]):
    """A JSON object in which a name stands several times: the first value by name, all of them in `pairs`."""

    pairs: list[tuple[str, Any]]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    several = _Pairs(found)
    several.pairs = pairs
    return several


def _json_rows(text: str, path: Path, reader: ListReader) -> Iterator[_Row]:
    try:
        document = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise InputError.at(path, error.lineno, f"is not JSON: {error.msg}", "correct that line") from None
    except (RecursionError, ValueError) as error:
        # Nested, or a number with digits, beyond what Python reads.
        raise InputError.at(path, None, f"is not JSON of a list: {error}", "give the list itself") from None
    if isinstance(document, list):
        yield from _row_objects(document, path, reader)
        return
    if isinstance(document, dict) and isinstance(document.get("database"), dict):
        document = document["database"]
    if not isinstance(document, dict):
        raise InputError.at(path, 1, "is not a JSON object of videos", 'see {id: {"annotations": ...}}')
    for video_id, entry in document.pairs if isinstance(document, _Pairs) else document.items():
        yield from _entry_rows(video_id, entry, path, reader)


def _entry_rows(video_id: str, entry: Any, path: Path, reader: ListReader) -> Iterator[_Row]:
    """Give the rows of one video: one annotation, or an array of them."""
    name = short(video_id)
    annotations = entry.get("annotations") if isinstance(entry, dict) else None
    subset = _text(entry.get("subset")) if isinstance(entry, dict) else ""
    if annotations is None or annotations == []:
        # Test lists are published without their answers.
        if isinstance(entry, dict) and (annotations == [] or "subset" in entry):
            reader.listing.other_labels[NO_LABEL] += 1
        else:
            reader.refuse(path, name, "lacks a label or a segment", "correct it, or remove it")
        return
    several = annotations if isinstance(annotations, list) else [annotations]
    for number, annotation in enumerate(several, start=1):
        place = name if len(several) == 1 else f"{name}, annotation {number}"
        try:
            label, (start, end) = annotation["label"].strip(), annotation["segment"]
        except (AttributeError, TypeError, KeyError, ValueError):
            reader.refuse(path, place, "lacks a label or a segment", "correct it, or remove it")
            continue
        ours = reader.label_at(label, path, place)
        if ours is not None:
            yield _Row(place, ours, video_id, start, end, subset)


def _text(value: object) -> str:
    """Write a value of JSON as a cell of CSV: empty where there is none, which pandas writes as NaN, too."""
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else str(value)


def _row_objects(rows: list[Any], path: Path, reader: ListReader) -> Iterator[_Row]:
    """Give the rows of an array of objects, each with the columns of a CSV list."""
    for number, row in enumerate(rows, start=1):
        place = f"number {number}"
        values = {column_name(key): value for key, value in row.items()} if isinstance(row, dict) else {}
        names = list(values)
        found = [find_column(names, n) for n in (LABEL_COLUMNS, ID_COLUMNS, START_COLUMNS, END_COLUMNS)]
        if any(column is None for column in found):
            lacking = next(n for n, column in zip(NEEDED, found, strict=True) if column is None)
            reader.refuse(path, place, f"lacks {lacking!r}", "correct it, or remove it")
            continue
        label, video_id, start, end = (names[column] for column in found if column is not None)
        ours = reader.label_at(_text(values[label]), path, place)
        subset = find_column(names, SUBSET_COLUMNS)
        if ours is not None:
            yield _Row(
                place,
                ours,
                _text(values[video_id]),
                values[start],
                values[end],
                _text(values[names[subset]]) if subset is not None else "",
                (START_COLUMNS[start], END_COLUMNS[end]),
            )
