"""One clip that is on disk already: encoded into our form or linked, validated, committed.

This is what a worker process does; see `dataset.fetch.video_worker` for its counterpart that downloads.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from dancecli.core.errors import MediaError
from dancecli.core.records import OutcomeClass, Segment
from dancecli.dataset.cutting import (
    DISK_FULL,
    STANDARD_RULES,
    ClipResult,
    ClipRules,
    check_length,
    clip_of,
    corrupt,
    make_clip,
    stretch_of_file,
)
from dancecli.dataset.fetch.video_worker import JobResult, with_info
from dancecli.engine.worker import Acquire
from dancecli.sources.letsdance import FrameRun, timing
from dancecli.sources.youtube import SourceInfo
from dancecli.storage.files import commit_file
from dancecli.storage.workspace import Workspace
from dancecli.video.decode import MediaFacts, decode, decode_foreign
from dancecli.video.ffmpeg import encode_args, link_pictures, run_foreign
from dancecli.video.source import Deinterlace, Gamut, SourceFacts, probe

SOURCE = "folder"
LINKABLE = frozenset({".mp4", ".m4v", ".mov"})
_MOST_MISSING = Fraction(1, 20)


@dataclass(frozen=True, slots=True)
class ImportJob:
    """A clip to import.

    Attributes:
        root: the workspace's folder.
        segment: what it is to become.
        media: its file, or its pictures.
        link: keep the file as it is, if its container allows.
        keep_audio: keep the sound.
        rules: which clips are accepted.
        stretch_ms: start and end in the file, if the clip is not all of it.
        media_ms: length of the file, by its header; 0 if it is not known.
        info: what is known of the source video.
    """

    root: Path
    segment: Segment
    media: Path | FrameRun
    link: bool = False
    keep_audio: bool = True
    rules: ClipRules = field(default=STANDARD_RULES)
    stretch_ms: tuple[int, int] | None = None
    media_ms: int = 0
    info: SourceInfo = field(default_factory=SourceInfo)


def work(job: ImportJob, _: Acquire) -> JobResult:
    """Do one job; nothing but a validated file gets its name, and every other end is a row."""
    temp = temp_of(Workspace(job.root)) / job.segment.clip_id
    shutil.rmtree(temp, ignore_errors=True)
    temp.mkdir(parents=True)
    try:
        return JobResult((_import(job, temp),))
    except MediaError as error:
        return JobResult((corrupt(job.segment, error),))
    except OSError as error:
        if error.errno in DISK_FULL:
            return JobResult((), disk_full=True)
        return JobResult((ClipResult(job.segment, OutcomeClass.TRANSIENT, "unreadable", str(error)),))
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def temp_of(workspace: Workspace) -> Path:
    """Where half-made clips lie, each in a folder of its own."""
    return workspace.temp / "import"


def _import(job: ImportJob, temp: Path) -> ClipResult:
    segment, media = job.segment, job.media
    target = temp / f"{segment.clip_id}.mp4"
    asked_ms = segment.end_ms - segment.start_ms
    if isinstance(media, FrameRun):
        return _import_pictures(job, media, temp, target)
    source = probe(media, measure=True)
    if job.link and media.suffix.lower() in LINKABLE:
        facts = decode_foreign(media)
        if facts.damaged_frames > job.rules.max_damaged * facts.num_frames:
            raise MediaError(
                f"{facts.damaged_frames} of {facts.num_frames} frames are damaged",
                "a larger --max-damaged takes it nevertheless",
            )
        _link(media, target)
        return _commit(job, target, replace(facts, notes=_link_notes(source, facts)), source)
    start_ms, end_ms = stretch_of_file(source, asked_ms)
    if job.stretch_ms:
        begins_ms = source.begins_ms if source.begins_after_priming else 0
        start_ms, end_ms = (begins_ms + ms for ms in job.stretch_ms)
    made = make_clip(media, source, start_ms, end_ms, target, job.rules, keep_audio=job.keep_audio)
    return _commit(job, target, made.facts, source)


def _import_pictures(job: ImportJob, media: FrameRun, temp: Path, target: Path) -> ClipResult:
    segment = job.segment
    if len(media.missing) > _MOST_MISSING * media.num_frames:
        text = f"{len(media.missing)} of {media.num_frames} pictures are missing"
        return ClipResult(segment, OutcomeClass.CORRUPT, "frames-missing", text)
    pattern = link_pictures(media.pictures(), temp)
    fps = Fraction(timing(media.num_frames).fps)
    duration_ms = segment.end_ms - segment.start_ms
    run = run_foreign(encode_args(pattern, fps, duration_ms, target, job.rules.form), folder=temp)
    if run.status:
        raise MediaError(f"the pictures cannot be decoded: {run.text}")
    facts = decode(target, measure=True)
    notes = (f"{len(media.missing)} missing pictures repeat the one before",) if media.missing else ()
    return _commit(job, target, replace(facts, notes=(*notes, *facts.measures.notes)), None)


def _link_notes(source: SourceFacts, facts: MediaFacts) -> tuple[str, ...]:
    """What a linked file is not: nothing of it is converted."""
    notes = [*facts.notes]
    if facts.damaged_frames:
        notes.insert(0, f"{facts.damaged_frames} damaged frames")
    if source.deinterlace is not Deinterlace.NONE:
        notes.append("interlaced, linked as it is")
    if source.gamut is not Gamut.BT709:
        notes.append(f"colors are {source.gamut.value.upper()}, linked as they are")
    return (*notes, *facts.measures.notes)


def _commit(job: ImportJob, target: Path, facts: MediaFacts, source: SourceFacts | None) -> ClipResult:
    """Give a validated file its name if its length is accepted."""
    segment = job.segment
    if not facts.fps:
        raise MediaError(f"{target.name} does not say its frame rate")
    # All of a file is taken, however long it is.
    refused = check_length(segment, facts, job.rules, whole=job.stretch_ms is None)
    if refused is not None:
        return refused
    clip = clip_of(Workspace(job.root), segment, target, facts, SOURCE, source)
    path = job.root / clip.path
    if target.is_symlink() or target.stat().st_nlink > 1:
        # Not `commit_file`, which would set the mode of the file that the link shares.
        path.parent.mkdir(parents=True, exist_ok=True)
        target.replace(path)
    else:
        commit_file(target, path)
    return with_info(ClipResult(segment, OutcomeClass.DONE, "ok", clip=clip), job.info)


def _link(source: Path, target: Path) -> None:
    whole = source.resolve()
    try:
        target.hardlink_to(whole)
    except OSError:
        # Another file system, or one without hard links.
        target.symlink_to(whole)
