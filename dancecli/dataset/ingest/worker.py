"""One clip that is on disk already: made into our form or linked, proven, published.

This is what a worker process does; see `dataset.job` for its counterpart that downloads.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from dancecli.core.errors import MediaError
from dancecli.core.records import OutcomeClass, Segment
from dancecli.dataset.cutting import DISK_FULL, ClipResult, clip_of
from dancecli.dataset.fetch.video_worker import JobResult
from dancecli.engine.worker import Acquire
from dancecli.sources.failures import shortened
from dancecli.sources.letsdance import FrameRun, timing
from dancecli.storage.files import commit_file
from dancecli.storage.workspace import Workspace
from dancecli.video.decode import MediaFacts, decode, frames_in, probe
from dancecli.video.ffmpeg import encode_args, link_pictures, run_ffmpeg, trim_args

SOURCE = "folder"
LINKABLE = frozenset({".mp4", ".m4v", ".mov"})
# A crawled clip is often some frames short of what its name says; less than that is another clip.
_SHORTEST_SHARE = Fraction(9, 10)
# A linked file may run on a little, since copied streams end at a key frame.
_LONGEST_SHARE = Fraction(3, 2)
_MOST_MISSING = Fraction(1, 20)


@dataclass(frozen=True, slots=True)
class Intake:
    """A clip to take in.

    Attributes:
        root: the workspace's folder.
        segment: what it is to become.
        media: its file, or its pictures.
        link: keep the file as it is, if its container allows.
        keep_audio: keep the sound.
    """

    root: Path
    segment: Segment
    media: Path | FrameRun
    link: bool = False
    keep_audio: bool = True


def work(job: Intake, _: Acquire) -> JobResult:
    """Do one job; nothing but a proven file gets its name."""
    temp = temp_of(Workspace(job.root)) / job.segment.clip_id
    shutil.rmtree(temp, ignore_errors=True)
    temp.mkdir(parents=True)
    try:
        return JobResult((_take(job, temp),))
    except MediaError as error:
        text = shortened(error.message)
        return JobResult((ClipResult(job.segment, OutcomeClass.CORRUPT, "broken", text),))
    except OSError as error:
        if error.errno in DISK_FULL:
            return JobResult((), disk_full=True)
        return JobResult((ClipResult(job.segment, OutcomeClass.TRANSIENT, "unreadable", str(error)),))
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def temp_of(workspace: Workspace) -> Path:
    """Where half-made clips lie, each in a folder of its own."""
    return workspace.temp / "intake"


def _take(job: Intake, temp: Path) -> ClipResult:
    segment, media = job.segment, job.media
    target = temp / f"{segment.clip_id}.mp4"
    asked_ms = segment.end_ms - segment.start_ms
    if isinstance(media, FrameRun):
        if len(media.missing) > _MOST_MISSING * media.num_frames:
            text = f"{len(media.missing)} of {media.num_frames} pictures are missing"
            return ClipResult(segment, OutcomeClass.CORRUPT, "frames-missing", text)
        pattern = link_pictures(media.pictures(), temp)
        run_ffmpeg(encode_args(pattern, Fraction(timing(media.num_frames).fps), asked_ms, target))
        return _settle(job, target, decode(target))
    if job.link and media.suffix.lower() in LINKABLE:
        facts = decode(media)
        _link(media, target)
        return _settle(job, target, facts)
    source = probe(media)
    length_ms = min(asked_ms, source.duration_ms or asked_ms)
    run_ffmpeg(trim_args(media, source, 0, length_ms, target, keep_audio=job.keep_audio))
    return _settle(job, target, decode(target))


def _settle(job: Intake, target: Path, facts: MediaFacts) -> ClipResult:
    """Publish a decoded file if it is as long as its name says."""
    segment = job.segment
    if not facts.fps:
        raise MediaError(f"{target.name} does not say its frame rate")
    asked_ms = segment.end_ms - segment.start_ms
    expected = frames_in(asked_ms, facts.fps)
    text = f"it holds {round(1000 * facts.num_frames / facts.fps)} ms, its name says {asked_ms} ms"
    if facts.num_frames + 1 < _SHORTEST_SHARE * expected:
        return ClipResult(segment, OutcomeClass.SOURCE_SHORT, "too-short", text)
    if facts.num_frames > _LONGEST_SHARE * expected:
        return ClipResult(segment, OutcomeClass.CORRUPT, "too-long", text)
    clip = clip_of(Workspace(job.root), segment, target, facts, SOURCE)
    path = job.root / clip.path
    if target.is_symlink() or target.stat().st_nlink > 1:
        # Not `commit_file`, which would set the mode of the file that the link shares.
        path.parent.mkdir(parents=True, exist_ok=True)
        target.replace(path)
    else:
        commit_file(target, path)
    return ClipResult(segment, OutcomeClass.DONE, "ok", clip=clip)


def _link(source: Path, target: Path) -> None:
    whole = source.resolve()
    try:
        target.hardlink_to(whole)
    except OSError:
        # Another file system, or one without hard links.
        target.symlink_to(whole)
