"""Intervals of what is no proportion: against scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from dancecli.report.statistics.bootstrap import class_means, intervals_of_class_means


def dataset(rng: Any, classes: int, per: int, per_video: int, skill: float) -> tuple[Any, Any, list[str]]:
    """Clips whose luck is half their video's; videos hold clips of one class."""
    truth = np.repeat(np.arange(classes), per)
    groups = [str(i // per_video) for i in range(len(truth))]
    luck = np.repeat(rng.random(len(truth) // per_video + 1), per_video)[: len(truth)]
    luck = np.where(rng.random(len(truth)) < 0.5, rng.random(len(truth)), luck)
    return truth, np.where(luck < skill, truth, (truth + 1) % classes), groups


def test_the_figures_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        truth, calls = rng.integers(0, 5, 30), rng.integers(0, 5, 30)
        weights = rng.integers(0, 3, 30).astype(float)
        found = class_means(truth, calls, (truth == calls).astype(float), weights[None], 5)[0].tolist()
        kept = weights > 0
        shown = sorted(set(truth[kept]) | set(calls[kept]))
        assert found == pytest.approx(
            [
                balanced_accuracy_score(truth[kept], calls[kept], sample_weight=weights[kept]),
                f1_score(
                    truth[kept], calls[kept], labels=shown, average="macro", sample_weight=weights[kept],
                    zero_division=0,
                ),
            ],
            abs=1e-12,
        )  # fmt: skip


def test_a_model_without_a_mistake_is_not_certain() -> None:
    truth = np.arange(60) % 6
    groups = [str(i // 2) for i in range(60)]
    for calls in (truth, (truth + 1) % 6):
        for found in intervals_of_class_means(truth, calls, 6, groups):
            assert 0.04 < found.high - found.low < 0.25


def test_the_same_clips_give_the_same_interval_on_any_machine() -> None:
    truth, calls, groups = dataset(np.random.default_rng(1), 6, 10, 2, 0.7)
    balanced, f1 = intervals_of_class_means(truth, calls, 6, groups)
    assert (round(balanced.low, 9), round(f1.high, 9)) == (0.509920768, 0.764461533)
