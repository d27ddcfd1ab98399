"""The fence above the distances to neighbors."""

from __future__ import annotations

import numpy as np

from dancecli.core.statistics.outliers import far_out


def test_what_is_far_out_is_named_the_farthest_first() -> None:
    distances = np.exp(np.random.default_rng(0).normal(0, 0.2, 500))
    distances[[7, 40]] = 6.0, 9.0
    assert far_out(distances).tolist() == [40, 7]


def test_usual_distances_have_no_outliers() -> None:
    for seed in range(20):
        assert far_out(np.exp(np.random.default_rng(seed).normal(0, 0.5, 400))).size == 0


def test_distances_that_are_none_do_not_count() -> None:
    assert far_out(np.full(5, np.inf)).size == 0
    assert far_out(np.zeros(5)).size == 0
    distances = np.array([1.0, 1.1, 0.9, 1.05, 0.95, 50.0, np.inf])
    assert far_out(distances).tolist() == [5]
