"""The trajectories of a clip: its frames at 25 per second, their flow, and a sample of what was tracked."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from dancecli.core.errors import MediaError
from dancecli.core.flow_format import FlowMethod
from dancecli.core.hashing import keyed_bytes
from dancecli.storage.pose_files import Pose
from dancecli.video.optical_flow import estimator, gray_frames
from dancecli.video.trajectories.camera import PeopleMasks
from dancecli.video.trajectories.tracker import track

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Names what the stored numbers depend on beside the clip: raise it when they change.
CODING = "idt-1"
# Stored of a clip at most; an encoding of a thousand differs little from one of all.
MOST_STORED = 1000


@dataclass(frozen=True)
class ClipTrajectories:
    """What was found in a clip.

    Attributes:
        found: number of trajectories.
        descriptors: of those that were drawn, one row each: `shape`, `hog`, `hof`, `mbhx` and `mbhy`.
    """

    found: int
    descriptors: dict[str, NDArray[np.float32]]


def method_name(flow: FlowMethod) -> str:
    """Name what trajectories depend on beside the clip and its poses."""
    return f"{CODING}, {flow} flow, up to {MOST_STORED:,}"


def find_trajectories(
    clip: Path, num_frames: int, fps: Fraction, flow: FlowMethod, pose: Pose | None
) -> Generator[int, None, ClipTrajectories]:
    """Find the trajectories of a clip.

    Args:
        clip: the clip; which trajectories are drawn depends on its file's name.
        num_frames: frames it holds.
        fps: its frame rate.
        flow: how the flow is computed.
        pose: where people are, who are left out of the camera's motion; None if it is not known.

    Yields:
        How many pairs of frames were done since the last time.

    Raises:
        MediaError: it does not decode, or cannot be tracked.
        MissingDependencyError: there is no OpenCV, or not the one that the flow needs.
    """
    compute = estimator(flow)
    import cv2

    masks = PeopleMasks(pose, num_frames, fps) if pose is not None else None
    try:
        every = yield from track(
            gray_frames(clip, num_frames, fps), compute, masks.mask if masks is not None else None
        )
    except cv2.error as error:
        raise MediaError(f"trajectories of {clip.name} failed: {str(error).strip()[:200]}") from None
    count = len(every.shape)
    drawn = draw(clip.stem, count, MOST_STORED)
    descriptors = {"shape": every.shape, **every.descriptors}
    return ClipTrajectories(count, {name: rows[drawn] for name, rows in descriptors.items()})


def draw(name: str, count: int, most: int) -> NDArray[np.int64]:
    """Draw up to `most` of `count` numbers, the same for the same name.

    Args:
        name: of the clip.
        count: numbers from 0 to draw from.
        most: how many at most.

    Returns:
        [drawn], in ascending order.
    """
    import numpy as np

    if count <= most:
        return np.arange(count)
    keys = np.frombuffer(keyed_bytes("trajectories", name, 8 * count), "<u8")
    drawn: NDArray[np.int64] = np.sort(np.argsort(keys, kind="stable")[:most])
    return drawn
