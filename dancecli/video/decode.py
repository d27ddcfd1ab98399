"""What a clip really holds: the full decode that validates it.

ffmpeg's exit status misses files that are cut short, have a zeroed tail or no picture; a full
decode that stops at the first error finds them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import MediaError
from dancecli.video.ffmpeg import frames_in
from dancecli.video.measures import ContentMeter, Measures
from dancecli.video.source import error_text, open_media, picture_stream, sound_stream, square_pixels

if TYPE_CHECKING:
    from av.container import InputContainer


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """What a full decode of a clip found; sizes in pixels as shown.

    Attributes:
        num_frames, fps: as decoded, and as the header says.
        width, height: of the largest frame, upright, with square pixels.
        has_audio: there is sound that was decoded.
        measures: what is in it, if that was asked for.
        damaged_frames: frames that the decoder flagged, or that are missing.
        notes: what was tolerated, in words.
    """

    num_frames: int
    fps: Fraction
    width: int
    height: int
    has_audio: bool
    measures: Measures = field(default_factory=Measures)
    damaged_frames: int = 0
    notes: tuple[str, ...] = ()


def decode(path: Path, *, measure: bool = False) -> MediaFacts:
    """Decode every frame of a clip's picture, and its sound; stop at the first error.

    Args:
        path: a file of our own making.
        measure: look at what is in it.

    Raises:
        MediaError: there is no picture, or something in the file is broken.
    """
    with open_media(path, "does not decode", err_detect="explode") as container:
        pass_ = _Pass(container, path.name, measure=measure)
        for stream in pass_.streams:
            stream.codec_context.options = {"err_detect": "explode"}
        for packet in container.demux(*pass_.streams):
            pass_.take(packet.stream, packet.decode())
        return pass_.facts()


def decode_foreign(path: Path) -> MediaFacts:
    """Decode every frame of a file of any origin, whatever is wrong with it, and measure what is in it.

    Raises:
        MediaError: it cannot be read as video, or not one frame of it can be decoded.
    """
    import av

    errors: dict[str, None] = {}
    with open_media(path) as container:
        pass_ = _Pass(container, path.name, measure=True)
        packets = sound_errors = 0
        demuxer = container.demux(*pass_.streams)
        while True:
            try:
                packet = next(demuxer, None)
            except av.FFmpegError as error:
                errors[error_text(error)] = None
                break
            if packet is None:
                break
            packets += packet.stream is pass_.video and bool(packet.size)
            try:
                pass_.take(packet.stream, packet.decode())
            except (av.FFmpegError, ValueError) as error:
                if packet.stream is pass_.video:
                    errors[error_text(error)] = None
                else:
                    sound_errors += 1
        return pass_.facts(packets, sound_errors)


class _Pass:
    """One pass over a file: its streams, and what was seen of them."""

    def __init__(self, container: InputContainer, name: str, *, measure: bool) -> None:
        self.video = picture_stream(container, name)
        self.sound = sound_stream(container)
        self.streams: list[Any] = [self.video, self.sound] if self.sound else [self.video]
        for stream in self.streams:
            # One thread a worker: the parallelism is in the number of workers.
            stream.codec_context.thread_count = 1
        self._container = container
        self._name = name
        self._meter = ContentMeter() if measure else None
        self._num_frames = self._damaged = self._heard = 0
        self._size = (0, 0)
        self._turned = False

    def take(self, stream: Any, frames: list[Any]) -> None:
        if stream is not self.video:
            self._heard += len(frames)
            if self._meter:
                for frame in frames:
                    self._meter.add_sound(frame)
            return
        for frame in frames:
            self._num_frames += 1
            self._damaged += bool(frame.is_corrupt)
            self._size = max(self._size, (frame.width, frame.height))
            if self._num_frames == 1:
                self._turned = frame.rotation % 180 == 90
            if self._meter:
                self._meter.add_frame(frame)

    def facts(self, packets: int = 0, sound_errors: int = 0) -> MediaFacts:
        if self._num_frames == 0:
            raise MediaError(f"{self._name} holds no frame that can be decoded")
        width, height = self._size
        shown = (round(width * square_pixels(self.video)), height)
        width, height = shown[::-1] if self._turned else shown
        promised = self.video.frames if packets and self._container.format.name.startswith("mov") else 0
        missing = max(0, promised - packets)
        notes = []
        if self._container.streams.audio and not self.sound:
            notes.append("the sound has no decoder")
        if sound_errors:
            notes.append(f"the sound is damaged in {sound_errors} places")
        return MediaFacts(
            num_frames=self._num_frames,
            fps=Fraction(self.video.average_rate or self.video.guessed_rate or 0),
            width=width,
            height=height,
            has_audio=bool(self.sound) and (self._heard > 0 or not packets),
            measures=self._meter.result() if self._meter else Measures(),
            damaged_frames=self._damaged + missing,
            notes=tuple(notes),
        )


def validate(path: Path, duration_ms: int, *, measure: bool = False) -> MediaFacts:
    """Decode a clip in full and compare it with what was asked for.

    Raises:
        MediaError: it does not decode, or its number of frames is not the duration times the
            frame rate, within one.
    """
    facts = decode(path, measure=measure)
    if not facts.fps:
        raise MediaError(f"{path.name} does not say its frame rate")
    expected = frames_in(duration_ms, facts.fps)
    if abs(facts.num_frames - expected) > 1:
        raise MediaError(f"{path.name} holds {facts.num_frames} frames, not {expected}")
    return facts
