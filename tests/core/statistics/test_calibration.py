"""Prediction sets and false alarms on clips that come in groups."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dancecli.core.statistics.calibration import (
    best_temperature,
    group_threshold,
    groups_needed,
    prediction_set,
    set_threshold,
    tempered,
)


def test_groups_of_one_clip_give_the_quantile_of_split_conformal_prediction():
    rng = np.random.default_rng(0)
    for n in (9, 10, 37, 99):
        scores = rng.random(n)
        rank = math.ceil(0.9 * (n + 1))
        assert group_threshold(scores, [str(i) for i in range(n)], 0.9) == sorted(scores)[rank - 1]


def test_too_few_groups_give_no_threshold_and_the_number_needed_does():
    for level, needed in ((0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)):
        assert groups_needed(level) == needed
        # However many clips they have.
        groups = [str(i % needed) for i in range(5 * needed)]
        assert group_threshold(range(5 * needed), groups, level) is not None
        fewer = [str(i % (needed - 1)) for i in range(5 * needed)]
        assert group_threshold(range(5 * needed), fewer, level) is None


def test_a_group_weighs_the_same_however_many_clips_it_has():
    scores, groups = list(range(12)), [str(i) for i in range(12)]
    many, of_one = [*scores, *[5.0] * 50], [*groups, *["5"] * 50]
    assert group_threshold(many, of_one, 0.9) == group_threshold(scores, groups, 0.9)


def simulated(rng, videos, per_video=4, classes=6, skill=1.6):
    """Clips of videos whose clips are alike: probabilities of a model, classes and videos."""
    truth = rng.integers(0, classes, videos).repeat(per_video)
    shared = rng.normal(0, 1, (videos, classes)).repeat(per_video, axis=0)
    logits = shared + 0.5 * rng.normal(0, 1, shared.shape)
    logits[np.arange(len(truth)), truth] += skill
    weights = np.exp(logits)
    return (
        weights / weights.sum(axis=1, keepdims=True),
        truth,
        [f"v{i // per_video}" for i in range(len(truth))],
    )


@pytest.mark.parametrize("skill", [1.6, 4.0])
def test_sets_at_90_percent_hold_the_truth_in_88_to_92_percent_of_200_splits(skill):
    rng, covered, sizes = np.random.default_rng(0), [], []
    for _ in range(200):
        scores, truth, groups = simulated(rng, 160, skill=skill)
        half = len(truth) // 2
        least = set_threshold(scores[:half].tolist(), truth[:half].tolist(), groups[:half], 0.9)
        assert least is not None
        found = [prediction_set(row, least) for row in scores[half:].tolist()]
        covered += [label in one for one, label in zip(found, truth[half:], strict=True)]
        sizes += [len(one) for one in found]
    assert 0.88 <= np.mean(covered) <= 0.92
    # A better model has smaller sets.
    assert np.mean(sizes) < (1.2 if skill > 2 else 3.5)


def test_videos_of_unlike_sizes_count_alike():
    """A new video's clip, not a new clip of the many of one video: long videos must not decide."""
    rng, covered = np.random.default_rng(1), []
    for _ in range(300):
        hard = rng.random(60) < 0.3
        sizes = np.where(hard, 1, 12)
        scores = [rng.normal(3.0 if h else 0.0) for h, n in zip(hard, sizes, strict=True) for _ in range(n)]
        groups = [str(i) for i, n in enumerate(sizes) for _ in range(n)]
        limit = group_threshold(scores, groups, 0.9)
        assert limit is not None
        covered.append(rng.normal(3.0 if rng.random() < 0.3 else 0.0) <= limit)
    assert 0.86 <= np.mean(covered) <= 0.95


def test_temperature_is_softmax_of_scaled_logits_and_the_best_undoes_what_was_done():
    rng = np.random.default_rng(2)
    logits = rng.normal(0, 2, (4000, 5))
    weights = np.exp(logits)
    honest = weights / weights.sum(axis=1, keepdims=True)
    truth = [int(rng.choice(5, p=row)) for row in honest]
    sharp = [tempered(row, 0.5) for row in honest.tolist()]
    expected = np.exp(logits / 0.5) / np.exp(logits / 0.5).sum(axis=1, keepdims=True)
    assert np.allclose(sharp, expected, atol=1e-9)
    assert best_temperature(sharp, truth) == pytest.approx(2.0, rel=0.13)
    assert tempered((0.2, 0.8), 1.0) == (0.2, 0.8)
