"""EvenSpacing and breaker, run through hours in no time."""

import itertools
import math
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dancecli.engine.rate_limit import BreakerSettings, EvenSpacing, RateLimiter, SharedSpacing, hours_of

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


def fail(limiter: RateLimiter, owner: object, now: float) -> None:
    """A job that brought no answer: a 403, a timeout, a worker that died."""
    limiter.acquire(owner, now)
    limiter.report(owner, now, answered=False, session=False)


def test_attempts_without_an_answer_of_any_kind_open_it_and_stop_the_run_sooner() -> None:
    limiter = RateLimiter(breaker=BreakerSettings(streak=3, first_wait_s=60, silent_trips=2))
    for i in range(3):
        fail(limiter, f"job{i}", 0)
    assert limiter.paused_until_s() == 60
    fail(limiter, "probe", 60)
    assert limiter.paused_until_s() == 180
    assert not limiter.given_up
    fail(limiter, "probe", 180)
    assert limiter.given_up


def test_two_videos_that_fail_again_and_again_do_not_open_it() -> None:
    limiter = RateLimiter(breaker=SETTINGS)
    for i in range(20):
        fail(limiter, f"job{i % 2}", i)
    assert limiter.paused_until_s() is None
    fail(limiter, "a third", 20)
    assert limiter.paused_until_s() == 80


def test_refusals_open_it_sooner_than_other_failures() -> None:
    limiter = RateLimiter(breaker=BreakerSettings(streak=5, refusals=2))
    fail(limiter, "a", 0)
    refuse(limiter, "b", 0)
    assert limiter.paused_until_s() is None
    refuse(limiter, "c", 0)
    assert limiter.paused_until_s() == 60


def test_a_site_that_never_answered_is_asked_by_few_workers_at_once() -> None:
    limiter = RateLimiter(breaker=BreakerSettings(streak=5, refusals=3))
    started = [i for i in range(8) if limiter.ready_s(i) <= 0 and limiter.acquire(i, 0)]
    assert started == [0, 1, 2]
    assert limiter.ready_s(0) <= 0, "those that are under way may ask again"
    limiter.report(0, 1, answered=False, session=False)
    assert limiter.ready_s(3) == math.inf
    limiter.release(1)
    limiter.release(2)
    assert limiter.ready_s(3) <= 1
    limiter.acquire(3, 1)
    limiter.report(3, 2, answered=True, session=False)
    assert [i for i in range(4, 12) if limiter.ready_s(i) <= 2 and limiter.acquire(i, 2)] == list(
        range(4, 12)
    )
    limiter.report(4, 3, answered=False, session=False)
    assert limiter.ready_s(12) == math.inf, "seven are under way, and may all fail"


def test_openings_that_an_answer_ended_are_not_counted() -> None:
    limiter = RateLimiter(breaker=SETTINGS)
    now = 0.0
    for _ in range(10):
        for i in range(3):
            refuse(limiter, f"job{i}", now)
        now = limiter.paused_until_s() or 0
        limiter.acquire("probe", now)
        limiter.report("probe", now, answered=True, session=False)
        assert not limiter.given_up


def test_it_slows_down_at_refusals_and_is_never_faster_than_the_rate() -> None:
    limiter, now = RateLimiter(3600, BreakerSettings(streak=99, refusals=99)), 0.0

    def gap(*, answered: bool) -> float:
        nonlocal now
        begin = now = limiter.ready_s("job")
        limiter.acquire("job", now)
        limiter.report("job", now, answered=answered, session=not answered)
        now = limiter.ready_s("job")
        return now - begin

    limiter.acquire("job", now)
    assert 1 <= gap(answered=True) <= 1.2
    gap(answered=False)
    slow = [gap(answered=False) for _ in range(5)]
    assert max(slow) <= 8 * 1.2
    assert max(slow) >= 8
    recovering = [gap(answered=True) for _ in range(12)]
    assert recovering[0] > 4
    assert 1 <= recovering[-1] <= 1.2


def test_processes_of_one_machine_keep_one_rate(tmp_path: Path) -> None:
    first = SharedSpacing(3600, "youtube", tmp_path)
    second = SharedSpacing(3600, "youtube", tmp_path)
    elsewhere = SharedSpacing(3600, "youtube over socks5://a", tmp_path)
    assert first.acquire(100)
    assert not second.acquire(100.5)
    assert 101 <= second.ready_s <= 101.2
    assert elsewhere.acquire(100.5)
    assert second.acquire(102)
    assert not first.acquire(102)
    second.hold(500)
    assert first.ready_s == 500
    slower = SharedSpacing(60, "youtube", tmp_path)
    assert slower.acquire(500)
    assert first.ready_s >= 560


def test_the_times_of_an_earlier_start_of_the_machine_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dancecli.engine.rate_limit._boot_id", str)
    now = time.monotonic()
    earlier = SharedSpacing(60, "youtube", tmp_path)
    earlier.acquire(now + 1e6)
    earlier.hold(now + 1e6 + 3600)
    assert SharedSpacing(60, "youtube", tmp_path).acquire(now)
    # What a process of this start holds stays, however slow it is.
    SharedSpacing(60, "youtube", tmp_path).hold(now + 1e5)
    assert SharedSpacing(60, "youtube", tmp_path).ready_s == now + 1e5


def test_permits_of_two_processes_are_spaced_as_those_of_one(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\n"
        "from dancecli.engine.rate_limit import SharedSpacing\n"
        "spacing, end = SharedSpacing(36000, 'x', Path(sys.argv[1])), time.monotonic() + 1.5\n"
        "while (now := time.monotonic()) < end:\n"
        "    print(now) if spacing.acquire(now) else time.sleep(0.005)\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    times = sorted(float(line) for one in running for line in one.communicate()[0].split())
    assert len(times) >= 8
    assert min(b - a for a, b in itertools.pairwise(times)) >= 0.1 - 1e-6


def test_the_hours_of_a_plan_are_those_of_the_limiter() -> None:
    spacing, now = EvenSpacing(300), 0.0
    for _ in range(600):
        assert spacing.acquire(now)
        now = spacing.ready_s
    assert hours_of(600, 300) == pytest.approx(now / 3600)
    assert 2.1 < hours_of(600, 300) < 2.3
    assert hours_of(600, None) == 0


@pytest.mark.parametrize(("asked_s", "held_s"), [(120, 120), (1e9, 3600)])
def test_retry_after_is_kept(asked_s: float, held_s: float) -> None:
    limiter = RateLimiter(breaker=SETTINGS)
    limiter.acquire("job", 0)
    limiter.report("job", 0, answered=False, session=True, retry_after_s=asked_s)
    assert limiter.ready_s("other") == held_s
