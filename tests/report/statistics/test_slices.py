"""Accuracy by slice: what is called worse, by simulation, and what a slice holds."""

from __future__ import annotations

import numpy as np
import pytest

from dancecli.report.statistics import slices
from dancecli.report.statistics.significance import method_interval
from dancecli.report.statistics.slices import slice_accuracy, worst_slices


def test_a_slice_has_its_clips_the_rest_and_what_its_classes_give() -> None:
    hits = np.array([True, True, False, False, True, False])
    truth = np.array([0, 0, 0, 1, 1, 1])
    found = slice_accuracy(
        hits[None], truth, list("abcdef"), {"sound": ["yes", "yes", "no", "no", "no", ""], "one": ["x"] * 6}
    )
    assert [(s.attribute, s.value, s.top1.k, s.top1.n, s.rest.k, s.rest.n) for s in found] == [
        ("sound", "no", 1, 3, 2, 2),
        ("sound", "yes", 2, 2, 1, 3),
    ]
    # Two thirds of class 0 and one third of class 1 are right.
    assert found[0].expected == pytest.approx((2 / 3 + 1 / 3 + 1 / 3) / 3)
    assert worst_slices(found) == []


def test_of_several_runs_a_slice_is_the_mean_and_its_interval_covers_seeds() -> None:
    rng = np.random.default_rng(2)
    hits = rng.random((3, 120)) < np.repeat([0.5, 0.9], 60)
    values = ["dark"] * 60 + ["light"] * 60
    found = slice_accuracy(hits, np.zeros(120, int), [str(i) for i in range(120)], {"light": values})
    assert [s.top1.text for s in found] == ["mean of 3", "mean of 3"]
    assert found[0].top1.estimate == method_interval(hits[:, :60], [str(i) for i in range(60)])
    assert [s.value for s in worst_slices(found)] == ["dark"]


def test_values_are_in_the_order_of_their_numbers() -> None:
    values = ["1080p and more", "below 240p", "240-359p", "unknown", "below 240p", "720-1079p"]
    found = slice_accuracy(np.ones((1, 6), bool), np.zeros(6, int), list("abcdef"), {"size": values})
    assert [s.value for s in found] == ["below 240p", "240-359p", "720-1079p", "1080p and more", "unknown"]


def test_a_slice_that_is_worse_is_named_among_many() -> None:
    rng = np.random.default_rng(3)
    n = 400
    dark = rng.random(n) < 0.2
    hits = rng.random(n) < np.where(dark, 0.45, 0.85)
    attributes = {"dark": np.where(dark, "yes", "no").tolist()}
    attributes |= {f"a{i}": rng.integers(0, 5, n).astype(str).tolist() for i in range(6)}
    found = slice_accuracy(hits[None], rng.integers(0, 19, n), [str(i) for i in range(n)], attributes)
    assert [(s.attribute, s.value) for s in worst_slices(found)] == [("dark", "yes")]


@pytest.mark.parametrize("per_video", [1, 4])
def test_slices_that_do_not_matter_are_seldom_called_worse(
    per_video: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clips of a video are right or wrong together, and so are their attributes."""
    monkeypatch.setattr(slices, "PERMUTATIONS", 200)
    rng, alarms, n = np.random.default_rng(4), 0, 120
    video = np.arange(n) // per_video
    for _ in range(200):
        ease = (rng.random(n) < 0.7) * 0.9 + 0.05
        hits = rng.random(n) < ease[video]
        attributes = {f"a{k}": rng.integers(0, k, n)[video].astype(str).tolist() for k in (2, 6, 12)}
        found = slice_accuracy(hits[None], np.zeros(n, int), video.astype(str).tolist(), attributes)
        alarms += min(s.p for s in found) < 0.05
    assert alarms / 200 <= 0.09  # 5 %, and two and a half standard errors
