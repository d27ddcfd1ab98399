"""Check the files of clips, flow, poses and trajectories against the checksums they were committed with.

A pass that was interrupted resumes: the files that were intact are noted, and the note is removed
when a pass is complete.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from dancecli.core.errors import EngineError, WorkspaceError
from dancecli.core.hashing import sha256_file
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import Clip, ClipPose, Flow, Trajectories
from dancecli.core.text import pluralize
from dancecli.engine.factory import LOCAL, check_engine, num_cores, open_pool
from dancecli.engine.worker import Acquire
from dancecli.storage import tables
from dancecli.storage.files import naming
from dancecli.storage.trajectory_files import FOLDER
from dancecli.storage.workspace import Workspace

_NOTED_EVERY = 200
# Files that wait for a thread, per thread: all at once would take a gigabyte for 650 thousand clips.
_WAITING = 16
# Clips that another machine checks at once: some fifty megabytes.
_BATCH = 32
_DEADLINE_S = 900.0


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file with the checksum that its record has.

    Attributes:
        name: of the clip; `CLIP.METHOD` of optical flow; `CLIP.pose` of poses; `CLIP.trajectories`.
        path: relative to the workspace, with forward slashes.
        num_bytes, sha256: of the file as committed.
    """

    name: str
    path: str
    num_bytes: int
    sha256: str


@dataclass(frozen=True)
class VerifyResult:
    """What a pass found.

    Attributes:
        num_clips: clips of the manifest.
        num_flow: files of optical flow.
        num_poses: files of poses.
        num_trajectories: files of trajectories.
        num_skipped: of all, those that the interrupted pass before had found intact.
        missing: what has no file: ids of clips, and names as in `StoredFile`.
        changed: those whose file is not the committed one.
        unreadable: those whose file the system refuses to read.
    """

    num_clips: int
    num_flow: int
    num_poses: int
    num_trajectories: int
    num_skipped: int
    missing: tuple[str, ...]
    changed: tuple[str, ...]
    unreadable: tuple[str, ...]


def verify(workspace: Workspace, reporter: Reporter = SILENT, *, engine: str = LOCAL) -> VerifyResult:
    """Check every clip of the workspace, augmented ones included, and all that was computed from them.

    Args:
        workspace: whose clips.
        reporter: told after every file.
        engine: `local` or `ray`, see `engine.factory`.

    Raises:
        EngineError: the cluster cannot be used; what was checked is noted.
        WorkspaceError: there are no clips, or another verify is at work.
    """
    check_engine(engine)
    clips = list(_files(workspace.clips, Clip)) if workspace.clips.exists() else []
    if not clips:
        what = f"{workspace.root}: there are no clips to verify"
        raise WorkspaceError(what, "run dance fetch or dance import")
    flows = list(_files(workspace.flows, Flow)) if workspace.flows.exists() else []
    poses = list(_files(workspace.poses, ClipPose)) if workspace.poses.exists() else []
    tracked = list(_files(workspace.trajectories, Trajectories)) if workspace.trajectories.exists() else []
    files = [*clips, *flows, *poses, *tracked]
    note = workspace.root / "manifests" / "verified.txt"
    faulty: dict[str, list[str]] = {"missing": [], "changed": [], "unreadable": []}
    with workspace.lock("verify"):
        intact = set(note.read_text(encoding="utf-8", errors="replace").split()) if note.exists() else set()
        left = [stored for stored in files if _noted(stored) not in intact]
        del intact
        with naming(note), note.open("a", encoding="utf-8") as file:
            checked = check_files(workspace.root, left) if engine == LOCAL else _over(engine, workspace, left)
            for done, (stored, fault) in enumerate(checked, start=1):
                if fault:
                    faulty[fault].append(stored.name)
                else:
                    file.write(_noted(stored) + "\n")
                if done % _NOTED_EVERY == 0:
                    file.flush()
                faults = sum(map(len, faulty.values()))
                reporter.progress(done, len(left), f"{faults} faulty" if faults else "")
        note.unlink()
    num_skipped = len(files) - len(left)
    return VerifyResult(
        *(len(clips), len(flows), len(poses), len(tracked), num_skipped),
        *(tuple(sorted(names)) for names in faulty.values()),
    )


def check_files(root: Path, files: Iterable[StoredFile]) -> Iterator[tuple[StoredFile, str]]:
    """Read files in parallel; yield each, in order, with what it is (see `VerifyResult`) or an empty text."""
    workers = num_cores()
    ahead = iter(files)
    waiting: deque[Future[tuple[StoredFile, str]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        waiting.extend(pool.submit(_check, root, stored) for stored in islice(ahead, _WAITING * workers))
        try:
            while waiting:
                yield waiting.popleft().result()
                waiting.extend(pool.submit(_check, root, stored) for stored in islice(ahead, 1))
        finally:
            for future in waiting:
                future.cancel()


@dataclass(frozen=True, slots=True)
class _Batch:
    root: Path
    files: tuple[StoredFile, ...]


def _over(engine: str, workspace: Workspace, files: Sequence[StoredFile]) -> Iterator[tuple[StoredFile, str]]:
    """Do as `check_files` with another engine's workers, a batch of files at a time."""
    starts = range(0, len(files), _BATCH)
    jobs = [_Batch(workspace.root, tuple(files[i : i + _BATCH])) for i in starts]
    with open_pool(engine, _check_batch, 0, _DEADLINE_S, root=workspace.root) as pool:
        for finished in pool.run(jobs):
            if finished is not None and finished.lost:
                raise EngineError(
                    f"{pluralize(len(finished.job.files), 'file')} could not be checked: {finished.detail}",
                    "run it again: it resumes",
                )
            if finished is not None and finished.result is not None:
                yield from finished.result


def _check_batch(batch: _Batch, _: Acquire) -> list[tuple[StoredFile, str]]:
    return [_check(batch.root, stored) for stored in batch.files]


def _check(root: Path, stored: StoredFile) -> tuple[StoredFile, str]:
    path = root / stored.path
    try:
        # A wrong size tells as much as a wrong checksum, and costs no reading.
        same = path.stat().st_size == stored.num_bytes and sha256_file(path) == stored.sha256
    except (FileNotFoundError, NotADirectoryError):
        return stored, "missing"
    except OSError:
        return stored, "unreadable"
    return stored, "" if same else "changed"


def _files(
    manifest: Path, record: type[Clip] | type[Flow] | type[ClipPose] | type[Trajectories]
) -> Iterator[StoredFile]:
    names = ("clip_id", "path", "num_bytes", "sha256")
    if record is Clip:
        return (StoredFile(*row) for row in tables.read_columns(manifest, record, names))
    if record is not Flow:
        found = tables.read_columns(manifest, record, names)
        kind = "pose" if record is ClipPose else FOLDER
        return (StoredFile(f"{clip_id}.{kind}", *facts) for clip_id, *facts in found if facts[0])
    rows = tables.read_columns(manifest, record, (*names, "method"))
    return (StoredFile(f"{clip_id}.{method}", *facts) for clip_id, *facts, method in rows)


def _noted(stored: StoredFile) -> str:
    return f"{stored.name}:{stored.sha256}"
