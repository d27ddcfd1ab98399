"""Remove clips on request (take-downs): the file and everything that was derived from it.

What stays is a row in the ledger, the tombstone: it names the clip, when it was removed and why. A
removed clip is not downloaded again. Splits and their lock files stay as they are, so that others
can still be compared with them; runs and exports that were made before hold the clip's name.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from dancecli.core.errors import InputError
from dancecli.core.records import Clip, ClipPose, Flow, Outcome, OutcomeClass, SplitClip
from dancecli.dataset.clips import forget_segments, read_segments, rebuild_clips, remember_copies
from dancecli.dataset.groups import read_groups
from dancecli.storage import ledger, tables
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace, clips_lock

# The source of a tombstone, as the ledger names it; `pending` leaves out clips with such a last row.
SOURCE = ledger.REMOVED_BY_REQUEST


@dataclass(frozen=True)
class RemovalResult:
    """What was removed.

    Attributes:
        clip_ids: the clips.
        files: their files, the augmented clips, the flow and the poses; relative to the workspace.
        splits: names of the splits that still contain some of the clips.
    """

    clip_ids: tuple[str, ...]
    files: tuple[str, ...]
    splits: tuple[str, ...]


def remove(
    workspace: Workspace, names: Sequence[str], reason: str, *, dry_run: bool = False
) -> RemovalResult:
    """Remove clips with everything that was derived from them.

    Args:
        workspace: where they are.
        names: ids of clips or of videos, or names of groups.
        reason: why, for the tombstone.
        dry_run: only return what would be removed.

    Raises:
        InputError: a name is unknown, or the reason is empty.
        WorkspaceError: another command writes clips here.
    """
    if not reason.strip():
        raise InputError("a removal needs a reason", "for example --reason 'take-down request of 2026-11-28'")
    known = ledger.latest(workspace.root)
    clip_ids = _resolve(workspace, names, set(known) | set(read_segments(workspace)))
    files = _files_of(workspace, clip_ids)
    splits = tuple(name for name in workspace.splits() if _contains(workspace, name, clip_ids))
    result = RemovalResult(tuple(sorted(clip_ids)), tuple(sorted(files)), splits)
    if dry_run:
        return result
    with clips_lock(workspace, "remove"):
        with ledger.LedgerWriter(workspace.ledger) as writer:
            writer.record(
                (_tombstone(clip_id, reason, known.get(clip_id)), None) for clip_id in result.clip_ids
            )
        forget_segments(workspace, clip_ids)
        rebuild_clips(workspace)
        if workspace.clips.exists():
            copies = (clip for clip in tables.read(workspace.clips, Clip) if clip.parent_id)
            remember_copies(workspace, [clip for clip in copies if clip.parent_id not in clip_ids])
        for path in sorted(workspace.segments.parent.glob("*.parquet")):
            _drop_rows(path, clip_ids)
        for path in sorted(workspace.segments.parent.glob("*.jsonl")):
            _drop_lines(path, clip_ids)
        for name in result.files:
            (workspace.root / name).unlink(missing_ok=True)
    return result


def _resolve(workspace: Workspace, names: Sequence[str], known: Collection[str]) -> set[str]:
    groups: dict[str, set[str]] = {}
    for group in read_groups(workspace):
        groups.setdefault(group.group, set()).add(group.clip_id)
    found: set[str] = set()
    for name in names:
        of_video = {clip_id for clip_id in known if clip_id.rsplit("_", 2)[0] == name}
        clips = {name} if name in known else of_video or groups.get(name, set())
        if not clips:
            raise InputError(
                f"{name[:80]!r} is neither a clip, a video nor a group of {workspace.root}",
                "see `dance history` for clips and `dance stats` for groups",
            )
        found |= clips
    return found


def _tombstone(clip_id: str, reason: str, known: ledger.Latest | None) -> Outcome:
    return Outcome(
        clip_id=clip_id,
        video_id=clip_id.rsplit("_", 2)[0],
        outcome=OutcomeClass.PERMANENT,
        reason="removed-here",
        text=reason,
        attempt=known.attempts + 1 if known else 1,
        time_utc=ledger.utc_now(known.time_utc if known else ""),
        num_bytes=0,
        source=SOURCE,
    )


def _files_of(workspace: Workspace, clip_ids: Collection[str]) -> list[str]:
    found: list[str] = []
    derived = set(clip_ids)
    if workspace.clips.exists():
        for clip_id, path, parent_id in tables.read_columns(
            workspace.clips, Clip, ("clip_id", "path", "parent_id")
        ):
            if clip_id in clip_ids or parent_id in clip_ids:
                found.append(path)
                derived.add(clip_id)
    records: tuple[tuple[Path, type[Flow] | type[ClipPose]], ...]
    records = ((workspace.flows, Flow), (workspace.poses, ClipPose))
    for manifest, record in records:
        if manifest.exists():
            rows = tables.read_columns(manifest, record, ("clip_id", "path"))
            found += (path for clip_id, path in rows if clip_id in derived and path)
    return [path for path in found if (workspace.root / path).exists()]


def _contains(workspace: Workspace, split: str, clip_ids: Collection[str]) -> bool:
    rows = tables.read_columns(workspace.split(split), SplitClip, ("clip_id",))
    return any(clip_id in clip_ids for (clip_id,) in rows)


def _drop_rows(path: Path, clip_ids: Collection[str]) -> None:
    """Drop the rows about clips, and about what was made of them, from a table that names clips."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    if "clip_id" not in table.column_names:
        return
    # An augmented clip is named after its parent: `<parent's id>.<operation>`.
    kept = [name.partition(".")[0] not in clip_ids for name in table.column("clip_id").to_pylist()]
    if not all(kept):
        with atomic_file(path, "wb") as file:
            pq.write_table(table.filter(pa.array(kept)), file)


def _drop_lines(path: Path, clip_ids: Collection[str]) -> None:
    """Drop the lines of a log that name a clip; ids are quoted there, or followed by a dot."""
    marks = [f'"{clip_id}{end}' for clip_id in clip_ids for end in ('"', ".")]
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    kept = [line for line in lines if not any(mark in line for mark in marks)]
    if len(kept) < len(lines):
        with atomic_file(path) as file:
            file.writelines(kept)
