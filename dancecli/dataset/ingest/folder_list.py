"""The list of a folder: a CSV file beside the videos that names label, groups and subset of each."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dancecli.core.errors import InputError
from dancecli.sources.list_format import (
    LABEL_COLUMNS,
    SUBSET_COLUMNS,
    column_name,
    find_column,
    find_delimiter,
    read_subset,
)
from dancecli.sources.text_files import open_text

FILE_COLUMNS = ("file", "file_name", "filename", "path", "filepath", "file_path", "video", "clip", "name")
_SUFFIXES = frozenset({".csv", ".tsv"})
# Columns whose name says what is shared; any other becomes one with `group_` before it.
_GROUP_COLUMNS = frozenset(
    {
        *("choreographer", "choreography", "dancer", "dancers", "event", "family", "film", "group"),
        *("movie", "people", "performance", "performer", "performers", "person", "piece", "place"),
        *("recording", "room", "scene", "session", "show", "source", "source_video", "stage", "studio"),
        *("subject", "tape", "venue"),
    }
)


@dataclass(frozen=True, slots=True)
class ListedFile:
    """What a list says of one file.

    Attributes:
        row: the line of the list.
        labels: each label that a row gives it; one, unless rows contradict each other.
        groups: kinds and names.
        official_split: the subset; empty for none.
    """

    row: int
    labels: tuple[str, ...]
    groups: tuple[tuple[str, str], ...]
    official_split: str


@dataclass(frozen=True)
class FolderList:
    """The list of a folder.

    Attributes:
        path: the CSV file.
        files: by path below the folder, in NFC.
        notes: what was inferred or left aside, in sentences.
    """

    path: Path
    files: dict[str, ListedFile]
    notes: tuple[str, ...]

    def find(self, relative: str, *, alone: bool = True) -> str | None:
        """Give the key of the entry of a file; None if none is listed.

        Args:
            relative: the file's path below the folder.
            alone: no other file of the folder has its name, so that a list may name it without its path.
        """
        path = PurePosixPath(unicodedata.normalize("NFC", relative))
        names = [str(path), str(path.with_suffix(""))]
        if alone:
            names += [path.name, path.stem]
        return next((name for name in names if name in self.files), None)


def find_list(root: Path) -> FolderList | None:
    """Read the list that lies in a folder, if one does: a CSV file with a column of files and one of labels.

    Raises:
        InputError: there are several, or one cannot be read.
    """
    found = [
        listed
        for path in sorted(root.iterdir())
        if path.suffix.lower() in _SUFFIXES and path.is_file() and (listed := read_list(path)) is not None
    ]
    if len(found) > 1:
        names = ", ".join(listed.path.name for listed in found)
        raise InputError.at(root, None, f"holds several lists of files: {names}", "leave one of them there")
    return found[0] if found else None


def read_list(path: Path) -> FolderList | None:
    """Read a list of files; None if it has no column of files or none of labels.

    Raises:
        InputError: it cannot be read.
    """
    with open_text(path, "list of files") as (text, _):
        lines = text.read().splitlines()
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    if first is None:
        return None
    delimiter = find_delimiter(lines[first], (*FILE_COLUMNS, *LABEL_COLUMNS, *SUBSET_COLUMNS))
    rows = csv.reader(lines[first:], delimiter=delimiter, skipinitialspace=delimiter != "\t")
    cells = next(rows)
    header = [column_name(cell) for cell in cells]
    file, label = find_column(header, FILE_COLUMNS), find_column(header, LABEL_COLUMNS)
    if file is None or label is None:
        return None
    subset = find_column(header, SUBSET_COLUMNS)
    kinds = {
        column: _kind_of(name)
        for column, name in enumerate(header)
        if column not in (file, label, subset) and _kind_of(name)
    }
    notes = []
    unused = [cells[c] for c in range(len(header)) if c not in {file, label, subset, *kinds} and header[c]]
    if unused:
        names = ", ".join(repr(name.strip()) for name in unused)
        notes.append(
            f"{path}: columns not used: {names} (a column of groups is named group_{unused[0].strip()})"
        )
    entries: dict[str, ListedFile] = {}
    for values in rows:
        if not any(map(str.strip, values)):
            continue
        padded = [*(value.strip() for value in values), *[""] * (len(header) - len(values))]
        said = read_subset(padded[subset]) if subset is not None else ""
        if said is None:
            notes.append(
                f"{path}:{first + rows.line_num}: subset {padded[subset or 0]!r} is not known: ignored"
            )
        key = unicodedata.normalize("NFC", padded[file].replace("\\", "/"))
        key = key.removeprefix(f"{path.parent.absolute()}/").removeprefix("./")
        groups = tuple((kind, padded[column]) for column, kind in kinds.items() if padded[column])
        if not padded[label]:
            notes.append(f"{path}:{first + rows.line_num}: names no label for {padded[file]!r}")
        entry = ListedFile(first + rows.line_num, (padded[label],), groups, said or "")
        entries[key] = _joined(entries[key], entry) if key in entries else entry
    return FolderList(path, entries, tuple(notes))


def _joined(one: ListedFile, other: ListedFile) -> ListedFile:
    """Join two rows of one file: a file may have two dancers, but two labels are a conflict."""
    return ListedFile(
        one.row,
        _unique([*one.labels, *other.labels]),
        tuple(dict.fromkeys([*one.groups, *other.groups])),
        one.official_split or other.official_split,
    )


def _unique(values: Sequence[str] | Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _kind_of(column: str) -> str:
    """Give the kind of group of a column: `dancer`, or `level` of `group_level`; empty if it has none."""
    if column in _GROUP_COLUMNS:
        return column
    if column.startswith("group_"):
        return column.removeprefix("group_")
    return column.removesuffix("_group") if column.endswith("_group") else ""
