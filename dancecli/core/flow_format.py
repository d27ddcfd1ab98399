"""Storage format of optical flow, shared by `dance flow` and the data loaders.

A clip of n frames at 25 fps has n-1 flow fields; field i moves frame i to frame i+1. A field is
an array [height, width, 2] of 32-bit floats: to the right (u) and down (v), in pixels of the
frame it was computed on, whose short side is 256 pixels, or the clip's own if that is shorter.

All fields of a clip are stored in one file, `<clip_id>.<method>.mp4` below `flow/`: H.264, one plane of 10
bits, full range, u above v, so a frame is [2 x height, width]; every field is a key frame and can
be read by itself. A displacement d is clipped at 20 pixels and stored as `512 + 511/20 * d`,
rounded: zero is exact and the step is 0.039 pixels. Frames must be read as their raw first plane
(a decoder may add meaningless chroma planes): a color conversion would change the values.

Nothing is scaled to [-1, 1] here: use a data preprocessor with mean 0 and standard deviation
`BOUND_PX`. Files in MMAction2's own format (8 bits, mean 128, deviation 128) give the same
values within 0.4 percent.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.video_files import beside

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FPS = 25
BOUND_PX = 20
SHORT_SIDE = 256
PIXEL_FORMAT = "gray10le"
# Prefix of the comment in such a file; a reader accepts no other.
MARK = "dance optical flow 1"
_ZERO = 512
_LARGEST = 511


class FlowMethod(StrEnum):
    """Method of computing optical flow."""

    DIS = "dis"
    FARNEBACK = "farneback"
    TVL1 = "tvl1"


# The method on which published weights were trained: the two-stream I3D of Carreira & Zisserman
# (2017, section 3) and MMAction2's TSN.
PUBLISHED_METHOD = FlowMethod.TVL1


def method_mismatch(method: str, trained_on: str = PUBLISHED_METHOD) -> str:
    """Warn that flow is not of the method that weights were trained on; empty if it is."""
    if method == trained_on:
        return ""
    return f"the weights were trained on {trained_on} flow, and this is {method} flow: expect lower accuracy"


def flow_name(clip_id: str, method: str) -> str:
    """Return the file name of a clip's flow: `<clip_id>.<method>.mp4`."""
    return f"{clip_id}.{method}.mp4"


def flow_of(clip: Path, method: str) -> Path:
    """Return the path of a clip's flow file, given the path of the clip's file."""
    return beside(clip, "flow", flow_name(clip.stem, method))


def to_plane(field: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Encode a field [height, width, 2] as the stored plane [2 x height, width]."""
    import numpy as np

    codes = np.rint(np.clip(field, -BOUND_PX, BOUND_PX) * (_LARGEST / BOUND_PX) + _ZERO)
    return np.concatenate([codes[..., 0], codes[..., 1]]).astype(np.uint16)


def to_field(plane: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Decode a field [height, width, 2] from the stored plane [2 x height, width]."""
    import numpy as np

    pixels = (plane.astype(np.float32) - _ZERO) * np.float32(BOUND_PX / _LARGEST)
    height = plane.shape[0] // 2
    return np.clip(np.stack([pixels[:height], pixels[height:]], axis=-1), -BOUND_PX, BOUND_PX)


def plane_of(frame: Any) -> NDArray[np.uint16]:
    """Return a view of the raw plane of a decoded frame (PyAV's `VideoFrame`): [2 x height, width]."""
    import numpy as np

    plane = frame.planes[0]
    # The decoder pads each line.
    lines = np.frombuffer(plane, dtype="<u2").reshape(-1, plane.line_size // 2)
    return lines[: frame.height, : frame.width]
