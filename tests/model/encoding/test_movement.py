"""Movement as a vector: the same wherever, however large and whenever somebody dances, and in a mirror."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.drawn_poses import drawn_pose, mirrored

from dancecli.demo.choreography import STYLES
from dancecli.demo.renderer import VideoSpec
from dancecli.model.encoding.movement import movement_vector
from dancecli.storage.pose_files import COCO, Pose

FPS = 25.0


def pose_of(style: str, key: str, seconds: float = 8.0) -> Pose:
    return drawn_pose(VideoSpec(key, style, seconds))


def vector(pose: Pose) -> np.ndarray:
    found = movement_vector(pose, FPS)
    assert found is not None
    return found


@pytest.mark.parametrize("style", ["salsa dancing", "breakdancing", "robot dancing"])
def test_place_size_and_mirror_do_not_count(style: str) -> None:
    pose = pose_of(style, "one")
    same = vector(pose)
    moved = replace(pose, keypoints=pose.keypoints * 2.5 + np.array([40, -90], np.float32))
    assert vector(moved) == pytest.approx(same, abs=1e-3)
    flipped = replace(pose, keypoints=mirrored(pose.keypoints, pose.width))
    assert vector(flipped) == pytest.approx(same, abs=1e-3)


def test_a_joint_that_is_hidden_for_a_while_is_bridged() -> None:
    pose = pose_of("salsa dancing", "one")
    hidden = replace(pose, scores=pose.scores.copy())
    hidden.scores[0, 10:14, COCO.index("left_wrist")] = 0.0
    hidden.keypoints[0, 10:14, COCO.index("left_wrist")] = pose.keypoints[0, 9, COCO.index("left_wrist")]
    other = vector(pose_of("breakdancing", "one"))
    same = vector(pose)
    assert np.abs(vector(hidden) - same).sum() < 0.2 * np.abs(other - same).sum()


def test_the_nearest_clip_is_mostly_of_the_same_dance() -> None:
    made = [(style, vector(pose_of(style, f"{style}{i}"))) for style in STYLES for i in range(6)]
    values = np.stack([one for _, one in made])
    values = (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-6)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    cosines = values @ values.T
    np.fill_diagonal(cosines, -2)
    right = [made[i][0] == made[j][0] for i, j in enumerate(cosines.argmax(axis=1))]
    # By chance one in nine or ten.
    assert np.mean(right) > 0.7


def test_too_little_to_see_is_no_movement() -> None:
    pose = pose_of("salsa dancing", "one", seconds=0.4)
    assert movement_vector(pose, FPS) is None
    unseen = pose_of("salsa dancing", "one")
    assert movement_vector(replace(unseen, scores=unseen.scores * 0.1), FPS) is None
