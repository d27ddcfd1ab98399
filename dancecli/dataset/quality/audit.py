"""Look for what would make a benchmark's numbers wrong: leaks, conflicts, files that changed.

A leak is found by source video (two clips of one video share dancers, clothes and room even where
they share no frame), by equal bytes, by near-duplicates and by every kind of group that the user
gave. Lists that a backbone was pre-trained on are compared with the held-out clips in the same way.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from pathlib import Path

from dancecli.core.csv_files import parse_csv, read_text
from dancecli.core.errors import InputError
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import NEAR_DUPLICATE, Clip, Group, OutcomeClass, SplitClip, Subset
from dancecli.dataset.groups import KnownGroups, known_groups, read_all_groups
from dancecli.dataset.quality.verify import StoredFile, check_files
from dancecli.dataset.similarity.dedup import near_among
from dancecli.dataset.split.official import SUBSET_COLUMNS
from dancecli.sources.list_format import RowError, read_subset, read_video_id
from dancecli.storage import ledger, tables
from dancecli.storage.content import conditions_of
from dancecli.storage.lockfile import lock_rows
from dancecli.storage.removals import is_reference
from dancecli.storage.workspace import Workspace

_ID_COLUMNS = ("youtube_id", "video_id", "clip_id")
# Kinetics ids have this length; a clip id of a list starts with one.
_YOUTUBE_ID = 11
# Let's Dance names a clip by its video and three digits of seconds.
_LETS_DANCE_ID = re.compile(r"[A-Za-z0-9_-]{11}_\d{3}")
_MEDIA_FOLDERS = ("clips", "augmented")


@dataclass(frozen=True)
class AuditSettings:
    """What to look at.

    Attributes:
        split: the split; None for the latest.
        against: lists (a Kinetics CSV or JSON, a split lock, any CSV with an id column).
        files: read every clip's file and compare its checksum.
    """

    split: str | None = None
    against: tuple[Path, ...] = ()
    files: bool = True


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: for counting, such as `video in two subsets`.
        what: the video, group, clip or file.
        detail: where it is, in words.
    """

    kind: str
    what: str
    detail: str


@dataclass(frozen=True)
class AuditResult:
    """All findings, and how much was looked at.

    Attributes:
        split: the split that was audited.
        num_clips: its clips.
        num_listed: rows of each list that it was compared with.
        own_leaks: of each such list that has subsets of its own, the clips held out in it whose video it
            has in training too, and all that are held out in it.
        known: which kinds of groups are known of the split's clips.
        content: clips of the split that are black, static, letterboxed or damaged, by condition.
        findings: what is wrong.
    """

    split: str
    num_clips: int
    num_listed: dict[str, int]
    own_leaks: dict[str, tuple[int, int]]
    known: KnownGroups
    content: dict[str, tuple[str, ...]]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Listed:
    """One row of a list: its source video, and the subset that the list gives it, or empty."""

    video_id: str
    subset: str


@dataclass(frozen=True, slots=True)
class AuditedClip:
    """The columns of a clip that are audited; see `dancecli.core.records.Clip`."""

    clip_id: str
    video_id: str
    start_ms: int
    end_ms: int
    label: str
    path: str
    num_bytes: int
    sha256: str
    source: str
    parent_id: str
    damaged_frames: int = 0
    black_share: float = 0.0
    frozen_share: float = 0.0
    bars_share: float = 0.0


def audit(workspace: Workspace, settings: AuditSettings, reporter: Reporter = SILENT) -> AuditResult:
    """Audit a split.

    Raises:
        WorkspaceError: there is no such split.
        InputError: a list cannot be read.
    """
    name = workspace.find_split(settings.split)
    clips = _clips(workspace)
    split_clips = list(_split_clips(workspace, name, clips))
    ids = {clip.clip_id for clip in split_clips}
    # What the split was told to tear is no leak of it.
    without = json.loads(tables.read_meta(workspace.split(name)).get("split.without_groups", "[]"))
    groups = [row for row in read_all_groups(workspace) if row.clip_id in ids and row.kind not in without]
    del ids
    findings = [
        *straddling("video in two subsets", ((_video(c, clips), c.part) for c in split_clips)),
        *straddling("equal bytes in two subsets", _checksums(split_clips, clips)),
        *_straddling_groups(split_clips, groups),
        *label_conflicts(split_clips, clips),
        *_near_conflicts(workspace, split_clips, clips, groups),
        *misplaced_augmented(workspace, name, split_clips, clips),
        *outdated(split_clips, clips),
        *_lock_differences(workspace, name, split_clips, clips),
        *strays(workspace, clips),
    ]
    num_listed, own_leaks = {}, {}
    for path in settings.against:
        rows = list(read_ids(path))
        num_listed[str(path)] = len(rows)
        findings += straddling(f"{path.name}: video in two of its own subsets", own_subsets(rows))
        leaked, held_out = leaked_clips(rows)
        if held_out:
            own_leaks[str(path)] = leaked, held_out
        findings += known_elsewhere(path.name, split_clips, clips, rows)
    own = [clips[c.clip_id] for c in split_clips if c.clip_id in clips]
    if settings.files:
        findings += _changed_files(workspace, own, reporter, len(findings))
    return AuditResult(
        split=name,
        num_clips=len(split_clips),
        num_listed=num_listed,
        own_leaks=own_leaks,
        known=known_groups(workspace, own, groups),
        content=_content(own),
        findings=tuple(sorted(findings)),
    )


def straddling(kind: str, places: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    """Find what is in more than one subset, from pairs of a thing and its subset."""
    for what, found in _clashes(places).items():
        yield Finding(kind, what, ", ".join(f"{found[subset]} in {subset}" for subset in sorted(found)))


def own_subsets(rows: Iterable[Listed]) -> Iterator[tuple[str, str]]:
    """Yield a list's videos with its own subsets; other words in that column, as `excluded`, are none."""
    return ((row.video_id, row.subset) for row in rows if row.subset in set(Subset))


def leaked_clips(rows: Sequence[Listed]) -> tuple[int, int]:
    """Count the clips that a list holds out: those whose video it has in training too, and all."""
    trained = {row.video_id for row in rows if row.subset == Subset.TRAIN}
    held_out = [row for row in rows if row.subset in (Subset.VAL, Subset.TEST)]
    return sum(row.video_id in trained for row in held_out), len(held_out)


def known_elsewhere(
    name: str, split_clips: Sequence[SplitClip], clips: Mapping[str, AuditedClip], rows: Iterable[Listed]
) -> Iterator[Finding]:
    """Find held-out clips whose source video is in a list: a model trained on it has seen them."""
    listed: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        listed[row.video_id].add(row.subset)
    for clip in split_clips:
        video = _video(clip, clips)
        if clip.subset != Subset.TRAIN and video in listed:
            where = ", ".join(sorted(filter(None, listed[video])))
            detail = f"in {clip.subset} here, listed there" + (f" as {where}" if where else "")
            yield Finding(f"{name}: held-out video is listed", clip.clip_id, detail)


def label_conflicts(split_clips: Sequence[SplitClip], clips: Mapping[str, AuditedClip]) -> Iterator[Finding]:
    """Find clips that show the same and have different labels: those that overlap or are equal."""
    label_of = {clip.clip_id: clip.label for clip in split_clips}
    own = [clips[clip_id] for clip_id in label_of if clip_id in clips]
    by_video: dict[str, list[AuditedClip]] = defaultdict(list)
    for clip in own:
        by_video[clip.video_id].append(clip)
    for video, members in by_video.items():
        members.sort(key=lambda clip: (clip.start_ms, clip.end_ms, clip.label))
        for one, two in combinations(members, 2):
            if two.start_ms < one.end_ms and one.label != two.label:
                named = f"{one.label} ({one.clip_id}) and {two.label} ({two.clip_id})"
                yield Finding("two labels for one segment", video, named)
    del by_video
    pairs = [(clip.sha256, clip.clip_id) for clip in own]
    # The smallest id of each label: a checksum alone would not lead to a clip.
    first: dict[tuple[str, str], str] = {}
    for what, clip_id in sorted(pairs):
        first.setdefault((what, label_of[clip_id]), clip_id)
    for what, labels in _clashes((what, label_of[clip_id]) for what, clip_id in pairs).items():
        named = " and ".join(f"{label} ({first[what, label]})" for label in sorted(labels))
        yield Finding("equal bytes with two labels", what, named)


def _near_conflicts(
    workspace: Workspace,
    split_clips: Sequence[SplitClip],
    clips: Mapping[str, AuditedClip],
    groups: Sequence[Group],
) -> Iterator[Finding]:
    """Find near-duplicates of different videos that have different labels.

    A group holds all clips of its videos, of which only some are near-duplicates: the pairs are looked up
    again by their stored hashes, in the groups that have several labels.
    """
    label_of = {clip.clip_id: clip.label for clip in split_clips}
    members = [row for row in groups if row.kind == NEAR_DUPLICATE and row.clip_id in clips]
    torn = _clashes((row.group, label_of[row.clip_id]) for row in members)
    group_of = {row.clip_id: row.group for row in members if row.group in torn}
    for one, two in near_among(workspace, group_of) if group_of else ():
        if label_of[one] != label_of[two] and clips[one].video_id != clips[two].video_id:
            named = " and ".join(sorted(f"{label_of[clip_id]} ({clip_id})" for clip_id in (one, two)))
            yield Finding("near-duplicates with two labels", group_of[one], named)


def misplaced_augmented(
    workspace: Workspace, split: str, split_clips: Sequence[SplitClip], clips: Mapping[str, AuditedClip]
) -> Iterator[Finding]:
    """Find augmented clips in the lists of val and test, or of a clip that is held out."""
    subset_of = {clip.clip_id: clip.subset for clip in split_clips}
    augmented = {clip.path: clip for clip in clips.values() if clip.parent_id}
    for name in Subset:
        path = workspace.annotations(split) / f"{name}.txt"
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            clip = augmented.get(line.rpartition(" ")[0])
            if clip and (name != Subset.TRAIN or subset_of.get(clip.parent_id) != Subset.TRAIN):
                parent = subset_of.get(clip.parent_id, "no subset")
                detail = f"listed in {name}, its parent is in {parent}"
                yield Finding("augmented clip outside training", clip.clip_id, detail)


def outdated(split_clips: Iterable[SplitClip], clips: Mapping[str, AuditedClip]) -> Iterator[Finding]:
    """Find clips of the split that are gone, or whose file is not the one that was split."""
    for own in split_clips:
        clip = clips.get(own.clip_id)
        if clip is None:
            yield Finding("clip of the split is gone", own.clip_id, f"in {own.subset}, not in the manifest")
        elif clip.sha256 != own.sha256:
            detail = f"in {own.subset}, was {own.sha256[:12]}, is {clip.sha256[:12]}"
            yield Finding("file changed since the split", own.clip_id, detail)


def strays(workspace: Workspace, clips: Mapping[str, AuditedClip]) -> Iterator[Finding]:
    """Find rows of the manifest without a file, and files of media that no row names."""
    paths = {clip.path: clip.clip_id for clip in clips.values()}
    for path, clip_id in paths.items():
        if not (workspace.root / path).is_file():
            yield Finding("file missing", clip_id, path)
    orphans = [path for path in _media(workspace.root) if path not in paths]
    if orphans:
        # A fetch at work has recorded clips that the manifest does not list yet.
        latest = ledger.latest(workspace.root)
        recorded = {clip_id for clip_id, found in latest.items() if found.outcome is OutcomeClass.DONE}
        for path in orphans:
            if Path(path).stem not in recorded:
                yield Finding("file without a row", path, "no clip of the manifest names it")


def read_ids(path: Path) -> Iterator[Listed]:
    """Read the source videos of a list, with the list's own subsets.

    Known forms: CSV with a column `youtube_id`, `video_id` or `clip_id` (Kinetics lists with or
    without labels, split locks, Let's Dance tables), and the JSON of Kinetics.

    Raises:
        InputError: the file is missing or has none of these columns.
    """
    text = read_text(path, "list")
    if path.suffix.lower() == ".json":
        yield from _json_ids(path, text)
        return
    table = parse_csv(path, text)
    column, subset_column = table.first_of(_ID_COLUMNS), table.first_of(SUBSET_COLUMNS)
    if not column:
        raise InputError.at(path, 1, f"has no column {', '.join(_ID_COLUMNS)}", "give a list with ids")
    for row in table.rows:
        value, subset = row.cells[column], row.cells.get(subset_column, "")
        yield Listed(video_of(value) if column == "clip_id" else _as_fetched(value), _subset(subset))


def _as_fetched(value: str) -> str:
    """Give a source video the id that `dance fetch` gives it: the list may hold addresses."""
    try:
        return read_video_id(value)
    except RowError:
        return value


def _subset(text: str) -> str:
    """Read a subset's name as `dance fetch` does; one that it does not know stays, and is none."""
    return read_subset(text) or text


def video_of(clip_id: str) -> str:
    """Return the source video of a clip id of this tool or of a Kinetics-like list."""
    head, _, end = clip_id.rpartition("_")
    video, _, start = head.rpartition("_")
    own = video and start.isdecimal() and end.isdecimal() and int(start) < int(end)
    return video if own and not _LETS_DANCE_ID.fullmatch(clip_id) else clip_id[:_YOUTUBE_ID]


def _clashes(pairs: Iterable[tuple[str, str]]) -> dict[str, Counter[str]]:
    """Count the second members of the first ones that occur with more than one of them."""
    known = list(pairs)
    first: dict[str, str] = {}
    torn = {what for what, value in known if first.setdefault(what, value) != value}
    counts: dict[str, Counter[str]] = {what: Counter() for what in sorted(torn)}
    for what, value in known:
        if what in torn:
            counts[what][value] += 1
    return counts


def _json_ids(path: Path, text: str) -> Iterator[Listed]:
    try:
        videos = json.loads(text)
        for video, facts in videos.items():
            yield Listed(_as_fetched(video), _subset(str(facts.get("subset", ""))))
    except (ValueError, RecursionError, AttributeError):
        raise InputError.at(path, None, 'is not {id: {"subset": ...}} in JSON') from None


def _clips(workspace: Workspace) -> dict[str, AuditedClip]:
    names = [column.name for column in fields(AuditedClip)]
    return {row[0]: AuditedClip(*row) for row in tables.read_columns(workspace.clips, Clip, names)}


def _split_clips(workspace: Workspace, name: str, clips: Mapping[str, AuditedClip]) -> Iterator[SplitClip]:
    """Read the split; texts that the clips have too are held once."""
    for row in tables.read_columns(workspace.split(name), SplitClip):
        own = SplitClip(*row)
        clip = clips.get(own.clip_id)
        if clip and clip.sha256 == own.sha256:
            group = clip.video_id if clip.video_id == own.group else own.group
            label = clip.label if clip.label == own.label else own.label
            subset, folds = sys.intern(own.subset), sys.intern(own.folds)
            own = SplitClip(clip.clip_id, subset, group, label, clip.sha256, folds)
        yield own


def _video(clip: SplitClip, clips: Mapping[str, AuditedClip]) -> str:
    own = clips.get(clip.clip_id)
    return own.video_id if own else video_of(clip.clip_id)


def _checksums(
    split_clips: Iterable[SplitClip], clips: Mapping[str, AuditedClip]
) -> Iterator[tuple[str, str]]:
    """Yield the checksum of each clip with its subset: of the file as it is, or as it was."""
    for clip in split_clips:
        own = clips.get(clip.clip_id)
        yield own.sha256 if own else clip.sha256, clip.part


def _straddling_groups(split_clips: Iterable[SplitClip], groups: Iterable[Group]) -> Iterator[Finding]:
    subset_of = {clip.clip_id: clip.part for clip in split_clips}
    places: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in groups:
        if row.clip_id in subset_of:
            places[row.kind].append((row.group, subset_of[row.clip_id]))
    for kind, pairs in sorted(places.items()):
        name = "near-duplicates" if kind == NEAR_DUPLICATE else kind
        yield from straddling(f"{name} in two subsets", pairs)


def _lock_differences(
    workspace: Workspace, name: str, split_clips: Sequence[SplitClip], clips: Mapping[str, AuditedClip]
) -> Iterator[Finding]:
    """Find a lock beside the split that is not the split's, or that leaks."""
    path = workspace.split_lock(name)
    if not path.exists():
        return
    own = {clip.clip_id: clip for clip in split_clips}
    videos, groups, num_same, num_locked = [], [], 0, 0
    try:
        for _, row in lock_rows(path):
            if is_reference(row.clip_id):
                continue
            num_locked += 1
            num_same += own.get(row.clip_id) == row
            # Texts that the split has too are held once.
            known = own.get(row.clip_id, row)
            group = known.group if known.group == row.group else row.group
            subset = sys.intern(row.part)
            videos.append((_video(known, clips), subset))
            groups.append((group, subset))
    except InputError as error:
        yield Finding("lock cannot be used", path.name, error.message)
        return
    yield from straddling("lock: video in two subsets", videos)
    yield from straddling("lock: group in two subsets", groups)
    if not num_same == num_locked == len(own):
        yield Finding("lock is not the split's", path.name, "run dance split again, or restore the lock")


def _changed_files(
    workspace: Workspace, clips: Sequence[AuditedClip], reporter: Reporter, num_before: int
) -> list[Finding]:
    found: list[Finding] = []
    stored = (StoredFile(clip.clip_id, clip.path, clip.num_bytes, clip.sha256) for clip in clips)
    for done, (file, fault) in enumerate(check_files(workspace.root, stored), start=1):
        # Missing files are among the strays.
        if fault in ("changed", "unreadable"):
            found.append(Finding(f"file {fault}", file.name, file.path))
        reporter.progress(done, len(clips), f"{num_before + len(found)} findings")
    return found


def _content(clips: Iterable[AuditedClip]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = defaultdict(list)
    for clip in clips:
        for name in conditions_of(clip):
            found[name].append(clip.clip_id)
    return {name: tuple(ids) for name, ids in sorted(found.items())}


def _media(root: Path) -> Iterator[str]:
    """Yield the media files of a workspace, relative to it; what is half-made is hidden."""
    for folder in _MEDIA_FOLDERS:
        for where, folders, files in os.walk(root / folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(files):
                if not name.startswith("."):
                    yield (Path(where) / name).relative_to(root).as_posix()
