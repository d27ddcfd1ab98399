"""Lock files and digests of splits: every clip with its subset, group, label and checksum, as text.

From a lock the same split is built again elsewhere, and a submitted result is held against it.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, fields
from itertools import chain
from operator import attrgetter
from pathlib import Path

from dancecli.core.errors import InputError
from dancecli.core.hashing import sha256_lines, sha256_text
from dancecli.core.records import SplitClip, Subset
from dancecli.storage.files import atomic_file
from dancecli.storage.removals import is_reference

FIX = "fix the lock file: each group must be in one subset"
_WITH_FOLDS = tuple(field.name for field in fields(SplitClip))
_COLUMNS = _WITH_FOLDS[:-1]
_FOLDS = re.compile(r"[1-9][0-9]*(/[1-9][0-9]*)*")
_SUBSETS = frozenset(subset.value for subset in Subset)


def write_lock(path: Path, clips: Iterable[SplitClip]) -> None:
    """Write a lock, one row per clip; the column `folds` is that of a cross-validation."""
    rows = [astuple(clip) for clip in clips]
    columns = _WITH_FOLDS if any(row[-1] for row in rows) else _COLUMNS
    with atomic_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(row[: len(columns)] for row in rows)


def read_lock(path: Path, labels: frozenset[str] | None = None) -> dict[str, SplitClip]:
    """Read a lock's rows by clip, each checked against the rows before it; without removed clips.

    Args:
        path: the lock.
        labels: the only labels that its rows may have; None for any.

    Raises:
        InputError: the file is not a lock, a group is in two subsets, or a label is unknown.
    """
    clips: dict[str, SplitClip] = {}
    subset_of: dict[str, str] = {}
    for line, clip in lock_rows(path):
        if is_reference(clip.clip_id):
            continue
        if clip.clip_id in clips:
            raise InputError.at(path, line, f"names clip {clip.clip_id} a second time")
        if labels is not None and clip.label not in labels:
            what = f"label {clip.label!r} is not in this workspace's label set"
            raise InputError.at(path, line, what, "fetch with the lock's labels")
        if subset_of.setdefault(clip.group, clip.part) != clip.part:
            what = f"group {clip.group} is in {subset_of[clip.group]} too: the split would leak"
            raise InputError.at(path, line, what, FIX)
        clips[clip.clip_id] = clip
    return clips


def removed_in(path: Path) -> dict[str, int]:
    """Return how many clips of each subset a lock has references of, since they were removed by request.

    Raises:
        InputError: the file is not a lock.
    """
    return Counter(clip.subset for _, clip in lock_rows(path) if is_reference(clip.clip_id))


def references_in(paths: Iterable[Path]) -> frozenset[str]:
    """Return the references in some locks, which stand for clips that were removed by request.

    Raises:
        InputError: a file is not a lock.
    """
    rows = chain.from_iterable(map(lock_rows, paths))
    return frozenset(clip.clip_id for _, clip in rows if is_reference(clip.clip_id))


def lock_rows(path: Path) -> Iterator[tuple[int, SplitClip]]:
    """Yield the rows of a lock with their lines, one at a time; those of removed clips are references.

    Raises:
        InputError: the file is not a lock.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            # A person who deletes a row may leave its line.
            filled = (row for row in rows if any(map(str.strip, row)))
            columns = tuple(next(filled, ()))
            if columns not in (_COLUMNS, _WITH_FOLDS):
                raise InputError.at(path, 1, f"is not a split lock: its columns must be {','.join(_COLUMNS)}")
            for row in filled:
                if len(row) != len(columns) or row[1] not in _SUBSETS:
                    raise InputError.at(path, rows.line_num, f"is not {', '.join(columns)}")
                if columns == _WITH_FOLDS and not (row[1] == Subset.TEST and _FOLDS.fullmatch(row[-1])):
                    raise InputError.at(path, rows.line_num, "does not name the folds of a test clip, as 3/7")
                yield rows.line_num, SplitClip(*row)
    except FileNotFoundError:
        raise InputError.at(path, None, "there is no such lock file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError.at(path, None, f"is not a split lock ({error})") from None


def split_digest(clips: Iterable[SplitClip], labels: Sequence[str]) -> str:
    """Hash a split: the labels' order, then every clip with subset, label and checksum."""
    ordered = sorted(clips, key=attrgetter("clip_id"))
    lines = (f"{c.clip_id}\t{c.part}\t{c.label}\t{c.sha256}" for c in ordered)
    return sha256_lines(chain(labels, lines))


def subset_digest(clips: Iterable[tuple[str, str, str]]) -> str:
    """Hash a subset: the id, checksum and label of its clips, independent of their order."""
    return sha256_text("\n".join(sorted(" ".join(clip) for clip in clips)))
