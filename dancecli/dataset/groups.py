"""The groups of clips that a split keeps whole, in `manifests/groups.parquet`.

`dance dedup` writes the kind `near-duplicate`; every other kind is the user's own (`dancer`,
`venue`, `piece`). A clip may be in several groups of one kind: a duet has two dancers. The source
video and equal bytes are not in the file, since the manifest of clips tells them.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dancecli.core.csv_files import CsvTable, check_unique, parse_csv, read_text, text_lines
from dancecli.core.errors import InputError, WorkspaceError
from dancecli.core.records import NEAR_DUPLICATE, ClipHashes, Group, near_duplicates
from dancecli.core.text import first_of, pluralize, shown
from dancecli.dataset.clip_lookup import KEY_COLUMNS, ClipLookup
from dancecli.dataset.group_names import find_spellings, replaced_names, tidy_name
from dancecli.sources.list_format import column_name, find_header
from dancecli.storage import tables
from dancecli.storage.corrections import Field, current, read_corrections
from dancecli.storage.workspace import Workspace

# Columns of a folder's list that are no groups: one would tie all clips of a class or subset together.
_NOT_SHARED = frozenset({"label", "split", "subset"})
# The kind of the groups that people gave clips in `dance app`.
CORRECTED = "corrected"
_YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")


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


def read_all_groups(
    workspace: Workspace, changes: Mapping[str, Mapping[str, str]] | None = None
) -> list[Group]:
    """Read all groups with those that people gave clips in `dance app`, as the kind `corrected`.

    Args:
        workspace: whose groups.
        changes: the corrections in force, if they were read already.

    Raises:
        InputError: a file cannot be read.
    """
    return join_spellings(workspace, (), changes)[0]


def join_spellings(
    workspace: Workspace, given: Iterable[Group], changes: Mapping[str, Mapping[str, str]] | None = None
) -> tuple[list[Group], tuple[str, ...]]:
    """Read all groups, add others as `merge_groups` does, and write each in its commonest spelling.

    Args:
        workspace: whose groups.
        given: the groups to add.
        changes: the corrections in force, if they were read already.

    Returns:
        The groups, sorted; and which spellings were joined and which groups replaced, in sentences.

    Raises:
        InputError: a file cannot be read.
    """
    mine = current(read_corrections(workspace)) if changes is None else changes
    rows = [Group(i, fields[Field.GROUP], CORRECTED) for i, fields in mine.items() if Field.GROUP in fields]
    before, new = merge_groups(read_groups(workspace), rows), tuple(given)
    groups, notes = _respelled(merge_groups(before, new))
    return groups, (*notes, *replaced_names(before, new))


def _respelled(rows: Sequence[Group]) -> tuple[list[Group], tuple[str, ...]]:
    spellings = find_spellings((row.kind, row.group) for row in rows)
    return spellings.respell(rows), spellings.notes


def add_groups(workspace: Workspace, rows: Iterable[Group]) -> bool:
    """Merge groups into the file: a clip's groups of a kind replace those it had of that kind.

    Of a group that is spelled in several ways the commonest spelling is written.

    Returns:
        False if the very same groups were in the file already.
    """
    new = tuple(rows)
    with _locked(workspace):
        before = read_groups(workspace)
        return _write(workspace, before, _respelled(merge_groups(before, new))[0])


def merge_groups(before: Iterable[Group], rows: Iterable[Group]) -> list[Group]:
    """Add groups to others: a clip's groups of a kind replace those it had of that kind. Sorted."""
    new = set(rows)
    given = {(row.clip_id, row.kind) for row in new}
    return sorted({*(row for row in before if (row.clip_id, row.kind) not in given), *new})


def replace_groups(workspace: Workspace, kind: str, rows: Iterable[Group]) -> bool:
    """Make these the only groups of a kind; the other kinds stay.

    Returns:
        False if the very same groups were in the file already.
    """
    with _locked(workspace):
        before = read_groups(workspace)
        return _write(workspace, before, sorted({*(row for row in before if row.kind != kind), *rows}))


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
            # A group's mark is a pair, so that no text is one.
            links.share(clip.sha256, clip.video_id)
    for row in groups:
        if row.clip_id in video_of:
            links.share((row.kind, row.group), video_of[row.clip_id])
    return {clip_id: links.root(video) for clip_id, video in video_of.items()}


@dataclass(frozen=True)
class GroupFile:
    """The groups that a user's file gives to the clips of a workspace.

    Attributes:
        rows: the groups.
        unknown: names in the file that match no clip.
        notes: what should be checked, in sentences.
    """

    rows: tuple[Group, ...]
    unknown: tuple[str, ...]
    notes: tuple[str, ...]


def read_group_file(path: Path, lookup: ClipLookup) -> GroupFile:
    """Read a CSV file whose first named column is a clip or a file, and every other one a kind of group.

    A title, comments and Excel's `sep=` may stand above the header. A clip with several groups of one kind
    has several rows, or several columns of one name; an empty cell is no group.

    Raises:
        InputError: the file cannot be read, no column or two of one name name clips, or no column names a
            group.
    """
    row_of_header, table = _read_table(path)
    key = next(name for known in KEY_COLUMNS for name in table.columns if column_name(name) == known)
    check_unique(path, row_of_header, [name for name in table.columns if name == key])
    kinds = [name for name in table.columns if name != key]
    if not kinds or not all(kinds) or NEAR_DUPLICATE in kinds:
        what = f"has the column {NEAR_DUPLICATE!r}, which is dance dedup's" if all(kinds) and kinds else ""
        hint = "name each further column after a kind of group, such as dancer or venue"
        raise InputError.at(path, row_of_header, what or "has no named column of groups", hint)
    if not_shared := [kind for kind in kinds if column_name(kind) in _NOT_SHARED]:
        what = f"has the column {not_shared[0]!r}, which would keep all clips of one {not_shared[0]} together"
        hint = "leave it out of a list of groups, or name it otherwise if it is a kind of group"
        raise InputError.at(path, row_of_header, what, hint)
    rows, unknown, several = set(), dict[str, None](), dict[str, str]()
    for row in table.rows:
        name = row.cells[key]
        found = lookup.find(name)
        if not found:
            unknown[name] = None
        named = {(tidy_name(kind), tidy_name(group)) for kind, group in row.pairs if kind != key}
        given = {Group(i, group, kind) for i in found for kind, group in named if group}
        if given and (of_one := lookup.path_of_one(name)):
            several[name] = of_one
        rows |= given
    return GroupFile(tuple(sorted(rows)), tuple(unknown), _of_several(path, several, lookup))


def _of_several(path: Path, several: Mapping[str, str], lookup: ClipLookup) -> tuple[str, ...]:
    """Say which names mean files in several folders, all of which have their groups.

    Args:
        path: the group file.
        several: for each such name a path that names one of its files.
        lookup: the clips.
    """
    if not several:
        return ()
    clips = pluralize(len({clip_id for name in several for clip_id in lookup.find(name)}), "clip")
    names = pluralize(len(several), "name")
    return (
        f"{shown(path)}: {clips} in several folders share {names} of the list, so each of them has the "
        f"groups of its name: {first_of([*map(repr, several)])}; to mean one file, write its path, "
        f"such as {next(iter(several.values()))}",
    )


def _read_table(path: Path) -> tuple[int, CsvTable]:
    """Read the table of a group file; also give the row of its header.

    Raises:
        InputError: the file cannot be read, or none of its first rows has a column that names clips.
    """
    text = read_text(path, "group file")
    lines = text_lines(text)
    # A title of one word may be that of a column, so a row that names a kind too is preferred.
    found = find_header(lines, KEY_COLUMNS, lambda cells: _names_clips(cells) and sum(map(_named, cells)) > 1)
    found = found or find_header(lines, KEY_COLUMNS, _names_clips)
    if found is None:
        row, columns = _first_row(lines)
        has = f"; its first row has {first_of([*map(repr, columns)])}" if columns else ""
        what, hint = f"has no column that names clips{has}", f"name a column one of {', '.join(KEY_COLUMNS)}"
        raise InputError.at(path, row, what, hint)
    above, separator = found
    # Empty lines in place of those above keep the numbers of the others.
    text = "\n" * above + "".join([lines[above].lstrip("# "), *lines[above + 1 :]])
    return above + 1, parse_csv(path, text, repeated=True, separator=separator)


def _names_clips(cells: Sequence[str]) -> bool:
    return any(column_name(cell) in KEY_COLUMNS for cell in cells)


def _named(cell: str) -> bool:
    return bool(cell.strip())


def _first_row(lines: Sequence[str]) -> tuple[int, list[str]]:
    """Give the number and the cells of the first row of a list; those of none if it is empty."""
    header = find_header(lines, KEY_COLUMNS, lambda cells: any(map(_named, cells)))
    if header is None:
        return 1, []
    cells = max((lines[header[0]].split(separator) for separator in ",;\t|"), key=len)
    return header[0] + 1, [cell.strip().strip('"') for cell in cells]


@dataclass(frozen=True)
class KnownGroups:
    """What is known of the groups of some clips.

    Attributes:
        num_clips: the clips.
        kinds: clips that have a group, by kind; see `near_duplicates`.
        num_videos: source videos.
        file_names_only: clips of which only the file's name tells the source video: nothing says which
            of them show one recording.
        not_compared: clips that `dance dedup` has not compared, or not since their file changed.
    """

    num_clips: int
    kinds: dict[str, int]
    num_videos: int
    file_names_only: int
    not_compared: int

    @property
    def unknown(self) -> bool:
        """No group of any kind is known but what the files' names tell."""
        return self.file_names_only == self.num_clips and not set(self.kinds) - {NEAR_DUPLICATE}

    @property
    def checked(self) -> str:
        """The kinds of groups that are kept whole, in words."""
        kinds = [f"{kind} ({pluralize(count, 'clip')})" for kind, count in sorted(self.kinds.items())]
        return ", ".join(["source video", "equal bytes", *kinds])

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a split of these clips cannot know, one sentence each."""
        found = []
        if self.unknown:
            found.append(
                "no groups are known but what the file names tell: clips of one recording, dancer or venue "
                "may be in several subsets (give them with dance split --groups FILE)"
            )
        if self.not_compared == self.num_clips:
            found.append("dance dedup was not run: near-duplicates may be in several subsets")
        elif self.not_compared:
            found.append(
                f"dance dedup is older than {self.not_compared:,} of the {self.num_clips:,} clips: "
                "their near-duplicates may be in several subsets"
            )
        return tuple(found)


class SourcedClip(GroupedClip, Protocol):
    """What tells whether a clip's source video is known."""

    @property
    def source(self) -> str:
        """What it was made from."""

    @property
    def start_ms(self) -> int:
        """Where it starts in its source video."""


def known_groups(workspace: Workspace, clips: Sequence[SourcedClip], groups: Iterable[Group]) -> KnownGroups:
    """Tell which kinds of groups are known of clips."""
    checksum_of = {clip.clip_id: clip.sha256 for clip in clips}
    of_kind: dict[str, set[str]] = defaultdict(set)
    known = [row for row in groups if row.clip_id in checksum_of]
    for row in known:
        of_kind[row.kind].add(row.clip_id)
    compared = of_kind.pop(NEAR_DUPLICATE, set())
    if near := near_duplicates(known, {clip.clip_id: clip.video_id for clip in clips}):
        of_kind[NEAR_DUPLICATE] = set(near)
    clips_of_video = Counter(clip.video_id for clip in clips)
    return KnownGroups(
        num_clips=len(clips),
        kinds={kind: len(found) for kind, found in sorted(of_kind.items())},
        num_videos=len(clips_of_video),
        file_names_only=sum(_named_by_file(clip, clips_of_video) for clip in clips),
        not_compared=_count_not_compared(workspace, checksum_of, compared),
    )


def count_not_compared(workspace: Workspace, checksum_of: Mapping[str, str]) -> int:
    """Count the clips that dedup has not compared, or not since their file changed.

    Args:
        workspace: whose clips.
        checksum_of: the checksum of each clip's file, by clip id.
    """
    compared = {row.clip_id for row in read_groups(workspace) if row.kind == NEAR_DUPLICATE}
    return _count_not_compared(workspace, checksum_of, compared)


def _count_not_compared(workspace: Workspace, checksum_of: Mapping[str, str], compared: set[str]) -> int:
    hashed = _hashed(workspace) if compared else {}
    return sum(
        clip_id not in compared or hashed.get(clip_id, sha256) != sha256
        for clip_id, sha256 in checksum_of.items()
    )


def _named_by_file(clip: SourcedClip, clips_of_video: Mapping[str, int]) -> bool:
    """Tell whether the source video of a clip is only the file that it was imported from, whole."""
    return (
        clip.source == "folder"
        and clip.start_ms == 0
        and clips_of_video[clip.video_id] == 1
        and not _YOUTUBE_ID.fullmatch(clip.video_id)
    )


def _hashed(workspace: Workspace) -> dict[str, str]:
    """Return the checksum of the file that each clip was hashed from, by clip id."""
    # Hashes can be computed again: a manifest that cannot be read counts as absent.
    try:
        table = tables.read_table(workspace.hashes, ClipHashes, ("clip_id", "sha256"))
    except (InputError, WorkspaceError):
        return {}
    return dict(zip(table["clip_id"].to_pylist(), table["sha256"].to_pylist(), strict=True))


class _Links:
    """Disjoint sets of source videos; the root of a set is its smallest id."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}
        self._first: dict[Hashable, str] = {}

    def add(self, video: str) -> None:
        """Add a video, in a set of its own if it is new."""
        self._parent.setdefault(video, video)

    def share(self, mark: Hashable, video: str) -> None:
        """Join a video with those that have the same mark."""
        one, other = self.root(self._first.setdefault(mark, video)), self.root(video)
        self._parent[max(one, other)] = min(one, other)

    def root(self, video: str) -> str:
        """Return the smallest id of a video's set."""
        parent = self._parent
        while parent[video] != video:
            parent[video] = video = parent[parent[video]]
        return video


def _write(workspace: Workspace, before: list[Group], after: list[Group]) -> bool:
    if after == before and workspace.groups.exists():
        return False
    tables.write(workspace.groups, Group, after)
    return True


@contextmanager
def _locked(workspace: Workspace) -> Iterator[None]:
    # Another command may add its groups at the same time; none may lose the other's.
    import filelock

    folder = workspace.root / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / "groups.lock"):
        yield
