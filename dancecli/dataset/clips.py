"""The manifests of segments and of clips, kept in step with the ledger."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from dancecli.core.labels import LabelSet
from dancecli.core.records import Clip, Segment
from dancecli.storage import ledger, tables
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
    """Add segments to those that were asked for before; a later list corrects an earlier one.

    The names of the label set, in their order, go into the metadata as `labels` (JSON). A set that
    the workspace's own begins with does not replace it, since a merge may have added classes;
    `exactly` is for the merge that takes them back. The command-line options of a fetch are kept
    too, as `fetch.options` (JSON), so that `dance status` can repeat them.
    """
    with _alone(workspace):
        before = read_segments(workspace)
        after = before | {segment.clip_id: segment for segment in segments}
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
    """Take segments out again; the label set stays."""
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
    """Give all segments that were ever asked for, by clip id."""
    if not workspace.segments.exists():
        return {}
    return {segment.clip_id: segment for segment in tables.read(workspace.segments, Segment)}


def clips_there(workspace: Workspace) -> set[str]:
    """Ids of the clips that are recorded as done and whose file is there, whole by its size."""
    there = set()
    for clip in ledger.done_clips(workspace.root):
        # A link to a file that is gone counts as gone.
        with suppress(FileNotFoundError):
            if (workspace.root / clip.path).stat().st_size == clip.num_bytes:
                there.add(clip.clip_id)
    return there


def rebuild_clips(workspace: Workspace) -> None:
    """Write the manifest of clips again: what the ledger says is done, and what others added.

    Labels are those of the segments, so that a corrected list needs no new download. Rows that
    the ledger does not know (augmented copies, adopted folders) stay as they are.
    """
    with _alone(workspace):
        segments = read_segments(workspace)
        before = tables.read(workspace.clips, Clip) if workspace.clips.exists() else []
        known = ledger.latest(workspace.root)
        after = [clip for clip in before if clip.clip_id not in known]
        after += (_relabelled(clip, segments) for clip in ledger.done_clips(workspace.root))
        after.sort()
        if after != before or not workspace.clips.exists():
            tables.write(workspace.clips, Clip, after)


def remember_copies(workspace: Workspace, copies: Iterable[Clip]) -> None:
    """Put these augmented copies into the manifest of clips, in place of those that are in it."""
    with _alone(workspace):
        before = tables.read(workspace.clips, Clip)
        after = sorted([*(clip for clip in before if not clip.parent_id), *copies])
        if after != before:
            tables.write(workspace.clips, Clip, after)


def _relabelled(clip: Clip, segments: dict[str, Segment]) -> Clip:
    told = segments.get(clip.clip_id)
    if told is None:
        return clip
    return replace(clip, label=told.label, official_split=told.official_split, dataset=told.dataset)


@contextmanager
def _alone(workspace: Workspace) -> Iterator[None]:
    # Fetches of several shards end when they like: the last one to write must see all ledgers.
    import filelock

    folder = workspace.root / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(folder / "manifests.lock"):
        yield
