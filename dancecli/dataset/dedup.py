"""Dedup: groups of clips that look the same or share a source video, which a split keeps together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dancecli import manifest
from dancecli.dataset.looks import kept_looks, looks_of_clips
from dancecli.dataset.neighbours import SAME_PICTURE, Sketches, joined, near_pairs
from dancecli.errors import WorkspaceError
from dancecli.media.fingerprint import Looks
from dancecli.media.sheet import Cell, write_sheet
from dancecli.schema import Clip, Group, OnProgress, no_progress
from dancecli.workspace import Workspace

_SHEET_ROWS = 40
_SHEET_COLUMNS = 6


@dataclass(frozen=True)
class DedupSettings:
    """How to look for duplicates.

    Attributes:
        workers: processes; 0 for one a core.
        dry_run: group what is hashed already, and change nothing.
    """

    workers: int = 0
    dry_run: bool = False


@dataclass(frozen=True)
class DedupResult:
    """What looks the same.

    Attributes:
        num_clips: clips, without augmented copies.
        num_pending: of these, those that a dry run would have to look at first.
        num_groups: groups; a clip that is like no other is one.
        alike: the groups with clips of several videos, by group, the largest first.
        conflicts: of these, those whose clips bear several labels: group and labels.
        unreadable: clips that do not decode, with the reason.
        changed: False if the very same groups were there already.
        shown: groups on the contact sheet.
    """

    num_clips: int
    num_pending: int
    num_groups: int
    alike: dict[str, tuple[str, ...]]
    conflicts: dict[str, tuple[str, ...]]
    unreadable: dict[str, str]
    changed: bool
    shown: int


def dedup(
    workspace: Workspace, settings: DedupSettings, on_progress: OnProgress = no_progress
) -> DedupResult:
    """Group the workspace's clips; write `manifests/groups.parquet` and a contact sheet.

    Raises:
        WorkspaceError: there are no clips.
    """
    every = manifest.read(workspace.clips, Clip) if workspace.clips.exists() else []
    clips = sorted(clip for clip in every if not clip.parent_id)
    if not clips:
        raise WorkspaceError(f"{workspace.root}: there are no clips to compare", "run dance fetch first")
    unreadable: dict[str, str] = {}
    if settings.dry_run:
        looks = kept_looks(workspace, clips)
    else:
        looks, unreadable = looks_of_clips(workspace, clips, settings.workers, on_progress)
    groups = grouped(clips, looks)
    members = _members(groups)
    video_of = {clip.clip_id: clip.video_id for clip in clips}
    label_of = {clip.clip_id: clip.label for clip in clips}
    several = {name: ids for name, ids in members.items() if len({video_of[i] for i in ids}) > 1}
    alike = dict(sorted(several.items(), key=lambda item: (-len(item[1]), item[0])))
    labels = {name: tuple(sorted({label_of[i] for i in ids})) for name, ids in alike.items()}
    before = manifest.read(workspace.groups, Group) if workspace.groups.exists() else None
    shown = 0
    if not settings.dry_run:
        if groups != before:
            meta = {"dedup.distance": str(SAME_PICTURE)}
            manifest.write(workspace.groups, Group, groups, meta)
        if groups != before or not workspace.group_sheet.exists():
            shown = _draw(workspace, alike, {clip.clip_id: clip for clip in clips if clip.clip_id in looks})
        else:
            shown = min(len(alike), _SHEET_ROWS)
    return DedupResult(
        num_clips=len(clips),
        num_pending=len(clips) - len(looks) - len(unreadable),
        num_groups=len(members),
        alike=alike,
        conflicts={name: found for name, found in labels.items() if len(found) > 1},
        unreadable=unreadable,
        changed=groups != before,
        shown=shown,
    )


def grouped(clips: Sequence[Clip], looks: Mapping[str, Looks]) -> list[Group]:
    """Put every clip into its group: what looks the same, and what shares a source video.

    A group bears the smallest id of its source videos. Sorted by clip id.
    """
    import numpy as np

    videos = sorted({clip.video_id for clip in clips})
    place = {video: i for i, video in enumerate(videos)}
    seen = [clip for clip in sorted(clips) if clip.clip_id in looks]
    first, second = near_pairs(Sketches.of([looks[clip.clip_id] for clip in seen]))
    video_at = np.array([place[clip.video_id] for clip in seen], dtype=np.int64)
    roots = joined(len(videos), video_at[first], video_at[second])
    return sorted(Group(clip.clip_id, videos[roots[place[clip.video_id]]]) for clip in clips)


def _members(groups: Sequence[Group]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for row in groups:
        found.setdefault(row.group, []).append(row.clip_id)
    return {name: tuple(ids) for name, ids in found.items()}


def _draw(workspace: Workspace, alike: Mapping[str, Sequence[str]], clips: Mapping[str, Clip]) -> int:
    """Draw the largest groups, a row each, a clip of each of their videos first."""
    rows = []
    for ids in list(alike.values())[:_SHEET_ROWS]:
        readable = [clips[clip_id] for clip_id in ids if clip_id in clips]
        firsts = {clip.video_id: clip for clip in reversed(readable)}
        others = [clip for clip in readable if firsts[clip.video_id] is not clip]
        shown = [*sorted(firsts.values()), *others][:_SHEET_COLUMNS]
        rows.append([Cell(workspace.root / clip.path, f"{clip.clip_id} {clip.label}") for clip in shown])
    if rows:
        write_sheet(workspace.group_sheet, rows)
    else:
        workspace.group_sheet.unlink(missing_ok=True)
    return len(rows)
