"""The perceptual hashes of the workspace's clips, each decoded for them once.

They are kept in `manifests/looks.parquet` with the checksum of the file that they are of, so that
a changed file is hashed again. What a run adds is noted clip by clip in `manifests/looks.jsonl`,
and moved over when the run ends: one that is killed goes on where it was. Both are read in pieces,
as columns, since hashes of 650 thousand clips fill half a gigabyte as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dancecli.core.errors import InputError, MediaError, WorkspaceError
from dancecli.core.progress import OnProgress, Progress
from dancecli.core.records import Clip
from dancecli.dataset.similarity.neighbors import Sketches
from dancecli.engine.factory import LOCAL, open_pool
from dancecli.engine.worker import Acquire
from dancecli.storage import tables
from dancecli.storage.files import atomic_file, json_lines, naming
from dancecli.storage.workspace import Workspace
from dancecli.video.phash import Looks, looks_of

if TYPE_CHECKING:
    import pyarrow as pa

    from dancecli.dataset.similarity.neighbors import Indices
from collections.abc import Collection

from dancecli.dataset.similarity.neighbors import compare, near_pairs

# Two moments of one scene look the same but change differently. Over 600 films, 97 of 100 copies
# that are encoded anew, mirrored or letterboxed lie within both; of 24 pairs of moments none does.
_CLOSE = 0.15
_CHANGES = 0.15

_DEADLINE_S = 900.0
_PIECE = 1 << 14
_HASHES = ("mean", "motion", "frames", "changes")


@dataclass(frozen=True, slots=True, order=True)
class ClipLooks:
    """A row of the manifest: a clip's hashes, see `media.fingerprint.Looks`."""

    clip_id: str
    sha256: str
    mean: bytes
    motion: bytes
    frames: bytes
    changes: bytes


@dataclass(frozen=True, slots=True)
class _Job:
    clip_id: str
    sha256: str
    path: Path


def originals(workspace: Workspace) -> pa.Table:
    """Give the clips without their copies: clip_id, video_id, label, path, sha256; sorted by id."""
    import pyarrow.compute as pc

    if not workspace.clips.exists():
        return tables.to_table(Clip, ())
    names = ("clip_id", "video_id", "label", "path", "sha256", "parent_id")
    clips = tables.read_table(workspace.clips, Clip, names)
    return clips.filter(pc.equal(clips["parent_id"], "")).sort_by("clip_id")


def look_at(
    workspace: Workspace, clips: pa.Table, workers: int, on_progress: OnProgress, engine: str = LOCAL
) -> dict[str, str]:
    """Hash the clips that have no hashes yet, and say which do not decode, and why.

    Args:
        workspace: keeps the hashes; those of clips that are not among these are dropped.
        clips: as `originals` gives them.
        workers: processes; 0 for one a core.
        on_progress: told after every clip.
        engine: `local` or `ray`, see `engine.choice`.

    Raises:
        WorkspaceError: another process is at this.
    """
    with workspace.lock("dedup"):
        _settle(workspace, clips)
        jobs = _jobs(workspace, clips)
        unreadable: dict[str, str] = {}
        on_progress(Progress(len(clips) - len(jobs), len(clips)))
        if not jobs:
            return unreadable
        try:
            with (
                naming(_log_of(workspace)),
                _log_of(workspace).open("a", encoding="utf-8", newline="\n") as log,
                open_pool(engine, _work, workers, _DEADLINE_S, root=workspace.root) as pool,
            ):
                ended = (finished for finished in pool.run(jobs) if finished is not None)
                for done, finished in enumerate(ended, start=len(clips) - len(jobs) + 1):
                    looks = finished.result or finished.lost
                    if isinstance(looks, Looks):
                        log.write(_line(finished.job, looks))
                        log.flush()
                    else:
                        unreadable[finished.job.clip_id] = looks
                    on_progress(Progress(done, len(clips), "looked at"))
        finally:
            _settle(workspace, clips)
        return unreadable


def sketches_of(workspace: Workspace, clips: pa.Table) -> tuple[Indices, Sketches]:
    """Give the hashes that there are.

    Args:
        workspace: keeps them.
        clips: as `originals` gives them.

    Returns:
        The rows of `clips` that have hashes, in order, and the hashes of each.
    """
    import numpy as np

    target = _targets(workspace, clips)
    rows = np.sort(target[target >= 0])
    place = np.zeros(len(clips), np.int64)
    place[rows] = np.arange(len(rows))
    sketches = Sketches.empty(len(rows))
    for wanted, piece in _pieces(workspace, target):
        kept = piece.filter(wanted >= 0)
        hashes = (kept.column(name).to_pylist() for name in _HASHES)
        sketches.put(place[wanted[wanted >= 0]], *hashes)
    return rows, sketches


def _jobs(workspace: Workspace, clips: pa.Table) -> Sequence[_Job]:
    import numpy as np

    target = _targets(workspace, clips)
    lacking = np.ones(len(clips), bool)
    lacking[target[target >= 0]] = False
    columns = [clips.filter(lacking).column(name).to_pylist() for name in ("clip_id", "sha256", "path")]
    return [
        _Job(clip_id, sha256, workspace.root / path) for clip_id, sha256, path in zip(*columns, strict=True)
    ]


def _work(job: _Job, _: Acquire) -> Looks | str:
    try:
        return looks_of(job.path)
    except MediaError as error:
        return error.message


def _targets(workspace: Workspace, clips: pa.Table) -> Indices:
    """Give for each row of the kept hashes the clip that it is of, as a row of `clips`; else -1."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    # Hashes can be had again: what cannot be read is as if it were not there.
    try:
        kept = tables.read_table(workspace.looks, ClipLooks, ("clip_id", "sha256"))
    except (InputError, WorkspaceError):
        kept = tables.to_table(ClipLooks, ())
    if not len(kept) or not len(clips):
        return np.full(len(kept), -1, np.int64)
    at = pc.index_in(kept["clip_id"], value_set=pa.array(clips["clip_id"].combine_chunks()))
    same = pc.equal(clips["sha256"].take(at), kept["sha256"]).fill_null(False)
    found: Indices = np.where(np.asarray(same), np.asarray(at.fill_null(-1)), -1).astype(np.int64)
    return found


def _pieces(workspace: Workspace, target: Indices) -> Iterator[tuple[Indices, pa.Table]]:
    """Read the kept hashes piece by piece, each with its part of the targets."""
    import pyarrow.parquet as pq

    if not len(target):
        return
    file, at = pq.ParquetFile(workspace.looks), 0
    # Not iter_batches, which keeps all that it has read.
    for group in range(file.num_row_groups):
        piece = file.read_row_group(group)
        yield target[at : at + len(piece)], piece
        at += len(piece)


def _settle(workspace: Workspace, clips: pa.Table) -> None:
    """Move what the log holds into the manifest, and drop hashes of clips that are gone or changed."""
    import pyarrow.parquet as pq

    log = _log_of(workspace)
    target = _targets(workspace, clips)
    new = list(_read_log(log))
    if new or (target < 0).any():
        table = tables.to_table(ClipLooks, sorted(new))
        with (
            atomic_file(workspace.looks, "wb") as file,
            pq.ParquetWriter(file, table.schema, use_dictionary=False) as writer,
        ):
            for wanted, piece in _pieces(workspace, target):
                kept = piece.filter(wanted >= 0).select(table.column_names)
                writer.write_table(kept.cast(table.schema))
            writer.write_table(table, row_group_size=_PIECE)
    log.unlink(missing_ok=True)


def _log_of(workspace: Workspace) -> Path:
    return workspace.looks.with_suffix(".jsonl")


def _line(job: _Job, looks: Looks) -> str:
    hashes = {name: value.hex() for name, value in asdict(looks).items()}
    return json.dumps({"clip_id": job.clip_id, "sha256": job.sha256, **hashes}) + "\n"


def _read_log(path: Path) -> Iterator[ClipLooks]:
    """Read the log; a line that a killed process left half-written is skipped."""
    for row in json_lines(path):
        try:
            hashes = (bytes.fromhex(row[name]) for name in _HASHES)
            yield ClipLooks(row["clip_id"], row["sha256"], *hashes)
        except (ValueError, KeyError, TypeError):
            continue


def twins_of(ids: Sequence[str], sketches: Sketches, new: Collection[str]) -> dict[str, str]:
    """Find the new clips that an old one already is.

    Args:
        ids: of the clips.
        sketches: their hashes, in the same order.
        new: ids of those that are new.

    Returns:
        The old clip's id by the new one's; the closest if there are several.
    """
    first, second = near_pairs(sketches, _CLOSE)
    distance, changes = compare(sketches, first, second)
    found: dict[str, tuple[float, str]] = {}
    for i, j, far, change in zip(*(a.tolist() for a in (first, second, distance, changes)), strict=True):
        one, other = sorted((ids[i], ids[j]), key=lambda clip_id: clip_id in new)
        if change <= _CHANGES and other in new and one not in new:
            found[other] = min(found.get(other, (far, one)), (far, one))
    return {clip_id: twin for clip_id, (_, twin) in sorted(found.items())}
