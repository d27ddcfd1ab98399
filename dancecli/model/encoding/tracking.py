"""What whoever tracks the points of videos gives to the models of trajectories: this package tracks none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from dancecli.storage.pose_files import Pose


class Tracked(Protocol):
    """A video whose points can be tracked, stretch by stretch.

    Attributes:
        num_frames: of the video.
        rate: of these, frames a second.
    """

    num_frames: int
    rate: float

    def frames(self) -> Iterator[tuple[float, float, Any]]:
        """Decode the frames: the start and end of each in seconds, and its picture."""

    def describe(
        self, frames: Sequence[Any], pose: Pose | None = None, order: Sequence[int] = ()
    ) -> Mapping[str, Any]:
        """Give the descriptors of a stretch, for each kind [n, width].

        Args:
            frames: its pictures.
            pose: where people are in the video, who are left out of the camera's motion; None if unknown.
            order: with a pose, for each picture its number among all of `frames()`.
        """


# Opens a video for tracking in the way that is named; raises a `MediaError` if it cannot be tracked.
TracksOf = Callable[[Path, str], Tracked]
