"""When a site may be asked next: a rate that holds over all workers, and a breaker.

Both live in the one process that dispatches the work, and are pure in time: the clock's
reading is an argument, so that a test runs through hours in no time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

# Multiples of it, taken modulo 1, are spread evenly and never repeat: jitter without chance.
_GOLDEN = (math.sqrt(5) - 1) / 2
_JITTER = 0.2
_LONGEST_RETRY_AFTER_S = 3600.0


class EvenSpacing:
    """At most so many permits an hour, evenly spaced; a gap is 1.0 to 1.2 times the mean one.

    Evenly, because a site counts bursts, not hours: no minute holds more than its share.

    Args:
        rate_per_hour: None for no limit.
    """

    def __init__(self, rate_per_hour: float | None) -> None:
        self._gap_s = 3600 / rate_per_hour if rate_per_hour else 0.0
        self._taken = 0
        self.ready_s = -math.inf

    def acquire(self, now_s: float) -> None:
        """Use up one permit."""
        self._taken += 1
        gap_s = self._gap_s * (1 + _JITTER * (self._taken * _GOLDEN % 1))
        self.ready_s = max(self.ready_s, now_s + gap_s)

    def hold(self, until_s: float) -> None:
        """Give no permit before that time."""
        self.ready_s = max(self.ready_s, until_s)


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When a breaker opens, and for how long.

    Attributes:
        streak: session-level answers in a row that open it.
        first_wait_s: how long it then stays open; doubled each time a probe fails.
        trips: openings in a row after which it gives up.
    """

    streak: int = 5
    first_wait_s: float = 60.0
    trips: int = 6


class RateLimiter:
    """Grants permission to ask a site: the limiter and the breaker in one place.

    The breaker is closed while the site answers. After `streak` session-level answers in a row
    it opens: nobody asks, until the wait is over and one worker, the probe, may. Its good
    answer closes the breaker; another session-level one opens it again for twice as long.
    """

    def __init__(self, rate_per_hour: float | None = None, breaker: BreakerSettings | None = None) -> None:
        self._spacing = EvenSpacing(rate_per_hour)
        self._breaker = breaker or BreakerSettings()
        self._streak = 0
        self._trips = 0
        self._opened_until_s: float | None = None
        self._probe: object | None = None
        self.given_up = False

    def ready_s(self, owner: object) -> float:
        """Say when `owner` may ask, on the clock of `acquire`; infinity: not before a report."""
        if self.given_up:
            return math.inf
        if self._probe is not None:
            return self._spacing.ready_s if self._probe == owner else math.inf
        return max(self._spacing.ready_s, self._opened_until_s or -math.inf)

    def acquire(self, owner: object, now_s: float) -> None:
        """Use up one permit; the first one after an opening makes its owner the probe."""
        self._spacing.acquire(now_s)
        if self._opened_until_s is not None:
            self._probe = owner

    def paused_until_s(self) -> float | None:
        """When the breaker is open, the time of its next probe."""
        return self._opened_until_s if self._probe is None else None

    def report(
        self, owner: object, now_s: float, *, answered: bool, session: bool, retry_after_s: float = 0.0
    ) -> None:
        """Tell what came of an owner's work.

        Args:
            owner: as given to `acquire`.
            now_s: the clock.
            answered: the site said something about the video itself, good or bad.
            session: the site refused us, not the video.
            retry_after_s: for how long it asked to be left alone.
        """
        if self._opened_until_s is not None and self._probe != owner:
            return  # asked before the breaker opened, so it says nothing about now
        probing, self._probe = self._probe is not None, None
        if session:
            self._spacing.hold(now_s + min(retry_after_s, _LONGEST_RETRY_AFTER_S))
            self._streak += 1
            if probing or self._streak >= self._breaker.streak:
                self._open(now_s)
        elif answered:
            self._streak = self._trips = 0
            self._opened_until_s = None
        elif probing:
            self._opened_until_s = now_s + self._breaker.first_wait_s

    def _open(self, now_s: float) -> None:
        self._trips += 1
        self._opened_until_s = now_s + self._breaker.first_wait_s * 2 ** (self._trips - 1)
        self.given_up = self._trips > self._breaker.trips
