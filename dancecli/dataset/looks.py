"""The perceptual hashes of the workspace's clips, each decoded for them once.

They are kept in `manifests/looks.parquet` with the checksum of the file that they are of, so that
a run that is stopped goes on where it was, and a changed file is hashed again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dancecli import manifest
from dancecli.engine.local import LocalPool
from dancecli.engine.worker import Ask
from dancecli.errors import MediaError
from dancecli.media.fingerprint import Looks, looks_of
from dancecli.schema import Clip, OnProgress, Progress
from dancecli.workspace import Workspace

_DEADLINE_S = 900.0


@dataclass(frozen=True, slots=True, order=True)
class ClipLooks:
    """A row of the manifest: a clip's hashes, see `media.fingerprint.Looks`."""

    clip_id: str
    sha256: str
    mean: str
    motion: str
    frames: str
    changes: str


@dataclass(frozen=True, slots=True)
class _Job:
    clip: Clip
    path: Path


def looks_of_clips(
    workspace: Workspace, clips: Sequence[Clip], workers: int, on_progress: OnProgress
) -> tuple[dict[str, Looks], dict[str, str]]:
    """Give the hashes of clips, by clip id, and say of which there are none, and why.

    Args:
        workspace: keeps the hashes.
        clips: of the workspace.
        workers: processes; 0 for one a core.
        on_progress: told after every clip.
    """
    kept = manifest.read(workspace.looks, ClipLooks) if workspace.looks.exists() else []
    rows = {row.clip_id: row for row in kept}
    jobs = [
        _Job(clip, workspace.root / clip.path)
        for clip in clips
        if (row := rows.get(clip.clip_id)) is None or row.sha256 != clip.sha256
    ]
    unreadable: dict[str, str] = {}
    done = len(clips) - len(jobs)
    on_progress(Progress(done, len(clips)))
    try:
        with LocalPool[_Job, Looks | str](_work, workers or os.cpu_count() or 1, _DEADLINE_S) as pool:
            for finished in pool.run(jobs):
                if finished is None:
                    continue
                clip, looks = finished.job.clip, finished.result or finished.lost
                if isinstance(looks, Looks):
                    rows[clip.clip_id] = _row(clip, looks)
                else:
                    unreadable[clip.clip_id] = looks
                done += 1
                on_progress(Progress(done, len(clips), "looked at"))
    finally:
        present = {clip.clip_id for clip in clips}
        after = sorted(row for row in rows.values() if row.clip_id in present)
        if after != kept:
            manifest.write(workspace.looks, ClipLooks, after)
    return {
        clip.clip_id: _looks(rows[clip.clip_id]) for clip in clips if clip.clip_id not in unreadable
    }, unreadable


def kept_looks(workspace: Workspace, clips: Sequence[Clip]) -> dict[str, Looks]:
    """Give the hashes that are there already, by clip id."""
    kept = manifest.read(workspace.looks, ClipLooks) if workspace.looks.exists() else []
    current = {(clip.clip_id, clip.sha256) for clip in clips}
    return {row.clip_id: _looks(row) for row in kept if (row.clip_id, row.sha256) in current}


def _work(job: _Job, _: Ask) -> Looks | str:
    try:
        return looks_of(job.path)
    except MediaError as error:
        return error.message


def _row(clip: Clip, looks: Looks) -> ClipLooks:
    return ClipLooks(clip.clip_id, clip.sha256, looks.mean, looks.motion, looks.frames, looks.changes)


def _looks(row: ClipLooks) -> Looks:
    return Looks(row.mean, row.motion, row.frames, row.changes)
