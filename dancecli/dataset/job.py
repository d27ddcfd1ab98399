"""One source video: had once, all its segments cut, each clip proven and published.

This is what a worker process does. It writes nothing but files under their final names, proven
first, so that at any moment it may be killed: what it published is adopted the next time.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dancecli.engine.worker import Ask, Halted
from dancecli.errors import MediaError
from dancecli.manifest import publish
from dancecli.media.ffmpeg import run_ffmpeg, trim_args
from dancecli.media.hashing import sha256_of
from dancecli.media.verify import NoPictureError, SourceFacts, probe, prove
from dancecli.schema import Clip, OutcomeClass, Segment
from dancecli.sources.failure import Failure, shortened
from dancecli.sources.youtube import Download, download
from dancecli.workspace import Workspace

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class SourceJob:
    """A source video and the segments that are wanted of it.

    Attributes:
        root: the workspace's folder.
        temp: the folder for this video alone, on the workspace's file system.
        segments: all of one video.
        source: what the clips' records will name as their source.
        download: how to ask for the video.
        keep_audio: keep the sound.
        tries: attempts before this one, in this run.
    """

    root: Path
    temp: Path
    segments: tuple[Segment, ...]
    source: str
    download: Download
    keep_audio: bool
    tries: int = 0

    @property
    def video_id(self) -> str:
        """The source video's id."""
        return self.segments[0].video_id


@dataclass(frozen=True, slots=True)
class ClipResult:
    """What became of one segment; `clip` is set if it is done."""

    segment: Segment
    outcome: OutcomeClass
    reason: str
    text: str = ""
    num_bytes: int = 0
    clip: Clip | None = None


@dataclass(frozen=True, slots=True)
class JobResult:
    """What became of a job.

    Attributes:
        clips: one result a segment; none of those that were left because the job was halted.
        asked: the site was asked for the video.
        retry_after_s: for how long the site asked to be left alone.
        disk_full: the job stopped because there is no space.
    """

    clips: tuple[ClipResult, ...]
    asked: bool = False
    retry_after_s: float = 0.0
    disk_full: bool = False


def work(job: SourceJob, ask: Ask) -> JobResult:
    """Do one job.

    Clips that are already published are proven again and adopted; the video is asked for only
    if one is left. The temporary folder stays after a failure that is worth another try.
    """
    results = [adopted for segment in job.segments if (adopted := _adopt(job, segment)) is not None]
    have = {result.segment for result in results}
    missing = [segment for segment in job.segments if segment not in have]
    if not missing:
        return JobResult(tuple(results))
    asked = False

    def ask_and_note() -> None:
        nonlocal asked
        ask()
        asked = True

    keep_temp = False
    try:
        job.temp.mkdir(parents=True, exist_ok=True)
        source = download(job.video_id, job.temp, job.download, ask_and_note)
        for result in _cut_all(job, source, missing):
            # One by one: what is published stays told when a later one fills the disk.
            results.append(result)  # noqa: PERF402
    except Failure as failure:
        keep_temp = failure.outcome is OutcomeClass.TRANSIENT
        results += (ClipResult(segment, failure.outcome, failure.reason, failure.text) for segment in missing)
        return JobResult(tuple(results), asked, failure.retry_after_s)
    except Halted:
        return JobResult(tuple(results), asked)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        return JobResult(tuple(results), asked, disk_full=True)
    finally:
        if not keep_temp:
            shutil.rmtree(job.temp, ignore_errors=True)
    return JobResult(tuple(results), asked)


def _adopt(job: SourceJob, segment: Segment) -> ClipResult | None:
    """Take a clip that is on disk without a word in the ledger; one that is not whole is removed."""
    path = Workspace(job.root).clip(segment.clip_id)
    try:
        clip = _describe(job, segment, path)
    except FileNotFoundError:
        return None
    except MediaError:
        path.unlink()
        return None
    return ClipResult(segment, OutcomeClass.DONE, "adopted", clip=clip)


def _cut_all(job: SourceJob, source: Path, segments: list[Segment]) -> Iterator[ClipResult]:
    size = source.stat().st_size
    try:
        facts = probe(source)
    except MediaError as error:
        reason = "no-picture" if isinstance(error, NoPictureError) else "unreadable"
        for segment in segments:
            yield ClipResult(segment, OutcomeClass.CORRUPT, reason, shortened(error.message), size)
            size = 0
        return
    for segment in segments:
        yield replace(_cut(job, source, facts, segment), num_bytes=size)
        # The download is counted once, with the first of its clips.
        size = 0


def _cut(job: SourceJob, source: Path, facts: SourceFacts, segment: Segment) -> ClipResult:
    frame_ms = 1000 / facts.fps
    if facts.duration_ms and segment.end_ms > facts.duration_ms + frame_ms:
        text = f"the video ends at {facts.duration_ms} ms, the segment at {segment.end_ms} ms"
        return ClipResult(segment, OutcomeClass.SOURCE_SHORT, "too-short", text)
    target = job.temp / f"{segment.clip_id}.mp4"
    try:
        _trim(job, source, facts, segment, target)
        clip = _describe(job, segment, target)
    except MediaError as error:
        return ClipResult(segment, OutcomeClass.CORRUPT, "broken", shortened(error.message))
    _publish(target, Workspace(job.root).clip(segment.clip_id))
    return ClipResult(segment, OutcomeClass.DONE, "ok", clip=clip)


def _trim(job: SourceJob, source: Path, facts: SourceFacts, segment: Segment, target: Path) -> None:
    def trim(*, from_the_start: bool) -> None:
        run_ffmpeg(
            trim_args(
                source,
                facts,
                segment.start_ms,
                segment.end_ms,
                target,
                keep_audio=job.keep_audio,
                from_the_start=from_the_start,
            )
        )

    try:
        trim(from_the_start=False)
    except MediaError:
        if segment.start_ms == 0:
            raise
        # With open groups of pictures the first key frame after a seek refers to what was skipped.
        trim(from_the_start=True)


def _describe(job: SourceJob, segment: Segment, path: Path) -> Clip:
    """Prove a clip's file and write down what it is.

    Raises:
        MediaError: it is not what was asked for.
        FileNotFoundError: there is none.
    """
    num_bytes = path.stat().st_size
    facts = prove(path, segment.end_ms - segment.start_ms)
    workspace = Workspace(job.root)
    return Clip(
        clip_id=segment.clip_id,
        video_id=segment.video_id,
        start_ms=segment.start_ms,
        end_ms=segment.end_ms,
        label=segment.label,
        official_split=segment.official_split,
        dataset=segment.dataset,
        path=workspace.clip(segment.clip_id).relative_to(workspace.root).as_posix(),
        num_frames=facts.num_frames,
        fps_num=facts.fps.numerator,
        fps_den=facts.fps.denominator,
        width=facts.width,
        height=facts.height,
        has_audio=facts.has_audio,
        num_bytes=num_bytes,
        sha256=sha256_of(path),
        source=job.source,
    )


def _publish(temp: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(temp, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    publish(temp, path)
