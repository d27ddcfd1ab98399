"""A video as windows of frames: decoded once, in order, and never held as a whole.

The windows are as long as the clips that a network was trained on, and each begins half a
window after the one before. What is kept of a frame is what the network's own first step, the
resize, leaves of it: an hour needs no more memory than half a minute.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import MediaError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    # Height x width x 3, RGB.
    Frame = NDArray[np.uint8]

# A video of less than so many windows is looked at as one, as a clip of a data set is.
WHOLE_BELOW = 1.5
# A longer gap between two frames is a fault of the file's clock (a joined or resumed recording).
_LONGEST_GAP_S = 60.0
# Less than this share of a window at the end is not worth another look.
_LEAST_REST = 0.1


@dataclass(frozen=True)
class Window:
    """A stretch of a video.

    Attributes:
        start_s, end_s: where it lies, in seconds from the first frame.
        frames: all its frames in order.
    """

    start_s: float
    end_s: float
    frames: list[Frame]


@dataclass
class FrameStream:
    """What has been decoded so far.

    Attributes:
        seconds, frames: how much.
        length_s: how long the video says it is; 0 if it does not.
        rate: frames a second, on average, as the video says.
        fault: why decoding ended before the file did; empty if it did not.
    """

    seconds: float = 0.0
    frames: int = 0
    length_s: float = 0.0
    rate: float = 0.0
    fault: str = ""


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
    path: Path, window_s: float, shrink: Callable[[Frame], Frame], seen: FrameStream
) -> Iterator[Window]:
    """Decode a video of any format that ffmpeg reads, and cut it into overlapping windows.

    Args:
        path: the video.
        window_s: length of a window, in seconds; they begin half of that apart.
        shrink: makes a frame as small as it may be kept.
        seen: is kept up to date, so that the caller knows how far this is.

    Raises:
        MediaError: it is no video, holds no picture, or not one frame could be decoded. A file
            that breaks off later gives what there is, and `seen.fault` says why.
    """
    return cut_windows(_decoded(path, shrink, seen), window_s)


def cut_windows(frames: Iterable[tuple[float, float, Frame]], window_s: float) -> Iterator[Window]:
    """Cut frames, each with its start and end in seconds, into windows; see `read_windows`."""
    step_s = window_s / 2
    kept: deque[tuple[float, Frame]] = deque()
    start = end = covered = 0.0
    for time, until, picture in frames:
        kept.append((time, picture))
        end = until
        while end - start >= window_s and (covered or end >= WHOLE_BELOW * window_s):
            covered = start + window_s
            inside = [picture for time, picture in kept if time < covered]
            if inside:
                yield Window(start, covered, inside)
            start += step_s
            while kept and kept[0][0] < start:
                kept.popleft()
    if kept and (not covered or end - covered >= _LEAST_REST * window_s):
        yield Window(start, end, [picture for _, picture in kept])


def _decoded(
    path: Path, shrink: Callable[[Frame], Frame], seen: FrameStream
) -> Iterator[tuple[float, float, Frame]]:
    """Decode in order: the start and end of each frame, and what is kept of it."""
    import av

    if not path.exists():
        raise MediaError(f"{path}: there is no such file")
    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            stream = _picture_stream(container, path)
            rate = float(stream.average_rate or stream.guessed_rate or 25)
            seen.rate, seen.length_s = rate, (container.duration or 0) / 1e6
            stream.thread_type = "AUTO"
            clock = Clock(1 / rate)
            for frame in container.decode(stream):
                start = clock.read(frame.time)
                seen.frames, seen.seconds = seen.frames + 1, start + clock.tick_s
                yield start, seen.seconds, shrink(_upright(frame))
    except av.error.FFmpegError as error:
        if not seen.frames:
            raise MediaError(
                f"{path}: is not a video that can be read ({error.strerror})", "see: ffmpeg -i FILE"
            ) from None
        seen.fault = f"decoding broke off at {seen.seconds:.1f} s ({error.strerror})"
    if not seen.frames:
        raise MediaError(f"{path}: not one frame could be decoded")


def _picture_stream(container: Any, path: Path) -> Any:
    """The first stream of moving pictures; a cover of a sound file is none."""
    import av

    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    raise MediaError(f"{path}: has no pictures, only {_kinds(container)}", "give a video")


def _kinds(container: Any) -> str:
    words = {"audio": "sound", "video": "a cover", "subtitle": "subtitles"}
    return " and ".join(dict.fromkeys(words.get(s.type, s.type) for s in container.streams)) or "nothing"


def _upright(frame: Any) -> Frame:
    """A frame as a player shows it: phones store how they were held beside the pictures."""
    import numpy as np

    picture: Frame = frame.to_ndarray(format="rgb24")
    turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture
