"""Work for the pool's tests; a worker process imports it by name."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Generator
from pathlib import Path

from dancecli.engine.worker import Acquire


def double(job: int, acquire: Acquire) -> int:
    return 2 * job


def asking(job: int, acquire: Acquire) -> float:
    acquire()
    return time.monotonic()


def dies_once(job: Path, acquire: Acquire) -> str:
    if not job.exists():
        job.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def hangs_with_a_child(job: Path, acquire: Acquire) -> None:
    child = subprocess.Popen(["sleep", "1000"])
    job.write_text(f"{os.getpid()} {child.pid}")
    child.wait()


def fails_at_three(job: int, acquire: Acquire) -> int:
    if job == 3:
        raise ValueError("a bug")
    return job


def crashes_after_a_part(job: int, acquire: Acquire) -> Generator[str, None, str]:
    yield "part"
    raise KeyError("https://user:pa55@host/a?sig=pa55")


def counts(job: int, acquire: Acquire) -> Generator[int, None, str]:
    for i in range(job):
        time.sleep(0.3)
        yield i
    return "all"


def where(job: Path, acquire: Acquire) -> str:
    """Say on which node of a cluster it was done, once all that are to meet there have come."""
    (job.parent / f"{job.name}.here").touch()
    while len(list(job.parent.glob("*.here"))) < 2:
        time.sleep(0.02)
    return os.environ["TEST_NODE"]
