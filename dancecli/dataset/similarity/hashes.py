"""The perceptual hashes of the workspace's clips; each clip is decoded for them once.

They are stored in `manifests/hashes.parquet` with the checksum of the file that was hashed, so that
a changed file is hashed again. What a run adds is logged clip by clip in `manifests/hashes.jsonl`
and moved to the manifest when the run ends: one that is killed resumes. Both are read in pieces,
since the hashes of 650 thousand clips fill half a gigabyte.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import InputError, MediaError, WorkspaceError
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import Clip, ClipHashes
from dancecli.dataset.job_log import JobLog, JobOutcome, ResumableJob
from dancecli.dataset.similarity.neighbors import HashArrays, compare, near_pairs
from dancecli.engine.factory import LOCAL, open_pool
from dancecli.engine.pool import Finished
from dancecli.engine.worker import Acquire
from dancecli.storage import tables
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace
from dancecli.video.phash import PerceptualHashes, hash_clip

if TYPE_CHECKING:
    import pyarrow as pa

    from dancecli.dataset.similarity.neighbors import Indices

# Two moments of one scene look the same but change differently. Over 600 synthetic videos, 97 of 100
# clips that are re-encoded, mirrored or letterboxed lie within both; of 24 pairs of moments none does.
_CLOSE = 0.15
_CHANGES = 0.15

_DEADLINE_S = 900.0
_PIECE = 1 << 14
_HASHES = ("mean", "motion", "frames", "changes")


@dataclass(frozen=True, slots=True)
class _Job:
    clip_id: str
    sha256: str
    path: Path


def read_originals(workspace: Workspace) -> pa.Table:
    """Read the clips without augmented ones: clip_id, video_id, label, path, sha256; sorted by id."""
    import pyarrow.compute as pc

    if not workspace.clips.exists():
        return tables.to_table(Clip, ())
    names = ("clip_id", "video_id", "label", "path", "sha256", "parent_id")
    clips = tables.read_table(workspace.clips, Clip, names)
    clips = clips.filter(pc.equal(clips["parent_id"], "")).sort_by("clip_id")
    _release_memory()
    return clips


def compute_hashes(
    workspace: Workspace,
    clips: pa.Table,
    workers: int,
    reporter: Reporter = SILENT,
    engine: str = LOCAL,
) -> dict[str, str]:
    """Hash the clips that have no hashes yet.

    Args:
        workspace: stores the hashes; those of clips that are not among these are dropped.
        clips: as `read_originals` returns them.
        workers: processes; 0 for one per core.
        reporter: told after every clip.
        engine: `local` or `ray`, see `engine.factory`.

    Returns:
        The clips that do not decode, by id, with the reason.

    Raises:
        WorkspaceError: another process is at this.
    """
    step = _step(workspace)
    with step.exclusively():
        _store_logged(workspace, step.log, clips)
        jobs = _jobs(workspace, clips)
        unreadable: dict[str, str] = {}
        reporter.progress(0, len(jobs))
        try:
            run = step.run(jobs, engine=engine, workers=workers, reporter=reporter)
            with closing(run) as outcomes:
                for outcome in outcomes:
                    unreadable |= dict(outcome.failed)
        finally:
            _store_logged(workspace, step.log, clips)
        return unreadable


def load_hashes(workspace: Workspace, clips: pa.Table) -> tuple[Indices, HashArrays]:
    """Load the stored hashes.

    Args:
        workspace: stores them.
        clips: as `read_originals` returns them.

    Returns:
        The rows of `clips` that have hashes, in order, and the hashes of each.
    """
    import numpy as np

    target = _targets(workspace, clips)
    rows = np.sort(target[target >= 0])
    place = np.zeros(len(clips), np.int64)
    place[rows] = np.arange(len(rows))
    arrays = HashArrays.empty(len(rows))
    for row_of, piece in _pieces(workspace, target):
        kept = piece.filter(row_of >= 0)
        hashes = (kept.column(name).to_pylist() for name in _HASHES)
        arrays.put(place[row_of[row_of >= 0]], *hashes)
    _release_memory()
    return rows, arrays


def hash_files(
    videos: Mapping[str, Path], kept: Path, workers: int, reporter: Reporter = SILENT
) -> tuple[dict[str, PerceptualHashes], dict[str, str]]:
    """Hash videos that are in no workspace.

    Args:
        videos: by name.
        kept: where their hashes are kept, so that one that is stopped resumes; without room or rights
            for that file they are not.
        workers: processes; 0 for one per core.
        reporter: told after every video.

    Returns:
        The hashes of each, and of those that do not decode the reason, in the order of the names.
    """
    log = _log(kept)
    states = {name: _state(path) for name, path in videos.items()}
    rows = {name: row for name, row in log.read().items() if states.get(name) == row.sha256}
    jobs = [_Job(name, states[name], path) for name, path in videos.items() if name not in rows]
    unreadable: dict[str, str] = {}
    reporter.progress(len(rows), len(videos))
    with suppress(OSError):
        log.rewrite(rows.values())
    if jobs:
        with open_pool(LOCAL, _work, workers, _DEADLINE_S, root=jobs[0].path.parent) as pool:
            for finished in (f for f in pool.run(jobs) if f is not None):
                outcome = _outcome(finished)
                rows |= {row.clip_id: row for row in outcome.made}
                unreadable |= dict(outcome.failed)
                with suppress(OSError), kept.open("a", encoding="utf-8") as file:
                    file.write(log.lines(outcome.made))
                reporter.progress(len(rows) + len(unreadable), len(videos))
    hashed = {
        name: PerceptualHashes(row.mean, row.motion, row.frames, row.changes)
        for name, row in sorted(rows.items())
    }
    return hashed, dict(sorted(unreadable.items()))


def _state(path: Path) -> str:
    """Name what a file is without reading it, in place of its checksum; empty for one that is gone."""
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_size}-{found.st_mtime_ns}"


def find_duplicates(ids: Sequence[str], arrays: HashArrays, new: Collection[str]) -> dict[str, str]:
    """Find the new clips that an existing one already shows.

    Args:
        ids: of the clips.
        arrays: their hashes, in the same order.
        new: ids of those that are new.

    Returns:
        The existing clip's id by the new one's; the closest if there are several.
    """
    first, second = near_pairs(arrays, _CLOSE)
    distance, changes = compare(arrays, first, second)
    found: dict[str, tuple[float, str]] = {}
    for i, j, far, change in zip(*(a.tolist() for a in (first, second, distance, changes)), strict=True):
        one, other = sorted((ids[i], ids[j]), key=lambda clip_id: clip_id in new)
        if change <= _CHANGES and other in new and one not in new:
            found[other] = min(found.get(other, (far, one)), (far, one))
    return {clip_id: existing for clip_id, (_, existing) in sorted(found.items())}


def _step(workspace: Workspace) -> ResumableJob[_Job, ClipHashes]:
    log = _log(workspace.hashes.with_suffix(".jsonl"))
    return ResumableJob(workspace, "dedup", log, _work, _DEADLINE_S, _outcome)


def _log(path: Path) -> JobLog[ClipHashes]:
    return JobLog(path, key_of=lambda row: row.clip_id, to_json=_to_json, from_json=_from_json)


def _work(job: _Job, _: Acquire) -> PerceptualHashes | str:
    try:
        return hash_clip(job.path)
    except MediaError as error:
        return error.message


def _outcome(finished: Finished[_Job, PerceptualHashes | str]) -> JobOutcome[ClipHashes]:
    job, result = finished.job, finished.result
    if isinstance(result, PerceptualHashes):
        return JobOutcome(made=(ClipHashes(job.clip_id, job.sha256, **asdict(result)),))
    return JobOutcome(failed=((job.clip_id, result or finished.detail or finished.lost),))


def _to_json(row: ClipHashes) -> Mapping[str, object]:
    values = asdict(row)
    return values | {name: values[name].hex() for name in _HASHES}


def _from_json(row: Mapping[str, Any]) -> ClipHashes:
    return ClipHashes(row["clip_id"], row["sha256"], *(bytes.fromhex(row[name]) for name in _HASHES))


def _jobs(workspace: Workspace, clips: pa.Table) -> Sequence[_Job]:
    import numpy as np

    target = _targets(workspace, clips)
    lacking = np.ones(len(clips), bool)
    lacking[target[target >= 0]] = False
    columns = [clips.filter(lacking).column(name).to_pylist() for name in ("clip_id", "sha256", "path")]
    return [
        _Job(clip_id, sha256, workspace.root / path) for clip_id, sha256, path in zip(*columns, strict=True)
    ]


def _targets(workspace: Workspace, clips: pa.Table) -> Indices:
    """Return for each row of the stored hashes the clip that it is of, as a row of `clips`; else -1."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    # Hashes can be computed again: what cannot be read counts as absent.
    try:
        stored = tables.read_table(workspace.hashes, ClipHashes, ("clip_id", "sha256"))
    except (InputError, WorkspaceError):
        stored = tables.to_table(ClipHashes, ())
    if not len(stored) or not len(clips):
        return np.full(len(stored), -1, np.int64)
    at = pc.index_in(stored["clip_id"], value_set=pa.array(clips["clip_id"].combine_chunks()))
    same = pc.equal(clips["sha256"].take(at), stored["sha256"]).fill_null(False)
    found: Indices = np.where(np.asarray(same), np.asarray(at.fill_null(-1)), -1).astype(np.int64)
    # A clip that a killed run logged twice keeps its first hashes.
    _, first = np.unique(found, return_index=True)
    once = np.full(len(found), -1, np.int64)
    once[first] = found[first]
    _release_memory()
    return once


def _release_memory() -> None:
    """Give back what Arrow used and keeps for later: of 650 thousand clips, 300 MB a step."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


def _pieces(workspace: Workspace, target: Indices) -> Iterator[tuple[Indices, pa.Table]]:
    """Read the stored hashes piece by piece, each with its targets."""
    import pyarrow.parquet as pq

    if not len(target):
        return
    file, at = pq.ParquetFile(workspace.hashes), 0
    # Not iter_batches, which keeps all that it has read.
    for group in range(file.num_row_groups):
        piece = file.read_row_group(group)
        yield target[at : at + len(piece)], piece
        at += len(piece)


def _store_logged(workspace: Workspace, log: JobLog[ClipHashes], clips: pa.Table) -> None:
    """Move what the log holds to the manifest, and drop hashes of clips that are gone or changed."""
    import pyarrow.parquet as pq

    target = _targets(workspace, clips)
    new = _sorted_pieces(log.stream())
    first = next(new, [])
    if first or (target < 0).any():
        schema = tables.to_table(ClipHashes, ()).schema
        with (
            atomic_file(workspace.hashes, "wb") as file,
            pq.ParquetWriter(file, schema, use_dictionary=False) as writer,
        ):
            for row_of, piece in _pieces(workspace, target):
                kept = piece.filter(row_of >= 0).select(schema.names)
                writer.write_table(kept.cast(schema))
            while first:
                writer.write_table(tables.to_table(ClipHashes, first))
                first = next(new, [])
    log.path.unlink(missing_ok=True)


def _sorted_pieces(rows: Iterator[ClipHashes]) -> Iterator[list[ClipHashes]]:
    while piece := sorted(islice(rows, _PIECE)):
        yield piece
