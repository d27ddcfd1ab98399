"""Check every file of a clip, and of its optical flow, against the checksum that it was published with.

A pass that was stopped goes on where it was: the files that were found whole are noted, and the
note is removed when a pass is complete.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from dancecli.core.errors import EngineError, WorkspaceError
from dancecli.core.hashing import sha256_file
from dancecli.core.progress import OnProgress, Progress, no_progress
from dancecli.core.records import Clip, Flow
from dancecli.engine.factory import LOCAL, check_engine, open_pool
from dancecli.engine.worker import Acquire
from dancecli.storage import tables
from dancecli.storage.files import naming
from dancecli.storage.workspace import Workspace

# A record with a path, a size and a checksum.
Stored = TypeVar("Stored", Clip, Flow, Clip | Flow)
_NOTED_EVERY = 200
# Clips that another machine checks at once: some fifty megabytes.
_BATCH = 32
_DEADLINE_S = 900.0


@dataclass(frozen=True)
class VerifyResult:
    """What a pass found.

    Attributes:
        num_clips: clips of the manifest.
        num_flow: files of optical flow.
        num_skipped: of both, those that the stopped pass before had found whole.
        missing: ids of clips without a file; `CLIP.METHOD` of flow without one.
        changed: those whose file is not the one that was published.
    """

    num_clips: int
    num_flow: int
    num_skipped: int
    missing: tuple[str, ...]
    changed: tuple[str, ...]


def verify(
    workspace: Workspace, on_progress: OnProgress = no_progress, *, engine: str = LOCAL
) -> VerifyResult:
    """Check every clip of the workspace, copies included, and all optical flow.

    Args:
        workspace: whose clips.
        on_progress: told after every file.
        engine: `local` or `ray`, see `engine.choice`.

    Raises:
        EngineError: the cluster cannot be used; what was checked is noted.
        WorkspaceError: there are no clips, or another verify is at work.
    """
    check_engine(engine)
    clips = tables.read(workspace.clips, Clip) if workspace.clips.exists() else []
    if not clips:
        raise WorkspaceError(f"{workspace.root}: there are no clips to verify", "run dance fetch first")
    flows = tables.read(workspace.flows, Flow) if workspace.flows.exists() else []
    files: list[Clip | Flow] = [*clips, *flows]
    note = workspace.root / "manifests" / "verified.txt"
    missing, changed = [], []
    with workspace.lock("verify"):
        whole = set(note.read_text(encoding="utf-8", errors="replace").split()) if note.exists() else set()
        left = [stored for stored in files if _noted(stored) not in whole]
        with naming(note), note.open("a", encoding="utf-8") as file:
            checked = check_files(workspace.root, left) if engine == LOCAL else _over(engine, workspace, left)
            for done, (stored, fault) in enumerate(checked, start=1):
                if fault == "missing":
                    missing.append(_named(stored))
                elif fault == "changed":
                    changed.append(_named(stored))
                else:
                    file.write(_noted(stored) + "\n")
                if done % _NOTED_EVERY == 0:
                    file.flush()
                faults = len(missing) + len(changed)
                on_progress(Progress(done, len(left), f"{faults} faulty" if faults else ""))
        note.unlink()
    num_skipped = len(files) - len(left)
    return VerifyResult(len(clips), len(flows), num_skipped, tuple(sorted(missing)), tuple(sorted(changed)))


def check_files(root: Path, files: Iterable[Stored]) -> Iterator[tuple[Stored, str]]:
    """Read files in parallel; yield each record with `missing`, `changed` or an empty text."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(partial(_check, root), files)


@dataclass(frozen=True, slots=True)
class _Batch:
    root: Path
    files: tuple[Clip | Flow, ...]


def _over(
    engine: str, workspace: Workspace, files: Sequence[Clip | Flow]
) -> Iterator[tuple[Clip | Flow, str]]:
    """Do as `check_files` with another engine's workers, a batch of files at a time."""
    starts = range(0, len(files), _BATCH)
    jobs = [_Batch(workspace.root, tuple(files[i : i + _BATCH])) for i in starts]
    with open_pool(engine, _check_batch, 0, _DEADLINE_S, root=workspace.root) as pool:
        for finished in pool.run(jobs):
            if finished is not None and finished.lost:
                raise EngineError(
                    f"{len(finished.job.files)} files could not be checked: {finished.detail}",
                    "run it again: it goes on where it stopped",
                )
            if finished is not None and finished.result is not None:
                yield from finished.result


def _check_batch(batch: _Batch, _: Acquire) -> list[tuple[Clip | Flow, str]]:
    return [_check(batch.root, stored) for stored in batch.files]


def _check(root: Path, stored: Stored) -> tuple[Stored, str]:
    path = root / stored.path
    try:
        # A wrong size tells as much as a wrong checksum, and costs no reading.
        same = path.stat().st_size == stored.num_bytes and sha256_file(path) == stored.sha256
    except OSError:
        return stored, "missing"
    return stored, "" if same else "changed"


def _named(stored: Clip | Flow) -> str:
    return stored.clip_id if isinstance(stored, Clip) else f"{stored.clip_id}.{stored.method}"


def _noted(stored: Clip | Flow) -> str:
    return f"{_named(stored)}:{stored.sha256}"
