"""Which GPU a worker process computes on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

# The lock of this process's GPU: released when it ends, however that happens.
_CLAIMED: list[Any] = []


def claim_gpu(folder: Path) -> int | None:
    """Take a GPU that no other worker of this machine computes on, until this process ends.

    Args:
        folder: all workers see it; the locks of the GPUs are in it.

    Returns:
        The number of the GPU; None where there is none, or each process is shown one of its own.
    """
    import torch
    from filelock import FileLock, Timeout

    count = torch.cuda.device_count()
    if count < 2:
        return None
    for number in range(count):
        lock = FileLock(folder / f".gpu-{platform.node()}-{number}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        _CLAIMED.append(lock)
        torch.cuda.set_device(number)
        return number
    # More workers than GPUs: they share.
    torch.cuda.set_device(os.getpid() % count)
    return os.getpid() % count
