from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dancecli.core.errors import InputError
from dancecli.core.video_files import clip_path
from dancecli.storage.pose_files import (
    BLAZEPOSE,
    COCO,
    Pose,
    fault_of,
    pose_of,
    read_pose,
    stretch,
    to_coco,
    torso_px,
    write_pose,
)


def made(people: int = 2, frames: int = 4, joints: tuple[str, ...] = BLAZEPOSE) -> Pose:
    numbers = np.arange(people * frames * len(joints) * 2, dtype=np.float32)
    return Pose(
        joints,
        (numbers % 331).reshape(people, frames, len(joints), 2),
        np.full((people, frames, len(joints)), 0.75, np.float32),
        np.arange(0, 2 * frames, 2, dtype=np.int32),
        256,
        340,
        2 * frames,
    )


def stored(path: Path, pose: Pose) -> Path:
    with path.open("wb") as file:
        write_pose(file, pose)
    return path


def test_stored_poses_come_back(tmp_path: Path) -> None:
    pose = made()
    found = read_pose(stored(tmp_path / "a.npz", pose))
    assert (found.joints, found.height, found.width, found.total_frames) == (BLAZEPOSE, 256, 340, 8)
    assert np.abs(found.keypoints - pose.keypoints).max() <= 0.125
    assert np.array_equal(found.scores, pose.scores)
    assert found.frame_index.tolist() == [0, 2, 4, 6]


def test_the_same_poses_give_the_same_bytes() -> None:
    one, two = io.BytesIO(), io.BytesIO()
    write_pose(one, made())
    write_pose(two, made())
    assert one.getvalue() == two.getvalue()


def test_a_pose_file_lies_beside_the_folder_of_the_clip() -> None:
    assert pose_of(Path("w") / clip_path("clips", "a_0_1.mp4")) == Path("w") / clip_path("pose", "a_0_1.npz")


def test_coco_joints_are_found_by_name() -> None:
    pose = made()
    coco = to_coco(pose)
    assert coco.joints == COCO
    for name in ("nose", "left_wrist", "right_ankle"):
        assert np.array_equal(
            coco.keypoints[:, :, COCO.index(name)], pose.keypoints[:, :, BLAZEPOSE.index(name)]
        )
    assert to_coco(coco) is coco


def test_a_torso_is_measured_between_the_middles() -> None:
    points = np.zeros((17, 2), np.float32)
    points[[5, 6]] = (0, 0), (10, 0)
    points[[11, 12]] = (2, 30), (8, 30)
    assert torso_px(points, COCO) == pytest.approx(30)


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut short"])
def test_a_file_that_holds_no_poses_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npz: holds no poses"):
        read_pose(path)


def test_pickles_are_not_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", keypoint=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="holds no poses"):
        read_pose(tmp_path / "a.npz")


def test_what_is_wrong_with_poses_is_told() -> None:
    pose = made()
    nan = pose.keypoints.copy()
    nan[0, 0, 0, 0] = np.nan
    assert fault_of(pose) == ""
    assert "are not [person, frame" in fault_of(replace(pose, keypoints=pose.keypoints[:1]))
    assert "have 33 names and 1 frame numbers" in fault_of(replace(pose, frame_index=np.zeros(1, np.int32)))
    assert fault_of(replace(pose, joints=("x", *BLAZEPOSE[1:]))) == "there is no joint nose"
    assert "not a number" in fault_of(replace(pose, keypoints=nan))
    assert fault_of(replace(pose, scores=np.zeros_like(pose.scores))) == "there is nobody in it"


def test_a_stretch_has_the_poses_of_its_frames_or_the_nearest() -> None:
    index = np.array([0, 2, 4, 6, 20], np.int32)
    points = np.broadcast_to(index[None, :, None, None], (1, 5, 17, 2)).astype(np.float32)
    whole = Pose(COCO, points, np.ones((1, 5, 17), np.float32), index, 96, 128, 30)
    part = stretch(whole, 2, 4)
    assert (part.frame_index.tolist(), part.total_frames) == ([0, 2], 4)
    assert part.keypoints[0, :, 0, 0].tolist() == [2, 4]
    assert part.scores.shape == (1, 2, 17)
    gap = stretch(whole, 8, 3)
    assert (gap.frame_index.tolist(), gap.keypoints[0, :, 0, 0].tolist()) == ([0], [6])
    late = stretch(whole, 25, 5)
    assert (late.frame_index.tolist(), late.keypoints[0, :, 0, 0].tolist()) == ([0], [20])
