"""The trajectories of a clip: its frames at 25 per second, their flow, and a sample of what was tracked."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from dancecli.core.errors import InputError, MediaError
from dancecli.core.flow_format import FPS, FlowMethod
from dancecli.core.hashing import keyed_bytes
from dancecli.storage.pose_files import Pose
from dancecli.video.decode import decode
from dancecli.video.optical_flow import estimator, gray_frames
from dancecli.video.trajectories.camera import PeopleMasks
from dancecli.video.trajectories.tracker import Trajectories, track

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


def flow_of_method(method: str) -> FlowMethod:
    """Return the flow that `method_name` made such a name of.

    Raises:
        InputError: it was computed by another version.
    """
    for flow in FlowMethod:
        if method_name(flow) == method:
            return flow
    raise InputError(
        f"trajectories {method!r} are computed by another version of dance", "train again: dance train"
    )


class VideoTrajectories:
    """The trajectories of a video of any origin, stretch by stretch.

    Args:
        path: the video.
        method: how they are computed, as of `method_name`.

    Attributes:
        num_frames: of the video.
        rate: of these, frames a second.

    Raises:
        MediaError: it is not a video that decodes whole.
        InputError: they are computed by another version.
        MissingDependencyError: there is no OpenCV, or not the one that the flow needs.
    """

    def __init__(self, path: Path, method: str) -> None:
        self._compute = estimator(flow_of_method(method))
        if path.is_dir():
            raise MediaError(f"{path}: points are tracked in videos, not in folders of frames")
        try:
            facts = decode(path)
        except MediaError as error:
            raise MediaError(f"{path}: points cannot be tracked: {error.message}", error.hint) from None
        self._path, self.num_frames, self._fps = path, facts.num_frames, facts.fps
        self.rate = float(facts.fps)

    def frames(self) -> Iterator[tuple[float, float, NDArray[np.uint8]]]:
        """Decode the frames at 25 a second: start and end in seconds, and the picture [height, width]."""
        for i, picture in enumerate(gray_frames(self._path, self.num_frames, self._fps)):
            yield i / FPS, (i + 1) / FPS, picture

    def describe(
        self, frames: Sequence[NDArray[np.uint8]], pose: Pose | None = None, order: Sequence[int] = ()
    ) -> dict[str, NDArray[np.float32]]:
        """Track the points of a stretch: for each kind of descriptor [n, width], as they are stored of clips.

        Args:
            frames: its pictures.
            pose: where people are in the video, who are left out of the camera's motion; None if unknown.
            order: with a pose, for each picture its number among all of `frames()`.

        Raises:
            MediaError: it cannot be tracked.
        """
        import numpy as np

        masks = PeopleMasks(pose, self.num_frames, self._fps) if pose is not None else None

        def mask_of(number: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
            assert masks is not None  # noqa: S101 - for the type checker
            return masks.mask(order[number], shape)

        steps = _found(self._path, track(frames, self._compute, mask_of if masks else None))
        while True:
            try:
                next(steps)
            except StopIteration as end:
                found: ClipTrajectories = end.value
                return {
                    name: rows.astype(np.float16).astype(np.float32)
                    for name, rows in found.descriptors.items()
                }


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
    masks = PeopleMasks(pose, num_frames, fps) if pose is not None else None
    pictures = gray_frames(clip, num_frames, fps)
    return (yield from _found(clip, track(pictures, compute, masks.mask if masks is not None else None)))


def _found(clip: Path, steps: Generator[int, None, Trajectories]) -> Generator[int, None, ClipTrajectories]:
    """Track, and draw what is stored of it by the name of the clip."""
    import cv2

    try:
        every = yield from steps
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
