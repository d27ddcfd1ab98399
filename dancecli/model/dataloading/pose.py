"""Poses in training: the MMAction2 transform that reads what `dance pose` stored.

A pipeline on poses is that of MMAction2's skeleton configs, with this step before it:

    dict(type='PoseInit'),                              # for what PoseDataset reads from its pickle
    dict(type='UniformSampleFrames', clip_len=48, ...),
    dict(type='PoseDecode'),
    ...
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import InputError, ModelError
from dancecli.model.networks.mmaction import TRANSFORMS
from dancecli.storage.pose_files import BONES, COCO, Pose, nearest_places, pose_of, read_pose, to_coco

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float32]

_DRAWN_SIDE, _STROKE = 256, 5
# Shoulders and hips, trunk, upper arms, forearms, thighs, shanks, neck.
_PALETTE = (
    *((255, 255, 255), (230, 60, 60), (60, 200, 60), (60, 120, 255)),
    *((240, 200, 40), (220, 80, 220), (70, 220, 220)),
)
# Of each bone of `BONES`.
_COLORS = tuple(_PALETTE[i] for i in (0, 0, 1, 1, 2, 3, 2, 3, 4, 5, 4, 5, 6, 6))


@TRANSFORMS.register_module(force=True)
class PoseInit:
    """Read a clip's poses as MMAction2's skeleton transforms take them.

    Takes `filename`, the clip's; gives `keypoint` [person, frame, 17, 2], `keypoint_score`
    [person, frame, 17], `total_frames`, `img_shape`, `modality`. Where a person was not found, they
    stand as in the nearest frame, with score 0. A clip without poses is one frame of an empty skeleton.
    """

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Read the file.

        Raises:
            ModelError: it is broken.
        """
        return results | skeletons(_stored(results))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


@TRANSFORMS.register_module(force=True)
class DrawPoses:
    """Draw the skeletons of the sampled frames, in the place of decoding them.

    Takes `filename`, the clip's, and `frame_inds`; gives `imgs`, one RGB picture [height, width, 3] of
    bytes an index, as wide and high as the clip or with a short side of 256. A frame without a pose
    shows that of the nearest frame with one. Limbs have a color each, the same left and right, so that a
    mirrored picture is one of a mirrored dance. A clip without poses is black.
    """

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Draw them.

        Raises:
            ModelError: the poses are broken.
        """
        results.pop("video_reader", None)
        return results | drawn_skeletons(
            _stored(results), [int(i) for i in results["frame_inds"].reshape(-1)]
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def _stored(results: Mapping[str, Any]) -> Pose | None:
    """Read the poses of the clip at hand; None if it has none."""
    path = pose_of(Path(results["filename"]))
    if not path.exists():
        return None
    try:
        return read_pose(path)
    except InputError as error:
        raise ModelError(error.message, error.hint) from None


def skeletons(pose: Pose | None) -> dict[str, Any]:
    """Give poses as MMAction2's skeleton transforms take them; see `PoseInit`."""
    import numpy as np

    if pose is None:
        keypoints = np.zeros((1, 1, len(COCO), 2), np.float32)
        scores, shape = np.zeros(keypoints.shape[:3], np.float32), (256, 256)
    else:
        pose = to_coco(pose)
        keypoints, scores = held(pose.keypoints, pose.found), pose.scores
        shape = (pose.height, pose.width)
    return {
        "keypoint": keypoints,
        "keypoint_score": scores,
        "total_frames": keypoints.shape[1],
        "img_shape": shape,
        "original_shape": shape,
        "modality": "Pose",
    }


def drawn_skeletons(pose: Pose | None, indices: Sequence[int]) -> dict[str, Any]:
    """Draw the skeletons of frames; see `DrawPoses`."""
    import numpy as np

    if pose is None:
        size = (_DRAWN_SIDE, _DRAWN_SIDE)
        imgs = [np.zeros((*size, 3), np.uint8) for _ in indices]
    else:
        pose = to_coco(pose)
        scale = _DRAWN_SIDE / min(pose.height, pose.width)
        size = (round(pose.height * scale), round(pose.width * scale))
        points = held(pose.keypoints, pose.found) * scale
        known = [bool(there.any()) for there in pose.found]
        places = nearest_places(pose.frame_index, np.asarray(indices))
        imgs = [_drawn(points[:, place], known, size) for place in places]
    return {"imgs": imgs, "original_shape": size, "img_shape": size, "modality": "RGB"}


def _drawn(people: Numbers, known: Sequence[bool], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Draw people, [person, 17, 2] in pixels; the main dancer last, on top."""
    import cv2
    import numpy as np

    picture = np.zeros((*size, 3), np.uint8)
    for person in reversed(range(len(people))):
        if not known[person]:
            continue
        for (one, two), color in zip(BONES, _COLORS, strict=True):
            ends = [tuple(int(v) for v in np.rint(people[person, COCO.index(name)])) for name in (one, two)]
            cv2.line(picture, ends[0], ends[1], color, _STROKE, cv2.LINE_AA)
    return picture


def held(keypoints: Numbers, found: NDArray[np.bool_]) -> Numbers:
    """Give people who were not found in a frame the joints of the nearest frame in which they were.

    Args:
        keypoints: of shape [person, frame, joint, 2].
        found: of shape [person, frame].

    Returns:
        Of the shape of `keypoints`, in new memory.
    """
    import numpy as np

    filled = keypoints.copy()
    frames = np.arange(found.shape[1])
    for person, there in enumerate(found):
        known = np.flatnonzero(there)
        if known.size:
            filled[person] = keypoints[person, known[nearest_places(known, frames)]]
    return filled
