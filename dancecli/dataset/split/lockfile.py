"""A split built again from its lock file, however many of its videos are gone by then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dancecli.core.errors import InputError
from dancecli.core.records import SplitClip, Subset
from dancecli.dataset.split.assign import AssignedClip
from dancecli.storage.lockfile import FIX, lock_rows, read_lock
from dancecli.storage.removals import Removals, is_reference, times_of, video_of


@dataclass(frozen=True)
class Drift:
    """How a split built from a lock differs from the one that was locked.

    Attributes:
        missing: clips of the lock that are not here.
        changed: clips whose file has another checksum, for example from another encoder, or that have
            another label here; the split keeps the lock's label.
        unlisted: clips that are here and not in the lock; they are in no subset.
        removed: clips of the lock that were removed by request, here or where the lock is from, by
            subset; they are not in `missing`.
        num_missing: clips of `missing` by subset.
        num_other_files: clips of `changed` by subset whose file has another checksum.
    """

    missing: tuple[str, ...]
    changed: tuple[str, ...]
    unlisted: tuple[str, ...]
    removed: dict[str, int]
    num_missing: dict[str, int]
    num_other_files: dict[str, int]


def clips_from_lock(
    path: Path,
    clips: Sequence[AssignedClip],
    labels: Sequence[str],
    group_of: Mapping[str, str],
    removals: Removals,
) -> tuple[list[SplitClip], Drift]:
    """Assign the clips that are here to the subsets that a lock gives them.

    Args:
        path: the lock.
        clips: the clips that are here.
        labels: the workspace's label set.
        group_of: the group of each clip that is here, by all that is known of them.
        removals: the tombstones of this workspace.

    Raises:
        InputError: the file is not a lock, it leaks or names another label set, or none of its clips is here.
    """
    locked = read_lock(path, frozenset(labels))
    here = {clip.clip_id: clip for clip in clips}
    found = [
        replace(lock, sha256=here[clip_id].sha256)
        for clip_id, lock in sorted(locked.items())
        if clip_id in here
    ]
    if not found:
        raise InputError.at(path, None, "none of its clips is in this workspace", "fetch them first")
    _refuse_leaks(path, locked, here, group_of)
    gone = [locked[clip_id] for clip_id in locked.keys() - here.keys()]
    removed = Counter(clip.subset for clip in gone if _is_removed(clip, removals))
    removed.update(row.subset for _, row in lock_rows(path) if is_reference(row.clip_id))
    missing = [clip for clip in gone if not _is_removed(clip, removals)]
    absent = Counter(clip.subset for clip in missing)
    other = Counter(clip.subset for clip in found if clip.sha256 != locked[clip.clip_id].sha256)
    drift = Drift(
        missing=tuple(sorted(clip.clip_id for clip in missing)),
        changed=tuple(
            clip.clip_id
            for clip in found
            if (clip.sha256, here[clip.clip_id].label) != (locked[clip.clip_id].sha256, clip.label)
        ),
        unlisted=tuple(sorted(here.keys() - locked.keys())),
        removed={subset.value: removed[subset.value] for subset in Subset if removed[subset.value]},
        num_missing={subset.value: absent[subset.value] for subset in Subset if absent[subset.value]},
        num_other_files={subset.value: other[subset.value] for subset in Subset if other[subset.value]},
    )
    return found, drift


def _is_removed(clip: SplitClip, removals: Removals) -> bool:
    return removals.find(video_of(clip.clip_id), *times_of(clip.clip_id)) is not None


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
        return own.video_id if own else video_of(clip.clip_id)

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
            if mark and other.part != clip.part:
                raise InputError.at(
                    path,
                    None,
                    f"{what} {mark} is in {other.part} ({other.clip_id}) and in {clip.part} "
                    f"({clip.clip_id}): the split would leak",
                    FIX,
                )
