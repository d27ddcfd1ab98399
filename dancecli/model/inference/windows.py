"""A video as windows of frames: decoded once, in order, and never held as a whole.

The windows are as long as the clips that a network was trained on, and each begins half a
window after the one before. Frames are kept as
the network's own first step, the resize, leaves them: an hour needs no more memory than half a minute.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from dancecli.core.errors import MediaError
from dancecli.core.video_files import EVERYDAY_FPS, open_video, upright
from dancecli.model.dataloading.decoding.choice import OWN, TOLERANCE, Decoder
from dancecli.model.dataloading.decoding.torchcodec_reader import (
    FFMPEG,
    TORCHCODEC,
    TorchcodecReader,
    open_by_torchcodec,
)
from dancecli.model.inference.inputs import frames_of

if TYPE_CHECKING:
    import numpy as np
    from av.container import InputContainer
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    # Height x width x 3, RGB.
    Frame = NDArray[np.uint8]

# A video shorter than so many windows is one window, as a clip of a dataset is.
WHOLE_BELOW = 1.5
# A longer gap between two frames is a fault of the file's clock (a joined or resumed recording).
_LONGEST_GAP_S = 60.0
# A shorter share of a window than this at the end belongs to the window before it.
_LEAST_REST = 0.1
# Frames at the start of a video that both readers decode before one is chosen.
_COMPARED = 8
# Torchcodec gives seconds as floating-point numbers.
_SAME_TIME_S = 1e-4
# Of a folder of frames.
FOLDER_FPS = 25


Item = TypeVar("Item")


@dataclass(frozen=True)
class Window(Generic[Item]):
    """A stretch of a video.

    Attributes:
        start_s, end_s: its position, in seconds from the first frame.
        frames: all its frames in order, or what stands for them.
    """

    start_s: float
    end_s: float
    frames: list[Item]


@dataclass
class FrameStream:
    """What has been decoded so far.

    Attributes:
        seconds, frames: how much.
        length_s: duration by the video's header; 0 if unknown.
        rate: average frames per second, by the header; measured where it says none.
        fault: why decoding ended before the file did; empty if it did not.
        decoder: what has decoded: `ffmpeg`, or `torchcodec`.
    """

    seconds: float = 0.0
    frames: int = 0
    length_s: float = 0.0
    rate: float = 0.0
    fault: str = ""
    decoder: str = FFMPEG


class TorchcodecFailedError(Exception):
    """Torchcodec cannot go on with a video that it has begun."""


class Clock:
    """Times from 0 that only go forward, of a file's, which may jump, turn back or be missing.

    Args:
        tick_s: the usual time from one frame to the next.
    """

    def __init__(self, tick_s: float) -> None:
        self.tick_s = tick_s
        self._zero: float | None = None
        self._last = -tick_s

    def read(self, time: float | None) -> float:
        """Give the time of the next frame, in seconds from the first."""
        following = self._last + self.tick_s
        if time is None:
            now = following
        else:
            self._zero = time if self._zero is None else self._zero
            now = time - self._zero
            if not 0 < now - self._last <= _LONGEST_GAP_S:
                self._zero, now = time - following, following
        self._last = now
        return now


def read_windows(
    path: Path,
    window_s: float,
    shrink: Callable[[Frame], Frame],
    stream: FrameStream,
    decoder: Decoder = OWN,
) -> Iterator[Window[Frame]]:
    """Decode a video of any format that ffmpeg reads, and cut it into overlapping windows.

    Args:
        path: the video.
        window_s: length of a window, in seconds; they begin half of that apart.
        shrink: makes a frame as small as it may be kept.
        stream: updated while decoding, so that the caller knows how far this is.
        decoder: torchcodec reads a file whose frames it numbers, and shows at the start, as ffmpeg does.

    Raises:
        TorchcodecFailedError: it has begun, and cannot go on.
        MediaError: it is not a video, or has fewer than two frames that can be decoded. A file that
            breaks off later gives what there is, and `stream.fault` says why.
    """
    return cut_windows(_decoded(path, shrink, stream, decoder), window_s)


def cut_windows(frames: Iterable[tuple[float, float, Item]], window_s: float) -> Iterator[Window[Item]]:
    """Cut frames, each with its start and end in seconds, into windows; see `read_windows`."""
    step_s = window_s / 2
    kept: deque[tuple[float, Item]] = deque()
    before: Window[Item] | None = None
    start = end = covered = 0.0
    for time, until, frame in frames:
        kept.append((time, frame))
        end = until
        while end - start >= window_s and (covered or end >= WHOLE_BELOW * window_s):
            covered = start + window_s
            inside = [frame for time, frame in kept if time < covered]
            if inside:
                if before:
                    yield before
                before = Window(start, covered, inside)
            start += step_s
            while kept and kept[0][0] < start:
                kept.popleft()
    rest = [frame for time, frame in kept if time >= covered]
    if before and before.end_s == covered and end - covered < _LEAST_REST * window_s:
        yield Window(before.start_s, max(covered, end), before.frames + rest)
        return
    if before:
        yield before
    if rest:
        yield Window(start, end, [frame for _, frame in kept])


def _decoded(
    path: Path, shrink: Callable[[Frame], Frame], stream: FrameStream, decoder: Decoder
) -> Iterator[tuple[float, float, Frame]]:
    """Decode in order: the start and end of each frame, and what is kept of it."""
    if not path.exists():
        raise MediaError(f"{path}: no such file")
    opened = None if path.is_dir() else _by_torchcodec(path, decoder)
    if opened:
        yield from _frames_by_torchcodec(*opened, shrink, stream)
    else:
        yield from (_images if path.is_dir() else _frames)(path, shrink, stream)
    if not stream.frames:
        raise MediaError(f"{path}: not one frame could be decoded")
    if stream.frames == 1 and not stream.fault:
        raise MediaError(
            f"{path}: is a single picture, not a video", "give a video, or a folder of its frames"
        )


def _frames(
    path: Path, shrink: Callable[[Frame], Frame], stream: FrameStream
) -> Iterator[tuple[float, float, Frame]]:
    import av

    try:
        with open_video(path) as container:
            video = _video_stream(container, path)
            rate = _rate_of(container, video)
            stream.rate, stream.length_s = rate, (container.duration or 0) / 1e6
            video.thread_type = "AUTO"
            clock = Clock(1 / rate)
            for frame in container.decode(video):
                start = clock.read(frame.time)
                stream.frames, stream.seconds = stream.frames + 1, start + clock.tick_s
                yield start, stream.seconds, shrink(_upright(frame))
    except av.error.FFmpegError as error:
        if not stream.frames:
            raise MediaError(
                f"{path}: is not a video that can be read ({error.strerror})", "see: ffmpeg -i FILE"
            ) from None
        stream.fault = f"decoding stopped at {stream.seconds:.1f} s ({error.strerror})"


def _rate_of(container: InputContainer, video: VideoStream) -> float:
    """Frames per second; measured where the header has none, as of what a browser records.

    The guess is the time base then, 1,000 per second. The container is at its start afterwards.
    """
    import av

    guessed = float(video.guessed_rate or 0)
    if video.average_rate or 0 < guessed <= EVERYDAY_FPS:
        return float(video.average_rate or guessed)
    try:
        times = _packet_times(container, video)
    except av.error.FFmpegError:
        # What can be decoded is told by decoding it.
        times = []
    container.seek(0)
    return (len(times) - 1) / (times[-1] - times[0]) if len(set(times)) > 1 else FOLDER_FPS


def _packet_times(container: InputContainer, video: VideoStream) -> list[float]:
    """The times of all frames in seconds, ascending, read from the start without decoding."""
    container.seek(0)
    base = float(video.time_base or 0)
    return sorted(float(p.pts) * base for p in container.demux(video) if p.size and p.pts is not None)


def _by_torchcodec(path: Path, decoder: Decoder) -> tuple[TorchcodecReader, list[float], float, float] | None:
    """Open a video by torchcodec, with the times of its frames, its rate and its length; None if it may not.

    The times are read without decoding. There must be as many frames, and the first ones must be the same.
    """
    import av
    import numpy as np

    if decoder.name == FFMPEG or (reader := open_by_torchcodec(str(path), decoder.device, ())) is None:
        return None
    try:
        with open_video(path) as container:
            video = _video_stream(container, path)
            rate = _rate_of(container, video)
            length_s = (container.duration or 0) / 1e6
            first = []
            for frame in container.decode(video):
                first.append(_upright(frame))
                if len(first) == _COMPARED:
                    break
            times = _packet_times(container, video)
        theirs = reader.frames(np.arange(len(first)))
    except (av.error.FFmpegError, RuntimeError):
        return None
    same = len(times) == reader.total_frames and all(
        ours.shape == other.shape and np.abs(ours.astype(np.int16) - other).max() <= TOLERANCE
        for ours, other in zip(first, theirs, strict=True)
    )
    return (reader, times, rate, length_s) if same and first else None


def _frames_by_torchcodec(
    reader: TorchcodecReader,
    times: Sequence[float],
    rate: float,
    length_s: float,
    shrink: Callable[[Frame], Frame],
    stream: FrameStream,
) -> Iterator[tuple[float, float, Frame]]:
    stream.rate, stream.length_s, stream.decoder = rate, length_s, TORCHCODEC
    clock = Clock(1 / rate)
    try:
        for time, (shown, frame) in zip(times, reader.in_order(), strict=True):
            if abs(shown - time) > _SAME_TIME_S:
                raise TorchcodecFailedError
            start = clock.read(time)
            stream.frames, stream.seconds = stream.frames + 1, start + clock.tick_s
            yield start, stream.seconds, shrink(frame)
    except RuntimeError as error:
        raise TorchcodecFailedError from error


def _images(
    folder: Path, shrink: Callable[[Frame], Frame], stream: FrameStream
) -> Iterator[tuple[float, float, Frame]]:
    """Read a folder of frames, which has no times: 25 per second are assumed."""
    import numpy as np
    from PIL import Image, ImageOps, UnidentifiedImageError

    files = frames_of(folder)
    stream.rate, stream.length_s = float(FOLDER_FPS), len(files) / FOLDER_FPS
    for i, file in enumerate(files):
        try:
            with Image.open(file) as image:
                frame = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        except (UnidentifiedImageError, OSError) as error:
            raise MediaError(f"{file}: is not an image that can be read ({error})") from None
        stream.frames, stream.seconds = i + 1, (i + 1) / FOLDER_FPS
        yield i / FOLDER_FPS, stream.seconds, shrink(frame)


def _video_stream(container: Any, path: Path) -> Any:
    """The first stream of moving pictures; the cover of an audio file is not one."""
    import av

    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    raise MediaError(f"{path}: has no pictures, only {_kinds(container)}", "give a video")


def _kinds(container: Any) -> str:
    words = {"audio": "sound", "video": "a cover", "subtitle": "subtitles"}
    return " and ".join(dict.fromkeys(words.get(s.type, s.type) for s in container.streams)) or "nothing"


def _upright(frame: Any) -> Frame:
    pixels: Frame = frame.to_ndarray(format="rgb24")
    return upright(pixels, frame)
