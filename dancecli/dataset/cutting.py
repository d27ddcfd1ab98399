"""Cut a segment out of a video, prove the clip, publish it: what all sources share."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path

from dancecli.core.errors import MediaError
from dancecli.core.hashing import sha256_file
from dancecli.core.records import Clip, OutcomeClass, Segment
from dancecli.sources.failures import Failure, shortened
from dancecli.storage.files import commit_file
from dancecli.storage.workspace import Workspace
from dancecli.video.decode import MediaFacts, NoPictureError, SourceFacts, probe, prove
from dancecli.video.ffmpeg import run_ffmpeg, trim_args

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


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
class Cutter:
    """Makes clips of one workspace.

    Attributes:
        root: the workspace's folder.
        temp: where half-made files lie, on the same file system.
        source: what the clips' records will name as their source.
        keep_audio: keep the sound.
    """

    root: Path
    temp: Path
    source: str
    keep_audio: bool

    def adopt(self, segment: Segment) -> ClipResult | None:
        """Take a clip that is on disk without a word in the ledger; one that is not whole is removed."""
        path = Workspace(self.root).clip(segment.clip_id)
        if not path.exists():
            return None
        try:
            clip = self._describe(segment, path)
        except MediaError:
            path.unlink()
            return None
        return ClipResult(segment, OutcomeClass.DONE, "adopted", clip=clip)

    def cut(self, video: Path, facts: SourceFacts, segment: Segment, begins_ms: int = 0) -> ClipResult:
        """Cut one segment, and publish the clip if it is exactly what was asked for.

        Args:
            video: what to cut from.
            facts: of it.
            segment: what to cut.
            begins_ms: the time in the source video at which this file begins.

        Raises:
            OSError: the disk is full.
        """
        start_ms, end_ms = segment.start_ms - begins_ms, segment.end_ms - begins_ms
        if facts.duration_ms and end_ms > facts.duration_ms + 1000 / facts.fps:
            text = f"the video ends at {facts.duration_ms} ms, the segment at {end_ms} ms"
            return ClipResult(segment, OutcomeClass.SOURCE_SHORT, "too-short", text)
        target = self.temp / f"{segment.clip_id}.mp4"
        try:
            self._trim(video, facts, start_ms, end_ms, target)
            clip = self._describe(segment, target)
        except MediaError as error:
            return ClipResult(segment, OutcomeClass.CORRUPT, "broken", shortened(error.message))
        commit_file(target, Workspace(self.root).clip(segment.clip_id))
        return ClipResult(segment, OutcomeClass.DONE, "ok", clip=clip)

    def _trim(self, video: Path, facts: SourceFacts, start_ms: int, end_ms: int, target: Path) -> None:
        def trim(*, from_the_start: bool) -> None:
            sound, start = self.keep_audio, from_the_start
            run_ffmpeg(
                trim_args(video, facts, start_ms, end_ms, target, keep_audio=sound, from_the_start=start)
            )

        try:
            trim(from_the_start=False)
        except MediaError:
            if start_ms == 0:
                raise
            # With open groups of pictures the first key frame after a seek refers to what was skipped.
            trim(from_the_start=True)

    def _describe(self, segment: Segment, path: Path) -> Clip:
        facts = prove(path, segment.end_ms - segment.start_ms)
        return clip_of(Workspace(self.root), segment, path, facts, self.source)


def clip_of(workspace: Workspace, segment: Segment, path: Path, facts: MediaFacts, source: str) -> Clip:
    """Put together the record of a segment's clip.

    Args:
        workspace: where the clip will lie.
        segment: what was asked for.
        path: its file as it is now, not yet published.
        facts: what a full decode of it told.
        source: where it was had from.
    """
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
        num_bytes=path.stat().st_size,
        sha256=sha256_file(path),
        source=source,
    )


def probe_source(path: Path) -> SourceFacts:
    """Read the header of what a source gave.

    Raises:
        Failure: it is no video, or has no picture.
    """
    try:
        return probe(path)
    except MediaError as error:
        reason = "no-picture" if isinstance(error, NoPictureError) else "unreadable"
        raise Failure(OutcomeClass.CORRUPT, reason, shortened(error.message)) from error
