"""EvenSpacing and breaker, run through hours in no time."""

import itertools
import math

import pytest

from dancecli.engine.rate_limit import BreakerSettings, EvenSpacing, RateLimiter

SETTINGS = BreakerSettings(streak=3, first_wait_s=60, trips=2)


def test_no_minute_holds_more_than_its_share() -> None:
    spacing = EvenSpacing(300)
    now, taken = 0.0, []
    while now < 7200:
        now = max(now, spacing.ready_s)
        spacing.acquire(now)
        taken.append(now)
    gaps = [b - a for a, b in itertools.pairwise(taken)]
    assert min(gaps) >= 12
    assert max(gaps) <= 12 * 1.2
    # Jitter: no two in a row alike.
    assert all(a != b for a, b in itertools.pairwise(gaps))
    assert 500 <= len(taken) <= 600


def test_no_rate_no_wait() -> None:
    spacing = EvenSpacing(None)
    spacing.acquire(5.0)
    assert spacing.ready_s <= 5.0


def refuse(limiter: RateLimiter, owner: str, now: float) -> None:
    limiter.acquire(owner, now)
    limiter.report(owner, now, answered=False, session=True)


def test_breaker_opens_waits_and_lets_one_probe_through() -> None:
    limiter = RateLimiter(breaker=SETTINGS)
    for i in range(3):
        assert limiter.ready_s(f"job{i}") <= 10
        refuse(limiter, f"job{i}", 10)
    assert limiter.paused_until_s() == 70
    assert limiter.ready_s("a") == 70
    limiter.acquire("a", 70)
    assert limiter.ready_s("b") == math.inf
    assert limiter.ready_s("a") <= 70, "the probe may ask again, to resume"
    limiter.report("a", 71, answered=True, session=False)
    assert limiter.paused_until_s() is None
    assert limiter.ready_s("b") <= 71


def test_each_failed_probe_doubles_the_wait_and_then_it_gives_up() -> None:
    limiter = RateLimiter(breaker=SETTINGS)
    for i in range(3):
        refuse(limiter, f"job{i}", 0)
    refuse(limiter, "probe", 60)
    assert limiter.paused_until_s() == 180
    assert not limiter.given_up
    refuse(limiter, "probe", 180)
    assert limiter.given_up
    assert limiter.ready_s("any") == math.inf


def test_an_answer_in_between_breaks_the_streak() -> None:
    limiter = RateLimiter(breaker=SETTINGS)
    for i in range(10):
        limiter.acquire(i, i)
        limiter.report(i, i, answered=i % 3 == 2, session=i % 3 != 2)
    assert limiter.paused_until_s() is None


def test_what_was_asked_before_the_breaker_opened_says_nothing() -> None:
    limiter = RateLimiter(breaker=SETTINGS)
    limiter.acquire("early", 0)
    for i in range(3):
        refuse(limiter, f"job{i}", 0)
    limiter.report("early", 5, answered=True, session=False)
    limiter.report("late", 5, answered=False, session=True)
    assert limiter.paused_until_s() == 60


def test_a_probe_that_is_lost_is_tried_again() -> None:
    limiter = RateLimiter(breaker=SETTINGS)
    for i in range(3):
        refuse(limiter, f"job{i}", 0)
    limiter.acquire("probe", 60)
    limiter.report("probe", 90, answered=False, session=False)
    assert limiter.paused_until_s() == 150
    assert not limiter.given_up


@pytest.mark.parametrize(("asked_s", "held_s"), [(120, 120), (1e9, 3600)])
def test_retry_after_is_kept(asked_s: float, held_s: float) -> None:
    limiter = RateLimiter(breaker=SETTINGS)
    limiter.acquire("job", 0)
    limiter.report("job", 0, answered=False, session=True, retry_after_s=asked_s)
    assert limiter.ready_s("other") == held_s
