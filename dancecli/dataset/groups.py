"""The groups of clips that a split keeps whole, in `manifests/groups.parquet`.

`dance dedup` writes the kind `near-duplicate`; every other kind is the user's own (`dancer`,
`venue`, `piece`). A clip may be in several groups of one kind: a duet has two dancers. The source
video and equal bytes are not in the file, since the manifest of clips tells them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

from dancecli.core.records import Group
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace

NEAR_DUPLICATE = "near-duplicate"


class GroupedClip(Protocol):
    """What the grouping needs of a clip."""

    @property
    def clip_id(self) -> str:
        """The clip's id."""

    @property
    def video_id(self) -> str:
        """The id of its source video."""

    @property
    def sha256(self) -> str:
        """The checksum of its file; empty if there is none."""


def read_groups(workspace: Workspace) -> list[Group]:
    """Read all groups, sorted; none if there is no file.

    Raises:
        InputError: the file is not Parquet, or not this table.
    """
    return tables.read(workspace.groups, Group) if workspace.groups.exists() else []


def add_groups(workspace: Workspace, rows: Iterable[Group]) -> bool:
    """Merge groups into the file: a clip's groups of a kind replace those it had of that kind.

    Returns:
        False if the very same groups were in the file already.
    """
    new = set(rows)
    given = {(row.clip_id, row.kind) for row in new}
    with _locked(workspace):
        before = read_groups(workspace)
        kept = (row for row in before if (row.clip_id, row.kind) not in given)
        return _write(workspace, before, {*kept, *new})


def replace_groups(workspace: Workspace, kind: str, rows: Iterable[Group]) -> bool:
    """Make these the only groups of a kind; the other kinds stay.

    Returns:
        False if the very same groups were in the file already.
    """
    with _locked(workspace):
        before = read_groups(workspace)
        return _write(workspace, before, {*(row for row in before if row.kind != kind), *rows})


def join_groups(clips: Iterable[GroupedClip], groups: Iterable[Group]) -> dict[str, str]:
    """Join the clips that share a source video, equal bytes, or a group of any kind.

    Args:
        clips: the clips.
        groups: their groups; rows of other clips are ignored.

    Returns:
        For each clip id the name of its group: the smallest id of the group's source videos.
    """
    video_of: dict[str, str] = {}
    links = _Links()
    for clip in clips:
        video_of[clip.clip_id] = clip.video_id
        links.add(clip.video_id)
        if clip.sha256:
            links.share(("", clip.sha256), clip.video_id)
    for row in groups:
        if row.clip_id in video_of:
            links.share((row.kind, row.group), video_of[row.clip_id])
    return {clip_id: links.root(video) for clip_id, video in video_of.items()}


class _Links:
    """Disjoint sets of source videos; the root of a set is its smallest id."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}
        self._first: dict[Hashable, str] = {}

    def add(self, video: str) -> None:
        """Put a video in, in a set of its own if it is new."""
        self._parent.setdefault(video, video)

    def share(self, mark: Hashable, video: str) -> None:
        """Join a video with those that bear the same mark."""
        one, other = self.root(self._first.setdefault(mark, video)), self.root(video)
        self._parent[max(one, other)] = min(one, other)

    def root(self, video: str) -> str:
        """Give the smallest id of a video's set."""
        parent = self._parent
        while parent[video] != video:
            parent[video] = video = parent[parent[video]]
        return video


def _write(workspace: Workspace, before: list[Group], after: set[Group]) -> bool:
    rows = sorted(after)
    if rows == before and workspace.groups.exists():
        return False
    tables.write(workspace.groups, Group, rows)
    return True


@contextmanager
def _locked(workspace: Workspace) -> Iterator[None]:
    # Another command may add its groups at the same time; none may lose the other's.
    import filelock

    folder = workspace.root / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / "groups.lock"):
        yield
