"""Poses in training: the MMAction2 transform that reads what `dance pose` stored.

A pipeline on poses is that of MMAction2's skeleton configs, with this step before it:

    dict(type='PoseInit'),                              # for what PoseDataset reads from its pickle
    dict(type='UniformSampleFrames', clip_len=48, ...),
    dict(type='PoseDecode'),
    ...
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import InputError, ModelError
from dancecli.model.networks.mmaction import TRANSFORMS
from dancecli.storage.pose_files import COCO, pose_of, read_pose, to_coco

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.float32]


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
        import numpy as np

        path = pose_of(Path(results["filename"]))
        if not path.exists():
            keypoints = np.zeros((1, 1, len(COCO), 2), np.float32)
            scores, shape = np.zeros(keypoints.shape[:3], np.float32), (256, 256)
        else:
            try:
                pose = to_coco(read_pose(path))
            except InputError as error:
                raise ModelError(error.message, error.hint) from None
            keypoints, scores = held(pose.keypoints, pose.found), pose.scores
            shape = (pose.height, pose.width)
        results |= {
            "keypoint": keypoints,
            "keypoint_score": scores,
            "total_frames": keypoints.shape[1],
            "img_shape": shape,
            "original_shape": shape,
            "modality": "Pose",
        }
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


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
            nearest = known[np.abs(frames[:, None] - known[None]).argmin(axis=1)]
            filled[person] = keypoints[person, nearest]
    return filled
