"""The poses of a clip: its frames decoded, its people followed, at most 15 poses a second."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import MediaError
from dancecli.core.video_files import upright
from dancecli.storage.pose_files import BLAZEPOSE, Pose
from dancecli.video.decode import decode
from dancecli.video.pose.detector import PersonDetector
from dancecli.video.pose.landmarks import LandmarkNetwork
from dancecli.video.pose.runtimes import has_litert, open_runtime
from dancecli.video.pose.tracker import Tracker
from dancecli.video.pose.weights import PoseWeights
from dancecli.video.source import open_media, picture_stream

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Names what the stored numbers depend on beside the clip: raise it when they change.
CODING = "blazepose-full-1"
MAX_FPS = 15


@dataclass(frozen=True)
class Estimate:
    """The poses of a clip, with what they rest on.

    Attributes:
        pose: the poses.
        engine: the program that computed them.
        agreement: share of the joints on which a second start agreed, 0 to 1.
    """

    pose: Pose
    engine: str
    agreement: float


class Estimator:
    """The networks, loaded and checked.

    Args:
        weights: their files.

    Raises:
        MissingDependencyError: there is neither LiteRT nor OpenCV.
        ModelError: a file is damaged, or computed wrongly.
    """

    def __init__(self, weights: PoseWeights) -> None:
        self._network = LandmarkNetwork(open_runtime(weights.landmarks))
        self._detector = PersonDetector(weights.detector) if weights.detector and has_litert() else None

    @property
    def has_detector(self) -> bool:
        """Whether tracks start with the person detector; otherwise only the main dancer is followed."""
        return self._detector is not None

    @property
    def engine(self) -> str:
        """Name of the program that computes the landmark network."""
        return self._network.name

    def method(self, people: int) -> str:
        """Name what poses depend on beside the clip."""
        start = f"detector, up to {people} people" if self.has_detector else "whole frame, main dancer"
        return f"{CODING}, {start}"

    def estimate(
        self, clip: Path, num_frames: int, fps: Fraction, people: int
    ) -> Generator[int, None, Estimate]:
        """Find the poses of a clip.

        Yields:
            How many frames were done since the last time.

        Raises:
            MediaError: the clip does not decode, nobody is found in it, or two starts disagree.
        """
        wanted = frames_of_poses(num_frames, fps)
        pictures = _Pictures(clip, wanted)
        tracker = Tracker(self._network, self._detector, people)
        tracks = yield from tracker.follow(pictures, len(wanted))
        import numpy as np

        pose = Pose(
            BLAZEPOSE,
            tracks.keypoints,
            tracks.scores,
            np.array(wanted, np.int32),
            pictures.height,
            pictures.width,
            num_frames,
        )
        return Estimate(pose, self.engine, tracks.agreement)


def poses_of_video(path: Path, weights: PoseWeights, people: int) -> tuple[Pose, float]:
    """Find the poses of a video of any origin, with its frames a second.

    Args:
        path: the video.
        weights: the networks.
        people: how many people to follow at most.

    Raises:
        MediaError: it is not a video that decodes whole, nobody is found in it, or two starts disagree.
    """
    if path.is_dir():
        raise MediaError(f"{path}: poses are found in videos, not in folders of frames")
    try:
        facts = decode(path)
        steps = estimator_of(weights).estimate(path, facts.num_frames, facts.fps, people)
        while True:
            next(steps)
    except StopIteration as end:
        found: Estimate = end.value
        return found.pose, float(facts.fps)
    except MediaError as error:
        raise MediaError(f"{path}: no poses were found: {error.message}", error.hint) from None


@cache
def estimator_of(weights: PoseWeights) -> Estimator:
    """Return the networks of these files, loaded once in a process."""
    return Estimator(weights)


def frames_of_poses(num_frames: int, fps: Fraction) -> list[int]:
    """Number the frames that get a pose: every n-th, so that there are at most 15 a second."""
    return list(range(0, num_frames, max(1, ceil(fps / MAX_FPS))))


class _Pictures:
    """The wanted frames of a clip as RGB pictures, decoded as they are asked for."""

    def __init__(self, clip: Path, wanted: list[int]) -> None:
        self._clip, self._wanted = clip, wanted
        self.height = self.width = 0

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        wanted, given = set(self._wanted), 0
        with open_media(self._clip, "does not decode", err_detect="explode") as container:
            stream = picture_stream(container, self._clip.name)
            stream.codec_context.options = {"err_detect": "explode"}
            stream.codec_context.thread_count = 1
            for number, frame in enumerate(container.decode(stream)):
                if number in wanted:
                    given += 1
                    picture: Any = upright(frame.to_ndarray(format="rgb24"), frame)
                    self.height, self.width = picture.shape[:2]
                    yield picture
        if given < len(wanted):
            missing = self._wanted[given] + 1
            raise MediaError(f"{self._clip.name} ends before its frame {missing}")
