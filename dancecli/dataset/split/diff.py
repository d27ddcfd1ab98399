"""How two splits differ: `dance split --diff A B`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dancecli.core.records import SplitClip
from dancecli.storage import tables
from dancecli.storage.lockfile import read_lock
from dancecli.storage.workspace import Workspace


@dataclass(frozen=True)
class SplitDiff:
    """How a second split differs from a first one.

    Attributes:
        first, second: the splits, as they were given.
        num_same: clips that are in both with the same subset, label and checksum.
        only_first, only_second: clips of one of them, by subset.
        moved: clips in another subset or fold: clip, that of the first, that of the second.
        relabeled: clips with another label: clip, label in the first, label in the second.
        changed: clips with another checksum.
    """

    first: str
    second: str
    num_same: int
    only_first: dict[str, tuple[str, ...]]
    only_second: dict[str, tuple[str, ...]]
    moved: tuple[tuple[str, str, str], ...]
    relabeled: tuple[tuple[str, str, str], ...]
    changed: tuple[str, ...]


def diff_splits(workspace: Workspace, first: str, second: str) -> SplitDiff:
    """Compare two splits of a workspace, or lock files.

    Args:
        workspace: whose splits they are.
        first: the name of a split, or the path of a lock.
        second: see `first`.

    Raises:
        WorkspaceError: there is no such split.
        InputError: a lock cannot be read.
    """
    one, other = _read(workspace, first), _read(workspace, second)
    both = sorted(one.keys() & other.keys())
    return SplitDiff(
        first=first,
        second=second,
        num_same=sum(
            (one[i].part, one[i].label, one[i].sha256) == (other[i].part, other[i].label, other[i].sha256)
            for i in both
        ),
        only_first=_by_subset(one, other),
        only_second=_by_subset(other, one),
        moved=tuple((i, one[i].part, other[i].part) for i in both if one[i].part != other[i].part),
        relabeled=tuple((i, one[i].label, other[i].label) for i in both if one[i].label != other[i].label),
        changed=tuple(i for i in both if one[i].sha256 != other[i].sha256),
    )


def _read(workspace: Workspace, name: str) -> dict[str, SplitClip]:
    if name.endswith(".csv"):
        return read_lock(Path(name))
    path = workspace.split(workspace.find_split(name))
    return {clip.clip_id: clip for clip in tables.read(path, SplitClip)}


def _by_subset(clips: Mapping[str, SplitClip], others: Mapping[str, SplitClip]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for clip_id in sorted(clips.keys() - others.keys()):
        found.setdefault(clips[clip_id].part, []).append(clip_id)
    return {subset: tuple(ids) for subset, ids in sorted(found.items())}
