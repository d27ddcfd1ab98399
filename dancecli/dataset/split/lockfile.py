"""The lock of a split: a text file that names every clip with its subset and checksum.

From it the same split is built again elsewhere, however many of its videos are gone by then.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from dancecli.core.errors import InputError
from dancecli.core.records import SplitClip, Subset
from dancecli.dataset.split.assign import AssignedClip
from dancecli.storage.files import atomic_file

_COLUMNS = tuple(field.name for field in fields(SplitClip))


@dataclass(frozen=True)
class Drift:
    """How a split built from a lock differs from the one that was locked.

    Attributes:
        missing: clips of the lock that are not here.
        changed: clips whose file has another checksum, for example from another encoder, or that have
            another label here; the split keeps the lock's label.
        unlisted: clips that are here and not in the lock; they are in no subset.
    """

    missing: tuple[str, ...]
    changed: tuple[str, ...]
    unlisted: tuple[str, ...]


def write_lock(path: Path, clips: Iterable[SplitClip]) -> None:
    """Write a lock, one row per clip."""
    with atomic_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(astuple(clip) for clip in clips)


def clips_from_lock(
    path: Path, clips: Sequence[AssignedClip], labels: Sequence[str], group_of: Mapping[str, str]
) -> tuple[list[SplitClip], Drift]:
    """Assign the clips that are here to the subsets that a lock gives them.

    Args:
        path: the lock.
        clips: the clips that are here.
        labels: the workspace's label set.
        group_of: the group of each clip that is here, by all that is known of them.

    Raises:
        InputError: the file is not a lock, it leaks or names another label set, or none of its clips is here.
    """
    locked = read_lock(path, frozenset(labels))
    here = {clip.clip_id: clip for clip in clips}
    found = [
        SplitClip(clip_id, lock.subset, lock.group, lock.label, here[clip_id].sha256)
        for clip_id, lock in sorted(locked.items())
        if clip_id in here
    ]
    if not found:
        raise InputError.at(path, None, "none of its clips is in this workspace", "fetch them first")
    _refuse_leaks(path, locked, here, group_of)
    drift = Drift(
        missing=tuple(sorted(locked.keys() - here.keys())),
        changed=tuple(
            clip.clip_id
            for clip in found
            if (clip.sha256, here[clip.clip_id].label) != (locked[clip.clip_id].sha256, clip.label)
        ),
        unlisted=tuple(sorted(here.keys() - locked.keys())),
    )
    return found, drift


def read_lock(path: Path, labels: frozenset[str] | None = None) -> dict[str, SplitClip]:
    """Read a lock's rows by clip, each checked against the rows before it.

    Args:
        path: the lock.
        labels: the only labels that its rows may have; None for any.

    Raises:
        InputError: the file is not a lock, a group is in two subsets, or a label is unknown.
    """
    clips: dict[str, SplitClip] = {}
    subset_of: dict[str, str] = {}
    for line, clip in lock_rows(path):
        if clip.clip_id in clips:
            raise InputError.at(path, line, f"names clip {clip.clip_id} a second time")
        if labels is not None and clip.label not in labels:
            what = f"label {clip.label!r} is not in this workspace's label set"
            raise InputError.at(path, line, what, "fetch with the lock's labels")
        if subset_of.setdefault(clip.group, clip.subset) != clip.subset:
            what = f"group {clip.group} is in {subset_of[clip.group]} too: the split would leak"
            raise InputError.at(path, line, what, _FIX)
        clips[clip.clip_id] = clip
    return clips


def lock_rows(path: Path) -> Iterator[tuple[int, SplitClip]]:
    """Yield the rows of a lock with their lines, one at a time.

    Raises:
        InputError: the file is not a lock.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            if tuple(next(rows, ())) != _COLUMNS:
                raise InputError.at(path, 1, f"is not a split lock: its columns must be {','.join(_COLUMNS)}")
            for row in rows:
                if len(row) != len(_COLUMNS) or row[1] not in _SUBSETS:
                    raise InputError.at(path, rows.line_num, "is not clip, subset, group, label, checksum")
                yield rows.line_num, SplitClip(*row)
    except FileNotFoundError:
        raise InputError.at(path, None, "there is no such lock file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError.at(path, None, f"is not a split lock ({error})") from None


_SUBSETS = frozenset(subset.value for subset in Subset)
_FIX = "fix the lock file: each group must be in one subset"


def _refuse_leaks(
    path: Path,
    locked: Mapping[str, SplitClip],
    here: Mapping[str, AssignedClip],
    group_of: Mapping[str, str],
) -> None:
    """Refuse a lock that puts one source video, one file or one known group in two subsets.

    Raises:
        InputError: it does.
    """

    def video(clip: SplitClip) -> str:
        own = here.get(clip.clip_id)
        # `<video id>_<start ms>_<end ms>`
        return own.video_id if own else clip.clip_id.rsplit("_", 2)[0]

    marks: tuple[tuple[str, Callable[[SplitClip], str]], ...] = (
        ("source video", video),
        ("file with checksum", lambda clip: clip.sha256),
        ("group of this workspace", lambda clip: group_of.get(clip.clip_id, "")),
    )
    for what, mark_of in marks:
        first: dict[str, SplitClip] = {}
        for clip in locked.values():
            mark = mark_of(clip)
            other = first.setdefault(mark, clip)
            if mark and other.subset != clip.subset:
                raise InputError.at(
                    path,
                    None,
                    f"{what} {mark} is in {other.subset} ({other.clip_id}) and in {clip.subset} "
                    f"({clip.clip_id}): the split would leak",
                    _FIX,
                )
