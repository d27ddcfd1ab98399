"""Many jobs over a few worker processes of this machine.

A job has a deadline on the wall clock, after which its worker's whole process group is killed;
a worker that dies costs its job one attempt and is replaced. Jobs are drawn one by one, so a
list of any length takes no memory. The dispatcher is one thread in one process: it alone
grants permission to ask a site, through a `Gate`.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection, wait
from typing import Generic, TypeVar

from dancecli.engine.limiter import Gate
from dancecli.engine.worker import Say, Work

Job = TypeVar("Job")
Result = TypeVar("Result")
# How long a dispatcher with nothing to do sleeps at most, so that a caller can look at the clock.
_LONGEST_WAIT_S = 1.0
_FAREWELL_S = 2.0
# What a process may take to start, on a machine that is busy.
_STARTING_S = 120.0
# Not `-m`: what is pickled there would be named after `__main__`.
_START = "from dancecli.engine.worker import main; main()"


@dataclass(frozen=True, slots=True)
class Finished(Generic[Job, Result]):
    """A job that has come to an end, or to a part of its result.

    Attributes:
        result: what the work returned; None if it was lost.
        lost: `timeout` or `worker-died` with `detail`, if there is no result; else empty.
        more: the result is a part, and the job goes on.
    """

    job: Job
    result: Result | None
    lost: str = ""
    detail: str = ""
    more: bool = False


class LocalPool(Generic[Job, Result]):
    """A pool of worker processes; a context manager that leaves no process behind.

    Args:
        work: a function of a module, `work(job, ask)`; `ask()` returns when the site may be asked.
        workers: number of processes.
        deadline_s: wall-clock limit of a job, without the time it waited for permission.
        gate: grants permission; None grants all.
    """

    def __init__(self, work: Work, workers: int, deadline_s: float, gate: Gate | None = None) -> None:
        self._work = work
        self._num_workers = workers
        self._deadline_s = deadline_s
        self._gate = gate or Gate()
        self._workers: list[_Worker[Job]] = []
        self._later: list[tuple[float, int, Job]] = []
        self._order = count()
        self._asking: deque[_Worker[Job]] = deque()
        self._stopping = False

    def __enter__(self) -> LocalPool[Job, Result]:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.kill()
        self._workers.clear()

    def again(self, job: Job, delay_s: float) -> None:
        """Put a job back, not to be started before `delay_s` seconds from now."""
        heapq.heappush(self._later, (time.monotonic() + delay_s, next(self._order), job))

    def stop(self) -> None:
        """Start nothing more; jobs at work come to their end, those that ask are told to leave."""
        self._stopping = True

    def run(self, jobs: Iterable[Job]) -> Iterator[Finished[Job, Result] | None]:
        """Do the jobs, in any order; None is given now and then while nothing happens.

        Raises:
            RuntimeError: a job raised what it should have handled.
        """
        fresh = iter(jobs)
        while True:
            self._stopping = self._stopping or self._gate.given_up
            exhausted = not self._hand_out(fresh)
            self._grant()
            busy = [worker for worker in self._workers if worker.busy]
            if not busy and (self._stopping or (exhausted and not self._later)):
                self._dismiss()
                return
            told = False
            for pipe in wait([worker.pipe for worker in self._workers], self._patience_s()):
                worker = next(w for w in self._workers if w.pipe is pipe)
                if (finished := self._hear(worker)) is not None:
                    told = True
                    yield finished
            for late in self._overdue():
                told = True
                yield late
            if not told:
                yield None

    def _hand_out(self, fresh: Iterator[Job]) -> bool:
        """Give idle workers their jobs; False when `fresh` has no more."""
        while not self._stopping:
            worker = next((w for w in self._workers if not w.busy), None)
            if worker is None and len(self._workers) >= self._num_workers:
                return True
            job = self._next_job(fresh)
            if job is None:
                return False
            if worker is None:
                worker = _Worker(self._work)
                self._workers.append(worker)
            limit_s = self._deadline_s if worker.came_up else self._deadline_s + _STARTING_S
            worker.start(job, time.monotonic() + limit_s)
        return False

    def _next_job(self, fresh: Iterator[Job]) -> Job | None:
        if self._later and self._later[0][0] <= time.monotonic():
            return heapq.heappop(self._later)[2]
        return next(fresh, None)

    def _grant(self) -> None:
        for worker in list(self._asking):
            now = time.monotonic()
            allowed = self._gate.ready_s(worker.job) <= now
            if not allowed and not self._stopping:
                continue
            self._asking.remove(worker)
            if allowed and not self._stopping:
                self._gate.take(worker.job, now)
            worker.answer(allowed and not self._stopping, now)

    def _patience_s(self) -> float:
        now = time.monotonic()
        moments = [worker.deadline_s for worker in self._workers if worker.busy and not worker.asked_s]
        moments += [self._gate.ready_s(worker.job) for worker in self._asking]
        if self._later and any(not worker.busy for worker in self._workers):
            moments.append(self._later[0][0])
        return max(0.0, min([now + _LONGEST_WAIT_S, *moments]) - now)

    def _hear(self, worker: _Worker[Job]) -> Finished[Job, Result] | None:
        try:
            what, told = worker.pipe.recv()
        except (EOFError, OSError):
            return self._bury(worker, "worker-died", "")
        worker.came_up = True
        if what is Say.READY:
            # The first job was handed over before; starting a process is no part of it.
            worker.deadline_s = time.monotonic() + self._deadline_s
        elif what is Say.ASK:
            worker.asked_s = time.monotonic()
            self._asking.append(worker)
        elif what is Say.CRASH:
            raise RuntimeError(f"a job failed in a way that it does not handle:\n{told}")
        elif what is Say.PART:
            worker.deadline_s = time.monotonic() + self._deadline_s
            assert worker.job is not None  # noqa: S101 - for the type checker: only a job has parts
            return Finished(worker.job, told, more=True)
        elif what is Say.RESULT:
            job, worker.job = worker.job, None
            assert job is not None  # noqa: S101 - for the type checker: only a job has a result
            return Finished(job, told)
        return None

    def _overdue(self) -> Iterator[Finished[Job, Result]]:
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.busy and not worker.asked_s and worker.deadline_s <= now:
                finished = self._bury(worker, "timeout", f"took longer than {self._deadline_s:.0f} s")
                if finished is not None:
                    yield finished

    def _bury(self, worker: _Worker[Job], why: str, detail: str) -> Finished[Job, Result] | None:
        status = worker.kill()
        self._workers.remove(worker)
        # Killed from outside it is one attempt; ended by itself it would only do so again.
        if not worker.came_up and status >= 0:
            raise RuntimeError(f"a worker process ended with status {status} before its first job")
        with contextlib.suppress(ValueError):
            self._asking.remove(worker)
        if worker.job is None:
            return None
        return Finished(worker.job, None, why, detail or f"its process ended with status {status}")

    def _dismiss(self) -> None:
        for worker in self._workers:
            worker.dismiss()
        for worker in self._workers:
            worker.kill(_FAREWELL_S)
        self._workers.clear()


class _Worker(Generic[Job]):
    """The dispatcher's view of one worker process."""

    def __init__(self, work: Work) -> None:
        ours, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-c",
                _START,
                str(theirs.fileno()),
                str(lifeline),
            ],
            pass_fds=(theirs.fileno(), lifeline),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        os.close(lifeline)
        self.pipe = Connection(ours.detach())
        self.job: Job | None = None
        self.deadline_s = 0.0
        self.asked_s = 0.0
        self.came_up = False
        self._send(list(sys.path))
        self._send(work)

    @property
    def busy(self) -> bool:
        return self.job is not None

    def start(self, job: Job, deadline_s: float) -> None:
        self.job, self.deadline_s, self.asked_s = job, deadline_s, 0.0
        self._send(job)

    def answer(self, allowed: bool, now_s: float) -> None:
        self.deadline_s += now_s - self.asked_s
        self.asked_s = 0.0
        self._send(allowed)

    def dismiss(self) -> None:
        self._send(None)

    def kill(self, grace_s: float = 0.0) -> int:
        """End the worker and all that it started; after `grace_s` if it does not go by itself."""
        try:
            status = self._process.wait(grace_s) if grace_s else None
        except subprocess.TimeoutExpired:
            status = None
        if status is None:
            # Also when the worker itself is gone: its ffmpeg may not be.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            status = self._process.wait()
        self.pipe.close()
        os.close(self._lifeline)
        return status

    def _send(self, what: object) -> None:
        # A worker that died meanwhile is noticed when its pipe is read.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send(what)
