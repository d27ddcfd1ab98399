"""Many jobs over a few worker processes of this machine.

A worker is the leader of its own process group, which is killed as a whole: what a job started,
an ffmpeg that hangs, ends with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from dancecli.engine.pool import Job, Pool, Result, Worker, WorkerExitedError
from dancecli.engine.worker import MessageKind, Work

# Not `-m`: what is pickled there would be named after `__main__`.
_START = "from dancecli.engine.worker import main; main()"


class LocalPool(Pool[Job, Result]):
    """A pool of worker processes."""

    def _idle_worker(self) -> Worker[Job] | None:
        worker = next((w for w in self._workers if not w.busy), None)
        if worker is None and len(self._workers) < self._num_workers:
            # It is handed its first job at once, and finds it when it has started.
            worker = _LocalWorker(self._work)
            self._workers.append(worker)
        return worker

    def _wait_ready(self, timeout_s: float) -> Sequence[Worker[Job]]:
        by_pipe = {w.pipe: w for w in self._workers if isinstance(w, _LocalWorker)}
        return [by_pipe[pipe] for pipe in wait(list(by_pipe), timeout_s) if isinstance(pipe, Connection)]


class WorkerProcess:
    """A process that runs `engine.worker` and exits with this one.

    Attributes:
        pipe: the connection to it.

    Args:
        reparent: it must not be a direct child of this process, see `engine.worker`.
    """

    def __init__(self, *, reparent: bool = False) -> None:
        ours, theirs = socket.socketpair()
        death_pipe, self._death_pipe = os.pipe()
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-c",
                _START,
                str(theirs.fileno()),
                str(death_pipe),
                *(["reparent"] if reparent else []),
            ],
            pass_fds=(theirs.fileno(), death_pipe),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()
        os.close(death_pipe)
        self.pipe = Connection(ours.detach())
        self._status: int | None = None

    def kill(self, grace_s: float = 0.0) -> int:
        """End it and all that it started, after `grace_s` if it does not exit by itself.

        Returns:
            Its exit status; below 0 the signal that ended it.
        """
        if self._status is not None:
            # Its number may be that of somebody else's process group by now.
            return self._status
        try:
            status = self._process.wait(grace_s) if grace_s else None
        except subprocess.TimeoutExpired:
            status = None
        if status is None:
            # Also after the worker itself has exited: its ffmpeg may still run.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            status = self._process.wait()
        self.pipe.close()
        os.close(self._death_pipe)
        self._status = status
        return status


class _LocalWorker(Worker[Job]):
    def __init__(self, work: Work) -> None:
        super().__init__()
        self._process = WorkerProcess()
        self.pipe = self._process.pipe
        self.send(list(sys.path))
        self.send(work)

    def send(self, what: object) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.pipe.send(what)

    def receive(self) -> tuple[MessageKind, Any]:
        try:
            heard: tuple[MessageKind, Any] = self.pipe.recv()
        except (EOFError, OSError):
            status = self._process.kill()
            # Killed from outside, it costs one attempt; exited by itself, it would only do so again.
            if not self.started and status >= 0:
                raise RuntimeError(
                    f"a worker process ended with status {status} before its first job"
                ) from None
            raise WorkerExitedError(f"its process ended with status {status}") from None
        return heard

    def shut_down(self) -> None:
        self.send(None)

    def kill(self, grace_s: float = 0.0, /) -> None:
        self._process.kill(grace_s)
