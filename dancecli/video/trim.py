"""Cut a clip out of a video of any origin, and tell by evidence whether its picture is whole.

A first run stops at whatever a decoder objects to, and costs nothing more where it objects to nothing.
Everything else is tried again, with less and less that could be in the way: from the start of the video
instead of from a key frame, without the sound, and at last with what the decoder conceals. Then the frames
that the clip shows are compared with what a tolerant decode of the video found.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from dancecli.core.errors import MediaError
from dancecli.video.ffmpeg import (
    STANDARD_FORMAT,
    ClipFormat,
    FfmpegRun,
    LoggedFrame,
    frames_in,
    read_frame_log,
    run_foreign,
    trim_args,
)
from dancecli.video.source import Gamut, SourceFacts, examine, probe
from dancecli.video.tone_mapping import write_table

# Of a clip's frames; `--max-damaged`.
MAX_DAMAGED = 0.05
_KEPT_OF_TEXT = 160
_ADDRESS = re.compile(r" ?@ ?0x[0-9a-f]+")


class PastEndError(MediaError):
    """The stretch lies where the video has no picture."""


@dataclass(frozen=True, slots=True)
class TrimSettings:
    """How clips are cut.

    Attributes:
        keep_audio: keep the sound.
        max_damaged: share of a clip's frames that may be damaged.
        form: how it is stored.
    """

    keep_audio: bool = True
    max_damaged: float = MAX_DAMAGED
    form: ClipFormat = STANDARD_FORMAT


@dataclass(frozen=True, slots=True)
class Trimmed:
    """A clip that was cut.

    Attributes:
        num_frames: frames in it.
        late_frames: of them, those at its beginning that stand for a picture that starts later.
        damaged_frames: of them, those that the decoder could not restore whole.
        notes: what was tolerated or changed, in words.
    """

    num_frames: int
    late_frames: int = 0
    damaged_frames: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of ffmpeg: what it printed, and the source's time for each frame of the clip."""

    result: FfmpegRun
    frames: tuple[LoggedFrame, ...]

    @property
    def whole(self) -> bool:
        return self.result.status == 0 and bool(self.frames)

    @property
    def shown(self) -> list[int]:
        return [frame.number for frame in self.frames]


@dataclass(frozen=True, slots=True)
class _Trimmer:
    source: Path
    facts: SourceFacts
    start_ms: int
    end_ms: int
    target: Path
    settings: TrimSettings

    @property
    def start_s(self) -> Fraction:
        return Fraction(self.start_ms, 1000)

    @property
    def has_sound(self) -> bool:
        return self.settings.keep_audio and self.facts.has_audio

    def run(self, *, from_the_start: bool, sound: bool, strict: bool = True) -> _Run:
        """Make the clip; the times of its frames are those of the container's timeline."""
        log = self.target.with_suffix(".frames")
        log.unlink(missing_ok=True)
        table = None
        if self.facts.gamut is not Gamut.BT709:
            table = write_table(self.facts.gamut, self.target.with_name(f"{self.facts.gamut.value}.cube"))
        args = trim_args(
            self.source,
            self.facts,
            self.start_ms,
            self.end_ms,
            self.target,
            keep_audio=sound,
            from_the_start=from_the_start,
            strict=strict,
            form=self.settings.form,
            frame_log=log,
            color_table=table,
        )
        result = run_foreign(args, strict=strict, folder=self.target.parent)
        lead_s = min(self.facts.longest_frame_s, self.start_s)
        seek_s = 0.0 if from_the_start else float(self.start_s - lead_s)
        frames = tuple(replace(f, time_s=f.time_s + seek_s) for f in read_frame_log(log))
        log.unlink(missing_ok=True)
        return _Run(result, frames)

    def starts_in_time(self, run: _Run) -> bool:
        """Tell whether the first frame is the one that the source shows at the start, or its very first."""
        if not run.frames:
            return False
        begins_s = self.facts.begins_ms / 1000 + 1 / float(self.facts.fps)
        return self.late_frames(run) == 0 or run.frames[0].time_s <= begins_s

    def late_frames(self, run: _Run) -> int:
        """Count the frames at the beginning that repeat one of a later time."""
        frame_s = 1 / float(self.facts.fps)
        late = 0
        for i, frame in enumerate(run.frames):
            if math.isnan(frame.time_s):
                # Of a frame without a time it is only known whether a filter repeated it.
                in_time = [f.number for f in run.frames[i : i + 2]] != [frame.number] * 2
            else:
                in_time = frame.time_s <= float(self.start_s) + (i + 1) * frame_s
            if in_time:
                break
            late += 1
        return late

    def lacks_promised(self, run: _Run) -> bool:
        """Tell whether frames are missing at the end that are there by the header."""
        expected = frames_in(self.end_ms - self.start_ms, self.facts.fps)
        frame_ms = 1000 / self.facts.fps
        promised = self.facts.duration_ms > 0 and self.facts.ends_ms + frame_ms >= self.end_ms
        return promised and len(run.frames) + 1 < expected

    def strict_runs(self) -> Iterator[tuple[_Run, bool, bool]]:
        """Run with less and less; each with whether it has the sound and whether it is the last word."""
        for from_the_start in (False, True):
            sounds = (True, False) if self.has_sound else (False,)
            for sound in sounds:
                run = self.run(from_the_start=from_the_start, sound=sound)
                yield run, from_the_start, sound


def trim(
    source: Path, facts: SourceFacts, start_ms: int, end_ms: int, target: Path, settings: TrimSettings
) -> Trimmed:
    """Cut a clip.

    Args:
        source: the video.
        facts: of it.
        start_ms: where the stretch begins, on the container's timeline.
        end_ms: where it ends; a video that ends before gives a shorter clip.
        target: the file to write, `.mp4`; what lies beside it in its folder may be overwritten.
        settings: how.

    Raises:
        MediaError: more of its frames are damaged than allowed.
        PastEndError: the video has no picture there.
        OSError: the disk is full.
    """
    source = _with_a_text_path(source, target.parent)
    trimmer = _Trimmer(source, facts, start_ms, end_ms, target, settings)
    for run, from_the_start, sound in trimmer.strict_runs():
        # After a seek any objection is reason enough to decode from the start, where it may not arise.
        clean = run.whole and not run.result.text and trimmer.starts_in_time(run)
        if not run.frames and not run.result.text and not from_the_start:
            _check_within(trimmer)
        if not (clean or (run.whole and from_the_start)):
            continue
        if run.result.text and trimmer.lacks_promised(run):
            break
        notes = _notes(trimmer, run)
        if trimmer.has_sound and not sound:
            notes += _restore_sound(trimmer, run, from_the_start=from_the_start)
        return Trimmed(len(run.frames), trimmer.late_frames(run), 0, notes)
    return _trim_damaged(trimmer)


def _with_a_text_path(source: Path, folder: Path) -> Path:
    """Give a path that is UTF-8: filter graphs hold no other; else a link to the file in a folder."""
    try:
        str(source.absolute()).encode()
    except UnicodeEncodeError:
        link = folder / f"source{source.suffix}"
        link.unlink(missing_ok=True)
        link.symlink_to(source.absolute())
        return link
    return source


def _check_within(trimmer: _Trimmer) -> None:
    """Refuse a stretch that starts after the last packet of the picture."""
    facts = probe(trimmer.source, measure=True)
    if facts.duration_ms and trimmer.start_ms >= facts.ends_ms:
        raise _past_end(trimmer, facts.ends_ms)


def _past_end(trimmer: _Trimmer, ends_ms: int) -> PastEndError:
    return PastEndError(f"the picture ends at {ends_ms} ms, the segment starts at {trimmer.start_ms} ms")


def _trim_damaged(trimmer: _Trimmer) -> Trimmed:
    """Cut with what the decoder conceals, and count the frames that show it."""
    facts = trimmer.facts
    evidence = examine(trimmer.source, facts, trimmer.end_ms / 1000 + 1)
    run = trimmer.run(from_the_start=True, sound=False, strict=False)
    sure = [time for time, flag in zip(evidence.times, evidence.damaged, strict=True) if not flag]
    objected = bool(run.result.text or evidence.errors or evidence.missing)
    broken_off = objected and trimmer.lacks_promised(run)
    if not run.frames or not sure:
        if sure and sure[-1] < trimmer.start_ms / 1000 and not broken_off:
            raise _past_end(trimmer, round(1000 * (sure[-1] + 1 / float(facts.fps))))
        raise MediaError(f"no frame of it can be decoded{_printed(run.result)}")
    damaged = [i for i, frame in enumerate(run.frames) if evidence.is_damaged(frame.number, frame.time_s)]
    # What the decoder refused is a hole, over which a filter repeats the frame before.
    holes = {*_held(trimmer, run), *(_repeats(trimmer, run) if evidence.errors else ())}
    damaged += sorted(holes.difference(damaged))
    expected = frames_in(trimmer.end_ms - trimmer.start_ms, facts.fps)
    cut_off = expected - len(run.frames) if broken_off else 0
    count = len(damaged) + cut_off
    if count > trimmer.settings.max_damaged * max(expected if cut_off else len(run.frames), 1):
        where = f", {_places(damaged, facts)}" if damaged else ""
        end = f"; the file breaks off, {cut_off} of these are missing" if cut_off else ""
        raise MediaError(
            f"{count} of {len(run.frames) + cut_off} frames are damaged{where}{end}{_printed(run.result)}",
            "a larger --max-damaged takes it nevertheless",
        )
    notes = _notes(trimmer, run)
    if count:
        frames = "1 damaged frame" if count == 1 else f"{count} damaged frames"
        notes = (f"{frames}{', ' + _places(damaged, facts) if damaged else ''}", *notes)
    if trimmer.has_sound:
        notes += _restore_sound(trimmer, run, from_the_start=True)
    return Trimmed(len(run.frames), trimmer.late_frames(run), count, notes)


def _restore_sound(trimmer: _Trimmer, silent: _Run, *, from_the_start: bool) -> tuple[str, ...]:
    """Make the clip once more with the sound as far as it decodes; without it if that costs the picture."""
    run = trimmer.run(from_the_start=from_the_start, sound=True, strict=False)
    if run.whole and run.shown == silent.shown:
        return ("the sound is damaged: kept as far as it decodes",)
    again = trimmer.run(from_the_start=from_the_start, sound=False, strict=silent.result.status == 0)
    if again.shown != silent.shown:
        again = trimmer.run(from_the_start=from_the_start, sound=False, strict=False)
    return ("the sound cannot be decoded: left out",)


def _held(trimmer: _Trimmer, run: _Run) -> list[int]:
    """Frames that repeat an earlier one over a hole, in a video of constant rate."""
    if not trimmer.facts.steady:
        return []
    frame_s = 1 / float(trimmer.facts.fps)
    longest_s = float(trimmer.facts.longest_frame_s)
    start_s = float(trimmer.start_s)
    return [i for i, f in enumerate(run.frames) if start_s + i * frame_s - f.time_s > longest_s]


def _repeats(trimmer: _Trimmer, run: _Run) -> list[int]:
    """Give the frames that a filter put in where a video of constant rate has none."""
    if not trimmer.facts.steady:
        return []
    late = trimmer.late_frames(run)
    numbers = [frame.number for frame in run.frames]
    return [i for i, (one, two) in enumerate(pairwise(numbers), start=1) if one == two and i > late]


def _notes(trimmer: _Trimmer, run: _Run) -> tuple[str, ...]:
    facts = trimmer.facts
    notes = []
    late = trimmer.late_frames(run)
    if late:
        notes.append(
            f"the picture starts {late / float(facts.fps):.2f} s later: its first frame stands until then"
        )
    if facts.deinterlace:
        notes.append("deinterlaced")
    if facts.gamut is not Gamut.BT709:
        notes.append(f"colors mapped from {facts.gamut.value.upper()} to BT.709")
    repeats = _repeats(trimmer, run)
    if repeats:
        frames = "1 frame repeats" if len(repeats) == 1 else f"{len(repeats)} frames repeat"
        notes.append(f"{frames} the one before: the source has none for that time")
    if trimmer.settings.keep_audio:
        notes += facts.notes
        notes += _sound_notes(trimmer)
    if run.result.text:
        notes.append(_printed(run.result)[2:])
    return tuple(notes)


def _sound_notes(trimmer: _Trimmer) -> list[str]:
    facts = trimmer.facts
    if not facts.has_audio:
        return []
    start_ms, end_ms = trimmer.start_ms, trimmer.end_ms
    notes = []
    late_ms = facts.sound_begins_ms - start_ms
    if late_ms > 100:
        notes.append(f"the sound starts {late_ms / 1000:.1f} s into the clip: silence before it")
    if facts.sound_ends_ms and end_ms - facts.sound_ends_ms > 100:
        at_ms = max(0, facts.sound_ends_ms - start_ms)
        notes.append(f"the sound ends {at_ms / 1000:.1f} s into the clip: silence after it")
    return notes


def _printed(result: FfmpegRun) -> str:
    """What ffmpeg printed first, without addresses in memory; empty if nothing."""
    lines = result.text.splitlines()
    return f"; ffmpeg: {_ADDRESS.sub('', lines[0])[:_KEPT_OF_TEXT]}" if lines else ""


def _places(frames: list[int], facts: SourceFacts) -> str:
    """Write where frames lie in a clip: `at 1.2 to 1.9 s`."""
    first, last = min(frames) / float(facts.fps), max(frames) / float(facts.fps)
    return f"at {first:.2f} s" if first == last else f"at {first:.2f} to {last:.2f} s"
