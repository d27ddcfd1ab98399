"""Curves of scores, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from dancecli.report.statistics.curves import class_curves, coverage_curve, topk_curve


@pytest.mark.parametrize("digits", [1, 12])
def test_average_precision_and_roc_area_are_those_of_scikit_learn(digits: int) -> None:
    rng = np.random.default_rng(1)
    for n in (12, 57, 300):
        scores = rng.dirichlet(np.ones(5), n).round(digits)
        truth = rng.integers(0, 4, n)
        for found in class_curves(scores, truth, points=10_000):
            own, positive = scores[:, found.index], truth == found.index
            assert found.positives == positive.sum()
            assert found.ap == pytest.approx(metrics.average_precision_score(positive, own), abs=1e-12)
            assert found.auc == pytest.approx(metrics.roc_auc_score(positive, own), abs=1e-12)
            precision, recall, _ = metrics.precision_recall_curve(positive, own)
            theirs = {
                (round(float(r), 4), round(float(p), 4)) for p, r in zip(precision, recall, strict=True)
            }
            assert set(found.pr[1:]) <= theirs


def test_a_class_of_all_clips_has_no_roc_area() -> None:
    (found,) = class_curves(np.array([[0.7, 0.3], [0.6, 0.4]]), np.array([0, 0]))
    assert (found.ap, found.auc) == (1.0, None)


def test_a_curve_is_thinned_and_keeps_its_ends() -> None:
    rng = np.random.default_rng(2)
    found = class_curves(rng.random((500, 3)), rng.integers(0, 3, 500), points=20)
    assert all(len(c.pr) <= 22 and c.roc[0] == (0, 0) and c.roc[-1] == (1, 1) for c in found)


def test_top_k_rises_to_the_last_but_one_class() -> None:
    assert topk_curve(np.array([1, 1, 3, 2]), 4) == ((1, 0.5), (2, 0.75), (3, 1.0))
    assert len(topk_curve(np.array([1]), 700)) == 10


def test_coverage_takes_clips_of_equal_confidence_together() -> None:
    confidence = np.array([0.9] * 10 + [0.5] * 10)
    hits = np.array([True] * 9 + [False] * 6 + [True] * 5)
    assert coverage_curve(confidence, hits) == ((0.5, 0.9), (1.0, 0.7))
    assert coverage_curve(confidence[:4], hits[:4]) == ((1.0, 1.0),)
