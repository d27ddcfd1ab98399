"""The policy for foreign media: what a video file holds, and what of it a clip is to show.

Input is evaluated by evidence: the frames that were decoded, their times, and the error flags that the
decoder set on them. What a decoder prints is kept as a note and decides nothing, and so does metadata:
tags may be in any encoding, and a header may be wrong about its length.

What a player shows, the clip shows: the picture stream marked as default, with square pixels, upright,
deinterlaced, in BT.709 and limited range, from the moment at which the picture starts.

Times are in seconds on the timeline of the container, which starts at 0 with its earliest stream.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import MediaError
from dancecli.core.video_files import EVERYDAY_FPS, open_video

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

_FASTEST_FPS = 240
# AVFieldOrder: two fields per frame, stored or shown in either order.
_INTERLACED = (2, 3, 4, 5)
# AVColorTransferCharacteristic and AVColorPrimaries of H.273.
_PQ, _HLG, _BT2020_PRIMARIES, _FULL_RANGE = 16, 18, 9, 2
# Rasters of television; no other size is looked at for combing that the stream does not declare.
_INTERLACED_HEIGHTS = (480, 486, 576)
_FRAMES_EXAMINED_FOR_COMBING = 8
# Vertical detail at the period of the fields, as a share of what is two lines apart; moving comb: above 1.
_COMBED_RATIO = 1.6
# Containers with a table of all samples, which says how many there are to be.
_WITH_SAMPLE_TABLE = "mov,mp4,m4a,3gp,3g2,mj2"
_SAME_TIME_S = 0.002
# Up to 2,048 samples at 22 kHz or more.
_LONGEST_PRIMING_MS = 95


class NoPictureError(MediaError):
    """There is no video stream in the file."""


class NoDecoderError(MediaError):
    """The picture is in a codec that no decoder here reads."""


class UnreadableError(MediaError):
    """The file was not read to its end: the machine, and not what is in the file, may be why."""


class Deinterlace(StrEnum):
    """Which frames are to be deinterlaced."""

    NONE = ""
    MARKED = "interlaced"
    ALL = "all"


class Gamut(StrEnum):
    """Colors that have to be mapped to BT.709."""

    BT709 = ""
    PQ = "pq"
    HLG = "hlg"
    BT2020 = "bt2020"


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What the header of a source video says.

    Attributes:
        fps: its frame rate; of a variable one, the rate that its times are multiples of, or the mean of
            the times where the header says none that a camera has.
        duration_ms: of the picture; 0 if the header does not say.
        has_audio: there is a sound track, and a decoder for it.
        longest_frame_s: how long one frame may stay on the screen, as far as is known.
        begins_ms: when the picture starts, on the container's timeline.
        sound_begins_ms, sound_ends_ms: the same of the sound; 0 if the header does not say.
        picture, sound: the numbers of the chosen streams among those of their kind.
        steady: the frame rate is constant, as far as the header says.
        width, height: with square pixels, before rotation.
        codec, container: their names in ffmpeg.
        deinterlace, gamut, full_range: what has to be converted for a clip.
        notes: what cannot be kept, in words.
    """

    fps: Fraction
    duration_ms: int
    has_audio: bool
    longest_frame_s: Fraction
    begins_ms: int = 0
    sound_begins_ms: int = 0
    sound_ends_ms: int = 0
    picture: int = 0
    sound: int = 0
    steady: bool = True
    width: int = 0
    height: int = 0
    codec: str = ""
    container: str = ""
    deinterlace: Deinterlace = Deinterlace.NONE
    gamut: Gamut = Gamut.BT709
    full_range: bool = False
    notes: tuple[str, ...] = ()

    @property
    def begins_after_priming(self) -> bool:
        """Only samples of the sound that no player plays precede the picture, for over half a frame.

        A time in a list then is meant as one of the picture.
        """
        return 500 / self.fps < self.begins_ms <= _LONGEST_PRIMING_MS

    @property
    def ends_ms(self) -> int:
        """When the picture ends, on the container's timeline."""
        return self.begins_ms + self.duration_ms


@contextmanager
def open_media(
    path: Path, problem: str = "cannot be read as video", **options: str
) -> Iterator[InputContainer]:
    """Open a video file of any origin.

    Args:
        path: the file.
        problem: what an error says of the file.
        options: of the demuxer.

    Raises:
        UnreadableError: the system refuses to read it, or has no memory for it.
        MediaError: it cannot be read as video; also for what PyAV raises inside the block.
    """
    import av

    try:
        with open_video(path.absolute(), **options) as container:
            yield container
    except (av.FFmpegError, ValueError, ArithmeticError, LookupError) as error:
        if isinstance(error, av.error.FileNotFoundError):
            raise MediaError(f"{path.name} is not there") from None
        kind = UnreadableError if isinstance(error, OSError | MemoryError) else MediaError
        raise kind(f"{path.name} {problem}: {error_text(error)}") from None


def picture_stream(container: InputContainer, name: str) -> VideoStream:
    """Choose the picture that a player shows: marked as default, no cover, the largest.

    Raises:
        NoPictureError: there is none.
        NoDecoderError: there is one, but no decoder for it.
    """
    from av.stream import Disposition

    stills = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
    shown = [stream for stream in container.streams.video if not stream.disposition & stills]
    if not shown:
        raise NoPictureError(f"{name} has no picture")
    marked = [stream for stream in shown if stream.disposition & Disposition.default] or shown
    readable = [stream for stream in marked if has_decoder(stream)]
    if not readable:
        raise NoDecoderError(f"{name}: the picture is in a codec that no decoder here reads")
    return max(readable, key=lambda s: (s.codec_context.width * s.codec_context.height, -s.index))


def sound_stream(container: InputContainer) -> AudioStream | None:
    """Choose the sound that a player plays: marked as default, else the first that can be decoded."""
    from av.stream import Disposition

    readable = [stream for stream in container.streams.audio if has_decoder(stream)]
    marked = [stream for stream in readable if stream.disposition & Disposition.default]
    return next(iter(marked or readable), None)


def has_decoder(stream: Any) -> bool:
    """Tell whether a stream can be decoded here; PyAV gives no codec context to one that cannot."""
    context = stream.codec_context
    return context is not None and context.codec is not None and context.is_decoder


def probe(path: Path, *, measure: bool = False) -> SourceFacts:
    """Read a video's header.

    Args:
        path: the file.
        measure: read the times of all packets, unless a sample table has them, so that
            `duration_ms` is true where the header is silent or wrong. Nothing is decoded. They are
            always read where the header's rate is none that a camera has.

    Raises:
        MediaError: it is no video, has no picture, or none that can be decoded.
    """
    with open_media(path) as container:
        stream = picture_stream(container, path.name)
        origin_s = Fraction(container.start_time or 0, 1_000_000)
        begins_s, length_s = _extent(stream, origin_s)
        rate = stream.average_rate or stream.guessed_rate
        has_table = container.format.name == _WITH_SAMPLE_TABLE
        # What a browser records says no rate: the guess is the time base then, 1,000 per second.
        highest = _FASTEST_FPS if stream.average_rate else EVERYDAY_FPS
        believed = rate if rate and (rate <= highest or has_table) else None
        if not length_s and container.duration:
            length_s = Fraction(container.duration, 1_000_000) - begins_s
        if not believed or (not has_table and (measure or believed > EVERYDAY_FPS)):
            begins_s, length_s, measured = _measure(container, stream, origin_s, believed)
            if measured and (not believed or (believed > EVERYDAY_FPS and believed > 3 * measured)):
                rate = measured
        if not rate or rate <= 0:
            raise MediaError(f"{path.name} does not say its frame rate")
        facts = _facts(container, stream, origin_s, Fraction(rate), begins_s, max(Fraction(0), length_s))
    return _with_combing(path, facts)


def _facts(
    container: InputContainer,
    stream: VideoStream,
    origin_s: Fraction,
    average: Fraction,
    begins_s: Fraction,
    length_s: Fraction,
) -> SourceFacts:
    guessed = Fraction(stream.guessed_rate or average)
    fps = true_rate(average, guessed)
    steady = abs(average - guessed) * 100 <= fps
    sound = sound_stream(container)
    sound_begins_s, sound_length_s = _extent(sound, origin_s) if sound else (Fraction(0), Fraction(0))
    context = stream.codec_context
    return SourceFacts(
        fps=fps,
        duration_ms=round(length_s * 1000),
        has_audio=sound is not None,
        longest_frame_s=2 / fps if steady else max(Fraction(2), 2 / fps),
        begins_ms=round(begins_s * 1000),
        sound_begins_ms=round(sound_begins_s * 1000),
        sound_ends_ms=round((sound_begins_s + sound_length_s) * 1000) if sound_length_s else 0,
        picture=list(container.streams.video).index(stream),
        sound=list(container.streams.audio).index(sound) if sound else 0,
        steady=steady,
        width=round(context.width * square_pixels(stream)),
        height=context.height,
        codec=context.name,
        container=container.format.name.partition(",")[0],
        deinterlace=Deinterlace.MARKED if context.field_order in _INTERLACED else Deinterlace.NONE,
        gamut=_gamut(context),
        full_range=context.color_range == _FULL_RANGE,
        notes=() if sound or not container.streams.audio else ("sound left out: there is no decoder for it",),
    )


def square_pixels(stream: VideoStream) -> Fraction:
    """Give the width of a pixel over its height; 1 where that is unknown or absurd."""
    ratio = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
    return Fraction(ratio) if ratio and Fraction(1, 4) <= ratio <= 4 else Fraction(1)


def _gamut(context: Any) -> Gamut:
    if context.color_trc == _PQ:
        return Gamut.PQ
    if context.color_trc == _HLG:
        return Gamut.HLG
    return Gamut.BT2020 if context.color_primaries == _BT2020_PRIMARIES else Gamut.BT709


def _extent(stream: VideoStream | AudioStream, origin_s: Fraction) -> tuple[Fraction, Fraction]:
    """Give when a stream begins and how long it is, as its header says; 0 where it does not."""
    base = stream.time_base
    if base is None:
        return Fraction(0), Fraction(0)
    begins_s = stream.start_time * base - origin_s if stream.start_time is not None else Fraction(0)
    return max(Fraction(0), begins_s), (stream.duration or 0) * base


def _measure(
    container: InputContainer, stream: VideoStream, origin_s: Fraction, rate: Fraction | None
) -> tuple[Fraction, Fraction, Fraction | None]:
    """Read the times of all packets: when they begin, how long they last, their rate."""
    import av

    times: list[tuple[Fraction, Fraction]] = []
    try:
        for packet in container.demux(stream):
            time = packet.pts if packet.pts is not None else packet.dts
            if time is not None and packet.size and not packet.is_discard and packet.time_base:
                times.append((time * packet.time_base, (packet.duration or 0) * packet.time_base))
    except av.FFmpegError:
        pass  # What was read until then is what there is.
    if not times:
        return Fraction(0), Fraction(0), rate
    first, (last, shown_for) = min(times)[0], max(times)
    measured = Fraction(len(times) - 1) / (last - first) if last > first else None
    # Without a rate, the length of a packet is that of the time base.
    frame_s = shown_for if rate and shown_for else 1 / Fraction(rate or measured or 25)
    length_s = last - first + frame_s
    if rate and length_s < len(times) * frame_s / 2:
        # Times that fold back, as at a discontinuity, say less than the number of frames.
        length_s = len(times) / Fraction(rate)
    exact = measured.limit_denominator(1001) if measured else None
    return max(Fraction(0), first - origin_s), length_s, exact


def _with_combing(path: Path, facts: SourceFacts) -> SourceFacts:
    """Look at frames of a television raster that does not declare its fields."""
    from dataclasses import replace

    if facts.deinterlace or facts.height not in _INTERLACED_HEIGHTS or facts.codec in ("vp8", "vp9", "av1"):
        return facts
    combed = looks_combed(path, facts)
    return replace(facts, deinterlace=Deinterlace.ALL) if combed else facts


def looks_combed(path: Path, facts: SourceFacts) -> bool:
    """Tell whether frames of the middle of a video hold two moments each, in alternate lines."""
    import numpy as np

    combed = looked_at = 0
    try:
        with open_media(path) as container:
            stream = container.streams.video[facts.picture]
            container.seek((container.start_time or 0) + 500 * facts.duration_ms)
            for number, frame in enumerate(container.decode(stream)):
                if number >= _FRAMES_EXAMINED_FOR_COMBING:
                    break
                rows = frame.to_ndarray(format="gray").astype(np.int16)
                neighbor = np.abs(rows[1:-1] - (rows[:-2] + rows[2:]) // 2)
                far = np.abs(rows[:-2] - rows[2:]) // 2
                looked_at += 1
                combed += bool((neighbor > 12).mean() > 0.01 and neighbor.mean() > _COMBED_RATIO * far.mean())
    except MediaError:
        return False
    return looked_at > 0 and 2 * combed > looked_at


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a tolerant decode of a picture found.

    Attributes:
        times: of all frames, in seconds on the container's timeline, in order.
        damaged: for each, whether the decoder flagged it.
        missing: frames that the container's sample table promises and that are not there.
        errors: what the decoder refused, in its words, without repetition.
    """

    times: tuple[float, ...]
    damaged: tuple[bool, ...]
    missing: int
    errors: tuple[str, ...]

    def is_damaged(self, number: int, time_s: float) -> bool:
        """Tell whether the frame of this time, or without one of this number, is flagged."""
        if math.isnan(time_s):
            return 0 <= number < len(self.damaged) and self.damaged[number]
        i = bisect_left(self.times, time_s - _SAME_TIME_S)
        return i < len(self.times) and self.times[i] <= time_s + _SAME_TIME_S and self.damaged[i]


def examine(path: Path, facts: SourceFacts, until_s: float | None = None) -> Evidence:
    """Decode a picture from its start, whatever is wrong with it, and note what became of every frame.

    Args:
        path: the file.
        facts: as `probe` gives them.
        until_s: on the container's timeline; None: to the end.

    Raises:
        MediaError: the file cannot be opened.
    """
    import av

    frames: list[tuple[float, bool]] = []
    errors: dict[str, None] = {}
    packets = 0
    with open_media(path) as container:
        stream = container.streams.video[facts.picture]
        stream.codec_context.thread_count = 1
        origin_s = (container.start_time or 0) / 1e6
        demuxer = container.demux(stream)
        while not (until_s is not None and frames and frames[-1][0] > until_s):
            try:
                packet = next(demuxer, None)
            except av.FFmpegError as error:
                errors[error_text(error)] = None
                break
            if packet is None:
                break
            packets += bool(packet.size)
            try:
                decoded = packet.decode()
            except (av.FFmpegError, ValueError) as error:
                errors[error_text(error)] = None
                continue
            for frame in decoded:
                time_s = frame.time - origin_s if frame.time is not None else len(frames) / float(facts.fps)
                frames.append((time_s, bool(frame.is_corrupt)))
        ended = until_s is None or not frames or frames[-1][0] <= until_s
        promised = stream.frames if container.format.name == _WITH_SAMPLE_TABLE else 0
    frames.sort()
    return Evidence(
        times=tuple(time for time, _ in frames),
        damaged=tuple(flag for _, flag in frames),
        missing=max(0, promised - packets) if ended and promised else 0,
        errors=tuple(errors),
    )


def true_rate(average: Fraction, guessed: Fraction) -> Fraction:
    """Choose between the average rate of a header and the one whose multiples its times are, per second.

    The latter is right for a variable rate, and nonsense where a container's time base is all there is.
    """
    if guessed <= EVERYDAY_FPS or (guessed <= 3 * average and guessed <= _FASTEST_FPS):
        return guessed
    return min(average, Fraction(_FASTEST_FPS)).limit_denominator(1001)


def error_text(error: BaseException) -> str:
    """Give an error's message, without number and path, or its name if it has none."""
    return getattr(error, "strerror", "") or str(error) or type(error).__name__
