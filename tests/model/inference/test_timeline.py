from __future__ import annotations

import itertools
import math

import pytest

from dancecli.model.inference.timeline import _SWITCH_COST, Scored, Segment, mean_scores, segments, slots


def windows(*tops: tuple[int, float], classes: int = 3, window: float = 10.0) -> list[Scored]:
    """Overlapping windows, each with its likeliest class and that class's probability."""
    found = []
    for i, (top, p) in enumerate(tops):
        rest = (1 - p) / (classes - 1)
        scores = tuple(p if j == top else rest for j in range(classes))
        found.append(Scored(i * window / 2, i * window / 2 + window, scores))
    return found


def test_a_slot_is_the_mean_of_the_windows_over_it():
    found = slots(windows((0, 1.0), (1, 1.0)))
    assert [(s.start_s, s.end_s) for s in found] == [(0, 5), (5, 10), (10, 15)]
    assert [s.scores[0] for s in found] == [1.0, 0.5, 0.0]
    assert mean_scores(found) == pytest.approx((0.5, 0.5, 0))


def test_a_stretch_is_the_mean_of_the_slots_in_it():
    parts = slots(windows(*[(i % 3, 0.8) for i in range(40)]))
    for first, last in itertools.combinations(range(len(parts) + 1), 2):
        inside = parts[first:last]
        found = mean_scores(parts, inside[0].start_s, inside[-1].end_s)
        # All slots are of one length.
        assert found == pytest.approx([sum(s.scores[i] for s in inside) / len(inside) for i in range(3)])


def test_one_window_gives_one_segment():
    assert segments(windows((2, 0.8))) == [Segment(0, 10, 2, pytest.approx(0.8))]
    assert mean_scores(slots(windows((2, 0.8)))) == pytest.approx((0.1, 0.1, 0.8))


def test_a_change_of_style_is_found_where_it_is():
    found = segments(windows(*[(0, 0.9)] * 6, *[(1, 0.9)] * 6))
    assert [(s.label_index, s.start_s, s.end_s) for s in found] in (
        [(0, 0, 30), (1, 30, 65)],
        [(0, 0, 35), (1, 35, 65)],
    )
    assert found[0].probability > 0.8


def test_a_doubtful_blip_is_smoothed_away_and_a_sure_one_is_not():
    def blip(p: float, n: int) -> list[int]:
        return [s.label_index for s in segments(windows(*[(0, 0.9)] * 4, *[(1, p)] * n, *[(0, 0.9)] * 4))]

    assert blip(0.6, 1) == [0]
    assert blip(0.99, 4) == [0, 1, 0]


def test_a_stretch_between_two_of_another_style_must_be_55_times_likelier():
    # Two changes cost 2 nats each: e^4 is 54.6.
    def styles(ratio: float) -> list[int]:
        p = ratio / (1 + ratio)
        return [s.label_index for s in segments(shaped([0.999, p, 0.999]))]

    def shaped(shares: list[float]) -> list[Scored]:
        rows = [(shares[0], 1 - shares[0]), (1 - shares[1], shares[1]), (shares[2], 1 - shares[2])]
        return [Scored(float(i), i + 1.0, row) for i, row in enumerate(rows)]

    assert styles(52.0) == [0]
    assert styles(57.0) == [0, 1, 0]


def test_a_gap_in_the_video_parts_two_segments():
    parts = [Scored(0, 10, (0.9, 0.1)), Scored(50, 60, (0.9, 0.1))]
    assert [(s.start_s, s.end_s) for s in segments(parts)] == [(0, 10), (50, 60)]


def test_the_course_is_the_likeliest_of_all():
    rows = [(0.5, 0.3, 0.2), (0.1, 0.8, 0.1), (0.6, 0.3, 0.1), (0.05, 0.05, 0.9), (0.1, 0.1, 0.8)]
    parts = [Scored(float(i), i + 1.0, row) for i, row in enumerate(rows)]

    def worth(path: tuple[int, ...]) -> float:
        changes = sum(a != b for a, b in itertools.pairwise(path))
        return sum(math.log(row[i]) for row, i in zip(rows, path, strict=True)) - _SWITCH_COST * changes

    best = max(itertools.product(range(3), repeat=len(rows)), key=worth)
    found = [i for s in segments(parts) for i in [s.label_index] * round(s.end_s - s.start_s)]
    assert tuple(found) == best
