"""Read the frames of a view: with a fast reader from clips as `dance fetch` cuts them, else with decord.

Such a clip has no B-frames and a frame every 1/fps from 0 on, so a frame's number follows from its
time: no index of the file is needed, decoding begins at the key frame before the view, and frames
between those that are requested are decoded but not converted to RGB. All other files are read by decord.
Both give the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dancecli.model.networks.mmaction import TRANSFORMS

if TYPE_CHECKING:
    from numpy.typing import NDArray


class UnsupportedLayoutError(Exception):
    """The file is not laid out as `dance` writes clips."""


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
            self._container = av.open(path, metadata_errors="ignore")
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


@TRANSFORMS.register_module(force=True)
class ClipInit:
    """Open a clip; replaces MMAction2's `DecordInit`."""

    def __init__(self) -> None:
        self._decord = TRANSFORMS.build({"type": "DecordInit", "num_threads": 1})

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Give `video_reader`, `total_frames` and `avg_fps`."""
        try:
            clip = FastClipReader(results["filename"])
        except UnsupportedLayoutError:
            opened: dict[str, Any] = self._decord(results)
            return opened
        return results | {"video_reader": clip, "total_frames": clip.total_frames, "avg_fps": clip.fps}

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


@TRANSFORMS.register_module(force=True)
class ClipDecode:
    """Read the frames of `frame_inds`; replaces MMAction2's `DecordDecode`."""

    def __init__(self) -> None:
        self._init = TRANSFORMS.build({"type": "DecordInit", "num_threads": 1})
        self._decode = TRANSFORMS.build({"type": "DecordDecode"})

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Give `imgs`, frames [height, width, 3] of RGB bytes."""
        reader = results["video_reader"]
        if isinstance(reader, FastClipReader):
            try:
                imgs = reader.frames(np.squeeze(results["frame_inds"]).reshape(-1))
            except UnsupportedLayoutError:
                results = results | {"video_reader": self._init(dict(results))["video_reader"]}
            else:
                shape = imgs[0].shape[:2]
                return results | {
                    "video_reader": None, "imgs": imgs, "original_shape": shape, "img_shape": shape,
                }  # fmt: skip
        decoded: dict[str, Any] = self._decode(results)
        return decoded

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
