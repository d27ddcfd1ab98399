"""Choose the engine: the only place where a step opens a pool."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dancecli.core.errors import MissingDependencyError, UsageError
from dancecli.engine.local import LocalPool
from dancecli.engine.pool import Pool
from dancecli.engine.rate_limit import RateLimiter
from dancecli.engine.worker import Work

LOCAL, RAY = "local", "ray"


def num_cores() -> int:
    """Return how many cores this process may use: fewer than the machine has in a job of a cluster."""
    # Where a system has no such call (macOS), there is no such limit.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_engine(engine: str) -> None:
    """Refuse an engine that is unknown or not installed, before any work.

    Raises:
        UsageError: there is no such engine.
        MissingDependencyError: it is not installed.
    """
    if engine not in (LOCAL, RAY):
        raise UsageError(f"--engine {engine!r} is none of {LOCAL}, {RAY}")
    if engine == RAY and find_spec("ray") is None:
        raise MissingDependencyError("--engine ray needs Ray", "pip install 'dancecli[ray]'")


def open_pool(
    engine: str,
    work: Work,
    workers: int,
    deadline_s: float,
    limiter: RateLimiter | None = None,
    *,
    root: Path,
    egress: bool = False,
    gpu: bool = False,
) -> Pool[Any, Any]:
    """Open a pool of workers.

    Args:
        engine: `local`, processes of this machine; `ray`, processes of a cluster's nodes.
        work: see `Pool`.
        workers: their number; 0 for one per core, of this machine or of the cluster.
        deadline_s: see `Pool`.
        limiter: see `Pool`.
        root: the folder that all workers read and write.
        egress: the work contacts a site, so only nodes that offer `egress` do it.
        gpu: each worker of a cluster gets a GPU of its own, where it has any.

    Raises:
        UsageError: there is no such engine.
        MissingDependencyError: it is not installed.
    """
    check_engine(engine)
    if engine == LOCAL:
        return LocalPool(work, workers or num_cores(), deadline_s, limiter)
    from dancecli.engine.ray import RayPool

    return RayPool(work, workers, deadline_s, limiter, root=root, egress=egress, gpu=gpu)
