"""BlazePose's landmark network, and the crops that it looks at.

A program may read the network and compute it wrongly without an error, so a picture whose points are
known is looked at before any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dancecli.video.pose.runtimes import Runtime

    Picture = NDArray[np.uint8]
    Points = NDArray[np.float64]

SIDE = 256
_NUM_POINTS = 39
_NUM_JOINTS = 33
# Points that frame the body: the middle of the hips, and one on the circle around the body, above it.
_CENTER, _TOP = 33, 34
_MARGIN = 1.25
# Below, the network holds that nobody is in the crop.
PRESENCE = 0.5
# Points of the known picture, as LiteRT 2.3.0 gives them.
_KNOWN = {0: (132.6, 64.1), 8: (135.7, 63.9), 16: (140.3, 137.8), 24: (140.6, 146.5), 32: (130.1, 214.3)}
_KNOWN_WITHIN_PX = 2.0


@dataclass(frozen=True, slots=True)
class Crop:
    """A turned square of a picture.

    Attributes:
        x, y: its middle, in pixels of the picture.
        side: its side, in pixels.
        up_x, up_y: the direction that is up in it; of length 1.
    """

    x: float
    y: float
    side: float
    up_x: float = 0.0
    up_y: float = -1.0

    @classmethod
    def whole(cls, picture: Picture) -> Crop:
        """Give the square around a whole picture."""
        height, width = picture.shape[:2]
        return cls(width / 2, height / 2, float(max(height, width)))

    @classmethod
    def around(cls, center: Points, top: Points) -> Crop:
        """Give the square around a body: its middle, and a point on the circle around it, above."""
        x, y = (float(v) for v in top - center)
        radius = max((x * x + y * y) ** 0.5, 1e-6)
        return cls(float(center[0]), float(center[1]), 2 * radius * _MARGIN, x / radius, y / radius)

    @property
    def to_picture(self) -> Points:
        """Matrix [2, 3] from pixels of the crop, 256 a side, to pixels of the picture."""
        import numpy as np

        scale = self.side / SIDE
        # Right and down in the crop, as directions of the picture.
        axes = scale * np.array([[-self.up_y, -self.up_x], [self.up_x, -self.up_y]])
        corner = np.array([self.x, self.y]) - axes @ np.array([SIDE / 2, SIDE / 2])
        return np.column_stack([axes, corner])


@dataclass(frozen=True)
class Look:
    """What the network found in a crop.

    Attributes:
        joints: [33, 2], in pixels of the picture; in the order of `pose_files.BLAZEPOSE`.
        scores: [33], how likely each joint is visible, 0 to 1.
        presence: how likely somebody is there, 0 to 1.
        next_crop: where to look in the next frame.
    """

    joints: Points
    scores: Points
    presence: float
    next_crop: Crop


class LandmarkNetwork:
    """The network, checked by a known answer.

    Args:
        runtime: what computes it.

    Raises:
        ModelError: the network is another one, or is computed wrongly.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._check_known_answer()

    @property
    def name(self) -> str:
        """Name of the program that computes it."""
        return self._runtime.name

    def look(self, picture: Picture, crop: Crop) -> Look:
        """Find a person in a crop of an RGB picture."""
        import cv2
        import numpy as np

        matrix = crop.to_picture
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        seen: Any = cv2.warpAffine(picture, matrix, (SIDE, SIDE), flags=flags)
        points, presence = self._run(seen)
        placed = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
        scores = 1 / (1 + np.exp(-np.clip(points[:_NUM_JOINTS, 3], -60, 60)))
        return Look(placed[:_NUM_JOINTS], scores, presence, Crop.around(placed[_CENTER], placed[_TOP]))

    def _run(self, seen: Picture) -> tuple[Points, float]:
        """Compute 39 points (x, y, z, visibility, presence) of a picture of 256 x 256, and the presence."""
        import numpy as np

        points, presence = self._runtime.run(seen.astype(np.float32) / np.float32(255))
        return points.reshape(_NUM_POINTS, 5).astype(np.float64), float(presence.ravel()[0])

    def _check_known_answer(self) -> None:
        import numpy as np

        try:
            points, _ = self._run(known_picture())
        except ValueError as error:
            raise ModelError(f"the network is not the pose network ({error})") from None
        off = max(float(np.abs(points[i, :2] - known).max()) for i, known in _KNOWN.items())
        if not off <= _KNOWN_WITHIN_PX:
            raise ModelError(
                f"{self.name} computes the pose network wrongly: a known joint is {off:.0f} pixels off",
                "install the versions that dance was tested with: see constraints.txt",
            )


def known_picture() -> Picture:
    """Draw the picture whose points are known: a gray figure before a gradient, by formula alone."""
    import numpy as np

    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64)
    picture = np.stack([x / 2, y / 2, 255 - x / 2], axis=-1)
    # Head, trunk, arms and legs: middle, half-axes.
    for middle_x, middle_y, half_x, half_y, color in (
        (128, 62, 13, 17, (224, 172, 140)),
        (128, 112, 25, 38, (200, 40, 40)),
        (96, 112, 8, 34, (224, 172, 140)),
        (160, 112, 8, 34, (224, 172, 140)),
        (116, 182, 11, 44, (30, 40, 90)),
        (140, 182, 11, 44, (30, 40, 90)),
    ):
        inside = ((x - middle_x) / half_x) ** 2 + ((y - middle_y) / half_y) ** 2 <= 1
        picture[inside] = color
    return picture.astype(np.uint8)
