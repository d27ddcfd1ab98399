"""Memory that a network gives back is kept for its next layer, instead of being returned to the kernel."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

# As malloc.h has them.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_KEPT = 1 << 30
_MOST_KEPT = (1 << 31) - 1
_VARIABLES = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed, up to 2 GB, for this process and those that it forks.

    By default it asks the kernel for every large tensor, which clears each page and takes it back a
    moment later: of a forward pass on a CPU this is a sixth. What the user has set stays.

    Returns:
        Whether it is done: not on other systems, with another allocator, or with the user's settings.
    """
    if not sys.platform.startswith("linux") or any(name in os.environ for name in _VARIABLES):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_KEPT) and mallopt(_TRIM_THRESHOLD, _MOST_KEPT))


def return_freed_memory() -> None:
    """Give the kernel back what is kept, before worker processes are forked.

    They would share it, and this process would copy each page when it writes to it next, which takes longer
    than a fresh one.
    """
    if sys.platform.startswith("linux"):
        with contextlib.suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
