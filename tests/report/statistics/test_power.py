from __future__ import annotations

import pytest
from scipy.stats import binom

from dancecli.report.statistics.power import power, smallest_gap


def test_power_is_the_exact_sum() -> None:
    """Against scipy, disagreement by disagreement, for one small test set."""
    n, gap, discordant = 40, 0.1, 0.2
    win = 0.5 + gap / (2 * discordant)
    total = 0.0
    for d in range(n + 1):
        for wins in range(d + 1):
            p = min(1.0, 2 * binom.cdf(min(wins, d - wins), d, 0.5))
            if p <= 0.05:
                total += binom.pmf(d, n, discordant) * binom.pmf(wins, d, win)
    assert power(n, gap) == pytest.approx(total, abs=1e-6)


def test_no_gap_is_found_more_often_than_it_may_be() -> None:
    assert all(power(n, 0.0) <= 0.05 for n in (20, 58, 105, 950))


def test_the_papers_test_set_resolves_little() -> None:
    assert power(58, 0.086) == pytest.approx(0.21, abs=0.01)
    assert power(950, 0.05) == pytest.approx(0.92, abs=0.01)
    assert smallest_gap(58) == pytest.approx(0.165, abs=0.002)
    assert smallest_gap(20) is None
    gaps = [smallest_gap(n) for n in (52, 105, 950, 5000)]
    assert gaps == sorted(gaps, reverse=True)  # type: ignore[type-var]
