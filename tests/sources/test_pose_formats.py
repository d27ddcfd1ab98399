from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dancecli.core.errors import InputError
from dancecli.sources.pose_formats import ForeignPose, RefusedPose, files_of, read_poses

POINTS = np.arange(2 * 5 * 17 * 2, dtype=np.float32).reshape(2, 5, 17, 2)


def pickled(path: Path, content: Any) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


def poses(path: Path) -> list[ForeignPose]:
    found = list(read_poses(path))
    assert all(isinstance(one, ForeignPose) for one in found), found
    return [one for one in found if isinstance(one, ForeignPose)]


def refusals(path: Path) -> list[str]:
    return [one.reason for one in read_poses(path) if isinstance(one, RefusedPose)]


def annotation(**changed: Any) -> dict[str, Any]:
    scores = np.full((2, 5, 17), 0.5, np.float16)
    scores[1] = 0.75
    facts = {
        "frame_dir": "a_0_1000",
        "label": 3,
        "img_shape": (256, 340),
        "total_frames": 5,
        "keypoint": POINTS.astype(np.float16),
        "keypoint_score": scores,
    }
    return {**facts, **changed}


@pytest.mark.parametrize("wrap", [lambda a: {"split": {}, "annotations": [a]}, lambda a: [a], lambda a: a])
def test_mmaction_pickles_in_all_their_forms(tmp_path: Path, wrap: Any) -> None:
    (found,) = poses(pickled(tmp_path / "a.pkl", wrap(annotation())))
    assert (found.name, found.kind, found.size) == ("a_0_1000", "MMAction2", (340, 256))
    # The person with the higher scores is first.
    assert np.array_equal(found.keypoints[0], POINTS[1])
    assert found.scores[:, 0, 0].tolist() == [0.75, 0.5]


def test_entries_that_do_not_fit_are_refused_one_by_one(tmp_path: Path) -> None:
    entries = [
        annotation(keypoint=np.zeros((2, 5, 25, 3), np.float32)),
        annotation(keypoint_score=np.zeros((2, 4, 17), np.float32)),
        {"label": 3},
        annotation(),
    ]
    path = pickled(tmp_path / "ntu.pkl", {"split": {}, "annotations": entries})
    assert refusals(path) == [
        "keypoint of shape (2, 5, 25, 3) is not [person, frame, 17, 2]",
        "keypoint_score of shape (2, 4, 17) does not fit the keypoints",
        "names no clip (frame_dir)",
    ]
    assert sum(isinstance(one, ForeignPose) for one in read_poses(path)) == 1


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("/tmp/dance-pickle-was-run"),)


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    path = pickled(tmp_path / "a.pkl", annotation(label=Hostile()))
    with pytest.raises(InputError, match=r"a\.pkl: is not a pickle of plain arrays \(it asks for pathlib"):
        list(read_poses(path))
    assert not Path("/tmp/dance-pickle-was-run").exists()


def test_aist_has_a_pose_for_each_camera(tmp_path: Path) -> None:
    cameras = np.zeros((9, 4, 17, 3))
    cameras[..., 2] = 0.9
    cameras[4, :, :, 0] = 100
    cameras[4, 0, 0] = np.nan
    content = {"keypoints2d": cameras, "det_scores": np.ones((9, 4)), "timestamps": np.arange(4)}
    found = poses(pickled(tmp_path / "gBR_sBM_cAll_d04_mBR0_ch01.pkl", content))
    assert [one.camera for one in found] == list(range(1, 10))
    assert found[4].keypoints[0, 1, 0].tolist() == [100, 0]
    assert (found[4].scores[0, 0, 0], found[4].size, found[4].fps) == (0, (1920, 1080), 60)


def row(frame: int, x: float, **more: Any) -> dict[str, Any]:
    return {"image_id": frame, "keypoints": [x, 1.0, 0.8] * 17, "score": 1.0, **more}


def test_a_list_of_results_is_a_clip_named_after_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a_0_1000.json"
    rows = [row(1, 10), row(1, 50, score=2.0), row(3, 12, score=0.5)]
    path.write_text(json.dumps(rows))
    (found,) = poses(path)
    assert (found.name, found.keypoints.shape) == ("a_0_1000", (2, 3, 17, 2))
    # Without tracks the best of a frame comes first; frames that start at 1 are counted from 0.
    assert found.keypoints[0, :, 0, 0].tolist() == [50, 0, 12]
    assert found.scores[0, :, 0].tolist() == pytest.approx([0.8, 0, 0.8])


def test_tracks_keep_people_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([row(0, 10, track_id=7), row(0, 50, track_id=4), row(1, 51, track_id=4)]))
    (found,) = poses(path)
    assert found.keypoints[:, :, 0, 0].tolist() == [[50, 51], [10, 0]]


def test_a_data_set_of_several_clips_is_divided_by_folder(tmp_path: Path) -> None:
    path = tmp_path / "person_keypoints.json"
    images = [
        {"id": 11, "file_name": "one/0001.jpg", "width": 640, "height": 480},
        {"id": 12, "file_name": "two/0001.jpg", "width": 640, "height": 480},
    ]
    marks = [{"image_id": i, "keypoints": [5, 6, v] * 17} for i, v in ((11, 2), (12, 1))]
    path.write_text(json.dumps({"images": images, "annotations": marks}))
    one, two = poses(path)
    assert (one.name, one.size, one.scores.max()) == ("one", (640, 480), 1)
    assert two.name == "two"


@pytest.mark.parametrize(
    ("frames", "placed"),
    [
        # Nobody is in the first frames of the first clip; the second tells how frames are counted.
        ({"one": [2, 3], "two": [1, 2]}, {"one": [1, 2], "two": [0, 1]}),
        ({"one": [1, 2], "two": [0, 1]}, {"one": [1, 2], "two": [0, 1]}),
    ],
)
def test_frames_are_counted_in_one_way_in_all_clips_of_a_file(
    tmp_path: Path, frames: dict[str, list[int]], placed: dict[str, list[int]]
) -> None:
    path = tmp_path / "results.json"
    rows = [row(0, 10) | {"image_id": f"{clip}/{i:04d}.jpg"} for clip, of in frames.items() for i in of]
    path.write_text(json.dumps(rows))
    assert {one.name: np.flatnonzero(one.scores[0, :, 0]).tolist() for one in poses(path)} == placed


@pytest.mark.parametrize(("start", "placed"), [(1, [1, 2]), (0, [1, 2])])
def test_the_images_of_a_data_set_tell_how_frames_are_counted(
    tmp_path: Path, start: int, placed: list[int]
) -> None:
    path = tmp_path / "set.json"
    images = [{"id": 90 + i, "file_name": f"one/{start + i:04d}.jpg"} for i in range(4)]
    marks = [{"image_id": 90 + i, "keypoints": [5, 6, 2] * 17} for i in (1, 2)]
    path.write_text(json.dumps({"images": images, "annotations": marks}))
    (found,) = poses(path)
    assert np.flatnonzero(found.scores[0, :, 0]).tolist() == placed


def test_entries_without_seventeen_joints_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([row(0, 1), {"image_id": 0, "keypoints": [1, 2, 3]}, {"image_id": "x.jpg"}]))
    assert refusals(path) == ["2 entries have no frame number or not 17 keypoints"]


def test_numbers_of_pictures_are_not_numbers_of_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([row(391_895, 1)]))
    assert refusals(path) == ["its image ids are not numbers of frames"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b"{", "is not readable JSON"),
        ("a.json", b'"text"', "holds no list of keypoints"),
        ("a.json", b"\xff\xfe", "is not readable JSON"),
        ("a.pkl", b"cut", "is not a pickle of plain arrays"),
        ("a.pkl", pickle.dumps({"joints": 3}), "holds no poses in a format that is read"),
    ],
)
def test_a_broken_file_is_one_sentence(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        list(read_poses(tmp_path / name))


def test_pictures_of_poses_are_no_keypoints(tmp_path: Path) -> None:
    (tmp_path / "densepose").mkdir()
    (tmp_path / "densepose" / "a_0001.jpg").touch()
    with pytest.raises(InputError, match="holds pictures, and no keypoints") as caught:
        files_of(tmp_path)
    assert "Let's Dance" in caught.value.hint
    with pytest.raises(InputError, match="no such file"):
        files_of(tmp_path / "none")
