"""Large tensors that are freed and asked for again do not go through the kernel."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from dancecli.model.hardware.allocator import keep_freed_memory
print(keep_freed_memory() if sys.argv[1] == "keep" else False)
torch.set_num_threads(1)
def once():
    # As between two layers: 80 MB are filled, and given back.
    return float(torch.ones(20_000_000).sum())
for _ in range(15):
    once()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    once()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def plain() -> dict[str, str]:
    """The environment without settings of glibc's allocator."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC_"))}


def faults(how: str, **env: str) -> tuple[bool, int]:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how], env=plain() | env, capture_output=True, text=True, check=True
    )
    kept, count = done.stdout.split()
    return kept == "True", int(count)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
def test_pages_are_kept_and_the_user_s_settings_too():
    _, without = faults("plain")
    kept, count = faults("keep")
    if not kept:
        pytest.skip("another allocator than glibc's")
    assert count < without / 20
    assert faults("keep", MALLOC_TRIM_THRESHOLD_="131072")[0] is False


HELD = """
import resource
import torch
from dancecli.model.hardware.allocator import keep_freed_memory, return_freed_memory
def held_mb():
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * resource.getpagesize() / 1e6
kept = keep_freed_memory()
tensor = torch.ones(50_000_000)
del tensor
before = held_mb()
return_freed_memory()
print(kept, int(before - held_mb()))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
def test_what_is_kept_is_returned_before_a_fork():
    done = subprocess.run(
        [sys.executable, "-c", HELD], env=plain(), capture_output=True, text=True, check=True
    )
    kept, megabytes = done.stdout.split()
    if kept != "True":
        pytest.skip("another allocator than glibc's")
    assert int(megabytes) > 150
