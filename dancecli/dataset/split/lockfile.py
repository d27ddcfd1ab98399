"""The lock of a split: a text file that names every clip with its part and checksum.

From it the same split is built again elsewhere, however many of its videos are gone by then.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from dancecli.core.errors import InputError
from dancecli.core.records import Clip, SplitClip, Subset
from dancecli.storage.files import atomic_file

_COLUMNS = tuple(field.name for field in fields(SplitClip))


@dataclass(frozen=True)
class Drift:
    """How a split built from a lock differs from the one that was locked.

    Attributes:
        missing: clips of the lock that are not here.
        changed: clips whose file has another checksum, for example from another encoder, or that have
            another label here; the split keeps the lock's label.
        unlisted: clips that are here and not in the lock; they are in no part.
    """

    missing: tuple[str, ...]
    changed: tuple[str, ...]
    unlisted: tuple[str, ...]


def write_lock(path: Path, parts: Iterable[SplitClip]) -> None:
    """Write a lock, a row a clip."""
    with atomic_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(astuple(part) for part in parts)


def parts_from_lock(
    path: Path, clips: Sequence[Clip], labels: Sequence[str]
) -> tuple[list[SplitClip], Drift]:
    """Give the clips that are here the parts that a lock gives them.

    Raises:
        InputError: the file is no lock, it leaks or names another label set, or none of its clips is here.
    """
    locked = _read_lock(path, frozenset(labels))
    here = {clip.clip_id: clip for clip in clips}
    parts = [
        SplitClip(clip_id, lock.subset, lock.group, lock.label, here[clip_id].sha256)
        for clip_id, lock in sorted(locked.items())
        if clip_id in here
    ]
    if not parts:
        raise InputError.at(path, None, "none of its clips is in this workspace", "fetch them first")
    drift = Drift(
        missing=tuple(sorted(locked.keys() - here.keys())),
        changed=tuple(
            p.clip_id
            for p in parts
            if (p.sha256, here[p.clip_id].label) != (locked[p.clip_id].sha256, p.label)
        ),
        unlisted=tuple(sorted(here.keys() - locked.keys())),
    )
    return parts, drift


def _read_lock(path: Path, labels: frozenset[str]) -> dict[str, SplitClip]:
    """Read a lock's rows by clip, each checked against the rows before it."""
    parts: dict[str, SplitClip] = {}
    part_of: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            if tuple(next(rows, ())) != _COLUMNS:
                raise InputError.at(path, 1, f"is no split lock: its columns are to be {','.join(_COLUMNS)}")
            for row in rows:
                if len(row) != len(_COLUMNS) or row[1] not in set(Subset):
                    raise InputError.at(path, rows.line_num, "is not clip, subset, group, label, checksum")
                part = SplitClip(*row)
                if part.clip_id in parts:
                    raise InputError.at(path, rows.line_num, f"names clip {part.clip_id} a second time")
                if part.label not in labels:
                    what = f"label {part.label!r} is not of this workspace's label set"
                    raise InputError.at(path, rows.line_num, what, "fetch under the lock's labels")
                if part_of.setdefault(part.group, part.subset) != part.subset:
                    what = f"group {part.group} is in {part_of[part.group]} too: the split would leak"
                    raise InputError.at(path, rows.line_num, what, "mend the lock: one group, one part")
                parts[part.clip_id] = part
    except FileNotFoundError:
        raise InputError.at(path, None, "there is no such lock file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError.at(path, None, f"is no split lock ({error})") from None
    return parts
