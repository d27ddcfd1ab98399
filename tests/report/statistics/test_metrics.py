"""The figures against scikit-learn and statsmodels, which are not used by the package itself."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy import stats as scipy_stats
from sklearn import metrics as reference
from sklearn.calibration import calibration_curve
from statsmodels.stats.proportion import proportion_confint

from dancecli.report.results.metrics_json import as_json
from dancecli.report.statistics import intervals, metrics

TABLES = 1000
BLOCK = 100


def table(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """One random prediction table: few or many classes, absent ones, ties, n from 1."""
    rng = np.random.default_rng(seed)
    classes, n = int(rng.integers(1, 25)), int(rng.choice([1, 2, 7, 60, 300]))
    scores = rng.dirichlet(np.full(classes, 0.4), size=n)
    if seed % 3 == 0:  # rounding makes ties, also for the first place
        scores = np.round(scores * 4) / 4
    if seed % 7 == 0:
        scores = np.full_like(scores, 1 / classes)
    truth = rng.integers(0, max(1, classes - seed % 4), size=n)
    return scores, truth


def behind_ties(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Whole-number scores in the same order, in which the true class stands below its equals."""
    steps = np.unique(scores, return_inverse=True)[1].reshape(scores.shape)
    return 2.0 * steps - (np.arange(scores.shape[1]) == truth[:, None])


@pytest.mark.parametrize("first", range(0, TABLES, BLOCK))
def test_figures_equal_scikit_learn(first: int) -> None:
    for seed in range(first, first + BLOCK):
        compare_figures(*table(seed))


def compare_figures(scores: np.ndarray, truth: np.ndarray) -> None:
    classes = scores.shape[1]
    ours = metrics.summarize(scores, truth, majority_class=0)
    untied = behind_ties(scores, truth)
    calls = untied.argmax(axis=1)
    names = np.arange(classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn remarks on absent classes
        counts = reference.confusion_matrix(truth, calls, labels=names)
        assert np.array_equal(ours.confusion, counts)
        assert ours.top1.k == reference.accuracy_score(truth, calls, normalize=False)
        assert ours.balanced_accuracy == pytest.approx(
            reference.balanced_accuracy_score(truth, calls), abs=1e-12
        )
        assert ours.macro_f1 == pytest.approx(
            reference.f1_score(truth, calls, average="macro", zero_division=0), abs=1e-12
        )
        precision, recall, f1, support = reference.precision_recall_fscore_support(
            truth, calls, labels=names, zero_division=np.nan
        )
        if classes > 5:
            top5 = reference.top_k_accuracy_score(truth, untied, k=5, labels=names, normalize=False)
            assert ours.top5 is not None
            assert ours.top5.k == top5
        else:
            assert ours.top5 is None
    for c in ours.per_class:
        assert c.support == support[c.index]
        same(c.precision.estimate, precision[c.index])
        same(c.recall.estimate, recall[c.index])
        same(c.f1, f1[c.index])


def same(ours: intervals.Estimate | None, theirs: float) -> None:
    if np.isnan(theirs):
        assert ours is None
    else:
        assert ours is not None
        assert ours.rate == pytest.approx(theirs, abs=1e-12)
        assert 0 <= ours.low <= ours.rate <= ours.high <= 1


@pytest.mark.parametrize("first", range(0, TABLES, BLOCK))
def test_calibration_equals_scikit_learn(first: int) -> None:
    for seed in range(first, first + BLOCK):
        compare_calibration(*table(seed))


def compare_calibration(scores: np.ndarray, truth: np.ndarray) -> None:
    ours = metrics.summarize(scores, truth, majority_class=0).calibration
    assert ours is not None
    untied = behind_ties(scores, truth)
    right, confidence = untied.argmax(axis=1) == truth, scores.max(axis=1)
    assert sum(b.n for b in ours.bins) == len(truth)
    for b in (b for b in ours.bins if b.n):
        assert b.low + 1e-9 < b.confidence or b.low == 0
        assert b.confidence <= b.high + 1e-9
    if right.any() and not right.all():  # scikit-learn wants both outcomes
        rates, means = calibration_curve(right, confidence, n_bins=10)
        full = [b for b in ours.bins if b.n]
        assert [b.hits / b.n for b in full] == pytest.approx(list(rates), abs=1e-12)
        assert [b.confidence for b in full] == pytest.approx(list(means), abs=1e-12)
        weights = [b.n / len(truth) for b in full]
        assert ours.ece == pytest.approx(np.dot(weights, np.abs(rates - means)), abs=1e-12)


def test_wilson_equals_statsmodels() -> None:
    for n in (1, 2, 5, 48, 58, 950):
        for k in {0, 1, n // 3, n // 2, n - 1, n}:
            assert intervals.wilson(k, n) == pytest.approx(
                proportion_confint(k, n, alpha=0.05, method="wilson"), abs=1e-12
            )


def test_published_figures_have_the_intervals_known_for_them() -> None:
    shown = [f"{100 * v:.1f}" for k, n in ((48, 93), (77, 93), (28, 58)) for v in intervals.wilson(k, n)]
    assert shown == ["41.6", "61.5", "73.9", "89.1", "35.9", "60.8"]


def test_a_model_that_says_the_same_for_everything_scores_nothing() -> None:
    summary = metrics.summarize(np.full((40, 8), 1 / 8), np.arange(40) % 8, majority_class=0)
    assert (summary.top1.k, summary.top5) == (0, intervals.Proportion(0, 40))
    assert sum(row[i] for i, row in enumerate(summary.confusion)) == 0


@pytest.mark.parametrize(("classes", "chance5"), [(20, 0.25), (3, 1.0)])
def test_what_guessing_gives(classes: int, chance5: float) -> None:
    truth = np.arange(30) % 3
    summary = metrics.summarize(np.eye(classes)[truth], truth, majority_class=1)
    assert (summary.chance1, summary.chance5) == (1 / classes, chance5)
    assert (summary.majority_class, summary.majority) == (1, intervals.Proportion(10, 30))


def test_the_intervals_of_all_figures_are_by_video() -> None:
    truth = np.arange(40) // 4 % 4
    calls = np.where(np.arange(40) < 31, truth, (truth + 1) % 4)
    scores, videos = np.eye(4)[calls], [str(i // 4) for i in range(40)]
    for groups, own in ((videos, videos), (None, [str(i) for i in range(40)])):
        found = metrics.summarize(scores, truth, 0, groups)
        assert found.top1 == intervals.proportion(np.arange(40) < 31, own)
        assert found.videos == len(set(own))
        for c in found.per_class:
            inside = truth == c.index
            names = [own[i] for i in np.flatnonzero(inside)]
            assert c.recall == intervals.proportion((calls == truth)[inside], names)
            inside = calls == c.index
            names = [own[i] for i in np.flatnonzero(inside)]
            assert c.precision == intervals.proportion((calls == truth)[inside], names)
        assert all(e > 1 for c in found.per_class for e in c.effects) == (groups is not None)


def test_no_clips_is_no_rate() -> None:
    summary = metrics.summarize(np.zeros((0, 6)), np.zeros(0, dtype=np.int64), majority_class=2)
    assert summary.top1 == intervals.Proportion(0, 0)
    assert summary.top1.estimate is None
    assert summary.calibration is summary.balanced_accuracy is summary.macro_f1 is None
    assert as_json(summary, tuple("abcdef"))["top1"] == {
        "k": 0, "n": 0, "design_effect": 1.0, "rate": None, "low": None, "high": None,
    }  # fmt: skip


def test_one_class_is_all_right_and_no_pair() -> None:
    summary = metrics.summarize(np.ones((1, 1)), np.zeros(1, dtype=np.int64), majority_class=0)
    assert (summary.top1, summary.chance1, summary.pairs) == (intervals.Proportion(1, 1), 1.0, ())


def test_pairs_are_in_order_of_their_count_then_their_share() -> None:
    counts = np.array([[5, 2, 0], [2, 1, 3], [0, 0, 9]])
    assert metrics.confused_pairs(counts) == (
        metrics.Pair(1, 2, 3, 6, 0),
        metrics.Pair(1, 0, 2, 6, 2),
        metrics.Pair(0, 1, 2, 7, 2),
    )


def test_classes_that_are_taken_for_each_other_stand_side_by_side() -> None:
    counts = np.diag([9, 9, 9, 9, 9])
    counts[0, 3], counts[3, 0], counts[3, 4], counts[1, 2] = 4, 3, 2, 1
    order = metrics.order_by_confusion(tuple(map(tuple, counts.tolist())))
    assert order == (0, 3, 4, 1, 2)


def test_classes_are_ordered_by_rates_not_by_counts() -> None:
    counts = np.diag([40, 9, 0, 9])
    counts[0, 1], counts[2, 3] = 60, 1  # 60 of 100, and the only clip there is
    assert metrics.order_by_confusion(tuple(map(tuple, counts.tolist()))) == (2, 3, 0, 1)


def test_a_class_that_fits_both_ends_goes_to_the_last() -> None:
    counts = np.array([[5, 4, 1], [4, 5, 1], [0, 0, 10]])
    assert metrics.order_by_confusion(tuple(map(tuple, counts.tolist()))) == (0, 1, 2)


def test_the_order_by_confusion_holds_every_class_once() -> None:
    for seed in range(60):
        scores, truth = table(seed)
        order = metrics.order_by_confusion(metrics.summarize(scores, truth, 0).confusion)
        assert sorted(order) == list(range(scores.shape[1]))


def test_by_video_is_wilson_s_where_each_clip_has_its_own() -> None:
    for k, n in ((0, 9), (5, 9), (9, 9), (46, 48)):
        right = np.arange(n) < k
        assert intervals.proportion(right, [str(i) for i in range(n)]) == intervals.Proportion(k, n)


def test_student_s_quantile_is_scipy_s() -> None:
    for freedom in (1, 2, 3.5, 20, 1000):
        assert intervals.student(freedom) == pytest.approx(scipy_stats.t.ppf(0.975, freedom), rel=1e-9)


def test_copies_of_a_clip_are_no_further_information() -> None:
    right = np.arange(40) < 31
    once = intervals.proportion(right, [str(i) for i in range(40)]).estimate
    fivefold = intervals.proportion(np.repeat(right, 5), [str(i // 5) for i in range(200)])
    found = fivefold.estimate
    assert once is not None
    assert found is not None
    assert (fivefold.k, fivefold.n) == (155, 200)
    # From 40 videos their spread is estimated, from 40 clips it is known.
    assert (found.low, found.high) == pytest.approx((once.low, once.high), abs=0.012)
    assert found.low < once.low < once.high < found.high


def test_all_clips_of_one_video_are_one_clip() -> None:
    assert intervals.proportion(np.arange(9) < 7, ["v"] * 9) == intervals.Proportion(7, 9, 9.0)
    assert intervals.proportion(np.zeros(0, dtype=bool), []) == intervals.Proportion(0, 0)
