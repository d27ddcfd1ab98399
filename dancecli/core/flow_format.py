"""Optical flow as it is stored: what the one who computes it and the one who trains on it share.

A clip of n frames at 25 a second has n-1 fields; field i moves frame i to frame i+1. A field is
an array [height, width, 2] of 32-bit floats: to the right (u) and down (v), in pixels of the
picture it was computed on, whose short side is 256 or, if the clip's is shorter, the clip's own.

All fields of a clip are one file, `flow/<clip_id>.<method>.mp4`: H.264 of one plane of 10 bits,
full range, u above v, so the picture is [2 x height, width]; every field is a key frame, so any
can be had alone. A displacement is clipped at 20
pixels and stored as `512 + 511/20 x` it, rounded: zero is exact and a step is 0.039 pixels.
Frames are to be read as their first plane, raw (a decoder may add planes of chroma, which mean
nothing): a conversion of colours would change the values.

Nothing is scaled to [-1, 1] here: that is a data preprocessor of mean 0 and standard deviation
`BOUND_PX`. Files in MMAction2's own form (8 bits, mean 128, deviation 128) come to the same
numbers within 0.4 per cent.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FPS = 25
BOUND_PX = 20
SHORT_SIDE = 256
PIXEL_FORMAT = "gray10le"
# How the comment in such a file begins; a reader takes no other.
MARK = "dance optical flow 1"
_ZERO = 512
_LARGEST = 511


class FlowMethod(StrEnum):
    """How flow is computed."""

    DIS = "dis"
    FARNEBACK = "farneback"
    TVL1 = "tvl1"


# The flow that published weights were trained on: the two-stream I3D of Carreira & Zisserman (2017,
# section 3) and MMAction2's TSN alike.
PUBLISHED_METHOD = FlowMethod.TVL1


def method_mismatch(method: str, trained_on: str = PUBLISHED_METHOD) -> str:
    """Say that flow is not of the kind that weights were trained on; empty if it is."""
    if method == trained_on:
        return ""
    return f"the weights were trained on {trained_on} flow, and this is {method} flow: expect less of them"


def flow_name(clip_id: str, method: str) -> str:
    """Name the file of a clip's flow: `<clip_id>.<method>.mp4`."""
    return f"{clip_id}.{method}.mp4"


def flow_of(clip: Path, method: str) -> Path:
    """Give the file of a clip's flow, given the clip's: `<root>/<folder>/<clip_id>.mp4`."""
    return clip.parent.parent / "flow" / flow_name(clip.stem, method)


def to_plane(field: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Code a field [height, width, 2] as the plane [2 x height, width] that is stored."""
    import numpy as np

    codes = np.rint(np.clip(field, -BOUND_PX, BOUND_PX) * (_LARGEST / BOUND_PX) + _ZERO)
    return np.concatenate([codes[..., 0], codes[..., 1]]).astype(np.uint16)


def to_field(plane: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Read a field [height, width, 2] from the plane that was stored."""
    import numpy as np

    pixels = (plane.astype(np.float32) - _ZERO) * np.float32(BOUND_PX / _LARGEST)
    height = plane.shape[0] // 2
    return np.clip(np.stack([pixels[:height], pixels[height:]], axis=-1), -BOUND_PX, BOUND_PX)


def plane_of(frame: Any) -> NDArray[np.uint16]:
    """Give the raw plane of a decoded frame (PyAV's `VideoFrame`), not copied: [2 x height, width]."""
    import numpy as np

    plane = frame.planes[0]
    # Lines are padded to what the decoder likes.
    lines = np.frombuffer(plane, dtype="<u2").reshape(-1, plane.line_size // 2)
    return lines[: frame.height, : frame.width]
