"""The motion of the camera between two frames, as a homography, and flow without it.

Corners of the first frame are matched by the flow, and the homography that most of them follow is that of
the camera (RANSAC). Corners on people are left out where the poses are known: a dancer who fills the
picture would be taken for the scene.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from dancecli.storage.pose_files import Pose, nearest_places
from dancecli.video.optical_flow import frames_at_25

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Gray = NDArray[np.uint8]
    Field = NDArray[np.float32]

# As the original takes them from all of the picture: corners at least as strong as this share of the
# strongest one, so far apart.
_CORNERS, _QUALITY, _APART_PX = 1000, 0.001, 5
_INLIER_PX = 1.0
# With fewer matches the original assumes a still camera. A homography that most corners do not follow
# is that of something else in the picture.
_FEWEST_MATCHES, _LEAST_SHARE = 50, 0.5
# A joint with a lower score is a guess. Hair, hands and clothes reach beyond the joints.
_KNOWN_SCORE, _MARGIN = 0.3, 0.2


def without_camera(picture: Gray, field: Field, mask: Gray | None = None) -> Field:
    """Take the motion of the camera out of flow: what a point moves beyond what the scene moves there.

    Args:
        picture: the first frame, [height, width].
        field: the flow to the second one, [height, width, 2].
        mask: [height, width], 0 where people are; None if nobody knows.

    Returns:
        Flow of the same shape; the same where no camera motion is found.
    """
    import cv2
    import numpy as np

    found = cv2.goodFeaturesToTrack(picture, _CORNERS, _QUALITY, _APART_PX, mask=mask)
    if found is None or len(found) < _FEWEST_MATCHES:
        return field
    corners = found.reshape(-1, 2)
    x, y = corners.astype(int).T
    homography, inliers = cv2.findHomography(corners, corners + field[y, x], cv2.RANSAC, _INLIER_PX)
    if homography is None or inliers.sum() < max(_FEWEST_MATCHES, _LEAST_SHARE * len(corners)):
        return field
    height, width = picture.shape
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    moved = cv2.perspectiveTransform(grid, homography)
    rest: Field = field - (moved - grid)
    return rest


class PeopleMasks:
    """Where people are in the frames of a clip at 25 per second, from its stored poses."""

    def __init__(self, pose: Pose, num_frames: int, fps: Fraction) -> None:
        """Take the poses of a clip of so many frames at such a rate."""
        import numpy as np

        self._pose = pose
        numbers = np.array(frames_at_25(num_frames, fps))
        # The nearest frame with poses.
        self._place = nearest_places(pose.frame_index, numbers)

    def mask(self, frame: int, shape: tuple[int, int]) -> Gray:
        """Return a mask [height, width] that is 0 in a box around each person, else 255."""
        import numpy as np

        mask = np.full(shape, 255, np.uint8)
        pose, place = self._pose, self._place[frame]
        scale = np.array([shape[1] / pose.width, shape[0] / pose.height])
        for joints, scores in zip(pose.keypoints[:, place], pose.scores[:, place], strict=True):
            known = joints[scores >= _KNOWN_SCORE] * scale
            if len(known):
                low, high = known.min(axis=0), known.max(axis=0)
                margin = _MARGIN * (high - low).max()
                left, top = np.floor(np.maximum(low - margin, 0)).astype(int)
                right, bottom = np.ceil(high + margin).astype(int)
                mask[top : bottom + 1, left : right + 1] = 0
        return mask
