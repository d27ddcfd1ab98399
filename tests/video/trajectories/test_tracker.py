"""Trajectories of moved pictures: they follow, and the motion of a camera leaves none."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from dancecli.core.flow_format import FlowMethod
from dancecli.storage.pose_files import COCO, Pose
from dancecli.video.optical_flow import estimator
from dancecli.video.trajectories.camera import PeopleMasks, without_camera
from dancecli.video.trajectories.estimate import VideoTrajectories, find_trajectories, method_name
from dancecli.video.trajectories.tracker import LENGTH, Trajectories, is_kept, track

WIDTH, HEIGHT, FRAMES = 192, 144, 20
STEP = np.array([2.0, -1.5])
RNG = np.random.default_rng(3)


def texture(width: int, height: int) -> np.ndarray:
    small = RNG.integers(0, 255, (height // 3, width // 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


SCENE = texture(3 * WIDTH, 3 * HEIGHT)
THING = texture(60, 54)


def moved(picture: np.ndarray, by: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.warpAffine(picture, np.array([[1, 0, by[0]], [0, 1, by[1]]]), size, flags=cv2.INTER_CUBIC)


def scene(i: int, pan: np.ndarray) -> np.ndarray:
    return moved(SCENE, np.array([-WIDTH, -HEIGHT]) + i * pan, (WIDTH, HEIGHT))


def pan(step: np.ndarray) -> Iterator[np.ndarray]:
    """A camera that turns over a still scene."""
    return (scene(i, step) for i in range(FRAMES))


def thing_in_scene(
    step: np.ndarray, camera: np.ndarray, thing: np.ndarray = THING, start: tuple[int, int] = (50, 70)
) -> Iterator[np.ndarray]:
    """A thing that moves by a step a frame before a scene that moves as the camera does."""
    for i in range(FRAMES):
        place = np.array(start) + i * step
        picture = scene(i, camera)
        there = moved(np.full_like(thing, 255), place, (WIDTH, HEIGHT)) > 127
        picture[there] = moved(thing, place, (WIDTH, HEIGHT))[there]
        yield picture


def within(found: Trajectories) -> np.ndarray:
    """Which trajectories are of the thing, and not at its border, where they see the scene too."""
    first = found.places[:, 0]
    return ((first > [68, 80]) & (first < [98, 110])).all(axis=1)


def result(steps: Generator[int, None, Trajectories]) -> tuple[Trajectories, int]:
    done = 0
    while True:
        try:
            done += next(steps)
        except StopIteration as end:
            return end.value, done


def tracked(pictures: Iterator[np.ndarray], **options: Any) -> Trajectories:
    return result(track(pictures, estimator(FlowMethod.DIS), **options))[0]


@pytest.mark.parametrize("camera", [np.zeros(2), np.array([-1.0, 1.0])])
def test_trajectories_follow_what_moves(camera: np.ndarray) -> None:
    found = tracked(thing_in_scene(STEP, camera))
    steps = np.diff(found.places, axis=1).mean(axis=1)
    inside = within(found)
    assert inside.sum() > 20
    assert np.abs(steps[inside] - STEP).max() < 0.2


def test_the_shape_is_the_way_beyond_the_cameras() -> None:
    camera = np.array([-1.0, 1.0])
    found = tracked(thing_in_scene(STEP, camera))
    shape = np.median(found.shape[within(found)], axis=0).reshape(LENGTH, 2)
    own = STEP - camera
    assert np.abs(shape - own / np.linalg.norm(own) / LENGTH).max() < 0.01
    assert np.allclose(np.linalg.norm(found.shape.reshape(-1, LENGTH, 2), axis=2).sum(axis=1), 1, atol=1e-4)


def test_a_camera_that_pans_leaves_almost_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    step = np.array([3.0, -2.0])
    left = len(tracked(pan(step)).shape)
    monkeypatch.setattr("dancecli.video.trajectories.tracker.without_camera", lambda _, field, __: field)
    every = len(tracked(pan(step)).shape)
    assert every > 500
    assert left <= every // 100


def test_a_still_picture_and_a_short_clip_leave_nothing() -> None:
    assert len(tracked(pan(np.zeros(2))).shape) == 0
    short = tracked(iter(list(thing_in_scene(STEP, np.zeros(2)))[:LENGTH]))
    assert short.shape.shape == (0, 2 * LENGTH)
    assert {name: values.shape for name, values in short.descriptors.items()} == {
        "hog": (0, 96),
        "hof": (0, 108),
        "mbhx": (0, 96),
        "mbhy": (0, 96),
    }


def test_all_pairs_of_frames_are_reported() -> None:
    assert result(track(pan(STEP), estimator(FlowMethod.DIS)))[1] == FRAMES - 1


def test_errors_of_tracking_are_left_out() -> None:
    line = np.arange(LENGTH + 1)[:, None] * np.array([2.0, 0.0])
    still, jump, wild = line * 0.1, line.copy(), line * 15
    jump[8:] += 200
    places = np.stack([line, still, jump, wild]).astype(np.float32)
    moves = np.diff(places, axis=1)
    assert is_kept(places, moves).tolist() == [True, False, False, False]
    assert not is_kept(places[:1], moves[:1] * 0.4).any()


def test_a_dancer_who_fills_the_picture_is_not_the_camera() -> None:
    """With most corners on a person, the homography is the person's unless poses say where it is."""
    person = texture(150, 114)
    one, two = list(thing_in_scene(STEP, np.zeros(2), person, (20, 15)))[:2]
    field = estimator(FlowMethod.DIS)(one, two)
    joints = np.zeros((1, 1, len(COCO), 2), np.float32)
    joints[0, 0, :, 0], joints[0, 0, :, 1] = np.linspace(43, 147, 17), np.linspace(36, 107, 17)
    pose = Pose(COCO, joints, np.ones((1, 1, 17), np.float32), np.zeros(1, np.int32), HEIGHT, WIDTH, 75)
    mask = PeopleMasks(pose, 75, Fraction(25)).mask(3, one.shape)
    assert np.abs(without_camera(one, field)[70, 95]).max() < 0.2
    assert np.abs(without_camera(one, field, mask)[70, 95] - STEP).max() < 0.3


def test_people_are_left_out_of_a_video_whatever_the_order_of_its_pictures(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"qp": "8"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for picture in thing_in_scene(STEP, np.zeros(2), texture(150, 114), (10, 25)):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="gray")))
        file.mux(stream.encode(None))
    numbers = np.arange(FRAMES, dtype=np.int32)
    joints = np.zeros((1, FRAMES, len(COCO), 2), np.float32)
    joints[0, :, :, 0] = np.linspace(33, 137, 17) + STEP[0] * numbers[:, None]
    joints[0, :, :, 1] = np.linspace(46, 117, 17) + STEP[1] * numbers[:, None]
    pose = Pose(COCO, joints, np.ones((1, FRAMES, 17), np.float32), numbers, HEIGHT, WIDTH, FRAMES)
    video = VideoTrajectories(path, method_name(FlowMethod.DIS))
    pictures = [picture for _, _, picture in video.frames()]
    stored, _ = result(find_trajectories(path, FRAMES, Fraction(25), FlowMethod.DIS, pose))
    found = video.describe(pictures, pose, range(FRAMES))
    assert np.array_equal(found["hof"], stored.descriptors["hof"].astype(np.float16).astype(np.float32))
    assert len(found["shape"]) > len(video.describe(pictures)["shape"])
    # Backwards, the first picture has the people of the last.
    backwards = video.describe(pictures[::-1], pose, range(FRAMES)[::-1])
    of_backwards = replace(pose, keypoints=joints[:, ::-1])
    assert np.array_equal(
        backwards["hof"], video.describe(pictures[::-1], of_backwards, range(FRAMES))["hof"]
    )
    assert not np.array_equal(backwards["hof"], video.describe(pictures[::-1], pose, range(FRAMES))["hof"])


def test_masks_scale_with_the_picture_and_leave_out_guesses() -> None:
    joints = np.zeros((2, 2, 17, 2), np.float32)
    joints[0, 1, :, 0], joints[0, 1, :, 1] = np.linspace(100, 140, 17), np.linspace(50, 150, 17)
    scores = np.zeros((2, 2, 17), np.float32)
    scores[0, 1] = 0.9
    pose = Pose(COCO, joints, scores, np.array([0, 50], np.int32), 200, 300, 75)
    masks = PeopleMasks(pose, 75, Fraction(25))
    assert (masks.mask(10, (100, 150)) == 255).all()
    where = np.argwhere(masks.mask(60, (100, 150)) == 0)
    assert where.min(axis=0).tolist() == [15, 40]
    assert where.max(axis=0).tolist() == [85, 80]
