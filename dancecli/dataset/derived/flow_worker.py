"""One clip's optical flow: what a worker process of `dance flow` does.

It writes a flow under its final name only, validated first, so it may be killed at any moment.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from dancecli.core.errors import MediaError
from dancecli.core.flow_format import BOUND_PX, FPS, FlowMethod, flow_name
from dancecli.core.hashing import sha256_file
from dancecli.core.records import Clip, Flow
from dancecli.core.video_files import clip_path
from dancecli.engine.worker import Acquire
from dancecli.storage.files import commit_file
from dancecli.video.optical_flow import CODING, DISK_FULL, write_flow


@dataclass(frozen=True, slots=True)
class FlowJob:
    """A clip whose flow is requested.

    Attributes:
        root: the workspace's folder.
        temp: a folder for this clip alone, on the workspace's file system.
        clip: its record.
        method: how to compute.
    """

    root: Path
    temp: Path
    clip: Clip
    method: FlowMethod


@dataclass(frozen=True, slots=True)
class FlowOutcome:
    """The outcome of a job: the committed flow, or the reason why there is none.

    Attributes:
        made: its record; None if it failed.
        reason: why it failed.
        disk_full: it stopped because there is no space.
    """

    made: Flow | None = None
    reason: str = ""
    disk_full: bool = False


def work(job: FlowJob, _: Acquire) -> Generator[int, None, FlowOutcome]:
    """Compute, validate and commit a clip's flow; yield the number of fields done since the last yield."""
    try:
        job.temp.mkdir(parents=True, exist_ok=True)
        made = yield from _make(job)
    except MediaError as error:
        return FlowOutcome(reason=error.message)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        return FlowOutcome(disk_full=True)
    finally:
        shutil.rmtree(job.temp, ignore_errors=True)
    return FlowOutcome(made)


def _make(job: FlowJob) -> Generator[int, None, Flow]:
    clip = job.clip
    source = job.root / clip.path
    if not source.is_file() or sha256_file(source) != clip.sha256:
        raise MediaError(f"{clip.path} is missing or was changed since it was committed")
    name = flow_name(clip.clip_id, job.method)
    target = job.temp / name
    fps = Fraction(clip.fps_num, clip.fps_den)
    stored = yield from write_flow(source, clip.num_frames, fps, job.method, target)
    row = Flow(
        clip_id=clip.clip_id,
        method=job.method.value,
        path=clip_path("flow", name),
        sha256=sha256_file(target),
        num_bytes=target.stat().st_size,
        of_sha256=clip.sha256,
        frames=stored.frames,
        width=stored.width,
        height=stored.height,
        scale=stored.width / clip.width,
        fps=FPS,
        bound_px=BOUND_PX,
        error_px=stored.error_px,
        coding=CODING,
    )
    commit_file(target, job.root / row.path)
    return row
