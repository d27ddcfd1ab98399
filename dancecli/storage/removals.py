"""The clips that were removed on request: `removed.csv`, the tombstones and the block list.

This file alone names a removed clip. It is plain text, so that it can be published with a dataset; a
person who deletes a line allows its clip again. Where a clip must stay countable without being
named (the lock of a split, the record of a study), its reference stands in its place.
"""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, field, fields
from functools import cached_property
from pathlib import Path

from dancecli.core.csv_files import csv_records, read_text
from dancecli.core.errors import InputError, WorkspaceError
from dancecli.core.hashing import digest_in, sha256_text
from dancecli.core.records import Outcome, OutcomeClass
from dancecli.core.text import pluralize
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace

_REFERENCE = re.compile(r"removed-[0-9a-f]{12}_\d+_\d+")
_TIMES = re.compile(r".*_(\d{1,15})_(\d{1,15})")


@dataclass(frozen=True, slots=True, order=True)
class Removal:
    """The tombstone of a clip.

    Attributes:
        clip_id: the clip; it blocks every segment of its video that overlaps it.
        sha256: checksum of its file; empty if it had none.
        scope: `clip`, or `video`, which blocks the whole source video.
        reason: why it was removed, in words.
        removed_utc: when, ISO 8601.
    """

    clip_id: str
    sha256: str
    scope: str
    reason: str
    removed_utc: str

    @property
    def video_id(self) -> str:
        """The clip's source video."""
        return video_of(self.clip_id)

    @property
    def outcome(self) -> Outcome:
        """The removal as the last row of the clip's history."""
        return Outcome(
            clip_id=self.clip_id,
            video_id=self.video_id,
            outcome=OutcomeClass.PERMANENT,
            reason=REMOVED,
            text=self.reason,
            attempt=1,
            time_utc=self.removed_utc,
            num_bytes=0,
            source="remove",
        )


@dataclass(frozen=True)
class Removals:
    """All tombstones of a workspace, by clip id."""

    rows: Mapping[str, Removal] = field(default_factory=dict)

    def __contains__(self, clip_id: str) -> bool:
        return clip_id in self.rows

    def find(self, video_id: str, start_ms: int, end_ms: int) -> Removal | None:
        """Return the tombstone that blocks a stretch of a video: it was removed, or overlaps what was."""
        if row := self._of_stretch(video_id, start_ms, end_ms):
            return row
        digest = digest_in(video_id)
        return self._by_digest.get(digest) if digest else None

    def among(self, clip_ids: Iterable[str]) -> list[str]:
        """Return those of some clips that were removed, or overlap what was; sorted."""
        return sorted(i for i in clip_ids if self._of_stretch(video_of(i), *times_of(i)))

    def _of_stretch(self, video_id: str, start_ms: int, end_ms: int) -> Removal | None:
        for start, end, row in self._by_video.get(video_id, ()):
            if row.scope == VIDEO or (start < end_ms and start_ms < end):
                return row
        return None

    def of_bytes(self, sha256: str) -> Removal | None:
        """Return the tombstone of a file with this checksum."""
        return self._by_checksum.get(sha256)

    @property
    def has_checksums(self) -> bool:
        """Whether files can be held against the tombstones at all."""
        return bool(self._by_checksum)

    @cached_property
    def _by_video(self) -> dict[str, list[tuple[int, int, Removal]]]:
        found: dict[str, list[tuple[int, int, Removal]]] = {}
        for row in self.rows.values():
            found.setdefault(row.video_id, []).append((*times_of(row.clip_id), row))
        return found

    @cached_property
    def _by_digest(self) -> dict[str, Removal]:
        return {digest: row for row in self.rows.values() if (digest := digest_in(row.video_id))}

    @cached_property
    def _by_checksum(self) -> dict[str, Removal]:
        return {row.sha256: row for row in self.rows.values() if row.sha256}


CLIP, VIDEO = "clip", "video"
# Why a blocked clip is missing, as tables count it.
REMOVED = "removed-here"
_COLUMNS = tuple(column.name for column in fields(Removal))
REMOVALS = "removed.csv"


def removals_file(workspace: Workspace) -> Path:
    """`removed.csv` of a workspace."""
    return workspace.root / REMOVALS


def read_removals(workspace: Workspace) -> Removals:
    """Read the tombstones; none if there is no file.

    Raises:
        InputError: the file is not text, has other columns, or a row that is no tombstone.
    """
    path = removals_file(workspace)
    if not path.exists():
        return Removals()
    found: dict[str, Removal] = {}
    rows = csv_records(path, read_text(path, "list of removed clips"), ",")
    if tuple(next(rows, (1, _COLUMNS))[1]) != _COLUMNS:
        raise InputError.at(path, 1, f"is no list of removed clips: its columns are {_COLUMNS}")
    for line, row in rows:
        if len(row) != len(_COLUMNS) or row[2] not in (CLIP, VIDEO) or times_of(row[0]) == (0, 0):
            raise InputError.at(path, line, f"is not {', '.join(_COLUMNS)}", "correct it")
        found[row[0]] = Removal(*row)
    return Removals(found)


def add_removals(workspace: Workspace, rows: Iterable[Removal]) -> None:
    """Add tombstones durably; a clip that has one keeps its checksum, reason and date."""
    before = read_removals(workspace).rows
    after = dict(before)
    for row in rows:
        old = before.get(row.clip_id)
        checksum = row.sha256 or (old.sha256 if old else "")
        first = old or row
        after[row.clip_id] = Removal(row.clip_id, checksum, row.scope, first.reason, first.removed_utc)
    with atomic_file(removals_file(workspace)) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(astuple(row) for row in sorted(after.values()))


@dataclass(frozen=True)
class StillHere:
    """Clips that `removed.csv` of somebody else names, and that nobody has removed here.

    Attributes:
        clip_ids: the clips, at least one; sorted.
    """

    clip_ids: tuple[str, ...]

    @property
    def command(self) -> str:
        """The command that removes them."""
        return shlex.join(["dance", "remove", REMOVALS, "--reason", "..."])

    def __str__(self) -> str:
        """Say how many there are."""
        return f"{pluralize(len(self.clip_ids), 'clip')} of {REMOVALS} still here"


def still_here(workspace: Workspace, clip_ids: Iterable[str]) -> StillHere | None:
    """Find those of some clips of a workspace that `removed.csv` names; None if there are none."""
    removals = read_removals(workspace)
    found = removals.among(clip_ids) if removals.rows else []
    return StillHere(tuple(found)) if found else None


def refuse_still_here(workspace: Workspace, clip_ids: Iterable[str]) -> None:
    """Refuse to publish clips that `removed.csv` names.

    Raises:
        WorkspaceError: one of the clips is.
    """
    if found := still_here(workspace, clip_ids):
        raise WorkspaceError(f"{found}: they must not be published", found.command)


def removed_of(meta: Mapping[str, str]) -> dict[str, int]:
    """Return how many clips of each subset of a split were removed, from its metadata."""
    found: dict[str, int] = json.loads(meta.get("split.removed", "{}"))
    return found


def missing_of(meta: Mapping[str, str]) -> dict[str, int]:
    """Return how many clips of each subset its lock names that were not here, from a split's metadata."""
    found: dict[str, int] = json.loads(meta.get("split.missing", "{}"))
    return found


def other_files_of(meta: Mapping[str, str]) -> dict[str, int]:
    """Return how many clips of each subset are other files than its lock names, from a split's metadata."""
    found: dict[str, int] = json.loads(meta.get("split.other_files", "{}"))
    return found


def removal_note(remaining: int, removed: int, missing: int = 0) -> str:
    """Say how much of a subset is left: `17 of 22 clips, 3 removed by request, 2 missing here`."""
    total = remaining + removed + missing
    note = f"{remaining:,} of {total:,} clips, {removed:,} removed by request"
    return f"{note}, {missing:,} missing here" if missing else note


def video_of(clip_id: str) -> str:
    """Return the source video that a clip id (`<video id>_<start ms>_<end ms>`) names."""
    return clip_id.rsplit("_", 2)[0]


def times_of(clip_id: str) -> tuple[int, int]:
    """Return start and end of a clip in its source video, in milliseconds; zeros if the id has none."""
    match = _TIMES.fullmatch(clip_id)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def video_reference(video_id: str) -> str:
    """Return what stands for a removed video: the hash of its id, which names it to nobody."""
    return f"removed-{sha256_text(video_id)[:12]}"


def clip_reference(clip_id: str) -> str:
    """Return what stands for a removed clip; clips of one video are still known as such."""
    start, end = times_of(clip_id)
    return f"{video_reference(video_of(clip_id))}_{start}_{end}"


def is_reference(clip_id: str) -> bool:
    """Return whether an id is the reference of a removed clip."""
    return bool(_REFERENCE.fullmatch(clip_id))
