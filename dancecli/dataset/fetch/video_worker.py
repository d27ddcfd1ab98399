"""One source video: downloaded once, all its segments cut, each clip validated and committed.

This is what a worker process does. It writes nothing but files under their final names, validated
first, so that it may be killed at any moment: what it committed is registered the next time.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from dancecli.core.records import OutcomeClass, Segment
from dancecli.dataset.cutting import DISK_FULL, ClipResult, Cutter, probe_source
from dancecli.engine.worker import Acquire, Halted
from dancecli.sources.failures import Failure
from dancecli.sources.youtube import Download, Downloaded, SourceInfo, download


@dataclass(frozen=True, slots=True)
class OnDisk:
    """A file that holds a source video, or a section of it.

    Attributes:
        path: the file, which is only read.
        is_clip: the file is the clip itself, however long it is.
    """

    path: Path
    is_clip: bool = False


@dataclass(frozen=True, slots=True)
class SourceJob:
    """A source video and the segments that are requested of it.

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
        clips: one result per segment; none of those that were left because the job was halted.
        asked: the site was contacted.
        answered: it responded about the video, good or bad, or sent it.
        retry_after_s: the Retry-After of the site.
        disk_full: the job stopped because there is no space.
    """

    clips: tuple[ClipResult, ...]
    asked: bool = False
    answered: bool = False
    retry_after_s: float = 0.0
    disk_full: bool = False


def work(job: SourceJob, acquire: Acquire) -> JobResult:
    """Do one job.

    Clips that are committed already are validated again and registered; the video is downloaded
    only if one is missing. The temporary folder stays after a failure that is worth another try.
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
            source, is_clip = Downloaded(job.origin.path), job.origin.is_clip
        else:
            source = download(missing[0].video_id, cutter.temp, job.origin, acquire_and_note)
            is_clip, num_bytes = False, source.path.stat().st_size
        facts = probe_source(source.path)
        for segment in missing:
            result = cutter.cut(source.path, facts, segment, whole=is_clip)
            # The download is counted once, with the first of its clips.
            counted = 0 if segment is not missing[0] else num_bytes
            results.append(replace(with_info(result, source.info), num_bytes=counted))
        if not isinstance(job.origin, OnDisk):
            cutter.keep_source(source.path, missing[0].video_id)
    except Failure as failure:
        keep_temp = failure.outcome is OutcomeClass.TRANSIENT
        results += (
            ClipResult(segment, failure.outcome, failure.reason, failure.text, num_bytes)
            for segment in missing
        )
        return JobResult(tuple(results), asked, asked and failure.is_answer, failure.retry_after_s)
    except Halted:
        return JobResult(tuple(results), asked)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        return JobResult(tuple(results), asked, disk_full=True)
    finally:
        if not keep_temp:
            shutil.rmtree(cutter.temp, ignore_errors=True)
    return JobResult(tuple(results), asked, asked)


def with_info(result: ClipResult, info: SourceInfo) -> ClipResult:
    """Add what the site says of the video to the record of a clip; what it does not say stays."""
    known = {name: value for name, value in asdict(info).items() if value}
    return replace(result, clip=replace(result.clip, **known)) if result.clip and known else result
