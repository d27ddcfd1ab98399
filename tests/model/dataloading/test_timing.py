from __future__ import annotations

import pytest

from dancecli.model.dataloading.timing import timing_notes

ROW = {"type": "SampleFrames", "clip_len": 32, "frame_interval": 2}
RATES = [(500, 10.0), (3000, 60.0)]


def test_rates_that_differ_change_the_time_of_a_view() -> None:
    (note,) = timing_notes(RATES, ROW)
    assert note == (
        "frame rates of the clips differ (10 to 60 fps): a view of 32x2 frames lasts 1.1 to 6.4 s; "
        "--set fps=25 makes them equal"
    )


@pytest.mark.parametrize(
    ("lengths", "sampler"),
    [
        (RATES, ROW | {"target_fps": 25}),
        ([(500, 23.976), (500, 25.0)], ROW),
        ([(500, 10.0), (500, 11.0)], ROW),
        # One frame of the whole clip, and not one after the other.
        ([(1, 25.0)], {"type": "SampleFrames", "clip_len": 1, "frame_interval": 8}),
        (RATES, {"type": "UniformSample", "clip_len": 8, "num_clips": 1}),
        (RATES, {"type": "SampleFrames", "clip_len": 1, "frame_interval": 1, "num_clips": 8}),
        ([], ROW),
        ([(64, 25.0)], ROW),
    ],
)
def test_where_nothing_changes_nothing_is_said(lengths: list[tuple[int, float]], sampler: dict) -> None:
    assert list(timing_notes(lengths, sampler)) == []


@pytest.mark.parametrize(
    ("sampler", "what"),
    [
        (ROW, "shorter than a view of 32x2 frames: their frames repeat"),
        # 64 frames at 25 fps are 128 at 50.
        (ROW | {"target_fps": 25}, "shorter than a view of 32x2 frames at 25 fps: their frames repeat"),
        ({"type": "UniformSample", "clip_len": 64}, "shorter than a view of 64 frames: their frames repeat"),
    ],
)
def test_clips_shorter_than_a_view_are_counted(sampler: dict, what: str) -> None:
    lengths = [(63, 50.0), (300, 50.0), (130, 50.0)]
    assert list(timing_notes(lengths, sampler)) == [f"1 of 3 clips are {what}"]


def test_frames_follow_each_other_where_no_distance_is_set() -> None:
    sampler = {"type": "SampleFrames", "clip_len": 2}
    assert list(timing_notes([(2, 25.0)], sampler)) == []
    (note,) = timing_notes([(500, 10.0), (500, 12.0)], sampler)
    assert "a view of 2x1 frames lasts 0.17 to 0.2 s" in note
