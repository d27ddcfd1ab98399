"""A worker process: takes jobs from a pipe, one at a time, and dies with its parent.

It is the leader of its own process group, so that it and what it started (ffmpeg) can be ended
together.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Generator
from enum import Enum
from multiprocessing.connection import Connection
from typing import Any


class MessageKind(Enum):
    """What a worker says to the dispatcher; the second half of the message explains it."""

    READY = "ready"
    ACQUIRE = "acquire"  # for permission to ask the site
    PARTIAL = "partial"  # of a result; the job goes on, and its deadline begins anew
    RESULT = "result"
    REFUSED = "refused"  # by the system: a folder that may not be written, a disk that fails
    CRASH = "crash"  # an exception that the job did not handle: a bug
    # What is said for a worker on another machine, by what holds it there.
    EXITED = "exited"  # the worker has ended
    UNFIT = "unfit"  # it cannot be used: what is wrong, and what to do


class Halted(Exception):  # noqa: N818 - no error, an answer
    """The dispatcher grants no more permission: leave the job as it is."""


# What a job calls before each request to a site; it returns when that is permitted.
Acquire = Callable[[], None]
# A generator gives parts of its result as it goes, and returns the rest.
Work = Callable[[Any, Acquire], Any]


def serve(pipe: Connection, work: Work) -> None:
    """Do jobs until the pipe says None or is closed."""

    def acquire() -> None:
        pipe.send((MessageKind.ACQUIRE, None))
        if not pipe.recv():
            raise Halted

    pipe.send((MessageKind.READY, None))
    while (job := pipe.recv()) is not None:
        try:
            answer = (MessageKind.RESULT, _finish(work(job, acquire), pipe))
        except OSError as error:
            answer = (MessageKind.REFUSED, (error.errno, error.strerror or str(error), error.filename))
        except Exception:
            answer = (MessageKind.CRASH, traceback.format_exc())
        pipe.send(answer)


def _finish(result: Any, pipe: Connection) -> Any:
    if not isinstance(result, Generator):
        return result
    while True:
        try:
            pipe.send((MessageKind.PARTIAL, next(result)))
        except StopIteration as end:
            return end.value


def _die_with_parent(death_pipe: int) -> None:
    # The parent never writes; its end closes with it, however it ends.
    os.read(death_pipe, 1)
    os.killpg(0, signal.SIGKILL)


def _reparent() -> None:
    """Go on as a child of this process, which ends as that one ends.

    Ray kills the children of what it ends, and them alone: a worker that is its child would leave
    an ffmpeg behind. As its grandchild it lives until it sees the death_pipe cut, and ends its group.
    """
    pid = os.fork()
    if pid:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status < 0:
            os.kill(os.getpid(), -status)
        os._exit(status)


def main() -> None:
    """Run one worker, on the file descriptors named in the arguments."""
    pipe_fd, death_pipe = int(sys.argv[1]), int(sys.argv[2])
    if "reparent" in sys.argv[3:]:
        _reparent()
    for fd in (pipe_fd, death_pipe):
        # What the job starts must not hold them open.
        os.set_inheritable(fd, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, args=(death_pipe,), daemon=True).start()
    pipe = Connection(pipe_fd)
    try:
        sys.path[:] = pipe.recv()
        serve(pipe, pipe.recv())
    except (EOFError, BrokenPipeError):
        pass
