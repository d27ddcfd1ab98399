"""Corrections of the dataset: `labels.csv`, an append-only table of who changed what, and why.

A correction never changes a clip or its table: `current` gives the corrections in force, and the steps that
read clips apply them. Undoing one adds a row, so the file holds the whole history. Several programs may
append at once.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from dancecli.core.csv_files import csv_records
from dancecli.core.errors import InputError
from dancecli.core.records import SplitClip
from dancecli.storage import tables
from dancecli.storage.files import append_durably, whole_lines
from dancecli.storage.workspace import Workspace


class Field(StrEnum):
    """What a correction changes.

    `LABEL` is another label. `EXCLUDE` leaves the clip out of splits (`yes`, or empty). `SECOND_LABEL` is a
    dance that is seen as well. `CONFIRMED` says that somebody looked and the label is right (`yes`, or
    empty). `START_MS` and `END_MS` move the ends of the clip within its source video.
    `GROUP` is a name that it shares with clips that must stay in one subset. `NOTE` changes nothing.
    """

    LABEL = "label"
    EXCLUDE = "exclude"
    SECOND_LABEL = "second_label"
    CONFIRMED = "confirmed"
    START_MS = "start_ms"
    END_MS = "end_ms"
    GROUP = "group"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Correction:
    """One row of `labels.csv`.

    Attributes:
        clip_id: the clip.
        field: what is changed, a value of `Field`.
        old, new: the value before and after; an empty `new` takes an earlier correction back.
        who: name of the person.
        when_utc: ISO 8601, to the millisecond.
        why: the reason, in words.
    """

    clip_id: str
    field: str
    old: str
    new: str
    who: str = ""
    when_utc: str = ""
    why: str = ""


COLUMNS = tuple(field.name for field in fields(Correction))


def corrections_file(workspace: Workspace) -> Path:
    """`labels.csv` of a workspace."""
    return workspace.root / "labels.csv"


def read_corrections(workspace: Workspace) -> list[Correction]:
    """Read all corrections, oldest first; none if there is no file.

    A last row that a killed program left unfinished is not there yet.

    Raises:
        InputError: the file has other columns, or a row that is no correction.
    """
    path = corrections_file(workspace)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    try:
        text = _whole_rows(content).decode()
    except UnicodeDecodeError:
        raise InputError.at(
            path, None, "is not UTF-8 text", "save it as UTF-8 (in Excel: CSV UTF-8)"
        ) from None
    rows = csv_records(path, text.removeprefix("\ufeff"), ",")
    if tuple(next(rows, (1, COLUMNS))[1]) != COLUMNS:
        raise InputError.at(path, 1, f"is no table of corrections: its columns must be {','.join(COLUMNS)}")
    found = []
    for line, row in rows:
        if not _is_correction(row):
            known = ", ".join(Field)
            raise InputError.at(
                path, line, "is no correction", f"columns: {','.join(COLUMNS)}; fields: {known}"
            )
        found.append(Correction(*row))
    return found


def _is_correction(row: Sequence[str]) -> bool:
    return len(row) == len(COLUMNS) and row[1] in set(Field)


def _whole_rows(content: bytes) -> bytes:
    """Leave out a last row that a killed program left unfinished.

    One that lacks no more than the end of its line, as some editors leave it, is whole.
    """
    if content.endswith(b"\n"):
        return content
    try:
        *_, last = csv.reader(io.StringIO(content.decode(), newline=""), strict=True)
    except (ValueError, csv.Error):
        return whole_lines(content)
    return content if _is_correction(last) or tuple(last) == COLUMNS else whole_lines(content)


def append_corrections(workspace: Workspace, rows: Iterable[Correction]) -> None:
    """Add corrections durably, all or none of them; rows without a time get the present one.

    Raises:
        OSError: the disk is full or read-only; nothing was added.
    """
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    text = io.StringIO(newline="")
    lines = csv.writer(text, lineterminator="\n")
    lines.writerows(astuple(row if row.when_utc else replace(row, when_utc=now)) for row in rows)
    with corrections_lock(workspace), corrections_file(workspace).open("ab+") as file:
        file.seek(0)
        whole = _whole_rows(file.read())
        header = "" if whole else ",".join(COLUMNS) + "\n"
        append_durably(file, whole, (header + text.getvalue()).encode())


@contextmanager
def corrections_lock(workspace: Workspace) -> Iterator[None]:
    """Hold the file of corrections for writing."""
    import filelock

    folder = workspace.root / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / "labels.lock"):
        yield


def latest(rows: Sequence[Correction]) -> list[Correction]:
    """Give the rows in force, oldest first: of each clip and field the last one, unless it is empty."""
    last = {(row.clip_id, row.field): i for i, row in enumerate(rows)}
    return [rows[i] for i in sorted(last.values()) if rows[i].new]


def current(rows: Sequence[Correction]) -> dict[str, dict[str, str]]:
    """Give the values in force: for each clip the last value of each field, without empty ones."""
    found: dict[str, dict[str, str]] = {}
    for row in latest(rows):
        found.setdefault(row.clip_id, {})[row.field] = row.new
    return found


def newer_corrections(workspace: Workspace, split: str) -> str:
    """Say how many clips of a split were corrected since it was made; empty if none.

    Raises:
        InputError: `labels.csv` or the split is damaged.
    """
    rows = read_corrections(workspace)
    if not rows:
        return ""
    changes = current(rows)
    # The first correction of a label says what was listed, which is in force again if it was taken back.
    listed = {row.clip_id: row.old for row in reversed(rows) if row.field == Field.LABEL}
    excluded = relabeled = 0
    for clip_id, label in tables.read_columns(workspace.split(split), SplitClip, ("clip_id", "label")):
        mine = changes.get(clip_id, {})
        wanted = mine.get(Field.LABEL) or listed.get(clip_id) or label
        excluded += Field.EXCLUDE in mine
        relabeled += Field.EXCLUDE not in mine and wanted != label
    if not excluded + relabeled:
        return ""
    return (
        f"since split {split} was made, corrections excluded {excluded} of its clips and relabeled "
        f"{relabeled}: run dance split again with --name NEW to use them"
    )


class Labeled(Protocol):
    """What corrections apply to: a record of a clip, as a frozen dataclass."""

    @property
    def clip_id(self) -> str:
        """The clip's id."""

    @property
    def label(self) -> str:
        """Its label."""


Record = TypeVar("Record", bound=Labeled)


@dataclass(frozen=True)
class Applied(Generic[Record]):
    """Clips after corrections.

    Attributes:
        clips: those that are not excluded, with their corrected labels.
        excluded, relabeled: ids of the clips that a correction excluded, or gave another label.
    """

    clips: list[Record]
    excluded: tuple[str, ...]
    relabeled: tuple[str, ...]


def apply_corrections(clips: Sequence[Record], changes: Mapping[str, Mapping[str, str]]) -> Applied[Record]:
    """Apply corrections in force (see `current`) to clips."""
    found: list[Record] = []
    excluded, relabeled = [], []
    for clip in clips:
        mine = changes.get(clip.clip_id, {})
        label = mine.get(Field.LABEL, clip.label)
        if Field.EXCLUDE in mine:
            excluded.append(clip.clip_id)
        elif label != clip.label:
            relabeled.append(clip.clip_id)
            found.append(replace(clip, label=label))  # type: ignore[type-var]  # records are dataclasses
        else:
            found.append(clip)
    return Applied(found, tuple(excluded), tuple(relabeled))
