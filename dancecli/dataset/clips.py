"""The manifests of segments and of clips, kept in step with the ledger."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from dancecli.core.errors import InputError
from dancecli.core.hashing import keyed_order
from dancecli.core.labels import LabelSet
from dancecli.core.records import Clip, Segment
from dancecli.dataset.clips_table import replace_augmented, update_clips
from dancecli.storage import ledger, tables
from dancecli.storage.removals import read_removals
from dancecli.storage.workspace import Workspace

_FETCH_OPTIONS = "fetch.options"
_IMPORTS = "imports"


def remember_segments(
    workspace: Workspace,
    segments: Iterable[Segment],
    labels: LabelSet,
    *,
    exactly: bool = False,
    fetch_options: Sequence[str] = (),
    import_options: Sequence[str] = (),
) -> None:
    """Add segments to those that were requested before; a later list corrects an earlier one.

    Segments of removed clips are not added: their tombstone alone names them.

    The names of the label set, in their order, go into the metadata as `labels` (JSON). A set that
    the workspace's own begins with does not replace it, since a merge may have added classes;
    `exactly` is for the merge that takes them back. The command-line options of a fetch are kept
    too, as `fetch.options` (JSON), so that `dance status` can repeat them; of imports, their folder and
    options by the dataset that their clips name as their origin, see `read_imports`.
    """
    with _alone(workspace):
        before = read_segments(workspace)
        removed = read_removals(workspace)
        asked = [s for s in segments if not removed.find(s.video_id, s.start_ms, s.end_ms)]
        after = before | {segment.clip_id: segment for segment in asked}
        own = workspace_labels(workspace)
        wider = own is not None and own.names[: len(labels)] == labels.names
        kept = own if own is not None and wider and not exactly else labels
        old_meta = _meta(workspace)
        meta = {**old_meta, "labels": json.dumps(kept.names, ensure_ascii=False)}
        if fetch_options:
            # A path that is no text is kept as escapes.
            meta[_FETCH_OPTIONS] = json.dumps(list(fetch_options))
        if import_options:
            imports = read_imports(workspace)
            # Others that it found were requested by something else before.
            brought = {s.dataset for s in asked if s.clip_id not in before or s.dataset in imports}
            for dataset in sorted(brought):
                others = [words for words in imports.get(dataset, []) if words[0] != import_options[0]]
                imports[dataset] = [*others, list(import_options)]
            if imports:
                meta[_IMPORTS] = json.dumps(imports)
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
    return {key: meta[key] for key in ("labels", _FETCH_OPTIONS, _IMPORTS) if key in meta}


def read_imports(workspace: Workspace) -> dict[str, list[list[str]]]:
    """Give the folder and the options of each import, the latest last, by its clips' dataset."""
    found: dict[str, list[list[str]]] = json.loads(_meta(workspace).get(_IMPORTS, "{}"))
    return found


def workspace_labels(workspace: Workspace) -> LabelSet | None:
    """Give the label set of the workspace's segments; None if there are none yet."""
    if not workspace.segments.exists():
        return None
    return LabelSet(tuple(json.loads(tables.read_meta(workspace.segments)["labels"])))


def refuse_lost_labels(path: Path, labels: LabelSet, segments: Iterable[Segment]) -> None:
    """Refuse a label file under which clips would lose their class.

    Args:
        path: the file.
        labels: its labels.
        segments: of the workspace, as they will be.

    Raises:
        InputError: one of the segments has another label.
    """
    lost = {segment.label for segment in segments} - set(labels)
    if lost:
        what = f"lacks the label {min(lost)!r}, which clips of the workspace bear"
        raise InputError.at(path, None, what, "add it, or use another workspace")


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
    """Bring the manifest of clips up to date: what the ledger says is done, and what others added.

    Labels are those of the segments, so that a corrected list needs no new download. Rows that
    the ledger does not know (augmented clips) stay. Removed clips are left out, also if
    a ledger that came from another machine says that they are done.
    """
    with _alone(workspace):
        update_clips(workspace)


def remember_copies(workspace: Workspace, copies: Iterable[Clip]) -> None:
    """Put these augmented clips into the manifest of clips, in place of those that are in it."""
    with _alone(workspace):
        replace_augmented(workspace, sorted(copies))


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
