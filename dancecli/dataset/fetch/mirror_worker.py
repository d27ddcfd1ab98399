"""One tar of the mirror: its requested members cut, validated and committed as they stream by."""

from __future__ import annotations

import shutil
import time
from collections.abc import Generator
from dataclasses import dataclass, replace

from dancecli.core.records import OutcomeClass, Segment
from dancecli.core.redaction import redact
from dancecli.dataset.cutting import DISK_FULL, ClipResult, Cutter, probe_source
from dancecli.dataset.fetch.video_worker import JobResult
from dancecli.engine.worker import Acquire, Halted
from dancecli.sources.failures import Failure
from dancecli.sources.mirror import ClipKey, Member, members

# A sign of life while other members stream by, so that the deadline is one of silence.
_SIGN_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class MirrorJob:
    """A tar and the segments that are requested of it.

    Attributes:
        cutter: makes the clips; its temporary folder is for this tar alone.
        segments: all of one class and one official split.
        url: of the tar.
        tries: attempts before this one, in this run.
    """

    cutter: Cutter
    segments: tuple[Segment, ...]
    url: str
    tries: int = 0


def work(job: MirrorJob, acquire: Acquire) -> Generator[JobResult, None, JobResult]:
    """Do one job; each clip is a part of the result, and what is missing at the end is not in the tar."""
    missing = {(s.video_id, s.start_ms, s.end_ms): s for s in job.segments}
    asked = False

    def acquire_and_note() -> None:
        nonlocal asked
        acquire()
        asked = True

    def rest(failure: Failure) -> JobResult:
        clips = (
            ClipResult(segment, failure.outcome, failure.reason, failure.text) for segment in missing.values()
        )
        return JobResult(tuple(clips), asked, asked and failure.is_answer, failure.retry_after_s)

    shutil.rmtree(job.cutter.temp, ignore_errors=True)
    job.cutter.temp.mkdir(parents=True)
    try:
        for key, segment in list(missing.items()):
            if (adopted := job.cutter.adopt(segment)) is not None:
                del missing[key]
                yield JobResult((adopted,))
        if missing:
            yield from _stream(job, missing, acquire_and_note)
    except Failure as failure:
        return rest(failure)
    except Halted:
        return JobResult((), asked)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        return JobResult((), asked, disk_full=True)
    finally:
        shutil.rmtree(job.cutter.temp, ignore_errors=True)
    # The tar was read up to its end mark, or up to the last clip that was missing.
    return rest(Failure(OutcomeClass.PERMANENT, "not-in-mirror", f"{redact(job.url)} does not contain it"))


def _stream(
    job: MirrorJob, missing: dict[ClipKey, Segment], acquire: Acquire
) -> Generator[JobResult, None, None]:
    sign_s = time.monotonic()
    for member in members(job.url, missing.keys(), job.cutter.temp, acquire):
        if member.key is not None:
            yield JobResult((_cut(job, member, missing.pop(member.key)),), asked=True, answered=True)
        elif time.monotonic() - sign_s > _SIGN_EVERY_S:
            yield JobResult(())
        else:
            continue
        sign_s = time.monotonic()
        if not missing:
            return


def _cut(job: MirrorJob, member: Member, segment: Segment) -> ClipResult:
    path = member.path
    assert path is not None  # noqa: S101 - for the type checker: it has a key
    num_bytes = path.stat().st_size
    try:
        facts = probe_source(path)
    except Failure as failure:
        return ClipResult(segment, failure.outcome, failure.reason, failure.text, num_bytes)
    # The member is the clip itself, however long it is.
    return replace(job.cutter.cut(path, facts, segment, whole=True), num_bytes=num_bytes)
