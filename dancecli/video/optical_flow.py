"""Optical flow of a clip: computed from frames at 25 per second, stored as `flow_format` says, validated.

The stored form was chosen on six clips (bicycle race, animated film, runner, walker, two drawn
dancers), DIS flow, 63 fields of about 340x256, one thread:

    form                                          KiB  mean error, px (worst clip)  decoding, ms
    pairs of JPEG files of 8 bits, as denseflow    504  0.053 (0.073)                 -
    H.264, 8 bits, lossless                        522  0.027 (0.039)                76
    H.264, 8 bits, CRF 12                          200  0.034 (0.052)                54
    H.264, 10 bits, u and v as chroma, CRF 14      148  0.039 (0.071)                54
    H.264, 10 bits, u above v, CRF 14              138  0.022 (0.042)                67
    H.264, 10 bits, u above v, QP 24, GOP 32       175  0.020 (0.030)                55
    H.264, 10 bits, u above v, QP 26, key frames   163  0.019 (0.031)                48   <- this one
    FFV1, 10 bits                                 1086  0.007 (0.010)               155

One field helps little to predict the next, so key frames alone cost nothing. A constant
quantizer bounds the error of every block, where a constant rate factor spends it on what moves.
Flow that is nothing but noise comes to 0.095 at this quantizer: what is stored is compared with
what was computed, and above 0.05 the clip is done again with a finer one (0.039 on noise).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import MediaError, MissingDependencyError
from dancecli.core.flow_format import (
    BOUND_PX,
    FPS,
    MARK,
    PIXEL_FORMAT,
    SHORT_SIDE,
    FlowMethod,
    plane_of,
    to_field,
    to_plane,
)
from dancecli.core.text import first_line
from dancecli.core.video_files import upright
from dancecli.video.source import open_media, picture_stream

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Gray = NDArray[np.uint8]
    Field = NDArray[np.float32]

# Names what the stored numbers depend on beside the clip and the method: raise it when they change.
CODING = "h264-10bit-qp26-1"
_QUANTIZERS = (26, 18)
_LARGEST_ERROR_PX = 0.05
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
# Of every 7th pixel each way: no multiple of the blocks' sides, so that all places in them count.
_SAMPLED = slice(None, None, 7)
# Progress after so many fields, so that a slow method is seen to work.
_REPORTED_EVERY = 25


@dataclass(frozen=True, slots=True)
class StoredFlow:
    """What a full decode of a flow file found.

    Attributes:
        frames: number of fields.
        width, height: of a field.
        error_px: mean distance, over both components, of what is stored from what was computed
            and clipped, on every 49th pixel.
    """

    frames: int
    width: int
    height: int
    error_px: float


def estimator(method: FlowMethod) -> Callable[[Gray, Gray], Field]:
    """Give the function that computes the field between two gray pictures.

    `dis`: dense inverse search (Kroeger et al. 2016), medium preset. `farneback`: polynomial
    expansion (Farneback 2003), five levels, window 15. `tvl1`: dual TV-L1 (Zach et al. 2007),
    OpenCV's defaults. On one thread each, so that the same pictures give the same field.

    Raises:
        MissingDependencyError: there is no OpenCV, or for `tvl1` none with its contributed modules.
    """
    try:
        import cv2
    except ImportError as error:
        raise MissingDependencyError(
            f"OpenCV, which computes flow, cannot be used ({error})", "pip install 'dancecli[flow]'"
        ) from None
    # DIS divides a picture among threads in a way that shows in the result.
    cv2.setNumThreads(1)
    # The stubs know of no flow that is not given.
    opencv: Any = cv2
    if method is FlowMethod.FARNEBACK:
        return lambda one, two: opencv.calcOpticalFlowFarneback(one, two, None, 0.5, 5, 15, 3, 7, 1.5, 0)
    if method is FlowMethod.TVL1 and not hasattr(opencv, "optflow"):
        raise MissingDependencyError(
            "this OpenCV has no TV-L1: it was installed without its contributed modules",
            "pip install --force-reinstall opencv-contrib-python",
        )
    dense = (
        opencv.optflow.createOptFlow_DualTVL1()
        if method is FlowMethod.TVL1
        else opencv.DISOpticalFlow_create(opencv.DISOPTICAL_FLOW_PRESET_MEDIUM)
    )
    return lambda one, two: dense.calc(one, two, None)


def frames_at_25(num_frames: int, fps: Fraction) -> list[int]:
    """Number, for each frame at 25 a second, the clip's frame that is nearest in time."""
    count = max(1, round(num_frames * FPS / fps))
    return [min(num_frames - 1, round(Fraction(i, FPS) * fps)) for i in range(count)]


def gray_frames(clip: Path, num_frames: int, fps: Fraction) -> Iterator[Gray]:
    """Decode a clip as gray pictures at 25 a second, short side 256 or the clip's own if shorter.

    Raises:
        MediaError: it does not decode, or holds fewer frames than that.
    """
    wanted = frames_at_25(num_frames, fps)
    place = 0
    with open_media(clip, "does not decode", err_detect="explode") as container:
        stream = picture_stream(container, clip.name)
        stream.codec_context.options = {"err_detect": "explode"}
        stream.codec_context.thread_count = 1
        for number, frame in enumerate(container.decode(stream)):
            if place < len(wanted) and wanted[place] == number:
                gray: Any = frame.to_ndarray(format="gray")
                picture = _shrunk(upright(gray, frame))
            while place < len(wanted) and wanted[place] == number:
                place += 1
                yield picture
    if place < len(wanted):
        raise MediaError(f"{clip.name} ends before its frame {wanted[place] + 1} of {num_frames}")


def write_flow(
    clip: Path, num_frames: int, fps: Fraction, method: FlowMethod, target: Path
) -> Generator[int, None, StoredFlow]:
    """Compute a clip's flow, write it, decode it in full and compare.

    Args:
        clip: the clip.
        num_frames: frames it holds.
        fps: its frame rate.
        method: how to compute.
        target: the file to write, `.mp4`; what is left of it after an error is of no use.

    Yields:
        How many fields were computed since the last time.

    Returns:
        What was found in the file.

    Raises:
        MediaError: the clip does not decode, or has one frame only; the flow cannot be computed
            or stored.
        MissingDependencyError: as for `estimator`.
        OSError: the disk is full.
    """
    import av
    import cv2

    compute = estimator(method)
    try:
        for quantizer in _QUANTIZERS:
            pairs = pairwise(gray_frames(clip, num_frames, fps))
            fields = (compute(one, two) for one, two in pairs)
            kept = yield from _encode(fields, method, quantizer, target)
            stored = _validate_stored(target, kept)
            if stored.error_px <= _LARGEST_ERROR_PX:
                return stored
    except (av.FFmpegError, cv2.error) as error:
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise
        raise MediaError(f"{method} flow of {clip.name} failed: {first_line(error)}") from None
    raise MediaError(f"{method} flow of {clip.name} is stored {stored.error_px:.3f} px off at best")


def _encode(
    fields: Iterator[Field], method: FlowMethod, quantizer: int, target: Path
) -> Generator[int, None, list[Field]]:
    """Write fields; yield how many, and return every 49th pixel of each."""
    import av

    kept: list[Field] = []
    with av.open(str(target), "w", options={"fflags": "+bitexact"}) as container:
        container.metadata["comment"] = f"{MARK}, {method}: u above v, (code - 512) x 20 / 511 px"
        stream: Any = None
        for field in fields:
            plane = to_plane(field)
            if stream is None:
                stream = container.add_stream("libx264", rate=FPS, options=_x264(quantizer))
                stream.height, stream.width = plane.shape
                stream.pix_fmt = PIXEL_FORMAT
                stream.codec_context.thread_count = 1
                stream.codec_context.color_range = 2  # full
            frame = av.VideoFrame(stream.width, stream.height, PIXEL_FORMAT)
            frame.pts = len(kept)
            plane_of(frame)[:] = plane
            container.mux(stream.encode(frame))
            kept.append(field[_SAMPLED, _SAMPLED].clip(-BOUND_PX, BOUND_PX))
            if len(kept) % _REPORTED_EVERY == 0:
                yield _REPORTED_EVERY
        if stream is None:
            raise MediaError("a clip of one frame at 25 a second has no flow")
        container.mux(stream.encode(None))
    yield len(kept) % _REPORTED_EVERY
    return kept


def _x264(quantizer: int) -> dict[str, str]:
    return {
        "preset": "veryfast",
        "qp": str(quantizer),
        # Key frames only.
        "g": "1",
        # At this quantizer it changes next to nothing, and takes a fifth of the decoding.
        "x264-params": "no-deblock=1",
    }


def _validate_stored(path: Path, kept: list[Field]) -> StoredFlow:
    """Decode all of a flow file and compare it with what was kept of the fields.

    Raises:
        MediaError: it does not decode, or does not hold these fields.
    """
    import av
    import numpy as np

    errors: list[float] = []
    try:
        with av.open(str(path), options={"err_detect": "explode"}) as container:
            stream = container.streams.video[0]
            stream.codec_context.options = {"err_detect": "explode"}
            stream.codec_context.thread_count = 1
            for frame, field in zip(container.decode(stream), kept, strict=True):
                found = to_field(plane_of(frame))
                errors.append(float(np.abs(found[_SAMPLED, _SAMPLED] - field).mean()))
    except (av.FFmpegError, ValueError, IndexError) as error:
        raise MediaError(f"the stored flow does not decode: {error}") from None
    height, width = found.shape[:2]
    return StoredFlow(len(kept), width, height, sum(errors) / len(errors))


def _shrunk(picture: Any) -> Gray:
    import cv2
    import numpy as np

    height, width = picture.shape
    share = SHORT_SIDE / min(height, width)
    if share >= 1:
        # Some rows are padded, and DIS wants none.
        return np.ascontiguousarray(picture)
    size = [
        SHORT_SIDE if side == min(height, width) else 2 * round(side * share / 2) for side in (width, height)
    ]
    shrunk: Gray = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return shrunk
