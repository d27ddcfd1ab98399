"""Limiter and breaker, run through hours in no time."""

import itertools
import math

import pytest

from dancecli.engine.rate_limit import BreakerSettings, Gate, Limiter

SETTINGS = BreakerSettings(streak=3, first_wait_s=60, trips=2)


def test_no_minute_holds_more_than_its_share() -> None:
    limiter = Limiter(300)
    now, taken = 0.0, []
    while now < 7200:
        now = max(now, limiter.ready_s)
        limiter.take(now)
        taken.append(now)
    gaps = [b - a for a, b in itertools.pairwise(taken)]
    assert min(gaps) >= 12
    assert max(gaps) <= 12 * 1.2
    # Jitter: no two in a row alike.
    assert all(a != b for a, b in itertools.pairwise(gaps))
    assert 500 <= len(taken) <= 600


def test_no_rate_no_wait() -> None:
    limiter = Limiter(None)
    limiter.take(5.0)
    assert limiter.ready_s <= 5.0


def refuse(gate: Gate, owner: str, now: float) -> None:
    gate.take(owner, now)
    gate.report(owner, now, answered=False, session=True)


def test_breaker_opens_waits_and_lets_one_probe_through() -> None:
    gate = Gate(breaker=SETTINGS)
    for i in range(3):
        assert gate.ready_s(f"job{i}") <= 10
        refuse(gate, f"job{i}", 10)
    assert gate.paused_until_s() == 70
    assert gate.ready_s("a") == 70
    gate.take("a", 70)
    assert gate.ready_s("b") == math.inf
    assert gate.ready_s("a") <= 70, "the probe may ask again, to resume"
    gate.report("a", 71, answered=True, session=False)
    assert gate.paused_until_s() is None
    assert gate.ready_s("b") <= 71


def test_each_failed_probe_doubles_the_wait_and_then_it_gives_up() -> None:
    gate = Gate(breaker=SETTINGS)
    for i in range(3):
        refuse(gate, f"job{i}", 0)
    refuse(gate, "probe", 60)
    assert gate.paused_until_s() == 180
    assert not gate.given_up
    refuse(gate, "probe", 180)
    assert gate.given_up
    assert gate.ready_s("any") == math.inf


def test_an_answer_in_between_breaks_the_streak() -> None:
    gate = Gate(breaker=SETTINGS)
    for i in range(10):
        gate.take(i, i)
        gate.report(i, i, answered=i % 3 == 2, session=i % 3 != 2)
    assert gate.paused_until_s() is None


def test_what_was_asked_before_the_breaker_opened_says_nothing() -> None:
    gate = Gate(breaker=SETTINGS)
    gate.take("early", 0)
    for i in range(3):
        refuse(gate, f"job{i}", 0)
    gate.report("early", 5, answered=True, session=False)
    gate.report("late", 5, answered=False, session=True)
    assert gate.paused_until_s() == 60


def test_a_probe_that_is_lost_is_tried_again() -> None:
    gate = Gate(breaker=SETTINGS)
    for i in range(3):
        refuse(gate, f"job{i}", 0)
    gate.take("probe", 60)
    gate.report("probe", 90, answered=False, session=False)
    assert gate.paused_until_s() == 150
    assert not gate.given_up


@pytest.mark.parametrize(("asked_s", "held_s"), [(120, 120), (1e9, 3600)])
def test_retry_after_is_kept(asked_s: float, held_s: float) -> None:
    gate = Gate(breaker=SETTINGS)
    gate.take("job", 0)
    gate.report("job", 0, answered=False, session=True, retry_after_s=asked_s)
    assert gate.ready_s("other") == held_s
