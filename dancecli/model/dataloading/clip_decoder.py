"""Read the frames of a view: with a fast reader from clips as `dance fetch` cuts them, else with decord.

Such a clip has no B-frames and a frame every 1/fps from 0 on, so a frame's number follows from its
time: no index of the file is needed, decoding begins at the key frame before the view, and frames
between those that are requested are decoded but not converted to RGB. All other files are read by
decord, or, where it has no wheel (macOS on ARM), by PyAV from their start. All give the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from dancecli.core.video_files import open_video, upright
from dancecli.model.dataloading.decoding.torchcodec_reader import (
    FFMPEG,
    TORCHCODEC,
    TorchcodecReader,
    note_failure,
    open_by_torchcodec,
)
from dancecli.model.networks.mmaction import TRANSFORMS

if TYPE_CHECKING:
    from numpy.typing import NDArray


class UnsupportedLayoutError(Exception):
    """The file is not laid out as `dance` writes clips."""


class _FrameReader(Protocol):
    def frames(self, numbers: NDArray[np.int64]) -> list[NDArray[np.uint8]]: ...


class FastClipReader:
    """Reads frames of a clip whose frame times are known without an index.

    Args:
        path: of the file.

    Raises:
        UnsupportedLayoutError: it has another layout, or cannot be read.

    Attributes:
        total_frames: how many there are.
        fps: frames per second.
    """

    def __init__(self, path: str) -> None:
        import av

        try:
            self._container = open_video(path)
            self._stream = stream = self._container.streams.video[0]
        except (av.FFmpegError, IndexError) as error:
            raise UnsupportedLayoutError from error
        # The parallelism is in the number of workers.
        stream.codec_context.thread_count = 1
        rate, base = stream.average_rate, stream.time_base
        if not rate or not base or rate != stream.guessed_rate or (1 / (rate * base)).denominator != 1:
            raise UnsupportedLayoutError
        self._ticks = int(1 / (rate * base))
        plain = not stream.start_time and not stream.codec_context.has_b_frames
        if not plain or not stream.frames or stream.duration != stream.frames * self._ticks:
            raise UnsupportedLayoutError
        self.total_frames, self.fps = int(stream.frames), float(rate)

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def frames(self, numbers: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """Read frames [height, width, 3] of RGB bytes, in the order of their numbers; then close the file.

        Raises:
            UnsupportedLayoutError: a frame's time is not that of its number, or a frame is missing.
        """
        import av

        wanted = set(numbers.tolist())
        first, last = min(wanted), max(wanted)
        # One for all frames: it remembers how sizes and colors are turned into each other.
        to_rgb = av.video.reformatter.VideoReformatter()
        found: dict[int, Any] = {}
        with self._container as container:
            try:
                container.seek(first * self._ticks, stream=self._stream)
                for frame in container.decode(self._stream):
                    number, rest = divmod(-1 if frame.pts is None else frame.pts, self._ticks)
                    if rest or frame.rotation:
                        raise UnsupportedLayoutError
                    if number in wanted:
                        found[number] = to_rgb.reformat(frame, format="rgb24").to_ndarray()
                    if number >= last:
                        break
            except av.FFmpegError as error:
                raise UnsupportedLayoutError from error
        if len(found) != len(wanted):
            raise UnsupportedLayoutError
        return [found[number] for number in numbers.tolist()]


class SequentialReader:
    """Reads frames of any video by decoding it from its start; frames are numbered as they are shown.

    Args:
        path: of the file.

    Raises:
        RuntimeError: it cannot be read; the same as decord raises.

    Attributes:
        total_frames: how many there are.
        fps: frames per second.
    """

    def __init__(self, path: str) -> None:
        import av

        self._path = path
        try:
            with open_video(path) as container:
                stream = container.streams.video[0]
                self.fps = float(stream.average_rate or 0)
                # Headers may lie or say nothing; a frame is what the decoder gives.
                self.total_frames = sum(1 for _ in container.decode(stream))
        except (av.FFmpegError, IndexError) as error:
            raise RuntimeError(f"{path} cannot be read: {error}") from error

    def frames(self, numbers: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """Read frames [height, width, 3] of RGB bytes, in the order of their numbers.

        Raises:
            RuntimeError: the file cannot be read.
        """
        import av

        wanted = set(numbers.tolist())
        to_rgb = av.video.reformatter.VideoReformatter()
        found: dict[int, Any] = {}
        try:
            with open_video(self._path) as container:
                for number, frame in enumerate(container.decode(container.streams.video[0])):
                    if number in wanted:
                        image = to_rgb.reformat(frame, format="rgb24").to_ndarray()
                        found[number] = upright(image, frame)
                    if len(found) == len(wanted):
                        break
        except av.FFmpegError as error:
            raise RuntimeError(f"{self._path} cannot be read: {error}") from error
        return [found[number] for number in numbers.tolist()]


def own_frames(path: Path, numbers: Sequence[int] | None) -> tuple[int, float, list[NDArray[np.uint8]]]:
    """Read frames of a file as a view without torchcodec has them.

    Args:
        path: the file.
        numbers: of the frames; None for all.

    Returns:
        How many frames there are, how many a second, and those that were asked for: [height, width, 3], RGB.

    Raises:
        RuntimeError: it cannot be read.
    """
    opened = ClipInit()({"filename": str(path)})
    total = int(opened["total_frames"])
    wanted = np.arange(total) if numbers is None else np.asarray(numbers)
    return total, float(opened["avg_fps"]), ClipDecode()(opened | {"frame_inds": wanted})["imgs"]


def _opened(
    results: dict[str, Any], reader: FastClipReader | SequentialReader | TorchcodecReader
) -> dict[str, Any]:
    return results | {"video_reader": reader, "total_frames": reader.total_frames, "avg_fps": reader.fps}


def _decoded(results: dict[str, Any], reader: _FrameReader, numbers: NDArray[np.int64]) -> dict[str, Any]:
    imgs = reader.frames(numbers)
    shape = imgs[0].shape[:2]
    return results | {"video_reader": None, "imgs": imgs, "original_shape": shape, "img_shape": shape}


def _has_decord() -> bool:
    return find_spec("decord") is not None


@TRANSFORMS.register_module(force=True)
class ClipInit:
    """Open a clip; replaces MMAction2's `DecordInit`.

    Args:
        decoder, device, left: see `decoding.choice.with_decoder`.
    """

    def __init__(self, decoder: str = FFMPEG, device: str = "", left: Sequence[str] = ()) -> None:
        self._by_torchcodec, self._device, self._left = decoder == TORCHCODEC, device, frozenset(left)
        self._decord = TRANSFORMS.build({"type": "DecordInit", "num_threads": 1})

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Give `video_reader`, `total_frames` and `avg_fps`."""
        if self._by_torchcodec and (
            reader := open_by_torchcodec(results["filename"], self._device, self._left)
        ):
            return _opened(results, reader)
        try:
            return _opened(results, FastClipReader(results["filename"]))
        except UnsupportedLayoutError:
            if not _has_decord():
                return _opened(results, SequentialReader(results["filename"]))
            opened: dict[str, Any] = self._decord(results)
            return opened

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


@TRANSFORMS.register_module(force=True)
class ClipDecode:
    """Read the frames of `frame_inds`; replaces MMAction2's `DecordDecode`.

    Args:
        decoder, device, left: of `ClipInit`, which has opened the file.
    """

    def __init__(self, decoder: str = FFMPEG, device: str = "", left: Sequence[str] = ()) -> None:  # noqa: ARG002
        self._init = TRANSFORMS.build({"type": "DecordInit", "num_threads": 1})
        self._decode = TRANSFORMS.build({"type": "DecordDecode"})

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Give `imgs`, frames [height, width, 3] of RGB bytes."""
        reader = results["video_reader"]
        numbers = np.squeeze(results["frame_inds"]).reshape(-1)
        if isinstance(reader, TorchcodecReader):
            try:
                return _decoded(results, reader, numbers)
            except RuntimeError as error:
                note_failure(results["filename"], error)
                results = ClipInit()(results)
                reader = results["video_reader"]
        if isinstance(reader, FastClipReader):
            try:
                return _decoded(results, reader, numbers)
            except UnsupportedLayoutError:
                reader = None
        if not _has_decord():
            return _decoded(results, reader or SequentialReader(results["filename"]), numbers)
        if reader is None:
            results = results | {"video_reader": self._init(dict(results))["video_reader"]}
        decoded: dict[str, Any] = self._decode(results)
        return decoded

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
