"""The page of a learning curve: what it advises."""

from __future__ import annotations

import pytest

from dancecli.report.learning import CurveRow, advice_of, next_step
from dancecli.report.statistics.intervals import Estimate
from dancecli.report.statistics.learning import Forecast


@pytest.mark.parametrize(
    ("low", "rate", "command"),
    [(0.01, 0.75, "dance fetch"), (0.0, 0.75, "dance tune"), (0.0, 1.0, "dance fetch")],
)
def test_more_clips_are_advised_only_where_they_are_known_to_help(
    low: float, rate: float, command: str
) -> None:
    rows = [CurveRow(0, 80, 1, Estimate(rate, rate - 0.1, rate))]
    forecasts = [Forecast(160, rate, 0.05, low, 0.09)]
    assert next_step(rows, forecasts)[1] == command
    told = "cannot show what more would bring" if rate == 1 else "80 more training clips (80 to 160)"
    assert told in advice_of(rows, forecasts)
