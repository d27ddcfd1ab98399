"""Paired comparisons against statsmodels and scipy, and by simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from dancecli.report.statistics import significance


def test_mcnemar_equals_statsmodels_and_scipy() -> None:
    rng = np.random.default_rng(0)
    for _ in range(1000):
        first, second = (int(v) for v in rng.integers(0, rng.choice([2, 8, 60, 400]), 2))
        ours = significance.mcnemar(first, second)
        assert ours == pytest.approx(mcnemar([[5, first], [second, 3]], exact=True).pvalue, abs=1e-12)
        if first + second:
            assert ours == pytest.approx(scipy_stats.binomtest(first, first + second).pvalue, abs=1e-12)


def test_mcnemar_does_not_break_on_many_clips() -> None:
    assert significance.mcnemar(6000, 6400) == pytest.approx(
        scipy_stats.binomtest(6000, 12400).pvalue, rel=1e-9
    )
    assert significance.mcnemar(500, 499) == pytest.approx(1.0, abs=1e-9)
    assert significance.mcnemar(0, 5000) == pytest.approx(0.0)


def test_the_paper_s_gain_cannot_be_shown() -> None:
    """28 against 33 of 58: at best five clips differ, and all of them for the better."""
    assert significance.mcnemar(0, 5) == pytest.approx(0.0625)
    assert significance.wins_needed(5) is None
    assert significance.wins_needed(6) == 6


def test_the_fewest_clips_that_show_a_difference_are_significant() -> None:
    fewest = significance.fewest_wins()
    assert fewest == 6
    assert significance.mcnemar(0, fewest) < significance.ALPHA <= significance.mcnemar(0, fewest - 1)


def test_wins_needed_is_the_border() -> None:
    for discordant in range(6, 120):
        wins = significance.wins_needed(discordant)
        assert wins is not None
        assert (
            significance.mcnemar(discordant - wins, wins)
            < 0.05
            <= significance.mcnemar(discordant - wins + 1, wins - 1)
        )


def test_holm_equals_statsmodels() -> None:
    rng = np.random.default_rng(1)
    for _ in range(40):
        ps = rng.random(int(rng.integers(1, 20))) ** 2
        assert significance.holm(list(ps)) == pytest.approx(
            list(multipletests(ps, method="holm")[1]), abs=1e-12
        )


def test_the_interval_is_close_to_scipy_s_paired_bootstrap() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.random(200) < 0.7, rng.random(200) < 0.8
    ours = significance.compare_models(first, second, [f"v{i}" for i in range(200)])
    gains = second.astype(float) - first
    theirs = scipy_stats.bootstrap(
        (gains,), np.mean, n_resamples=20000, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.008)
    assert ours.difference == pytest.approx(gains.mean(), abs=1e-12)
    assert ours.n == 200


def test_clips_of_one_video_are_one_piece_of_evidence() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.random(40) < 0.6, rng.random(40) < 0.75
    alone = significance.compare_models(first, second, [f"v{i}" for i in range(40)])
    copies = significance.compare_models(
        np.repeat(first, 5), np.repeat(second, 5), [f"v{i // 5}" for i in range(200)]
    )
    # Two clips are added either way: of 200 they are less than of 40.
    assert (copies.low, copies.high) == pytest.approx((alone.low, alone.high), abs=0.01)
    assert copies.p == pytest.approx(alone.p, abs=1e-12)
    assert copies.p_clips is not None
    assert alone.p_clips is not None
    assert copies.p_clips < alone.p_clips  # which is why that test alone is not believed


def test_by_video_is_mcnemar_where_each_video_gave_one_clip() -> None:
    rng = np.random.default_rng(8)
    for _ in range(300):
        n = int(rng.integers(1, 200))
        first, second = rng.random(n) < 0.6, rng.random(n) < 0.7
        found = significance.compare_models(first, second, [f"v{i}" for i in range(n)])
        assert found.p == pytest.approx(found.p_clips, abs=1e-12)


def test_by_video_equals_the_count_over_all_swaps() -> None:
    rng = np.random.default_rng(9)
    for _ in range(100):
        gains = [int(g) for g in rng.integers(-4, 5, int(rng.integers(1, 9)))]
        swaps = [abs(sum(s * g for s, g in zip(signs, gains, strict=True)))
                 for signs in itertools.product((-1, 1), repeat=len(gains))]  # fmt: skip
        share = np.mean([s >= abs(sum(gains)) for s in swaps])
        assert significance.permutation_test(gains) == pytest.approx(share, abs=1e-12)


def test_the_same_clips_in_another_order_give_the_same_figures() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.random(60) < 0.5, rng.random(60) < 0.6
    groups = [f"v{i // 2}" for i in range(60)]
    turned = rng.permutation(60)
    found, other = (
        significance.compare_models(a, b, g)
        for a, b, g in (
            (first, second, groups),
            (first[turned], second[turned], [groups[i] for i in turned]),
        )
    )
    assert (other.p, other.p_clips) == (found.p, found.p_clips)
    assert (other.low, other.high) == pytest.approx((found.low, found.high), abs=1e-12)


def test_a_real_difference_is_found() -> None:
    rng = np.random.default_rng(7)
    groups = [f"v{i}" for i in range(950)]
    found = sum(
        significance.compare_models(rng.random(950) < 0.70, rng.random(950) < 0.80, groups).shown
        for _ in range(40)
    )
    assert found >= 38


def seeds_of(rng: np.random.Generator, rate: float, sd: float, runs: int, ease: np.ndarray) -> np.ndarray:
    """Runs of a method: each its own rate, and all alike in which clips are easy."""
    rates = np.clip(rate + sd * rng.normal(size=runs), 0.02, 0.98)
    level = scipy_stats.norm.ppf(rates) * np.sqrt(1.64)
    flags: np.ndarray = rng.random((runs, len(ease))) < scipy_stats.norm.cdf(level[:, None] + 0.8 * ease)
    return flags


def test_more_seeds_make_a_comparison_of_methods_more_powerful() -> None:
    """A true gain of 10 points on 400 clips; and no more than 5 % false alarms for equal methods."""
    rng, groups = np.random.default_rng(3), [str(i) for i in range(400)]
    power = {}
    for runs in (1, 3, 5):
        found = 0
        for _ in range(120):
            ease = rng.normal(size=400)
            first, second = (seeds_of(rng, rate, 0.015, runs, ease) for rate in (0.6, 0.7))
            found += significance.compare(first, second, groups).shown
        power[runs] = found / 120
    assert power[1] < power[3] <= power[5]
    assert power[5] > 0.98


def test_equal_methods_are_seldom_called_different_whatever_the_seeds_do() -> None:
    rng, groups = np.random.default_rng(4), [str(i) for i in range(200)]
    for sd in (0.0, 0.03, 0.05):
        alarms = 0
        for _ in range(300):
            ease = rng.normal(size=200)
            first, second = (seeds_of(rng, 0.7, sd, 3, ease) for _ in range(2))
            alarms += significance.compare(first, second, groups).shown
        assert alarms / 300 <= 0.08, sd


@pytest.mark.parametrize(("runs", "sd"), [(3, 0.0), (3, 0.03), (5, 0.01), (5, 0.05)])
def test_the_interval_of_a_method_covers_other_seeds(runs: int, sd: float) -> None:
    rng, groups, held = np.random.default_rng(5), [str(i // 2) for i in range(200)], 0
    for _ in range(600):
        ease = np.repeat(rng.normal(size=100), 2)
        found = significance.method_interval(seeds_of(rng, 0.75, sd, runs, ease), groups)
        held += found.low <= 0.75 <= found.high
    assert 0.915 <= held / 600 <= 0.99


def test_a_verdict_that_test_and_interval_disagree_on_is_explained() -> None:
    first = np.array([True] * 2 + [False] * 8)
    second = np.array([True] * 7 + [False] * 3)
    found = significance.compare_models(first, second, [str(i) for i in range(10)])
    assert found.p == pytest.approx(0.0625)
    assert found.low > 0
    assert not found.shown
    assert found.disputed.startswith("The interval excludes 0, but the exact test over 10 source videos")
