"""Look for what would make a benchmark's numbers wrong: leaks, conflicts, files that changed.

A leak is found by source video: two clips of one video share dancers, clothes and room even
where they share no frame. Lists that a backbone was pre-trained on are held against the test
part in the same way.
"""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from dancecli.core.errors import InputError
from dancecli.core.progress import OnProgress, Progress, no_progress
from dancecli.core.records import Clip, Group, SplitClip, Subset
from dancecli.dataset.groups import NEAR_DUPLICATE, read_groups
from dancecli.dataset.quality.verify import check_files
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace

_ID_COLUMNS = ("youtube_id", "video_id", "clip_id")
_TRAINING = frozenset({"train", "training"})
_PARTS = _TRAINING | {"val", "validate", "validation", "test", "testing"}
_SPLIT_COLUMNS = ("split", "subset", "part")
# Kinetics ids have this length; a clip id of a list starts with one.
_YOUTUBE_ID = 11


@dataclass(frozen=True)
class AuditSettings:
    """What to look at.

    Attributes:
        split: the split; None for the one made last.
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
        kind: for counting, such as `video in two parts`.
        what: the video, group or clip.
        detail: where it stands, in words.
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
        num_listed: rows of each list that it was held against.
        own_leaks: of each such list that has parts of its own, the clips held out in it whose video it
            has in training too, and all that are held out in it.
        findings: what is wrong.
    """

    split: str
    num_clips: int
    num_listed: dict[str, int]
    own_leaks: dict[str, tuple[int, int]]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Listed:
    """One row of a list: its source video, and the part that the list gives it, or empty."""

    video_id: str
    part: str


def audit(
    workspace: Workspace, settings: AuditSettings, on_progress: OnProgress = no_progress
) -> AuditResult:
    """Audit a split.

    Raises:
        WorkspaceError: there is no such split.
        InputError: a list cannot be read.
    """
    name = workspace.find_split(settings.split)
    parts = tables.read(workspace.split(name), SplitClip)
    clips = {clip.clip_id: clip for clip in tables.read(workspace.clips, Clip)}
    groups = [row for row in read_groups(workspace) if row.kind == NEAR_DUPLICATE]
    findings = [
        *straddling("video in two parts", ((_video(p, clips), p.subset) for p in parts)),
        *straddling("look-alikes in two parts", _group_places(parts, groups)),
        *label_conflicts(parts, clips, groups),
        *misplaced_copies(workspace, name, parts, clips),
    ]
    num_listed, own_leaks = {}, {}
    for path in settings.against:
        rows = list(read_ids(path))
        num_listed[str(path)] = len(rows)
        findings += straddling(f"{path.name}: video in two of its own parts", own_parts(rows))
        leaked, held_out = leaked_clips(rows)
        if held_out:
            own_leaks[str(path)] = leaked, held_out
        findings += list(known_elsewhere(path.name, parts, clips, rows))
    if settings.files:
        wanted = [clips[p.clip_id] for p in parts if p.clip_id in clips]
        for done, (clip, fault) in enumerate(check_files(workspace.root, wanted), start=1):
            if fault:
                findings.append(Finding(f"file {fault}", clip.clip_id, clip.path))
            on_progress(Progress(done, len(wanted), f"{len(findings)} findings"))
    return AuditResult(name, len(parts), num_listed, own_leaks, tuple(sorted(findings)))


def straddling(kind: str, places: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    """Find what stands in more than one part, from pairs of a thing and its part."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for what, part in places:
        counts[what][part] += 1
    for what, found in counts.items():
        if len(found) > 1:
            detail = ", ".join(f"{found[part]} in {part}" for part in sorted(found))
            yield Finding(kind, what, detail)


def own_parts(rows: Iterable[Listed]) -> Iterator[tuple[str, str]]:
    """Give a list's videos with its own parts; other words in that column, such as `excluded`, are none."""
    return ((row.video_id, row.part) for row in rows if row.part in _PARTS)


def leaked_clips(rows: Sequence[Listed]) -> tuple[int, int]:
    """Count the clips that a list holds out: those whose video it has in training too, and all."""
    trained = {row.video_id for row in rows if row.part in _TRAINING}
    held_out = [row for row in rows if row.part in _PARTS - _TRAINING]
    return sum(row.video_id in trained for row in held_out), len(held_out)


def known_elsewhere(
    name: str, parts: Sequence[SplitClip], clips: Mapping[str, Clip], rows: Iterable[Listed]
) -> Iterator[Finding]:
    """Find held-out clips whose source video a list holds: a model that learnt it has seen them."""
    listed: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        listed[row.video_id].add(row.part)
    for part in parts:
        video = _video(part, clips)
        if part.subset != Subset.TRAIN and video in listed:
            where = ", ".join(sorted(filter(None, listed[video])))
            detail = f"in {part.subset} here, listed there" + (f" as {where}" if where else "")
            yield Finding(f"{name}: held-out video is listed", part.clip_id, detail)


def label_conflicts(
    parts: Sequence[SplitClip], clips: Mapping[str, Clip], groups: Sequence[Group]
) -> Iterator[Finding]:
    """Find clips that show the same and are labelled differently: overlapping, or look-alikes."""
    by_video: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    label_of = {part.clip_id: part.label for part in parts}
    for part in parts:
        clip = clips.get(part.clip_id)
        if clip:
            by_video[clip.video_id].append((clip.start_ms, clip.end_ms, clip.label))
    for video, stretches in by_video.items():
        for one, two in combinations(sorted(stretches), 2):
            if two[0] < one[1] and one[2] != two[2]:
                yield Finding("two labels for one stretch", video, f"{one[2]} and {two[2]}")
    labels: dict[str, set[str]] = defaultdict(set)
    for row in groups:
        if row.clip_id in label_of:
            labels[row.group].add(label_of[row.clip_id])
    for group, names in labels.items():
        if len(names) > 1:
            yield Finding("look-alikes with two labels", group, " and ".join(sorted(names)))


def misplaced_copies(
    workspace: Workspace, split: str, parts: Sequence[SplitClip], clips: Mapping[str, Clip]
) -> Iterator[Finding]:
    """Find augmented copies in the lists of val and test, or of a clip that is held out."""
    part_of = {part.clip_id: part.subset for part in parts}
    copies = {clip.path: clip for clip in clips.values() if clip.parent_id}
    for name in Subset:
        path = workspace.annotations(split) / f"{name}.txt"
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            copy = copies.get(line.rpartition(" ")[0])
            if copy and (name != Subset.TRAIN or part_of.get(copy.parent_id) != Subset.TRAIN):
                detail = f"listed in {name}, its parent is in {part_of.get(copy.parent_id, 'no part')}"
                yield Finding("copy outside training", copy.clip_id, detail)


def read_ids(path: Path) -> Iterator[Listed]:
    """Read the source videos of a list, with the list's own parts.

    Known forms: CSV with a column `youtube_id`, `video_id` or `clip_id` (Kinetics lists with or
    without labels, split locks, Let's Dance tables), and the JSON of Kinetics.

    Raises:
        InputError: the file is missing or has none of these columns.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError.at(path, None, "there is no such list") from None
    except IsADirectoryError:
        raise InputError.at(path, None, "is a folder, not a list") from None
    except UnicodeDecodeError as error:
        raise InputError.at(path, None, f"is not UTF-8 text ({error.reason})", "save it as UTF-8") from None
    if path.suffix.lower() == ".json":
        yield from _json_ids(path, text)
        return
    rows = csv.DictReader(text.splitlines())
    columns = rows.fieldnames or []
    column = next((name for name in _ID_COLUMNS if name in columns), None)
    if column is None:
        raise InputError.at(path, 1, f"has no column {', '.join(_ID_COLUMNS)}", "give a list with ids")
    part_column = next((name for name in _SPLIT_COLUMNS if name in columns), "")
    try:
        for row in rows:
            value = row[column] or ""
            video = video_of(value) if column == "clip_id" else value
            yield Listed(video, row.get(part_column) or "")
    except csv.Error as error:
        raise InputError.at(path, rows.reader.line_num, f"is not CSV: {error}", "correct that line") from None


def video_of(clip_id: str) -> str:
    """Give the source video of a clip id of this tool or of a Kinetics-like list."""
    head, _, tail = clip_id.rpartition("_")
    video, _, start = head.rpartition("_")
    return video if video and start.isdigit() and tail.isdigit() else clip_id[:_YOUTUBE_ID]


def _json_ids(path: Path, text: str) -> Iterator[Listed]:
    try:
        videos = json.loads(text)
        for video, facts in videos.items():
            yield Listed(video, str(facts.get("subset", "")))
    except (ValueError, RecursionError, AttributeError):
        raise InputError.at(path, None, 'is not {id: {"subset": ...}} in JSON') from None


def _video(part: SplitClip, clips: Mapping[str, Clip]) -> str:
    clip = clips.get(part.clip_id)
    return clip.video_id if clip else video_of(part.clip_id)


def _group_places(parts: Iterable[SplitClip], groups: Iterable[Group]) -> Iterator[tuple[str, str]]:
    part_of = {part.clip_id: part.subset for part in parts}
    return ((row.group, part_of[row.clip_id]) for row in groups if row.clip_id in part_of)
