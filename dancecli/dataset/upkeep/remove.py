"""Remove clips on request (take-downs): the files, and everything that came from them.

What stays is a line of `removed.csv`, the tombstone: it names the clip, its checksum, when it was
removed and why. It is the block list as well: what it names is neither downloaded, imported nor
listed again.

A split keeps its name and says how many of its clips were removed; its hash is that of the clips
that remain, and so are the hashes in the records of its runs. In its lock file a removed clip is a
reference that names it to nobody. Predictions of removed clips are deleted, so runs from before and
after are compared on the same, remaining clips.
"""

from __future__ import annotations

import filecmp
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path, PurePosixPath

from dancecli.core.errors import InputError
from dancecli.core.records import NEAR_DUPLICATE, Clip, Group
from dancecli.core.video_files import recording_id, recording_stem
from dancecli.dataset.clips import read_segments
from dancecli.dataset.export.datasheet import has_answers
from dancecli.dataset.export.export import DATASHEET
from dancecli.dataset.group_names import fold_group, fold_name
from dancecli.dataset.groups import read_groups
from dancecli.dataset.upkeep.erase import erase, locks_restated, still_named, unreadable
from dancecli.dataset.upkeep.named_files import clips_of_file
from dancecli.dataset.upkeep.running import refuse_running
from dancecli.dataset.upkeep.traces import Traces, find_traces, locked_clips
from dancecli.storage import ledger, tables
from dancecli.storage.files import atomic_file
from dancecli.storage.removals import (
    CLIP,
    REMOVALS,
    VIDEO,
    Removal,
    Removals,
    add_removals,
    read_removals,
    removals_file,
    times_of,
    video_of,
)
from dancecli.storage.runs import RunFolder
from dancecli.storage.workspace import Workspace, clips_lock


@dataclass(frozen=True)
class RemovalResult:
    """What was removed.

    Attributes:
        clip_ids: the clips.
        before: those of them that had been removed already.
        beside: clips that stay, though they share a group of near-duplicates with one, or a group that
            was named.
        files: deleted files and folders, folders with a slash at their end; relative to the workspace.
        num_bytes: their size.
        splits: names of the splits that the clips were in.
        runs: names of the runs whose predictions of the clips were deleted.
        locks: lock files in which references stand in the place of the clips now.
        predictions: results of `dance predict` that lose a row and keep others.
        recordings: recordings of which a prediction stays, though clips of them, or another recording of
            their name, are removed.
        checkpoints: names of the runs whose checkpoints were deleted, since they held features of clips.
        kept: copies of the datasheets of deleted exports into which somebody had written.
        still_named_in: texts of the user's own in the workspace that name a clip, and files that may be
            about one and cannot be read; they are not changed.
    """

    clip_ids: tuple[str, ...]
    before: tuple[str, ...]
    beside: tuple[str, ...]
    files: tuple[str, ...]
    num_bytes: int
    splits: tuple[str, ...]
    runs: tuple[str, ...]
    locks: tuple[str, ...]
    predictions: tuple[str, ...]
    recordings: tuple[str, ...]
    checkpoints: tuple[str, ...]
    kept: tuple[str, ...]
    still_named_in: tuple[str, ...]


def remove(
    workspace: Workspace, names: Sequence[str], reason: str, *, dry_run: bool = False
) -> RemovalResult:
    """Remove clips with everything that came from them; the same call completes one that was killed.

    Args:
        workspace: where they are.
        names: ids of clips or of videos, names of groups, or names or paths of files. `removed.csv` means
            all that it names, as where somebody else's was copied in.
        reason: why, for the tombstone.
        dry_run: only return what would be removed.

    Raises:
        InputError: a name is unknown or several files have it, or the reason is empty.
        WorkspaceError: another command writes clips here, or a run or a prediction is at work.
    """
    if not reason.strip():
        raise InputError("a removal needs a reason", "for example --reason 'take-down request of 2026-11-28'")
    scopes = _resolve(workspace, names)
    if dry_run:
        traces = find_traces(workspace, scopes, names)
        left = unreadable(workspace)
        return _with_left(workspace, _planned(workspace, names, traces), traces, left)
    refuse_running(workspace)
    with clips_lock(workspace, "remove"), ExitStack() as held:
        traces = find_traces(workspace, scopes, names)
        for folder in sorted(traces.predicted.result_folders):
            held.enter_context(workspace.lock(folder.name))
        planned = _planned(workspace, names, traces)
        # First of all, so that whatever happens next, nothing brings the clips back.
        add_removals(workspace, _tombstones(scopes, traces.checksum_of, reason))
        for sheet, copy in _answered_sheets(workspace, traces).items():
            with atomic_file(copy, "wb") as file:
                file.write(sheet.read_bytes())
        left = erase(workspace, traces)
    return _with_left(workspace, planned, traces, left)


def _with_left(
    workspace: Workspace, planned: RemovalResult, traces: Traces, left: Iterable[Path]
) -> RemovalResult:
    return replace(planned, still_named_in=_names(workspace, {*left, *still_named(workspace, traces)}))


def _names(workspace: Workspace, paths: Iterable[Path]) -> tuple[str, ...]:
    return tuple(sorted(path.relative_to(workspace.root).as_posix() for path in paths))


def _planned(workspace: Workspace, names: Sequence[str], traces: Traces) -> RemovalResult:
    """Return what is going to be removed."""
    files = tuple(sorted((*traces.files, *(f"{folder}/" for folder in traces.folders))))
    return RemovalResult(
        clip_ids=tuple(sorted(traces.clip_ids)),
        before=tuple(sorted(traces.clip_ids & read_removals(workspace).rows.keys())),
        beside=_beside(workspace, names, traces.clip_ids),
        files=files,
        num_bytes=traces.num_bytes,
        splits=traces.splits,
        runs=traces.runs,
        locks=_names(workspace, locks_restated(workspace, traces)),
        predictions=_names(workspace, traces.predicted.results),
        recordings=tuple(sorted({name for _, name in traces.predicted.left})),
        checkpoints=tuple(sorted({name.split("/")[1] for name in files if _is_checkpoint(name)})),
        kept=_names(workspace, _answered_sheets(workspace, traces).values()),
        still_named_in=(),
    )


def _answered_sheets(workspace: Workspace, traces: Traces) -> dict[Path, Path]:
    """Find the datasheets of exports to delete that have answers, each with the file that is to keep it."""
    found = {}
    for sheet in (workspace.root / folder / DATASHEET for folder in traces.folders):
        if sheet.exists() and has_answers(sheet.read_text(encoding="utf-8", errors="replace")):
            stem = f"{sheet.parent.name}-{sheet.stem}"
            names = (f"{stem}{f'-{i}' if i > 1 else ''}{sheet.suffix}" for i in count(1))
            places = (sheet.parent.with_name(name) for name in names)
            # The same one is there after a removal that was stopped, another one of an earlier removal.
            found[sheet] = next(p for p in places if not p.exists() or filecmp.cmp(p, sheet, shallow=False))
    return found


def _beside(workspace: Workspace, names: Sequence[str], ids: Collection[str]) -> tuple[str, ...]:
    groups = read_groups(workspace)
    named = set().union(*map(_group_keys, names))
    # `dance dedup` names a group like one of its videos: who gives that name may mean either.
    shared = {
        fold_group(row.kind, row.group)
        for row in groups
        if row.clip_id in ids and (row.kind == NEAR_DUPLICATE or _group_key(row) in named)
    }
    found = {row.clip_id for row in groups if fold_group(row.kind, row.group) in shared}
    return tuple(sorted(found.difference(ids, read_removals(workspace).rows)))


def _is_checkpoint(name: str) -> bool:
    path = Path(name)
    return path.parts[0] == "runs" and path.suffix == ".pth" and path.name != RunFolder(path).detector.name


def _resolve(workspace: Workspace, names: Sequence[str]) -> dict[str, str]:
    """Return the clips that names mean, each with the scope of its tombstone.

    Clips that overlap a removed one show the same seconds of video, so they go with it.
    """
    removed = read_removals(workspace)
    known = set(ledger.latest(workspace.root)) | set(read_segments(workspace)) | set(removed.rows)
    known |= locked_clips(workspace.root)
    if workspace.clips.exists():
        rows = tables.read_columns(workspace.clips, Clip, ("clip_id", "parent_id"))
        known |= {clip_id for clip_id, parent_id in rows if not parent_id}
    groups: dict[tuple[bool, str], set[str]] = {}
    for group in read_groups(workspace):
        groups.setdefault(_group_key(group), set()).add(group.clip_id)
    of_video: dict[str, set[str]] = {}
    for clip_id in known:
        of_video.setdefault(video_of(clip_id), set()).add(clip_id)
    found: dict[str, str] = {}
    for name in names:
        if name == REMOVALS or Path(name).absolute() == removals_file(workspace).absolute():
            found |= {clip_id: _scope(clip_id, (), removed) for clip_id in removed.among(known)}
        elif name in known:
            found |= dict.fromkeys(_overlapping(name, of_video[video_of(name)]), CLIP)
        elif name in of_video:
            found |= dict.fromkeys(of_video[name], VIDEO)
        elif ids := set().union(*(groups.get(key, ()) for key in _group_keys(name))):
            for clip_id in ids:
                found |= dict.fromkeys(_overlapping(clip_id, of_video.get(video_of(clip_id), ())), CLIP)
        else:
            found |= _of_file(workspace, name, of_video)
    whole = {video_of(clip_id) for clip_id, scope in found.items() if scope == VIDEO}
    return {clip_id: _scope(clip_id, whole, removed) for clip_id in sorted(found)}


def _group_key(group: Group) -> tuple[bool, str]:
    """Give the name of a group as its spellings share it; of `dance dedup` exactly, and kept apart."""
    near = group.kind == NEAR_DUPLICATE
    return near, fold_group(group.kind, group.group)[1]


def _group_keys(name: str) -> tuple[tuple[bool, str], ...]:
    """Give the keys of the groups that a name may mean."""
    return (True, name), (False, fold_name(name))


def _of_file(workspace: Workspace, name: str, of_video: Mapping[str, set[str]]) -> dict[str, str]:
    clip_ids = clips_of_file(workspace, name, of_video)
    if not clip_ids:
        raise InputError(
            f"{name[:80]!r} is neither a clip, a video, a group nor a file of {workspace.root}",
            "give the id of a clip or a video, a group of dance split --groups or dance dedup, or the name "
            "or path of an imported file or a recording; dance history FILE names a file's clip",
        )
    video_ids = {video_of(clip_id) for clip_id in clip_ids}
    if video_ids == {recording_id(recording_stem(PurePosixPath(name).name))}:
        return dict.fromkeys(clip_ids, VIDEO)
    overlapping = (_overlapping(clip_id, of_video[video_of(clip_id)]) for clip_id in clip_ids)
    return dict.fromkeys(chain.from_iterable(overlapping), CLIP)


def _scope(clip_id: str, whole: Collection[str], removed: Removals) -> str:
    before = removed.rows.get(clip_id)
    return VIDEO if video_of(clip_id) in whole or (before and before.scope == VIDEO) else CLIP


def _overlapping(clip_id: str, of_video: Iterable[str]) -> set[str]:
    start, end = times_of(clip_id)
    others = ((other, *times_of(other)) for other in of_video)
    return {clip_id, *(other for other, begins, ends in others if begins < end and start < ends)}


def _tombstones(scopes: dict[str, str], checksum_of: dict[str, str], reason: str) -> list[Removal]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return [
        Removal(clip_id, checksum_of.get(clip_id, ""), scope, " ".join(reason.split()), now)
        for clip_id, scope in scopes.items()
    ]
