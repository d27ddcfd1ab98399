"""Short vectors, and distances to clips of other groups."""

from __future__ import annotations

import numpy as np
import pytest

from dancecli.core.statistics.vectors import neighbor_distances, normalize, shorten


def test_the_kept_directions_are_those_of_the_largest_variance() -> None:
    dice = np.random.default_rng(0)
    spread = np.array([9, 0.1, 4, 0.2, 1])
    features = (dice.normal(size=(500, 5)) * spread + 100).astype(np.float32)
    short = shorten(features, 3)
    assert short.std(axis=0) == pytest.approx([1, 4, 9], rel=0.15)
    assert np.abs(short.mean(axis=0)).max() < 1e-3
    assert shorten(features, 64).shape == (500, 5)
    assert shorten(features[:, :1], 64).shape == (500, 1)


def test_lengths_are_one_or_nothing() -> None:
    found = normalize(np.array([[3, 4], [0, 0]], np.float32))
    assert found == pytest.approx(np.array([[0.6, 0.8], [0, 0]]))


def test_clips_of_one_group_are_no_neighbors() -> None:
    line = np.array([[0.0], [0.1], [1.0], [3.0]], np.float32)
    groups = np.array([0, 0, 1, 2])
    assert neighbor_distances(line, groups, 1) == pytest.approx([1.0, 0.9, 0.9, 2.0], abs=1e-3)
    assert neighbor_distances(line, groups, 2) == pytest.approx([3.0, 2.9, 1.0, 2.9], abs=1e-3)
    assert np.isinf(neighbor_distances(line, groups, 3)[:2]).all()
    assert np.isinf(neighbor_distances(line, groups, 9)).all()
