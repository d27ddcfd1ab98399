"""Paired comparisons against statsmodels and scipy, and by simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from dancecli.report.statistics import bootstrap, significance


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
    assert significance.mcnemar(500, 499) == 1.0
    assert significance.mcnemar(0, 5000) == 0.0


def test_the_paper_s_gain_cannot_be_shown() -> None:
    """28 against 33 of 58: at best five clips differ, and all of them for the better."""
    assert significance.mcnemar(0, 5) == 0.0625
    assert significance.wins_needed(5) is None
    assert significance.wins_needed(6) == 6


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


def test_the_interval_is_that_of_scipy_s_paired_bootstrap() -> None:
    rng = np.random.default_rng(2)
    first, second = rng.random(200) < 0.7, rng.random(200) < 0.8
    ours = significance.pair(first, second, [f"v{i}" for i in range(200)])
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
    alone = significance.pair(first, second, [f"v{i}" for i in range(40)])
    copies = significance.pair(np.repeat(first, 5), np.repeat(second, 5), [f"v{i // 5}" for i in range(200)])
    # Two clips are added either way: of 200 they are less than of 40.
    assert (copies.low, copies.high) == pytest.approx((alone.low, alone.high), abs=0.01)
    assert copies.p == pytest.approx(alone.p, abs=1e-12)
    assert copies.p_clips < alone.p_clips  # which is why that test alone is not believed


def test_by_video_is_mcnemar_where_each_video_gave_one_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    monkeypatch.setattr(bootstrap, "RESAMPLES", 1000)
    for _ in range(300):
        n = int(rng.integers(1, 200))
        first, second = rng.random(n) < 0.6, rng.random(n) < 0.7
        found = significance.pair(first, second, [f"v{i}" for i in range(n)])
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
    assert significance.pair(first, second, groups) == significance.pair(
        first[turned], second[turned], [groups[i] for i in turned]
    )


def test_a_real_difference_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "RESAMPLES", 1000)
    rng = np.random.default_rng(7)
    groups = [f"v{i}" for i in range(950)]
    found = sum(
        significance.pair(rng.random(950) < 0.70, rng.random(950) < 0.80, groups).shown for _ in range(40)
    )
    assert found >= 38
