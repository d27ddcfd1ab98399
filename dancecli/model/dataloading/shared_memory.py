"""Whether /dev/shm has room for what data loader workers hand over, and what to do if it has not.

Workers pass their batches through shared memory, which containers keep small (Docker: 64 MB). Where it
is full, a worker fails in a thread of its own and the process that waits for it waits forever.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dancecli.core.errors import ModelError

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder that torch uses
# Batches of each worker that wait to be taken, as torch prefetches by default, and the one in the making.
_BATCHES_PER_WORKER = 3
# Seconds to wait for a batch: far more than decoding takes.
LOADER_TIMEOUT_S = 900
_HINT = "use --set workers=0, or give the container more shared memory: docker run --shm-size=2g"
_SIGNS = ("shared memory", "bus error", "unable to mmap", "/torch_", "dataloader timed out")

# A skeleton's joints; each is a map of floats, or of two people three numbers.
_JOINTS = 17


def check_shared_memory(loaders: Sequence[Mapping[str, Any] | None]) -> None:
    """Refuse before the work if the workers' batches would fill the shared memory.

    Args:
        loaders: configs of the data loaders that run at the same time.

    Raises:
        ModelError: they would.
    """
    if not SHARED_MEMORY.is_dir():
        return
    used = [loader for loader in loaders if loader and loader["num_workers"]]
    need = sum(
        loader["num_workers"] * _BATCHES_PER_WORKER * loader["batch_size"] * clip_bytes(loader)
        for loader in used
    )
    free = shutil.disk_usage(SHARED_MEMORY).free
    if need > free:
        workers = sum(loader["num_workers"] for loader in used)
        raise ModelError(
            f"{SHARED_MEMORY} has {free / 1e6:.0f} MB free, and {workers} data loader workers need about "
            f"{need / 1e6:.0f} MB",
            _HINT,
        )


def clip_bytes(loader: Mapping[str, Any]) -> int:
    """Estimate the size of what a loader gives for one clip: frames, fields or heatmaps."""
    steps = {step["type"]: step for step in loader["dataset"]["pipeline"]}
    samplers = ("SampleFrames", "UniformSample", "UniformSampleFrames")
    sampler = next((steps[kind] for kind in samplers if kind in steps), {"clip_len": 1})
    frames = int(sampler["clip_len"]) * int(sampler.get("num_clips", 1))
    if "PoseInit" in steps:
        maps = "GeneratePoseTarget" in steps
        return frames * _JOINTS * (max(steps["Resize"]["scale"]) ** 2 * 4 if maps else 2 * 3 * 4)
    side, views = _crop(steps)
    pixel = 2 * 4 if "FlowDecode" in steps else 3
    return frames * views * side**2 * pixel


def _crop(steps: Mapping[str, Mapping[str, Any]]) -> tuple[int, int]:
    """Side of the square that a pipeline crops, and how many of them."""
    for kind, key, views in (
        ("ThreeCrop", "crop_size", 3),
        ("CenterCrop", "crop_size", 1),
        ("RandomCrop", "size", 1),
    ):
        if kind in steps:
            return int(steps[kind][key]), views
    return max(steps["Resize"]["scale"]), 1


@contextmanager
def loader_errors() -> Iterator[None]:
    """Say in one line what torch raises when workers run out of shared memory.

    Raises:
        ModelError: they did.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if not any(sign in text.lower() for sign in _SIGNS):
            raise
        reason = text.strip().splitlines()[0][:160]
        raise ModelError(f"a data loader worker failed ({reason}): {SHARED_MEMORY} is full", _HINT) from error
