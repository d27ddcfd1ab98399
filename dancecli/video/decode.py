"""What a video file really holds: a quick look at its header, and the full decode that proves it.

ffmpeg's exit status misses files that are cut short, have a zeroed tail or no picture; a full
decode that stops at the first error finds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from dancecli.core.errors import MediaError

# Up to here the container's guess of a variable rate is believed; beyond, it may be a time base.
_EVERYDAY_FPS = 60
_FASTEST_FPS = 240


class NoPictureError(MediaError):
    """There is no video stream in the file."""


def probe(path: Path) -> SourceFacts:
    """Read a video's header.

    Raises:
        MediaError: it is no video, or has no picture.
    """
    import av

    try:
        with av.open(str(path.absolute())) as container:
            if not container.streams.video:
                raise NoPictureError(f"{path.name} has no picture")
            stream = container.streams.video[0]
            average = stream.average_rate or stream.guessed_rate
            if not average:
                raise MediaError(f"{path.name} does not say its frame rate")
            guessed = stream.guessed_rate or average
            fps = true_rate(Fraction(average), Fraction(guessed))
            steady = abs(Fraction(average) - Fraction(guessed)) * 100 <= fps
            length_s = (
                stream.duration * stream.time_base
                if stream.duration and stream.time_base
                else Fraction(container.duration or 0, av.time_base)
            )
            return SourceFacts(
                fps=fps,
                duration_ms=round(length_s * 1000),
                has_audio=bool(container.streams.audio),
                longest_frame_s=2 / fps if steady else max(Fraction(2), 2 / fps),
            )
    except (av.FFmpegError, ValueError) as error:
        raise MediaError(f"{path.name} is no readable video: {_said(error)}") from None


def decode(path: Path) -> MediaFacts:
    """Decode every frame of a file's first video stream, and its audio; stop at the first error.

    Raises:
        MediaError: there is no picture, or something in the file is broken.
    """
    import av

    num_frames = 0
    try:
        with av.open(str(path.absolute()), options={"err_detect": "explode"}) as container:
            if not container.streams.video:
                raise NoPictureError(f"{path.name} has no picture")
            video = container.streams.video[0]
            sound = container.streams.audio[:1]
            for stream in (video, *sound):
                stream.codec_context.options = {"err_detect": "explode"}
                # One thread a worker: the parallelism is in the number of workers.
                stream.codec_context.thread_count = 1
            for packet in container.demux(video, *sound):
                frames = packet.decode()
                num_frames += len(frames) if packet.stream is video else 0
            rate, width, height = video.average_rate or Fraction(0), video.width, video.height
    except (av.FFmpegError, ValueError) as error:
        raise MediaError(f"{path.name} does not decode: {_said(error)}") from None
    if num_frames == 0:
        raise MediaError(f"{path.name} holds no frame")
    return MediaFacts(num_frames, Fraction(rate), width, height, bool(sound))


def prove(path: Path, duration_ms: int) -> MediaFacts:
    """Decode a clip in full and compare it with what was asked for.

    Raises:
        MediaError: it does not decode, or its number of frames is not the duration times the
            frame rate, within one.
    """
    facts = decode(path)
    if not facts.fps:
        raise MediaError(f"{path.name} does not say its frame rate")
    expected = frames_in(duration_ms, facts.fps)
    if abs(facts.num_frames - expected) > 1:
        raise MediaError(f"{path.name} holds {facts.num_frames} frames, not {expected}")
    return facts


def true_rate(average: Fraction, guessed: Fraction) -> Fraction:
    """Choose between the average rate of a header and the one whose multiples its times are, per second.

    The latter is right for a variable rate, and nonsense where a container's time base is all there is.
    """
    if guessed <= _EVERYDAY_FPS or (guessed <= 3 * average and guessed <= _FASTEST_FPS):
        return guessed
    return min(average, Fraction(_FASTEST_FPS)).limit_denominator(1001)


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What the header of a source video says.

    Attributes:
        fps: its frame rate; of a variable one, the rate that its times are multiples of.
        duration_ms: of the picture; 0 if the header does not say.
        longest_frame_s: how long one frame may stay on the screen, as far as can be told.
    """

    fps: Fraction
    duration_ms: int
    has_audio: bool
    longest_frame_s: Fraction


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What a full decode of a clip found; sizes in pixels as shown."""

    num_frames: int
    fps: Fraction
    width: int
    height: int
    has_audio: bool


def frames_in(duration_ms: int, fps: Fraction) -> int:
    """Number of frames of a stretch at a constant frame rate, at least one."""
    return max(1, round(Fraction(duration_ms, 1000) * fps))
