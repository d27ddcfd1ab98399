"""Check every clip's file against the checksum that it was published with.

A pass that was stopped goes on where it was: the clips that were found whole are noted, and the
note is removed when a pass is complete.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dancecli import manifest
from dancecli.engine.choice import LOCAL, check_engine, open_pool
from dancecli.engine.worker import Ask
from dancecli.errors import EngineError, WorkspaceError
from dancecli.media.hashing import sha256_of
from dancecli.schema import Clip, OnProgress, Progress, no_progress
from dancecli.workspace import Workspace

_NOTED_EVERY = 200
# Clips that another machine checks at once: some fifty megabytes.
_BATCH = 32
_DEADLINE_S = 900.0


@dataclass(frozen=True)
class VerifyResult:
    """What a pass found.

    Attributes:
        num_clips: clips of the manifest.
        num_skipped: of them, those that the stopped pass before had found whole.
        missing: clips without a file.
        changed: clips whose file is not the one that was published.
    """

    num_clips: int
    num_skipped: int
    missing: tuple[str, ...]
    changed: tuple[str, ...]


def verify(
    workspace: Workspace, on_progress: OnProgress = no_progress, *, engine: str = LOCAL
) -> VerifyResult:
    """Check every clip of the workspace, copies included.

    Args:
        workspace: whose clips.
        on_progress: told after every clip.
        engine: `local` or `ray`, see `engine.choice`.

    Raises:
        EngineError: the cluster cannot be used; what was checked is noted.
        WorkspaceError: there are no clips, or another verify is at work.
    """
    check_engine(engine)
    clips = manifest.read(workspace.clips, Clip) if workspace.clips.exists() else []
    if not clips:
        raise WorkspaceError(f"{workspace.root}: there are no clips to verify", "run dance fetch first")
    note = workspace.root / "manifests" / "verified.txt"
    missing, changed = [], []
    with workspace.lock("verify"):
        whole = set(note.read_text(encoding="utf-8").split()) if note.exists() else set()
        left = [clip for clip in clips if _noted(clip) not in whole]
        with note.open("a", encoding="utf-8") as file:
            checked = check_files(workspace.root, left) if engine == LOCAL else _over(engine, workspace, left)
            for done, (clip, fault) in enumerate(checked, start=1):
                if fault == "missing":
                    missing.append(clip.clip_id)
                elif fault == "changed":
                    changed.append(clip.clip_id)
                else:
                    file.write(_noted(clip) + "\n")
                if done % _NOTED_EVERY == 0:
                    file.flush()
                faults = len(missing) + len(changed)
                on_progress(Progress(done, len(left), f"{faults} faulty" if faults else ""))
        note.unlink()
    num_skipped = len(clips) - len(left)
    return VerifyResult(len(clips), num_skipped, tuple(sorted(missing)), tuple(sorted(changed)))


def check_files(root: Path, clips: Iterable[Clip]) -> Iterator[tuple[Clip, str]]:
    """Read clips' files in parallel; yield each clip with `missing`, `changed` or an empty text."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(partial(_check, root), clips)


@dataclass(frozen=True, slots=True)
class _Batch:
    root: Path
    clips: tuple[Clip, ...]


def _over(engine: str, workspace: Workspace, clips: Sequence[Clip]) -> Iterator[tuple[Clip, str]]:
    """Do as `check_files` with another engine's workers, a batch of clips at a time."""
    starts = range(0, len(clips), _BATCH)
    jobs = [_Batch(workspace.root, tuple(clips[i : i + _BATCH])) for i in starts]
    with open_pool(engine, _check_batch, 0, _DEADLINE_S, root=workspace.root) as pool:
        for finished in pool.run(jobs):
            if finished is not None and finished.lost:
                raise EngineError(
                    f"{len(finished.job.clips)} clips could not be checked: {finished.detail}",
                    "run it again: it goes on where it stopped",
                )
            if finished is not None and finished.result is not None:
                yield from finished.result


def _check_batch(batch: _Batch, _: Ask) -> list[tuple[Clip, str]]:
    return [_check(batch.root, clip) for clip in batch.clips]


def _check(root: Path, clip: Clip) -> tuple[Clip, str]:
    path = root / clip.path
    try:
        # A wrong size tells as much as a wrong checksum, and costs no reading.
        same = path.stat().st_size == clip.num_bytes and sha256_of(path) == clip.sha256
    except OSError:
        return clip, "missing"
    return clip, "" if same else "changed"


def _noted(clip: Clip) -> str:
    return f"{clip.clip_id}:{clip.sha256}"
