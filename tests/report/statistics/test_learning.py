"""The power law through a learning curve."""

from __future__ import annotations

import numpy as np
import pytest

from dancecli.report.statistics.learning import fit_power_law, forecast

CLIPS = (20.0, 50.0, 100.0, 200.0)


def test_a_power_law_is_found_again() -> None:
    errors = 1.2 * np.array(CLIPS) ** -0.5
    log_b, c = fit_power_law(CLIPS, errors, tested=10**7)
    assert (np.exp(log_b), c) == (pytest.approx(1.2, rel=1e-3), pytest.approx(0.5, rel=1e-3))


def test_an_accuracy_that_falls_forecasts_no_gain() -> None:
    assert fit_power_law(CLIPS, np.array([0.1, 0.2, 0.2, 0.3]), tested=500)[1] == 0


def test_the_interval_of_the_gain_holds_the_true_gain() -> None:
    held, tested = 0, 300
    truth = 1.2 * (CLIPS[-1] ** -0.5 - 300.0**-0.5)
    for seed in range(60):
        draw = np.random.default_rng(seed)
        # A clip is wrong where its difficulty is below the error of the size.
        level = draw.random(tested)
        hits = [(level[None] + draw.normal(size=(3, tested)) * 0.05) > 1.2 * n**-0.5 for n in CLIPS]
        found = forecast(CLIPS, hits, [f"v{i}" for i in range(tested)], [300.0])[0]
        assert found.low <= found.gain <= found.high
        held += found.low <= truth <= found.high
    assert held >= 54


def test_nobody_gains_more_than_the_errors_that_are_left() -> None:
    hits = [np.arange(12)[None] >= wrong for wrong in (6, 4, 2, 0)]
    (found,) = forecast(CLIPS, hits, [f"v{i}" for i in range(12)], [400.0])
    assert (found.rate, found.gain, found.low, found.high) == (1, 0, 0, 0)
    hits[-1] = np.arange(12)[None] >= 1
    (found,) = forecast(CLIPS, hits, [f"v{i}" for i in range(12)], [40_000.0])
    assert found.rate <= 1
    assert found.gain <= found.high <= 3 / 12
