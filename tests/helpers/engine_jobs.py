"""Work for the pool's tests; a worker process imports it by name."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Generator
from pathlib import Path

from dancecli.engine.worker import Ask


def double(job: int, ask: Ask) -> int:
    return 2 * job


def asking(job: int, ask: Ask) -> float:
    ask()
    return time.monotonic()


def dies_once(job: Path, ask: Ask) -> str:
    if not job.exists():
        job.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def hangs_with_a_child(job: Path, ask: Ask) -> None:
    child = subprocess.Popen(["sleep", "1000"])
    job.write_text(f"{os.getpid()} {child.pid}")
    child.wait()


def fails(job: int, ask: Ask) -> None:
    raise ValueError("a bug")


def counts(job: int, ask: Ask) -> Generator[int, None, str]:
    for i in range(job):
        time.sleep(0.3)
        yield i
    return "all"


def where(job: Path, ask: Ask) -> str:
    """Say on which node of a cluster it was done, once all that are to meet there have come."""
    (job.parent / f"{job.name}.here").touch()
    while len(list(job.parent.glob("*.here"))) < 2:
        time.sleep(0.02)
    return os.environ["TEST_NODE"]
