"""Cut a segment out of a video, validate the clip, commit it: what all sources share."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import count
from pathlib import Path

from dancecli.core.errors import MediaError, UsageError
from dancecli.core.hashing import sha256_file
from dancecli.core.records import Clip, OutcomeClass, Segment
from dancecli.sources.failures import Failure, shortened
from dancecli.storage.files import commit_file
from dancecli.storage.workspace import Workspace
from dancecli.video.decode import MediaFacts, decode, decode_foreign
from dancecli.video.ffmpeg import STANDARD_FORMAT, ClipFormat, frames_in
from dancecli.video.source import NoDecoderError, NoPictureError, SourceFacts, UnreadableError, probe
from dancecli.video.trim import MAX_DAMAGED, PastEndError, Trimmed, TrimSettings, trim

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
# What is left of a segment when its video ends early: lists round their times, and a tenth is no other clip.
_SHORTEST_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class ClipRules:
    """Which clips are accepted, and how they are stored.

    Attributes:
        max_damaged: share of a clip's frames that may be damaged.
        min_length_s: shorter clips are refused.
        exact: refuse a clip whose length differs from its segment's by more than a frame.
        form: how clips are stored.
        keep_source: keep the downloaded videos, in `sources/` of the workspace.
    """

    max_damaged: float = MAX_DAMAGED
    min_length_s: float = 0.0
    exact: bool = False
    form: ClipFormat = STANDARD_FORMAT
    keep_source: bool = False

    def check(self) -> None:
        """Refuse settings that cannot be met.

        Raises:
            UsageError: a value is out of its range.
        """
        if not 0 <= self.max_damaged <= 1:
            raise UsageError(f"--max-damaged {self.max_damaged} is not a share from 0 to 1")
        if self.min_length_s < 0:
            raise UsageError(f"--min-length {self.min_length_s} is below 0")
        self.form.check()


STANDARD_RULES = ClipRules()


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
        rules: which clips are accepted.
    """

    root: Path
    temp: Path
    source: str
    keep_audio: bool
    rules: ClipRules = field(default=STANDARD_RULES)

    def adopt(self, segment: Segment) -> ClipResult | None:
        """Record a clip that is on disk without a row in the ledger.

        One that the rules refuse, of which frames are damaged, or that no decoder here reads, is moved
        to `refused/` of the workspace; only what is no video is removed. One that cannot be read now stays.
        """
        workspace = Workspace(self.root)
        path = workspace.clip(segment.clip_id)
        if not path.exists():
            return None
        try:
            facts = _decoded(path)
        except UnreadableError as error:
            text = f"{error.message}; the file stays: {path}"
            return ClipResult(segment, OutcomeClass.TRANSIENT, "file-unreadable", shortened(text))
        except NoDecoderError:
            self._put_aside(path)
            return None
        except MediaError:
            path.unlink()
            return None
        if not facts.damaged_frames and check_length(segment, facts, self.rules, whole=True) is None:
            clip = clip_of(workspace, segment, path, facts, self.source)
            return ClipResult(segment, OutcomeClass.DONE, "adopted", clip=clip)
        self._put_aside(path)
        return None

    def _put_aside(self, path: Path) -> None:
        folder = self.root / "refused"
        folder.mkdir(exist_ok=True)
        # `NAME.2.mp4` beside one that was refused before; a clip's id has no dot.
        numbered = (path.name if n == 1 else f"{path.stem}.{n}{path.suffix}" for n in count(1))
        path.replace(next(folder / name for name in numbered if not os.path.lexists(folder / name)))

    def cut(self, video: Path, facts: SourceFacts, segment: Segment, *, whole: bool = False) -> ClipResult:
        """Cut one segment, and commit the clip if it is whole.

        Args:
            video: what to cut from.
            facts: of it.
            segment: what to cut.
            whole: the file is the clip itself: all of it is taken, however long it is.

        Raises:
            OSError: the disk is full.
        """
        target = self.temp / f"{segment.clip_id}.mp4"
        try:
            start_ms, end_ms = segment.start_ms, segment.end_ms
            if whole:
                facts = probe(video, measure=True)
                start_ms, end_ms = stretch_of_file(facts, end_ms - start_ms)
            elif facts.begins_after_priming:
                start_ms, end_ms = start_ms + facts.begins_ms, end_ms + facts.begins_ms
            made = make_clip(video, facts, start_ms, end_ms, target, self.rules, keep_audio=self.keep_audio)
        except PastEndError as error:
            return ClipResult(segment, OutcomeClass.SOURCE_SHORT, "too-short", error.message)
        except MediaError as error:
            return corrupt(segment, error)
        refused = check_length(
            segment, made.facts, self.rules, whole=whole, late_frames=made.trimmed.late_frames
        )
        if refused is not None:
            return refused
        workspace = Workspace(self.root)
        clip = clip_of(workspace, segment, target, made.facts, self.source, facts)
        commit_file(target, workspace.clip(segment.clip_id))
        return ClipResult(segment, OutcomeClass.DONE, "ok", clip=clip)

    def keep_source(self, video: Path, video_id: str) -> None:
        """Move a downloaded video to `sources/`, if that was asked for."""
        if self.rules.keep_source:
            target = self.root / "sources" / f"{video_id}{video.suffix}"
            target.parent.mkdir(exist_ok=True)
            shutil.move(video, target)


@dataclass(frozen=True, slots=True)
class MadeClip:
    """A clip that is not committed yet: how it was cut, and what a full decode of it found."""

    trimmed: Trimmed
    facts: MediaFacts


def make_clip(
    video: Path,
    facts: SourceFacts,
    start_ms: int,
    end_ms: int,
    target: Path,
    rules: ClipRules,
    *,
    keep_audio: bool,
) -> MadeClip:
    """Cut a clip, and validate it by a full decode.

    Raises:
        MediaError: its picture is not whole, or it does not decode.
        PastEndError: the video has no picture there.
        OSError: the disk is full.
    """
    settings = TrimSettings(keep_audio, rules.max_damaged, rules.form)
    trimmed = trim(video, facts, start_ms, end_ms, target, settings)
    found = decode(target, measure=True)
    if abs(found.num_frames - trimmed.num_frames) > 1:
        raise MediaError(f"{target.name} holds {found.num_frames} frames of {trimmed.num_frames} encoded")
    notes = (*trimmed.notes, *found.measures.notes)
    return MadeClip(trimmed, replace(found, damaged_frames=trimmed.damaged_frames, notes=notes))


def _decoded(path: Path) -> MediaFacts:
    """Decode a clip of the workspace, which may be a link to anyone's file.

    Raises:
        UnreadableError: it cannot be read now.
        NoDecoderError: no decoder here reads it.
        MediaError: nothing in it decodes.
    """
    try:
        facts = decode(path, measure=True)
    except UnreadableError:
        # The tolerant decode would take it for a file that ends here.
        raise
    except MediaError:
        return decode_foreign(path)
    return replace(facts, notes=facts.measures.notes)


def stretch_of_file(facts: SourceFacts, asked_ms: int) -> tuple[int, int]:
    """Give where the picture of a whole file begins and ends; as long as asked if nothing tells."""
    return facts.begins_ms, facts.begins_ms + (facts.duration_ms or asked_ms)


def check_length(
    segment: Segment, facts: MediaFacts, rules: ClipRules, *, whole: bool, late_frames: int = 0
) -> ClipResult | None:
    """Apply the one tolerance of lengths; None if the clip is accepted.

    Args:
        segment: what was asked for.
        facts: of the clip.
        rules: which lengths are accepted.
        whole: it is all of a file, not a cut from a longer one.
        late_frames: frames at its beginning that only stand for a picture that starts later.
    """
    asked_ms = segment.end_ms - segment.start_ms
    expected = frames_in(asked_ms, facts.fps) if facts.fps else facts.num_frames
    got = facts.num_frames - late_frames
    length_ms = round(1000 * got / facts.fps) if facts.fps else asked_ms
    text = f"it holds {length_ms} ms, {asked_ms} ms were asked for"
    if rules.exact and abs(got - expected) > 1:
        if got > expected:
            return ClipResult(segment, OutcomeClass.CORRUPT, "too-long", text)
        return ClipResult(segment, OutcomeClass.SOURCE_SHORT, "too-short", text)
    if length_ms < 1000 * rules.min_length_s:
        return ClipResult(segment, OutcomeClass.SOURCE_SHORT, "too-short", text)
    if not whole and got + 1 < _SHORTEST_SHARE * expected:
        return ClipResult(segment, OutcomeClass.SOURCE_SHORT, "too-short", text)
    return None


def clip_of(
    workspace: Workspace,
    segment: Segment,
    path: Path,
    facts: MediaFacts,
    source: str,
    origin: SourceFacts | None = None,
) -> Clip:
    """Build the record of a segment's clip.

    Args:
        workspace: where the clip will lie.
        segment: what was asked for.
        path: its file as it is now, not yet committed.
        facts: what a full decode of it found.
        source: where it was downloaded or imported from.
        origin: the video that it was cut from.
    """
    fps = facts.fps or Fraction(1)
    asked_ms = segment.end_ms - segment.start_ms
    diff_ms = 0
    notes = facts.notes
    if abs(facts.num_frames - frames_in(asked_ms, fps)) > 1:
        diff_ms = round(1000 * facts.num_frames / fps) - asked_ms
        notes = (f"{abs(diff_ms)} ms {'longer' if diff_ms > 0 else 'shorter'} than asked for", *notes)
    measures = facts.measures
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
        note="; ".join(notes),
        damaged_frames=facts.damaged_frames,
        length_diff_ms=diff_ms,
        source_width=origin.width if origin else 0,
        source_height=origin.height if origin else 0,
        source_fps=round(float(origin.fps), 3) if origin else 0.0,
        source_codec=origin.codec if origin else "",
        source_format=origin.container if origin else "",
        black_share=round(measures.black_share, 4),
        frozen_share=round(measures.frozen_share, 4),
        bars_share=round(measures.bars_share, 4),
        loudness_lufs=measures.loudness_lufs if facts.has_audio else 0.0,
    )


def probe_source(path: Path) -> SourceFacts:
    """Read the header of what a source gave.

    Raises:
        Failure: it is no video, has no picture that can be decoded, or is a link to nothing.
    """
    if not path.exists():
        # The content may come, as git-annex gets it: it is looked for again.
        raise Failure(OutcomeClass.TRANSIENT, "file-lost", f"{path.name} is a link to nothing")
    try:
        return probe(path)
    except MediaError as error:
        raise Failure(OutcomeClass.CORRUPT, reason_of(error), shortened(error.message)) from error


def corrupt(segment: Segment, error: MediaError) -> ClipResult:
    """Give the row of a segment that no clip can be made of."""
    reason = reason_of(error, "broken")
    return ClipResult(segment, OutcomeClass.CORRUPT, reason, shortened(error.message))


def reason_of(error: MediaError, otherwise: str = "unreadable") -> str:
    """Give the short stable word for what is wrong with a video."""
    if isinstance(error, NoPictureError):
        return "no-picture"
    return "no-decoder" if isinstance(error, NoDecoderError) else otherwise
