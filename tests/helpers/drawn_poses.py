"""Poses of the demo's drawn dancers, as `dance pose` would store them if it made no mistake."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from dancecli.core.hashing import sha256_file
from dancecli.core.records import Clip, ClipPose
from dancecli.demo import scene
from dancecli.demo.choreography import STYLES
from dancecli.demo.keyed_random import KeyedRandom
from dancecli.demo.renderer import VideoSpec, beats_per_minute
from dancecli.demo.skeleton import Joint, joints
from dancecli.storage import tables
from dancecli.storage.pose_files import COCO, Pose, pose_of, write_pose
from dancecli.storage.workspace import Workspace
from dancecli.video.pose.estimate import frames_of_poses

J = Joint
PLACES = (
    *(J.FACE, J.FACE, J.FACE, J.HEAD, J.HEAD, J.SHOULDER_L, J.SHOULDER_R, J.ELBOW_L, J.ELBOW_R),
    *(J.HAND_L, J.HAND_R, J.HIP_L, J.HIP_R, J.KNEE_L, J.KNEE_R, J.ANKLE_L, J.ANKLE_R),
)


def drawn_pose(spec: VideoSpec) -> Pose:
    """The dancer's poses in a video of the demo, joints where the renderer puts them."""
    rng = KeyedRandom(spec.key)
    seconds = np.arange(spec.num_frames) / spec.fps
    camera = scene.camera_of(rng, spec.width, spec.height)
    motion = camera.motion(seconds)
    beats = seconds * beats_per_minute(spec.key) / 60 + 16 * rng.random("first beat")
    body = joints(STYLES[spec.style](beats, rng), rng.uniform("height", 0.94, 1.06))
    flat, _ = camera.project(body)
    points = np.einsum("tij,tkj->tki", motion[:, :, :2], flat) + motion[:, None, :, 2]
    points = points[:, list(PLACES)]
    if rng.chance("mirror", 0.5):
        # What is left in a mirrored picture is right of the body that is seen.
        points = mirrored(points, spec.width)
    kept = np.array(frames_of_poses(spec.num_frames, Fraction(spec.fps)), np.int32)
    keypoints = points[None, kept].astype(np.float32)
    return Pose(
        COCO,
        keypoints,
        np.ones(keypoints.shape[:3], np.float32),
        kept,
        spec.height,
        spec.width,
        spec.num_frames,
    )


def mirrored(points: np.ndarray, width: float) -> np.ndarray:
    """Mirror points [..., 17, 2] of a picture; the joints of the two sides change places."""
    swapped = [
        COCO.index(name.replace("left", "@").replace("right", "left").replace("@", "right")) for name in COCO
    ]
    found = points[..., swapped, :].copy()
    found[..., 0] = width - found[..., 0]
    return found


def store_poses(workspace: Workspace, poses: Mapping[str, Pose]) -> None:
    """Store the poses of clips, as `dance pose` does."""
    rows = []
    for clip in tables.read(workspace.clips, Clip):
        if clip.clip_id in poses:
            path = pose_of(workspace.root / clip.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                write_pose(file, poses[clip.clip_id])
            rows.append(
                ClipPose(
                    clip.clip_id, path.relative_to(workspace.root).as_posix(), sha256_file(path),
                    path.stat().st_size, clip.sha256, "drawn", "tests", 1, 1, 1, 1.0, 1.0,
                )
            )  # fmt: skip
    tables.write(workspace.poses, ClipPose, rows)
