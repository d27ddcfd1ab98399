"""Optical flow in training: MMAction2 transforms that read what `dance flow` stored.

A pipeline on flow is one on frames with three steps changed:

    dict(type='FlowInit', method='dis'),            # for DecordInit
    dict(type='SampleFrames', clip_len=64, ...),
    dict(type='FlowDecode'),                        # for DecordDecode
    dict(type='Resize', scale=(-1, 256)),           # crops as for frames
    dict(type='FlowFlip', flip_ratio=0.5),          # for Flip
    dict(type='FormatShape', input_format='NCTHW'), # or NCHW: 2 x clip_len channels, u, v, u, v...

with `mean=[0] * channels, std=[20] * channels` in the data preprocessor (`flow_preprocessor`),
which brings the pixels to [-1, 1]. `SampleFrames` counts fields where it counted frames: a clip of
n frames at 25 a second has n-1, whatever its own rate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import ModelError
from dancecli.core.flow_format import BOUND_PX, FPS, MARK, SHORT_SIDE, FlowMethod, flow_of, plane_of, to_field
from dancecli.core.video_files import open_video
from dancecli.model.networks.mmaction import TRANSFORMS

if TYPE_CHECKING:
    import av
    import numpy as np
    from numpy.typing import NDArray


@TRANSFORMS.register_module(force=True)
class FlowInit:
    """Find a clip's flow file and count its fields.

    Takes `filename`, the clip's; gives `flow_file`, `total_frames`, `avg_fps`, `modality`.

    Args:
        method: how the flow was computed.
    """

    def __init__(self, method: str = FlowMethod.DIS) -> None:
        self.method = method

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Read the header of the file.

        Raises:
            ModelError: the clip has no flow by this method, or the file is none.
        """
        path = flow_of(Path(results["filename"]), self.method)
        results |= {
            "flow_file": path,
            "total_frames": count_fields(path, self.method),
            "avg_fps": float(FPS),
            "modality": "Flow",
        }
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(method={self.method})"


@TRANSFORMS.register_module(force=True)
class FlowDecode:
    """Read the fields of the sampled indices.

    Gives `imgs`, one array [height, width, 2] of 32-bit floats an index: pixels to the right and
    down, between -20 and 20, of a picture whose short side is 256. Of a smaller picture they are
    multiplied, so that the same movement has the same numbers at any size. A later `Resize`
    changes the places, not the values.
    """

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Decode the sampled fields and no others.

        Raises:
            ModelError: the file is broken, or holds fewer fields than its header says.
        """
        indices = [int(i) for i in results["frame_inds"].reshape(-1)]
        imgs = read_fields(results["flow_file"], indices)
        shape = imgs[0].shape[:2]
        results |= {"imgs": imgs, "original_shape": shape, "img_shape": shape}
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


@TRANSFORMS.register_module(force=True)
class FlowFlip:
    """Mirror fields from left to right: the picture, and the sign of u.

    In the place of MMAction2's `Flip`, which of [height, width, 2] turns both channels of every
    second field into `255 - value`.

    Args:
        flip_ratio: how often.
    """

    def __init__(self, flip_ratio: float = 0.5) -> None:
        self.flip_ratio = flip_ratio

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Draw, as `Flip` does, and mirror all fields or none."""
        import numpy as np

        flip = bool(np.random.rand() < self.flip_ratio)
        if flip:
            sign = np.array([-1, 1], np.float32)
            results["imgs"] = [field[:, ::-1] * sign for field in results["imgs"]]
        return results | {"flip": flip, "flip_direction": "horizontal"}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(flip_ratio={self.flip_ratio})"


def count_fields(path: Path, method: str = FlowMethod.DIS) -> int:
    """Give the number of fields of a stored flow, from its header.

    Raises:
        ModelError: there is no such file, or it holds no flow.
    """
    with _opened(path, method) as container:
        return int(container.streams.video[0].frames)


def read_fields(path: Path, indices: Sequence[int]) -> list[NDArray[np.float32]]:
    """Read fields of a stored flow, in the order of the indices; see `FlowDecode`.

    One that is asked for twice is the same array twice.

    Raises:
        ModelError: the file is broken, or there is no such field.
    """
    import av

    found: dict[int, NDArray[np.float32]] = {}
    try:
        with _opened(path) as container:
            for index, frame in _frames(container, sorted(set(indices))):
                found[index] = _rescaled(to_field(plane_of(frame)))
    except av.FFmpegError as error:
        raise ModelError(f"{path}: does not decode ({error})", "remove it and run dance flow again") from None
    missing = [index for index in indices if index not in found]
    if missing:
        raise ModelError(f"{path}: has no field {missing[0]}", "remove it and run dance flow again")
    return [found[index] for index in indices]


def _frames(container: av.container.InputContainer, wanted: list[int]) -> Iterator[tuple[int, av.VideoFrame]]:
    """Decode the wanted fields, in ascending order, and no others: each is a key frame."""
    stream = container.streams.video[0]
    assert stream.time_base is not None  # noqa: S101 - for the type checker
    coming, expected = container.decode(stream), 0
    for index in wanted:
        if index != expected:
            container.seek(round(index / FPS / stream.time_base), stream=stream)
            coming = container.decode(stream)
        frame = next(coming, None)
        # A seek beyond the end gives the last one.
        if frame is None or frame.time is None or round(frame.time * FPS) != index:
            return
        yield index, frame
        expected = index + 1


def _rescaled(field: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    short_side = min(field.shape[:2])
    if short_side >= SHORT_SIDE:
        return field
    larger: NDArray[np.float32] = np.clip(field * np.float32(SHORT_SIDE / short_side), -BOUND_PX, BOUND_PX)
    return larger


def _opened(path: Path, method: str = "") -> av.container.InputContainer:
    import av

    if not path.is_file():
        given = f" --method {method}" if method else ""
        raise ModelError(f"{path}: no such flow file", f"run dance flow{given} first")
    try:
        container = open_video(path)
    except av.FFmpegError as error:
        raise ModelError(
            f"{path}: cannot be read as video ({error})", "remove it and run dance flow again"
        ) from None
    video = container.streams.video
    if not video or not container.metadata.get("comment", "").startswith(MARK):
        container.close()
        raise ModelError(
            f"{path}: is a video, but not flow of dance flow", "remove it and run dance flow again"
        )
    video[0].codec_context.thread_count = 1
    return container
