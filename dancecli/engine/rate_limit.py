"""When a site may be contacted next: a rate that holds over all workers, and a circuit breaker.

Both live in the one process that dispatches the work, and are pure in time: the clock's reading is
an argument, so that a test runs through hours in no time. The rate may be shared with other
processes of this machine, see `SharedSpacing`.
"""

from __future__ import annotations

import hashlib
import math
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import filelock

# Multiples of it, taken modulo 1, are spread evenly and never repeat: jitter without chance.
_GOLDEN = (math.sqrt(5) - 1) / 2
_JITTER = 0.2
_LONGEST_RETRY_AFTER_S = 3600.0
# After a refusal the rate is halved, down to an eighth; each answer wins back a quarter.
_SLOWER, _SLOWEST, _FASTER = 2.0, 8.0, 0.75


class EvenSpacing:
    """At most so many permits per hour, evenly spaced; a gap is 1.0 to 1.2 times the mean one.

    Evenly, because a site counts bursts, not hours: no minute holds more than its share. The rate
    adapts below the given one: slower at each refusal, faster again at each answer.

    Args:
        rate_per_hour: None for no limit.
    """

    def __init__(self, rate_per_hour: float | None) -> None:
        self._gap_s = 3600 / rate_per_hour if rate_per_hour else 0.0
        self._slowdown = 1.0
        self._num_acquired = 0
        self._ready_s = -math.inf

    @property
    def ready_s(self) -> float:
        """When the next permit is due, by the clock that `acquire` is given."""
        return self._ready_s

    def acquire(self, now_s: float) -> bool:
        """Use up one permit; False if it is not due yet."""
        if now_s < self._ready_s:
            return False
        self._ready_s = now_s + self._next_gap_s()
        return True

    def hold(self, until_s: float) -> None:
        """Give no permit before that time."""
        self._ready_s = max(self._ready_s, until_s)

    def slow_down(self) -> None:
        """Widen the gaps: the site shows that it does not like the rate."""
        self._slowdown = min(self._slowdown * _SLOWER, _SLOWEST)

    def speed_up(self) -> None:
        """Narrow the gaps again, down to those of the given rate."""
        self._slowdown = max(self._slowdown * _FASTER, 1.0)

    def _next_gap_s(self) -> float:
        self._num_acquired += 1
        return self._gap_s * self._slowdown * (1 + _JITTER * (self._num_acquired * _GOLDEN % 1))


class SharedSpacing(EvenSpacing):
    """A rate that all processes of this machine keep together, by a small file under a lock.

    Args:
        rate_per_hour: of all processes together.
        site: what is contacted, and from which address: a name for what shares the rate.
        folder: where the file lies; it is made.
    """

    def __init__(self, rate_per_hour: float, site: str, folder: Path) -> None:
        super().__init__(rate_per_hour)
        # The monotonic clock is that of one machine, and begins anew when it starts.
        name = hashlib.sha256(f"{site} {platform.node()} {_boot_id()}".encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{name}.txt"
        # Where the system does not name its starts, the times of an earlier one may be days ahead.
        with self._locked():
            if self._read()[1] > time.monotonic():
                self._path.unlink()

    @property
    def ready_s(self) -> float:
        """When the next permit is due for this process, whichever process took the last one."""
        with self._locked():
            return self._read()[0]

    def acquire(self, now_s: float) -> bool:
        """Use up one permit; False if it is not due yet, as another process was faster."""
        with self._locked():
            due = now_s >= self._read()[0]
            if due:
                self._write(now_s + self._next_gap_s(), now_s)
        return due

    def hold(self, until_s: float) -> None:
        """Let no process have a permit before that time."""
        with self._locked():
            ready_s, taken_s = self._read()
            self._write(max(ready_s, until_s), taken_s)

    def _locked(self) -> filelock.BaseFileLock:
        return filelock.FileLock(f"{self._path}.lock")

    def _read(self) -> tuple[float, float]:
        """Give when the next permit is due, and when the last one was taken."""
        try:
            ready_s, taken_s = self._path.read_text(encoding="ascii").split()
            return float(ready_s), float(taken_s)
        except (FileNotFoundError, ValueError):
            return -math.inf, -math.inf

    def _write(self, ready_s: float, taken_s: float) -> None:
        self._path.write_text(f"{ready_s!r} {taken_s!r}", encoding="ascii")


def _boot_id() -> str:
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text(encoding="ascii").strip() if path.exists() else ""


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When the circuit breaker opens, and for how long.

    Attributes:
        streak: jobs in a row without an answer that open it.
        refusals: jobs in a row by which the site refuses us (a bot check, a rate limit) that open it.
        first_wait_s: how long it then stays open; doubled each time a probe fails.
        trips: openings in a row after which it gives up, where the site refuses us.
        silent_trips: the same where it does not answer otherwise (403, timeouts, errors).
    """

    streak: int = 5
    refusals: int = 3
    first_wait_s: float = 60.0
    trips: int = 6
    silent_trips: int = 3


class RateLimiter:
    """Grants permits to contact a site: the rate and the circuit breaker in one place.

    The breaker is closed while the site answers. After `streak` different jobs in a row without an
    answer it opens: no permits, until the wait is over and one job, the probe, gets one. An answer
    to it closes the breaker; without one it opens again for twice as long, and in the end gives up.

    Before the first answer, and while answers are missing, only as many jobs are under way as may
    fail before the breaker opens: a site that refuses everything is not asked by all workers.

    Args:
        rate_per_hour: None for no limit.
        breaker: when to stop asking.
        spacing: in place of a rate of this process alone.
    """

    def __init__(
        self,
        rate_per_hour: float | None = None,
        breaker: BreakerSettings | None = None,
        spacing: EvenSpacing | None = None,
    ) -> None:
        self._spacing = spacing or EvenSpacing(rate_per_hour)
        self._breaker = breaker or BreakerSettings()
        self._unanswered: list[object] = []
        self._num_refusals = 0
        # Jobs that had a permit and have not ended.
        self._under_way: list[object] = []
        self._answers = False
        self._trips = 0
        self._opened_until_s: float | None = None
        self._probe: object | None = None
        self.given_up = False

    def ready_s(self, owner: object) -> float:
        """Give the time at which `owner` may have a permit, on the clock of `acquire`.

        Infinity means: not before a report.
        """
        if self.given_up:
            return math.inf
        if self._probe is not None:
            return self._spacing.ready_s if self._probe == owner else math.inf
        if self._opened_until_s is None and not self._may_start(owner):
            return math.inf
        return max(self._spacing.ready_s, self._opened_until_s or -math.inf)

    def acquire(self, owner: object, now_s: float) -> bool:
        """Use up one permit; the first one after an opening makes its owner the probe.

        Returns:
            False if another process of this machine was faster; see `SharedSpacing`.
        """
        if not self._spacing.acquire(now_s):
            return False
        if self._opened_until_s is not None:
            self._probe = owner
        if owner not in self._under_way:
            self._under_way.append(owner)
        return True

    def paused_until_s(self) -> float | None:
        """When the breaker is open, the time of its next probe."""
        return self._opened_until_s if self._probe is None else None

    def report(
        self,
        owner: object,
        now_s: float,
        *,
        answered: bool,
        session: bool,
        retry_after_s: float = 0.0,
        subject: object = None,
    ) -> None:
        """Take in what came of an owner's work.

        Args:
            owner: as given to `acquire`.
            now_s: the clock.
            answered: the site responded about the video itself, good or bad.
            session: the site refused us, not the video.
            retry_after_s: the Retry-After of the site.
            subject: what was requested; failures of one subject count once, unless the site refused
                us. None for the owner.
        """
        self.release(owner)
        if self._opened_until_s is not None and self._probe != owner:
            return  # it was sent before the breaker opened, so it tells nothing about now
        probing, self._probe = self._probe is not None, None
        if answered and not session:
            self._spacing.speed_up()
            self._unanswered, self._num_refusals, self._trips, self._opened_until_s = [], 0, 0, None
            self._answers = True
            return
        if session:
            self._num_refusals += 1
            self._spacing.slow_down()
            self._spacing.hold(now_s + min(retry_after_s, _LONGEST_RETRY_AFTER_S))
        # A few videos that fail again and again are no sign that the site is away; a refusal is.
        subject = owner if subject is None else subject
        if session or subject not in self._unanswered:
            self._unanswered.append(subject)
        breaker = self._breaker
        if probing or len(self._unanswered) >= breaker.streak or self._num_refusals >= breaker.refusals:
            self._open(now_s, session=session)

    def release(self, owner: object) -> None:
        """Take in that an owner's work has ended; a report says so, too."""
        if owner in self._under_way:
            self._under_way.remove(owner)

    def _may_start(self, owner: object) -> bool:
        if owner in self._under_way or (self._answers and not self._unanswered):
            return True
        breaker = self._breaker
        left = min(breaker.streak, breaker.refusals) - len(self._unanswered)
        return len(self._under_way) < max(1, left)

    def _open(self, now_s: float, *, session: bool) -> None:
        self._trips += 1
        self._opened_until_s = now_s + self._breaker.first_wait_s * 2 ** (self._trips - 1)
        trips = self._breaker.trips if session else self._breaker.silent_trips
        self.given_up = self._trips > trips


def hours_of(num_permits: int, rate_per_hour: float | None) -> float:
    """Compute how long that many permits take, with the spacing that a run will have."""
    spacing, now_s = EvenSpacing(rate_per_hour), 0.0
    for _ in range(num_permits):
        spacing.acquire(now_s)
        now_s = max(now_s, spacing.ready_s)
    return now_s / 3600
