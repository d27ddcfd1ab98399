"""The list of a folder: a CSV file beside the videos that names label, groups and subset of each."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dancecli.core.csv_files import csv_records, text_lines
from dancecli.core.errors import InputError
from dancecli.core.text import shown
from dancecli.sources.list_format import (
    LABEL_COLUMNS,
    SUBSET_COLUMNS,
    column_name,
    find_column,
    find_header,
    read_subset,
)
from dancecli.sources.text_files import is_text, open_text

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

    @property
    def name(self) -> str:
        """The CSV file's name, in text."""
        return shown(self.path.name)

    def find(self, relative: str, *, alone: bool = True) -> str | None:
        """Give the key of the entry of a file; None if none is listed.

        Args:
            relative: the file's path below the folder.
            alone: also find an entry without its path, as a list may name the only file of its name.
        """
        path = PurePosixPath(unicodedata.normalize("NFC", relative))
        names = [str(path), str(path.with_suffix(""))]
        if alone:
            names += [path.name, path.stem]
        return next((name for name in names if name in self.files), None)

    def match(self, paths: Iterable[str]) -> ListMatches:
        """Find the entries of all files of the folder.

        An entry without a path is that of the only file of its name; one that is a file's path is that one's.

        Args:
            paths: of the files, below the folder.
        """
        entries: dict[str, str] = {}
        called: dict[str, list[str]] = {}
        for path in paths:
            if (key := self.find(path, alone=False)) is not None:
                entries[path] = key
            elif (key := self.find(path)) is not None:
                called.setdefault(key, []).append(path)
        by_path = set(entries.values())
        unclear: dict[str, str] = {}
        for key, found in called.items():
            if key not in by_path:
                (entries if len(found) == 1 else unclear).update(dict.fromkeys(found, key))
        return ListMatches(entries, unclear)


@dataclass(frozen=True, slots=True)
class ListMatches:
    """Which entry of a list each file has.

    Attributes:
        entries: the key of its entry, by the file's path.
        unclear: the same, where the entry names several files and says which by no path.
    """

    entries: dict[str, str]
    unclear: dict[str, str]


def find_list(
    root: Path, own: Container[str] = (), on_other: Callable[[str], None] | None = None
) -> FolderList | None:
    """Read the list that lies in a folder, if one does: a CSV file with a column of files and one of labels.

    Args:
        root: the folder.
        own: names of its files that dance wrote.
        on_other: where no list lies there, called with a sentence on each table that is none.

    Raises:
        InputError: there are several, or one cannot be read.
    """
    tables = [
        path
        for path in sorted(root.iterdir())
        if path.suffix.lower() in _SUFFIXES and path.name not in own and path.is_file()
    ]
    found = [listed for path in tables if (listed := read_list(path)) is not None]
    if len(found) > 1:
        names = ", ".join(listed.path.name for listed in found)
        raise InputError.at(root, None, f"holds several lists of files: {names}", "leave one of them there")
    if not found and on_other is not None:
        for path in tables:
            on_other(
                f"{shown(path.name)} is not read as a list: no row of its first five names the columns file "
                "and label"
            )
    return found[0] if found else None


def read_list(path: Path) -> FolderList | None:
    """Read a list of files; None if none of its first rows names a column of files and one of labels.

    What stands above the header is left aside: a title, comments, and the separator as Excel states it.

    Raises:
        InputError: it cannot be read, or a row of it is not text or has more cells than the header.
    """
    with open_text(path, "list of files") as (file, _):
        text = file.read()
    lines = text_lines(text)
    known = (*FILE_COLUMNS, *LABEL_COLUMNS, *SUBSET_COLUMNS)
    header = find_header(lines, known, lambda cells: _Columns.find(cells) is not None)
    if header is None:
        return None
    above, delimiter = header
    # Empty lines in place of those above keep the numbers of the others.
    text, name = "\n" * above + "".join(lines[above:]), shown(path)
    rows = csv_records(Path(name), text, delimiter, skipinitialspace=delimiter != "\t")
    number, cells = next(rows, (0, []))
    columns = _Columns.find(cells)
    if columns is None:
        return None
    notes = []
    if columns.unused:
        names = ", ".join(repr(cells[c].strip()) for c in columns.unused)
        hint = f"a column of groups is named group_{cells[columns.unused[0]].strip()}"
        notes.append(shown(f"{name}: columns not used: {names} ({hint})"))
    entries: dict[str, ListedFile] = {}
    _check_text(name, number, cells, columns)
    for number, values in rows:
        _check_width(name, number, values, len(cells))
        padded = [*(value.strip() for value in values), *[""] * (len(cells) - len(values))]
        _check_text(name, number, padded, columns)
        said = read_subset(padded[columns.subset]) if columns.subset is not None else ""
        if said is None:
            notes.append(f"{name}:{number}: subset {padded[columns.subset or 0]!r} is not known: ignored")
        key = unicodedata.normalize("NFC", padded[columns.file].replace("\\", "/"))
        key = key.removeprefix(f"{path.parent.absolute()}/").removeprefix("./")
        groups = tuple((kind, padded[column]) for column, kind in columns.kinds.items() if padded[column])
        if not padded[columns.label]:
            notes.append(f"{name}:{number}: names no label for {padded[columns.file]!r}")
        entry = ListedFile(number, (padded[columns.label],), groups, said or "")
        if (before := entries.get(key)) is not None and _differ(before.official_split, entry.official_split):
            notes.append(
                f"{name}:{number}: puts {padded[columns.file]!r} into {entry.official_split}, but one before "
                f"(from row {before.row} on) into {before.official_split}, which counts: delete one"
            )
        entries[key] = _joined(before, entry) if before is not None else entry
    return FolderList(path, entries, tuple(notes))


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of a list, by their places: of files, labels and subsets, and each one's kind of group."""

    file: int
    label: int
    subset: int | None
    kinds: dict[int, str]
    unused: tuple[int, ...]

    @classmethod
    def find(cls, cells: Sequence[str]) -> _Columns | None:
        """Find them in a header; None if it has none of files or none of labels."""
        header = [column_name(cell) for cell in cells]
        file, label = find_column(header, FILE_COLUMNS), find_column(header, LABEL_COLUMNS)
        if file is None or label is None:
            return None
        subset = find_column(header, SUBSET_COLUMNS)
        others = [column for column in range(len(header)) if column not in (file, label, subset)]
        kinds = {column: kind for column in others if (kind := _kind_of(header[column]))}
        unused = tuple(column for column in others if column not in kinds and header[column])
        return cls(file, label, subset, kinds, unused)


def _check_text(name: str, number: int, cells: Sequence[str], columns: _Columns) -> None:
    """Refuse a row before anything is done: a name that is no text fits no file, and cannot be stored.

    Raises:
        InputError: a cell that is read is not UTF-8.
    """
    used = (columns.file, columns.label, *columns.kinds)
    if not all(is_text(cells[column]) for column in used):
        raise InputError.at(name, number, "is not UTF-8 text", "save the list as UTF-8 (in Excel: CSV UTF-8)")


def _check_width(name: str, number: int, values: Sequence[str], columns: int) -> None:
    """Refuse a row that has more cells than the header: a separator within one has cut it.

    Raises:
        InputError: a cell behind the last column is not blank.
    """
    if any(value.strip() for value in values[columns:]):
        what = f"has {len(values)} cells, the header has {columns}"
        raise InputError.at(name, number, what, "quote cells that contain the separator")


def _joined(one: ListedFile, other: ListedFile) -> ListedFile:
    """Join two rows of one file: a file may have two dancers, but two labels are a conflict."""
    return ListedFile(
        one.row,
        _unique([*one.labels, *other.labels]),
        tuple(dict.fromkeys([*one.groups, *other.groups])),
        one.official_split or other.official_split,
    )


def _differ(one: str, other: str) -> bool:
    return bool(one and other and one != other)


def _unique(values: Sequence[str] | Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))


def _kind_of(column: str) -> str:
    """Give the kind of group of a column: `dancer`, or `level` of `group_level`; empty if it has none."""
    if column in _GROUP_COLUMNS:
        return column
    if column.startswith("group_"):
        return column.removeprefix("group_")
    return column.removesuffix("_group") if column.endswith("_group") else ""
