"""A worker process: takes jobs from a pipe, one at a time, and exits with its parent.

It is the leader of its own process group, so that it and what it started (ffmpeg) can be ended
together.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Generator
from enum import Enum
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dancecli.core.redaction import redact


class MessageKind(Enum):
    """The kind of a message from a worker to the dispatcher; the payload comes second."""

    READY = "ready"
    ACQUIRE = "acquire"  # waits for a permit to contact the site
    PARTIAL = "partial"  # part of a result; the job continues and its deadline restarts
    RESULT = "result"
    REFUSED = "refused"  # by the system: a folder that may not be written, a full disk
    CRASH = "crash"  # an exception that the job did not handle: a bug
    # Sent for a worker on another machine by the actor that owns it.
    EXITED = "exited"  # the worker process has ended
    UNFIT = "unfit"  # the node cannot be used: what is wrong, and what to do


class Halted(Exception):  # noqa: N818 - not an error, an answer
    """The dispatcher grants no more permits: leave the job as it is."""


# What a job calls before each request to a site; it returns once the request is permitted.
Acquire = Callable[[], None]
# A generator yields parts of its result as it proceeds, and returns the rest.
Work = Callable[[Any, Acquire], Any]
# What the system refuses every job alike. Anything else is a fault of one job.
_SYSTEM_ERRNOS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EIO,
    errno.ESTALE,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
)
_TRACEBACK_LINES = 12
_LONGEST_TRACEBACK = 2000


def serve(pipe: Connection, work: Work) -> None:
    """Do jobs until the pipe delivers None or is closed."""

    def acquire() -> None:
        pipe.send((MessageKind.ACQUIRE, None))
        if not pipe.recv():
            raise Halted

    pipe.send((MessageKind.READY, None))
    while (job := pipe.recv()) is not None:
        try:
            answer = (MessageKind.RESULT, _finish(work(job, acquire), pipe))
        except Exception as error:
            answer = _describe(error)
        pipe.send(answer)


def _finish(result: Any, pipe: Connection) -> Any:
    if not isinstance(result, Generator):
        return result
    while True:
        try:
            pipe.send((MessageKind.PARTIAL, next(result)))
        except StopIteration as end:
            return end.value


def _describe(error: Exception) -> tuple[MessageKind, Any]:
    # PyAV derives the errors of broken media from OSError; those are a fault of the file.
    system = isinstance(error, OSError) and not type(error).__module__.startswith("av.")
    if system and isinstance(error, OSError) and error.errno in _SYSTEM_ERRNOS:
        return MessageKind.REFUSED, (error.errno, error.strerror or str(error), error.filename)
    return MessageKind.CRASH, crash_text(error)


def crash_text(error: BaseException) -> str:
    """Describe an unexpected exception: one line of what and where, then the traceback's tail."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" (in {frames[-1].name}, {Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    lines = "".join(traceback.format_exception(error)).rstrip().splitlines()[-_TRACEBACK_LINES:]
    tail = "\n".join(lines)[-_LONGEST_TRACEBACK:]
    return redact(f"{type(error).__name__}: {error}{where}\n{tail}")


def _die_with_parent(death_pipe: int) -> None:
    # The parent never writes; its end closes with it, however it ends.
    os.read(death_pipe, 1)
    os.killpg(0, signal.SIGKILL)


def _reparent() -> None:
    """Continue as a child of this process, which exits as that child exits.

    Ray kills the direct children of an actor, and only those: a worker that is such a child would
    leave its ffmpeg running. As a grandchild it sees the parent-death pipe close and kills its group.
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
