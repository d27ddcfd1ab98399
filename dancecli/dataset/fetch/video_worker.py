"""One source video: had once, all its segments cut, each clip proven and published.

This is what a worker process does. It writes nothing but files under their final names, proven
first, so that at any moment it may be killed: what it published is adopted the next time.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from dancecli.core.records import OutcomeClass, Segment
from dancecli.dataset.cutting import DISK_FULL, ClipResult, Cutter, probe_source
from dancecli.engine.worker import Acquire, Halted
from dancecli.sources.failures import Failure
from dancecli.sources.youtube import Download, download


@dataclass(frozen=True, slots=True)
class OnDisk:
    """A file that holds a source video, or a part of it.

    Attributes:
        path: the file, which is only read.
        is_clip: the file is the clip itself, however long it is.
    """

    path: Path
    is_clip: bool = False


@dataclass(frozen=True, slots=True)
class SourceJob:
    """A source video and the segments that are wanted of it.

    Attributes:
        cutter: makes the clips; its temporary folder is for this video alone.
        segments: all of one video.
        origin: where to get the video.
        tries: attempts before this one, in this run.
    """

    cutter: Cutter
    segments: tuple[Segment, ...]
    origin: Download | OnDisk
    tries: int = 0


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


def work(job: SourceJob, acquire: Acquire) -> JobResult:
    """Do one job.

    Clips that are already published are proven again and adopted; the video is asked for only
    if one is left. The temporary folder stays after a failure that is worth another try.
    """
    cutter = job.cutter
    results = [adopted for segment in job.segments if (adopted := cutter.adopt(segment)) is not None]
    have = {result.segment for result in results}
    missing = [segment for segment in job.segments if segment not in have]
    if not missing:
        return JobResult(tuple(results))
    asked = False

    def acquire_and_note() -> None:
        nonlocal asked
        acquire()
        asked = True

    num_bytes = 0
    keep_temp = False
    try:
        cutter.temp.mkdir(parents=True, exist_ok=True)
        if isinstance(job.origin, OnDisk):
            source, is_clip = job.origin.path, job.origin.is_clip
        else:
            source = download(missing[0].video_id, cutter.temp, job.origin, acquire_and_note)
            is_clip, num_bytes = False, source.stat().st_size
        facts = probe_source(source)
        for segment in missing:
            result = cutter.cut(source, facts, segment, whole=is_clip)
            # The download is counted once, with the first of its clips.
            results.append(replace(result, num_bytes=0 if segment is not missing[0] else num_bytes))
        if not isinstance(job.origin, OnDisk):
            cutter.keep_source(source, missing[0].video_id)
    except Failure as failure:
        keep_temp = failure.outcome is OutcomeClass.TRANSIENT
        results += (
            ClipResult(segment, failure.outcome, failure.reason, failure.text, num_bytes)
            for segment in missing
        )
        return JobResult(tuple(results), asked, failure.retry_after_s)
    except Halted:
        return JobResult(tuple(results), asked)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        return JobResult(tuple(results), asked, disk_full=True)
    finally:
        if not keep_temp:
            shutil.rmtree(cutter.temp, ignore_errors=True)
    return JobResult(tuple(results), asked)
