"""Many jobs over a few workers: what all engines share.

A job has a deadline on the wall clock, after which its worker is killed with all that it started;
a worker that dies costs its job one attempt and is replaced. Jobs are drawn one by one, so a list
of any length takes no memory. The dispatcher is one thread in one process: it alone grants
permits to contact a site, through a `RateLimiter`.
"""

from __future__ import annotations

import contextlib
import heapq
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from itertools import count
from typing import Any, Generic, Self, TypeVar

from dancecli.engine.rate_limit import RateLimiter
from dancecli.engine.worker import MessageKind, Work

Job = TypeVar("Job")
Result = TypeVar("Result")
# How long a dispatcher with nothing to do sleeps at most, so that a caller can look at the clock.
_LONGEST_WAIT_S = 1.0
_EXIT_GRACE_S = 2.0
# What a worker may take to start, on a machine that is busy.
STARTING_S = 120.0
# Why a job has no result: it raised what it should have handled, a bug.
CRASH = "crash"


@dataclass(frozen=True, slots=True)
class Finished(Generic[Job, Result]):
    """A job that has ended, or delivered a part of its result.

    Attributes:
        result: what the work returned; None if it was lost.
        lost: `timeout`, `worker-died` or `crash` if there is no result; else empty.
        detail: what happened to a lost job; of a crash, a line of what and where, then the tail of
            the traceback.
        more: the result is a part, and the job continues.
    """

    job: Job
    result: Result | None
    lost: str = ""
    detail: str = ""
    more: bool = False


class WorkerExitedError(Exception):
    """A worker exited on its own; the text says how."""


class Worker(ABC, Generic[Job]):
    """The dispatcher's view of one worker.

    Attributes:
        job: what it works on; None while it is idle.
        has_partial: it has delivered a part of the job's result.
        deadline_s: when it is killed, by the monotonic clock.
        waiting_since_s: since when it waits for a permit; 0 while it does not.
        started: it has sent a message.
    """

    def __init__(self) -> None:
        self.job: Job | None = None
        self.has_partial = False
        self.deadline_s = 0.0
        self.waiting_since_s = 0.0
        self.started = False

    @property
    def busy(self) -> bool:
        """It has a job."""
        return self.job is not None

    def start(self, job: Job, deadline_s: float) -> None:
        """Hand it a job."""
        self.job, self.has_partial, self.deadline_s, self.waiting_since_s = job, False, deadline_s, 0.0
        self.send(job)

    def grant(self, allowed: bool, now_s: float) -> None:
        """Grant or refuse the permit that it waits for; the waiting does not count toward the deadline."""
        self.deadline_s += now_s - self.waiting_since_s
        self.waiting_since_s = 0.0
        self.send(allowed)

    def resume(self) -> None:
        """Let it continue after a part of its result."""

    def shut_down(self) -> None:
        """Let it exit: there is no more work."""

    @abstractmethod
    def send(self, what: object) -> None:
        """Send it a message; one that has exited is noticed by `receive`."""

    @abstractmethod
    def receive(self) -> tuple[MessageKind, Any]:
        """Take its next message, once there is one.

        Raises:
            WorkerExitedError: it has ended.
        """

    @abstractmethod
    def kill(self, grace_s: float = 0.0, /) -> object:
        """End it and all that it started; after `grace_s` if it does not go by itself."""


class Pool(ABC, Generic[Job, Result]):
    """Does jobs with a number of workers; a context manager that leaves none behind.

    Args:
        work: a function of a module, `work(job, acquire)`; `acquire()` returns when
            the site may be contacted.
        workers: their number.
        deadline_s: wall-clock limit of a job, without the time it waited for permits; or what gives that of
            each.
        limiter: grants permits; None grants all.

    Attributes:
        num_crashes: jobs that raised what they should have handled; each is a `Finished` of its own,
            and the other jobs continue.
    """

    def __init__(
        self,
        work: Work,
        workers: int,
        deadline_s: float | Callable[[Job], float],
        limiter: RateLimiter | None = None,
    ) -> None:
        self._work = work
        self._num_workers = workers
        self._deadline_s = deadline_s
        self._limiter = limiter or RateLimiter()
        self._workers: list[Worker[Job]] = []
        self._later: list[tuple[float, int, Job]] = []
        self._order = count()
        self._waiting: deque[Worker[Job]] = deque()
        self._exhausted = False
        self._stopping = False
        self.num_crashes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.kill()
        self._workers.clear()

    def requeue(self, job: Job, delay_s: float) -> None:
        """Put a job back, not to be started before `delay_s` seconds from now."""
        heapq.heappush(self._later, (time.monotonic() + delay_s, next(self._order), job))

    def stop(self) -> None:
        """Start nothing more; running jobs finish, those that wait for a permit are halted."""
        self._stopping = True

    def run(self, jobs: Iterable[Job]) -> Iterator[Finished[Job, Result] | None]:
        """Do the jobs, in any order; None is given now and then while nothing happens.

        Raises:
            OSError: the system refused a job what every job needs: space, or the right to write.
        """
        if isinstance(jobs, Sized):
            if not len(jobs):
                return
            self._num_workers = min(self._num_workers, len(jobs))
        fresh = iter(jobs)
        while True:
            self._stopping = self._stopping or self._limiter.given_up
            self._hand_out(fresh)
            self._grant_permits()
            busy = any(worker.busy for worker in self._workers)
            if not busy and (self._stopping or (self._exhausted and not self._later)):
                self._shut_down()
                return
            yielded = False
            for worker in self._wait_ready(self._timeout_s()):
                if (finished := self._receive(worker)) is not None:
                    yielded = True
                    yield finished
                    self._release(finished)
            for late in self._overdue():
                yielded = True
                yield late
                self._release(late)
            if not yielded:
                yield None

    @abstractmethod
    def _idle_worker(self) -> Worker[Job] | None:
        """Return a worker that can take a job now, a new one if more may be started; else None."""

    @abstractmethod
    def _wait_ready(self, timeout_s: float) -> Sequence[Worker[Job]]:
        """Wait until workers have sent messages, and give these workers; none at the timeout."""

    def _hand_out(self, fresh: Iterator[Job]) -> None:
        """Give idle workers their jobs, those that are to be done again first."""
        while not self._stopping:
            due = bool(self._later) and self._later[0][0] <= time.monotonic()
            if self._exhausted and not due:
                return
            worker = self._idle_worker()
            if worker is None:
                return
            job = heapq.heappop(self._later)[2] if due else next(fresh, None)
            if job is None:
                self._exhausted = True
                return
            limit_s = self._limit_s(job) if worker.started else self._limit_s(job) + STARTING_S
            worker.start(job, time.monotonic() + limit_s)

    def _grant_permits(self) -> None:
        for worker in list(self._waiting):
            now = time.monotonic()
            if self._stopping:
                allowed = False
            elif self._limiter.ready_s(worker.job) <= now and self._limiter.acquire(worker.job, now):
                allowed = True
            else:
                continue
            self._waiting.remove(worker)
            worker.grant(allowed, now)

    def _timeout_s(self) -> float:
        now = time.monotonic()
        moments = [
            worker.deadline_s for worker in self._workers if worker.busy and not worker.waiting_since_s
        ]
        moments += [self._limiter.ready_s(worker.job) for worker in self._waiting]
        if self._later and any(not worker.busy for worker in self._workers):
            moments.append(self._later[0][0])
        return max(0.0, min([now + _LONGEST_WAIT_S, *moments]) - now)

    def _receive(self, worker: Worker[Job]) -> Finished[Job, Result] | None:
        try:
            what, payload = worker.receive()
        except WorkerExitedError as exited:
            return self._worker_lost(worker, exited)
        worker.started = True
        if what is MessageKind.READY:
            # The first job may be handed over before; starting does not count toward its deadline.
            if worker.job is not None:
                worker.deadline_s = time.monotonic() + self._limit_s(worker.job)
        elif what is MessageKind.ACQUIRE:
            worker.waiting_since_s = time.monotonic()
            self._waiting.append(worker)
        elif what is MessageKind.REFUSED:
            raise OSError(*payload)
        elif what is MessageKind.CRASH:
            job, worker.job = worker.job, None
            self.num_crashes += 1
            assert job is not None  # noqa: S101 - for the type checker: only a job can crash
            return Finished(job, None, CRASH, payload)
        elif what is MessageKind.PARTIAL:
            assert worker.job is not None  # noqa: S101 - for the type checker: only a job has parts
            worker.deadline_s = time.monotonic() + self._limit_s(worker.job)
            worker.has_partial = True
            worker.resume()
            return Finished(worker.job, payload, more=True)
        elif what is MessageKind.RESULT:
            job, worker.job = worker.job, None
            assert job is not None  # noqa: S101 - for the type checker: only a job has a result
            return Finished(job, payload)
        return None

    def _overdue(self) -> Iterator[Finished[Job, Result]]:
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.busy and not worker.waiting_since_s and worker.deadline_s <= now:
                job = self._remove(worker)
                if job is not None:
                    yield Finished(job, None, "timeout", f"took longer than {self._limit_s(job):.0f} s")

    def _limit_s(self, job: Job) -> float:
        return self._deadline_s(job) if callable(self._deadline_s) else self._deadline_s

    def _release(self, finished: Finished[Job, Result]) -> None:
        if not finished.more:
            self._limiter.release(finished.job)

    def _worker_lost(self, worker: Worker[Job], exited: WorkerExitedError) -> Finished[Job, Result] | None:
        """Drop a worker that has exited; its job, if it had one, is lost."""
        job = self._remove(worker)
        return None if job is None else Finished(job, None, "worker-died", str(exited))

    def _remove(self, worker: Worker[Job]) -> Job | None:
        """Remove a worker, and return its job."""
        worker.kill()
        self._workers.remove(worker)
        with contextlib.suppress(ValueError):
            self._waiting.remove(worker)
        return worker.job

    def _shut_down(self) -> None:
        for worker in self._workers:
            worker.shut_down()
        for worker in self._workers:
            worker.kill(_EXIT_GRACE_S)
        self._workers.clear()
