"""Histograms around a point: the right bin, the right cell, and sums that are those of the pixels."""

from __future__ import annotations

import numpy as np
import pytest

from dancecli.video.trajectories.descriptors import cell_sums, normalized, values_at

SIDE = 64
HOG, HOF, MBHX, MBHY = slice(0, 8), slice(8, 17), slice(17, 25), slice(25, 33)
MIDDLE = np.array([[32.0, 32.0]], np.float32)
FLAT = np.full((SIDE, SIDE), 90, np.uint8)


def field(u: float = 0.0, v: float = 0.0) -> np.ndarray:
    return np.broadcast_to(np.array([u, v], np.float32), (SIDE, SIDE, 2)).copy()


def at_middle(picture: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """The sums in the four cells, [4, 33]."""
    return values_at(cell_sums(picture, flow), MIDDLE)[0]


@pytest.mark.parametrize(("u", "v", "place"), [(3, 0, 0), (2, 2, 1), (0, 3, 2), (-3, 0, 4), (0, -3, 6)])
def test_flow_goes_into_the_bin_of_its_direction(u: float, v: float, place: int) -> None:
    cells = at_middle(FLAT, field(u, v))[:, HOF]
    # 8 x 8 of the 16 x 16 pixels of a cell are looked at.
    wanted = np.zeros((4, 9))
    wanted[:, place] = 64 * np.hypot(u, v)
    assert np.allclose(cells, wanted, rtol=1e-3, atol=0.05)


def test_flow_between_two_directions_is_shared() -> None:
    angle = np.pi / 8
    cells = at_middle(FLAT, field(4 * np.cos(angle), 4 * np.sin(angle)))[:, HOF]
    assert np.allclose(cells[:, :2], 64 * 2, rtol=1e-2)
    assert np.allclose(cells[:, 2:], 0, atol=0.05)


def test_what_stands_still_is_counted_apart() -> None:
    cells = at_middle(FLAT, field(0.2, 0.2))[:, HOF]
    assert np.allclose(cells[:, 8], 64)
    assert np.allclose(cells[:, :8], 0)


def test_gradients_and_motion_boundaries_have_bins_of_their_own() -> None:
    ramp = np.arange(SIDE, dtype=np.float32)
    picture = np.broadcast_to(2 * ramp[:, None], (SIDE, SIDE)).astype(np.uint8)
    flow = np.dstack([np.broadcast_to(ramp, (SIDE, SIDE)), np.broadcast_to(-ramp[:, None], (SIDE, SIDE))])
    cells = at_middle(picture, np.ascontiguousarray(flow))
    assert np.allclose(cells[:, HOG], np.eye(8)[2] * 64 * 4, atol=0.5)
    assert np.allclose(cells[:, MBHX], np.eye(8)[0] * 64 * 2, atol=0.5)
    assert np.allclose(cells[:, MBHY], np.eye(8)[6] * 64 * 2, atol=0.5)


@pytest.mark.parametrize("cell", range(4))
def test_a_cell_is_a_quarter_of_the_neighborhood(cell: int) -> None:
    y, x = 16 + 16 * (cell // 2), 16 + 16 * (cell % 2)
    flow = field()
    flow[y : y + 16, x : x + 16, 0] = 3
    moving = at_middle(FLAT, flow)[:, HOF][:, 0]
    assert moving.tolist() == pytest.approx([64 * 3 if i == cell else 0 for i in range(4)], abs=0.05)


def test_beyond_the_border_there_is_nothing_and_no_error() -> None:
    sums = cell_sums(FLAT, field(3))
    corners = np.array([[0, 0], [SIDE - 1, SIDE - 1]], np.float32)
    values = values_at(sums, corners)[..., HOF][..., 0]
    assert values.shape == (2, 4)
    assert (values <= 64 * 3 + 0.1).all()
    assert (values > 0).all()


def test_descriptors_are_roots_of_shares() -> None:
    cells = np.random.default_rng(0).random((5, 3, 4, 33), dtype=np.float32)
    cells[4] = 0
    found = normalized(cells)
    assert {name: rows.shape for name, rows in found.items()} == {
        "hog": (5, 96),
        "hof": (5, 108),
        "mbhx": (5, 96),
        "mbhy": (5, 96),
    }
    for rows in found.values():
        assert np.allclose((rows**2).sum(axis=1), [1, 1, 1, 1, 0], atol=1e-5)
    first = cells[0, ..., MBHX].ravel()
    assert np.allclose(found["mbhx"][0], np.sqrt(first / first.sum()), atol=1e-5)
