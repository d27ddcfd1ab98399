from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from dancecli.storage.pose_files import BLAZEPOSE
from dancecli.video.pose.landmarks import Crop, Look
from dancecli.video.pose.tracker import NobodyFoundError, StartsDisagreeError, Tracker, Tracks

# Where the people of a frame are: the middle of each one's body.
Scene = Sequence[tuple[float, float]]
BODY = np.array([(i % 6 * 8.0 - 20, i // 6 * 12.0 - 36) for i in range(33)])


def at(x: float, y: float) -> np.ndarray[Any, Any]:
    """The joints of a body whose middle is here."""
    return BODY + np.array([x, y])


class Stage:
    """A network and a detector that know where people are; a picture holds its own number."""

    def __init__(self, scene_of: Callable[[int], Scene], *, blind: Callable[[int], bool] = lambda i: False):
        self.scene_of, self.blind = scene_of, blind
        self.asked = 0

    def look(self, picture: Any, crop: Crop) -> Look:
        scene = self.scene_of(int(picture[0, 0, 0]))
        near = [p for p in scene if np.hypot(p[0] - crop.x, p[1] - crop.y) < crop.side / 2]
        if not near:
            return Look(at(crop.x, crop.y), np.full(33, 0.1), 0.1, crop)
        x, y = min(near, key=lambda p: np.hypot(p[0] - crop.x, p[1] - crop.y))
        return Look(at(x, y), np.full(33, 0.9), 0.99, Crop(x, y, 100))

    def find(self, picture: Any) -> list[Crop]:
        self.asked += 1
        i = int(picture[0, 0, 0])
        return [] if self.blind(i) else [Crop(x, y, 100) for x, y in self.scene_of(i)]


def follow(stage: Stage, num_frames: int = 60, people: int = 2, detector: bool = True) -> Tracks:
    pictures = (np.full((240, 640, 3), i, np.uint8) for i in range(num_frames))
    run = Tracker(stage, stage if detector else None, people).follow(pictures, num_frames)
    reported = 0
    while True:
        try:
            reported += next(run)
        except StopIteration as end:
            assert reported == num_frames
            tracks: Tracks = end.value
            return tracks


def middles(tracks: Tracks) -> list[list[float]]:
    """Where each person was, frame by frame; nan where lost."""
    x = np.where(tracks.scores[:, :, 0] > 0, tracks.keypoints[:, :, 0, 0] - BODY[0, 0], np.nan)
    return [[float(value) for value in person] for person in x]


def test_a_person_is_followed_and_a_second_start_agrees() -> None:
    tracks = follow(Stage(lambda i: [(100 + 2 * i, 120)]))
    assert middles(tracks) == [[100.0 + 2 * i for i in range(60)]]
    assert tracks.keypoints.shape == (1, 60, len(BLAZEPOSE), 2)
    assert tracks.agreement == 1


def test_two_people_are_kept_apart_and_the_one_who_stays_is_first() -> None:
    scene = lambda i: [(500 - i, 120), (100 + i, 120)] if i < 40 else [(100 + i, 120)]  # noqa: E731
    first, second = middles(follow(Stage(scene)))
    assert first == [100.0 + i for i in range(60)]
    assert second[:40] == [500.0 - i for i in range(40)]
    assert np.isnan(second[40:]).all()


def test_no_more_people_are_followed_than_asked_for() -> None:
    stage = Stage(lambda i: [(100, 120), (300, 120), (500, 120)])
    assert len(middles(follow(stage, people=2))) == 2
    assert len(middles(follow(stage, people=3))) == 3


def test_without_a_detector_the_main_dancer_alone_is_followed() -> None:
    stage = Stage(lambda i: [(320, 120), (100, 120)])
    assert len(middles(follow(stage, people=2, detector=False))) == 1
    assert stage.asked == 0


def test_someone_who_comes_later_is_found() -> None:
    _, late = middles(follow(Stage(lambda i: [(100, 120), (500, 120)] if i >= 20 else [(100, 120)])))
    assert np.isnan(late[:20]).all()
    assert not np.isnan(late[24:]).any()


def test_someone_who_is_lost_and_comes_back_nearby_is_the_same_person() -> None:
    found = middles(follow(Stage(lambda i: [] if 20 <= i < 26 else [(300, 120)])))
    assert len(found) == 1
    assert np.isnan(found[0][20:26]).all()
    assert not np.isnan(found[0][26:]).any()


def test_two_tracks_that_come_to_be_on_one_person_are_one() -> None:
    scene = lambda i: [(200, 120), (320, 120)] if i < 10 else [(200, 120)]  # noqa: E731

    class Jumping(Stage):
        def look(self, picture: Any, crop: Crop) -> Look:
            # Once alone, the remaining person is found from both crops.
            return super().look(picture, Crop(crop.x, crop.y, 400))

    first, *others = middles(follow(Jumping(scene)))
    assert not np.isnan(first).any()
    assert all(np.isnan(other[10:]).all() for other in others)


def test_an_empty_stage_has_nobody() -> None:
    with pytest.raises(NobodyFoundError, match="nobody was found"):
        follow(Stage(lambda i: []))


def test_what_is_seen_for_a_moment_only_is_dropped() -> None:
    with pytest.raises(NobodyFoundError):
        follow(Stage(lambda i: [(300, 120)] if i in (8, 9, 30, 31, 32) else []))


def test_starts_that_disagree_are_an_error() -> None:
    class Sticky(Stage):
        """The first track stays where it started, on nobody; the detector shows somebody elsewhere."""

        def look(self, picture: Any, crop: Crop) -> Look:
            if crop.x < 200:
                return Look(at(100, 120), np.full(33, 0.9), 0.99, Crop(100, 120, 100))
            return super().look(picture, crop)

    stage = Sticky(lambda i: [(100, 120)] if i == 0 else [(500, 120)])
    with pytest.raises(StartsDisagreeError, match="two starts disagree: 0% of the joints"):
        follow(stage, people=1)


def test_a_track_that_cannot_be_compared_is_an_error() -> None:
    with pytest.raises(StartsDisagreeError, match="somebody was found in 6 of 60 frames, too few"):
        follow(Stage(lambda i: [(300, 120)] if i < 6 else []))
