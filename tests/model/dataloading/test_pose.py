"""Poses as a network takes them."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dancecli.model.dataloading.pose import held
from dancecli.storage.pose_files import COCO, Pose
from dancecli.video.trajectories.camera import PeopleMasks


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_people_keep_the_joints_of_the_nearest_frame_and_of_two_the_earlier(there: list[bool]) -> None:
    keypoints = np.arange(len(there), dtype=np.float32)[None, :, None, None]
    known = np.flatnonzero(there)
    nearest = [int(known[np.abs(known - i).argmin()]) if known.size else i for i in range(len(there))]
    assert held(keypoints, np.array([there])).ravel().tolist() == nearest


def test_a_long_clip_needs_no_table_of_all_pairs_of_its_frames() -> None:
    keypoints = np.zeros((1, 6000, 17, 2), np.float32)
    tracemalloc.start()
    held(keypoints, np.ones((1, 6000), bool))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * keypoints.nbytes


def test_people_are_masked_in_a_long_video_without_such_a_table() -> None:
    index = np.arange(0, 6000, 2, dtype=np.int32)
    points, scores = np.zeros((1, 3000, 17, 2), np.float32), np.zeros((1, 3000, 17), np.float32)
    pose = Pose(COCO, points, scores, index, 256, 340, 6000)
    tracemalloc.start()
    PeopleMasks(pose, 6000, Fraction(25))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000
