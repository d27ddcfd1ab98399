"""What the page of a learning curve advises."""

from __future__ import annotations

from dancecli.report.learning import next_step
from dancecli.report.statistics.learning import Forecast


def test_more_clips_are_advised_only_where_they_are_known_to_help() -> None:
    assert next_step([Forecast(160, 0.8, 0.05, 0.01, 0.09)])[1] == "dance fetch"
    assert next_step([Forecast(160, 0.8, 0.05, 0.0, 0.09)])[1] == "dance tune"
