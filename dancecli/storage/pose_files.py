"""Storage format of poses, shared by `dance pose`, imports and the data loaders.

The poses of a clip are one file, `<clip_id>.npz` below `pose/`: NumPy arrays, compressed, without pickles.
The names are those of MMAction2's skeleton annotations:

    keypoint        float16 [person, frame, joint, 2]  x and y in pixels of the clip's picture
    keypoint_score  float16 [person, frame, joint]     0 to 1; 0 for a joint that was not found
    frame_index     int32   [frame]                    which frames of the clip, counted from 0
    joints          text    [joint]                    names, such as left_wrist
    img_shape       int32   [2]                        height and width of the clip's picture
    total_frames    int32   []                         frames of the clip

Person 0 is the main dancer: the one with the most joints over the longest time. `joints` may be
BlazePose's 33, COCO's 17 or others; COCO's 17 are always among them, and a model reads those
(`to_coco`). A 16-bit float is exact to 0.06 pixels in a picture of 256 and to 0.5 in one of 1,920.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dancecli.core.errors import InputError
from dancecli.core.video_files import beside

if TYPE_CHECKING:
    from typing import IO

    import numpy as np
    from numpy.typing import NDArray

COCO = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder"),
    *("left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle"),
)
BLAZEPOSE = (
    *("nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye"),
    *("right_eye_outer", "left_ear", "right_ear", "mouth_left", "mouth_right", "left_shoulder"),
    *("right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_pinky"),
    *("right_pinky", "left_index", "right_index", "left_thumb", "right_thumb", "left_hip", "right_hip"),
    *("left_knee", "right_knee", "left_ankle", "right_ankle", "left_heel", "right_heel"),
    *("left_foot_index", "right_foot_index"),
)
# Bones between COCO's joints.
BONES = (
    *(("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")),
    *(("left_shoulder", "left_hip"), ("right_shoulder", "right_hip")),
    *(("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist")),
    *(("right_shoulder", "right_elbow"), ("right_elbow", "right_wrist")),
    *(("left_hip", "left_knee"), ("left_knee", "left_ankle")),
    *(("right_hip", "right_knee"), ("right_knee", "right_ankle")),
    *(("nose", "left_shoulder"), ("nose", "right_shoulder")),
)
_MEMBERS = ("keypoint", "keypoint_score", "frame_index", "joints", "img_shape", "total_frames")


@dataclass(frozen=True)
class Pose:
    """The poses of a clip.

    Attributes:
        joints: names of the joints; COCO's 17 are among them.
        keypoints: float32 [person, frame, joint, 2], x and y in pixels of the clip's picture.
        scores: float32 [person, frame, joint], 0 to 1.
        frame_index: int32 [frame], which frames of the clip, ascending, counted from 0.
        height, width: of the clip's picture.
        total_frames: frames of the clip.
    """

    joints: tuple[str, ...]
    keypoints: NDArray[np.float32]
    scores: NDArray[np.float32]
    frame_index: NDArray[np.int32]
    height: int
    width: int
    total_frames: int

    @property
    def num_people(self) -> int:
        """Number of people."""
        return int(self.keypoints.shape[0])

    @property
    def found(self) -> NDArray[np.bool_]:
        """Bool [person, frame]: whether the person was found in the frame."""
        import numpy as np

        found: NDArray[np.bool_] = np.any(self.scores > 0, axis=2)
        return found


def pose_name(clip_id: str) -> str:
    """Return the file name of a clip's poses: `<clip_id>.npz`."""
    return f"{clip_id}.npz"


def pose_of(clip: Path) -> Path:
    """Return the path of a clip's poses, given the path of the clip's file."""
    return beside(clip, "pose", pose_name(clip.stem))


def write_pose(file: IO[bytes], pose: Pose) -> None:
    """Write poses in the stored form; the same poses give the same bytes."""
    import numpy as np

    np.savez_compressed(
        file,
        keypoint=pose.keypoints.astype(np.float16),
        keypoint_score=pose.scores.astype(np.float16),
        frame_index=pose.frame_index.astype(np.int32),
        joints=np.array(pose.joints),
        img_shape=np.array([pose.height, pose.width], np.int32),
        total_frames=np.array(pose.total_frames, np.int32),
    )


def read_pose(path: Path) -> Pose:
    """Read stored poses.

    Raises:
        InputError: the file is missing, or does not hold poses in the stored form.
    """
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as stored:
            keypoint, score, frame_index, joints, shape, total = (stored[name] for name in _MEMBERS)
        pose = Pose(
            joints=tuple(str(name) for name in joints),
            keypoints=keypoint.astype(np.float32),
            scores=score.astype(np.float32),
            frame_index=frame_index.astype(np.int32),
            height=int(shape[0]),
            width=int(shape[1]),
            total_frames=int(total),
        )
    except (OSError, KeyError, ValueError, IndexError, EOFError, zipfile.BadZipFile) as error:
        raise InputError.at(path, None, f"holds no poses ({error})", "run dance pose again") from None
    if fault := fault_of(pose):
        raise InputError.at(path, None, fault, "run dance pose again")
    return pose


def fault_of(pose: Pose) -> str:
    """Tell what is wrong with poses: shapes that do not match, joints that lack, numbers that are none."""
    import numpy as np

    people, frames, joints = pose.scores.shape if pose.scores.ndim == 3 else (0, 0, 0)
    if not people * frames * joints or pose.keypoints.shape != (people, frames, joints, 2):
        shapes = f"keypoints {pose.keypoints.shape} and scores {pose.scores.shape}"
        return f"{shapes} are not [person, frame, joint, 2] and [person, frame, joint]"
    if len(pose.joints) != joints or pose.frame_index.shape != (frames,):
        return (
            f"{joints} joints and {frames} frames have {len(pose.joints)} names and "
            f"{pose.frame_index.size} frame numbers"
        )
    if missing := [name for name in COCO if name not in pose.joints]:
        return f"there is no joint {missing[0]}"
    if not (np.isfinite(pose.keypoints).all() and np.isfinite(pose.scores).all()):
        return "a coordinate or a score is not a number"
    if not pose.found.any():
        return "there is nobody in it"
    return ""


def to_coco(pose: Pose) -> Pose:
    """Keep COCO's 17 joints, in COCO's order."""
    if pose.joints == COCO:
        return pose
    places = [pose.joints.index(name) for name in COCO]
    return Pose(
        COCO,
        pose.keypoints[:, :, places],
        pose.scores[:, :, places],
        pose.frame_index,
        pose.height,
        pose.width,
        pose.total_frames,
    )


def stretch(pose: Pose, first: int, count: int) -> Pose:
    """Give the poses of some frames in a row, counted anew; the nearest ones if none of these has any."""
    import numpy as np

    inside = (pose.frame_index >= first) & (pose.frame_index < first + count)
    if not inside.any():
        inside[np.abs(pose.frame_index - first).argmin()] = True
    index = (pose.frame_index[inside] - first).clip(0, count - 1)
    keypoints, scores = pose.keypoints[:, inside], pose.scores[:, inside]
    return Pose(pose.joints, keypoints, scores, index, pose.height, pose.width, count)


def nearest_places(known: NDArray[np.integer], wanted: NDArray[np.integer]) -> NDArray[np.intp]:
    """Find for each wanted frame the known one that is nearest; of two as near, the earlier.

    Args:
        known: numbers of frames, ascending, of shape [n]; at least one.
        wanted: numbers of frames, of shape [m].

    Returns:
        Places in `known`, of shape [m].
    """
    import numpy as np

    after = np.searchsorted(known, wanted).clip(max=len(known) - 1)
    before = (after - 1).clip(min=0)
    return np.where(wanted - known[before] <= known[after] - wanted, before, after)


def torso_px(keypoints: NDArray[np.float32], joints: tuple[str, ...]) -> NDArray[np.float32]:
    """Measure the torso, from the middle of the shoulders to the middle of the hips, in pixels.

    Args:
        keypoints: of shape [people, frames, joints, 2], or with fewer axes before the last two.
        joints: their names.

    Returns:
        Of shape [people, frames], or as many axes as there were before the last two.
    """
    import numpy as np

    def middle(part: str) -> NDArray[np.float32]:
        both = [joints.index(f"left_{part}"), joints.index(f"right_{part}")]
        point: NDArray[np.float32] = keypoints[..., both, :].mean(axis=-2)
        return point

    length: NDArray[np.float32] = np.linalg.norm(middle("shoulder") - middle("hip"), axis=-1)
    return length
