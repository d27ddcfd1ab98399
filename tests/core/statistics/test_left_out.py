"""The closed forms against fits that truly leave a group out."""

from __future__ import annotations

import numpy as np
import pytest

from dancecli.core.statistics.left_out import left_out_discriminant, left_out_scores

RIDGES = (0.1, 3.0)


@pytest.mark.parametrize(("clips", "width"), [(40, 90), (90, 12)])
def test_scores_are_those_of_a_fit_without_the_group(clips: int, width: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(clips, width)).astype(np.float32), rng.normal(size=(clips, 3))
    groups, weights = rng.integers(0, 12, clips), rng.uniform(0.2, 1, clips)
    z = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    z = np.hstack([z / np.sqrt(np.square(z).sum(axis=1).mean()), np.ones((clips, 1))])
    found = list(left_out_scores(x, y, groups, weights, RIDGES))
    for ridge, outputs in zip(RIDGES, found, strict=True):
        for group in range(12):
            rest, mine = groups != group, groups == group
            a = z[rest].T @ (weights[rest, None] * z[rest]) + ridge * np.eye(width + 1)
            fit = np.linalg.solve(a, z[rest].T @ (weights[rest, None] * y[rest]))
            assert outputs[mine] == pytest.approx(z[mine] @ fit, abs=1e-8)


def test_logits_are_those_of_normal_distributions_without_the_group() -> None:
    rng = np.random.default_rng(1)
    labels, groups = rng.integers(0, 4, 120), np.arange(120) // 3
    outputs = 0.5 * np.eye(4)[labels] + 0.3 * rng.normal(size=(120, 4))
    weights = rng.uniform(0.1, 1, 120)
    rest = groups != 7
    counted = np.eye(4)[labels[rest]] * weights[rest, None]
    counts = counted.sum(axis=0)
    means = counted.T @ outputs[rest] / counts[:, None]
    off = outputs[rest] - means[labels[rest]]
    spread = off.T @ (off * weights[rest, None]) / counts.sum()
    inverse = np.linalg.inv(spread + 0.1 * np.trace(spread) / 4 * np.eye(4))
    far = outputs[~rest][:, None] - means
    wanted = -0.5 * np.einsum("nck,kl,ncl->nc", far, inverse, far) + np.log(counts + 1)
    found = left_out_discriminant(outputs, labels, groups, weights)[~rest]
    # What all classes have in common says nothing.
    assert found - found[:, :1] == pytest.approx(wanted - wanted[:, :1], abs=1e-8)
