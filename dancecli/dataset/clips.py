"""The manifests of segments and of clips, kept in step with the ledger."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import groupby

from dancecli.core.hashing import keyed_order
from dancecli.core.labels import LabelSet
from dancecli.core.records import Clip, Segment
from dancecli.storage import ledger, tables
from dancecli.storage.removals import read_removals
from dancecli.storage.workspace import Workspace

_FETCH_OPTIONS = "fetch.options"


def remember_segments(
    workspace: Workspace,
    segments: Iterable[Segment],
    labels: LabelSet,
    *,
    exactly: bool = False,
    fetch_options: Sequence[str] = (),
) -> None:
    """Add segments to those that were requested before; a later list corrects an earlier one.

    Segments of removed clips are not added: their tombstone alone names them.

    The names of the label set, in their order, go into the metadata as `labels` (JSON). A set that
    the workspace's own begins with does not replace it, since a merge may have added classes;
    `exactly` is for the merge that takes them back. The command-line options of a fetch are kept
    too, as `fetch.options` (JSON), so that `dance status` can repeat them.
    """
    with _alone(workspace):
        before = read_segments(workspace)
        removed = read_removals(workspace)
        asked = (s for s in segments if not removed.find(s.video_id, s.start_ms, s.end_ms))
        after = before | {segment.clip_id: segment for segment in asked}
        own = workspace_labels(workspace)
        wider = own is not None and own.names[: len(labels)] == labels.names
        kept = own if own is not None and wider and not exactly else labels
        old_meta = _meta(workspace)
        meta = {**old_meta, "labels": json.dumps(kept.names, ensure_ascii=False)}
        if fetch_options:
            meta[_FETCH_OPTIONS] = json.dumps(list(fetch_options), ensure_ascii=False)
        if after != before or meta != old_meta:
            tables.write(workspace.segments, Segment, sorted(after.values()), meta)


def forget_segments(workspace: Workspace, clip_ids: Iterable[str]) -> None:
    """Remove segments; the label set stays."""
    with _alone(workspace):
        before = read_segments(workspace)
        after = {clip_id: before[clip_id] for clip_id in before.keys() - set(clip_ids)}
        if after != before:
            tables.write(workspace.segments, Segment, sorted(after.values()), _meta(workspace))


def _meta(workspace: Workspace) -> dict[str, str]:
    """The metadata that belongs to the segments, without the table's stamp."""
    if not workspace.segments.exists():
        return {}
    meta = tables.read_meta(workspace.segments)
    return {key: meta[key] for key in ("labels", _FETCH_OPTIONS) if key in meta}


def workspace_labels(workspace: Workspace) -> LabelSet | None:
    """Give the label set of the workspace's segments; None if there are none yet."""
    if not workspace.segments.exists():
        return None
    return LabelSet(tuple(json.loads(tables.read_meta(workspace.segments)["labels"])))


def read_segments(workspace: Workspace) -> dict[str, Segment]:
    """Give all segments that were ever requested, by clip id."""
    if not workspace.segments.exists():
        return {}
    return {segment.clip_id: segment for segment in tables.read(workspace.segments, Segment)}


def clips_there(workspace: Workspace) -> set[str]:
    """Ids of the clips that are recorded as done and whose file is on disk, whole by its size."""
    found = set()
    for clip_id, path, num_bytes in ledger.done_files(workspace.root):
        # A link to a file that does not exist counts as missing.
        with suppress(FileNotFoundError):
            if (workspace.root / path).stat().st_size == num_bytes:
                found.add(clip_id)
    return found


def rebuild_clips(workspace: Workspace) -> None:
    """Write the manifest of clips again: what the ledger says is done, and what others added.

    Labels are those of the segments, so that a corrected list needs no new download. Rows that
    the ledger does not know (augmented clips) stay as they are. Removed clips are left out, also if
    a ledger that came from another machine says that they are done. The manifest before and the
    ledgers are merged in the order of the clip ids, a row at a time.
    """
    with _alone(workspace):
        _write_clips(workspace, _merge_ledger(workspace))


def remember_copies(workspace: Workspace, copies: Iterable[Clip]) -> None:
    """Put these augmented clips into the manifest of clips, in place of those that are in it."""
    with _alone(workspace):
        originals = (clip for clip in _stored_clips(workspace) if not clip.parent_id)
        _write_clips(workspace, heapq.merge(originals, sorted(copies)))


class _UnchangedError(Exception):
    """The manifest would be written as it is."""


def _write_clips(workspace: Workspace, clips: Iterable[Clip]) -> None:
    """Write the manifest of clips, unless it holds just these."""
    before = _stored_clips(workspace)
    changed = not workspace.clips.exists()

    def compared() -> Iterator[Clip]:
        nonlocal changed
        for clip in clips:
            changed = changed or next(before, None) != clip
            yield clip
        if not changed and next(before, None) is None:
            raise _UnchangedError

    with suppress(_UnchangedError):
        tables.write(workspace.clips, Clip, compared())


def _merge_ledger(workspace: Workspace) -> Iterator[Clip]:
    labels, removed = _labels_by_clip(workspace), read_removals(workspace)
    stored = ((clip.clip_id, 0, clip) for clip in _stored_clips(workspace))
    recorded = ((clip_id, 1, clip) for clip_id, clip in ledger.last_clips(workspace.root))
    merged = heapq.merge(stored, recorded, key=lambda row: row[:2])
    for _, rows in groupby(merged, key=lambda row: row[0]):
        # The ledger's row comes last; it is None for a clip that is no longer done.
        *_, (_, from_ledger, clip) = rows
        if clip is not None and clip.clip_id not in removed and clip.parent_id not in removed:
            yield _relabeled(clip, labels) if from_ledger else clip


def _stored_clips(workspace: Workspace) -> Iterator[Clip]:
    """Go through the manifest of clips, in the order of their ids; nothing if there is none."""
    if workspace.clips.exists():
        for values in tables.read_columns(workspace.clips, Clip):
            yield Clip(*values)


def _labels_by_clip(workspace: Workspace) -> dict[str, tuple[str, str, str]]:
    """Label, official split and dataset of each segment, by clip id."""
    if not workspace.segments.exists():
        return {}
    names = ("video_id", "start_ms", "end_ms", "label", "official_split", "dataset")
    rows = tables.read_columns(workspace.segments, Segment, names)
    return {
        f"{video}_{start}_{end}": (label, split, dataset) for video, start, end, label, split, dataset in rows
    }


def _relabeled(clip: Clip, labels: dict[str, tuple[str, str, str]]) -> Clip:
    known = labels.get(clip.clip_id)
    if known is None or known == (clip.label, clip.official_split, clip.dataset):
        return clip
    return replace(clip, label=known[0], official_split=known[1], dataset=known[2])


@contextmanager
def _alone(workspace: Workspace) -> Iterator[None]:
    # Fetches of several shards end when they like: the last one to write must see all ledgers.
    import filelock

    folder = workspace.root / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / "manifests.lock"):
        yield


def varied(clips: Sequence[Clip], count: int, seed: int = 0) -> list[Clip]:
    """Draw a few clips for a preview, no label twice while there are others."""
    order = keyed_order(clips, lambda c: c.clip_id, seed=seed, purpose="preview")
    seen: dict[str, int] = {}
    rank = {}
    for clip in order:
        rank[clip.clip_id] = seen[clip.label] = seen.get(clip.label, 0) + 1
    return sorted(order, key=lambda clip: rank[clip.clip_id])[:count]
