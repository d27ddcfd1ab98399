"""The device that networks compute on: what it can do, and the settings that make it fast.

Nothing here changes what is trained, except for rounding: half precision only where a recipe asks for
it (`amp`), TF32 for matrix products on GPUs that have it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from dancecli.engine.factory import num_cores

if TYPE_CHECKING:
    import torch
    from torch import nn

Result = TypeVar("Result")
# Beyond these, decoding is limited by memory traffic, and each costs half a gigabyte.
_MOST_WORKERS, _MOST_CPU_WORKERS = 16, 4
# Pixels of four views of 32 frames at 224: about a gigabyte of activations in the first layers.
_PIXELS_PER_GB = 4 * 32 * 224**2
# Of a GPU's free memory, for activations; the rest is for weights, workspaces and fragmentation.
_SHARE_OF_MEMORY = 0.4
_MOST_CLIPS, _MOST_CPU_CLIPS = 512, 32


@dataclass(frozen=True)
class Device:
    """What a process computes on.

    Attributes:
        gpu: it is one; else the CPU.
        bfloat16: it computes in bfloat16 at full speed.
        free_bytes: memory that is free on it; 0 for a CPU, whose memory is not measured.
        count: GPUs that this process sees.
    """

    gpu: bool = False
    bfloat16: bool = True
    free_bytes: int = 0
    count: int = 0


CPU = Device()


def current_device() -> Device:
    """Ask torch which device this process computes on."""
    import torch

    if not torch.cuda.is_available():
        return CPU
    free, _ = torch.cuda.mem_get_info()
    # Older GPUs emulate bfloat16, slower than float32.
    native = torch.cuda.is_bf16_supported(including_emulation=False)
    return Device(True, native, free, torch.cuda.device_count())


def half_precision(device: Device) -> str:
    """Name the half precision to use: bfloat16, or float16 on GPUs without it."""
    return "bfloat16" if device.bfloat16 else "float16"


def use_fast_math(device: Device) -> None:
    """Let a GPU multiply matrices in TF32 and choose its convolution algorithms by trying them."""
    if not device.gpu:
        return
    import torch

    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    # Views have one size, so that the trial is made once.
    torch.backends.cudnn.benchmark = True


@contextmanager
def half_precision_pass(dtype: str | None, device: torch.device) -> Iterator[None]:
    """Compute in half precision inside; in the precision of the weights without a dtype."""
    import torch

    with torch.autocast(device.type, getattr(torch, dtype)) if dtype else nullcontext():
        yield


def decoding_workers(device: Device, processes: int = 1) -> int:
    """Choose how many worker processes decode for one process that computes.

    A CPU's cores compute too; a GPU leaves them all to decoding.
    """
    most = _MOST_WORKERS if device.gpu else _MOST_CPU_WORKERS
    return max(1, min(most, num_cores() // processes - 1))


def workers_needed(decode_s: float, step_s: float, most: int) -> int:
    """Tell how many of the workers keep the network busy, with a third to spare.

    Args:
        decode_s: seconds that one worker takes for a clip.
        step_s: seconds that the network takes for one.
        most: workers that there may be.
    """
    if step_s <= 0:
        return most
    return max(1, min(most, -int(-4 * decode_s / (3 * step_s) // 1)))


def clips_per_pass(pixels: int, device: Device = CPU) -> int:
    """Choose how many clips go through a network at once where no gradient is needed.

    Args:
        pixels: of all frames of all views of a clip.
        device: whose free memory decides.
    """
    gigabytes = max(1.0, _SHARE_OF_MEMORY * device.free_bytes / 1e9)
    most = _MOST_CLIPS if device.gpu else _MOST_CPU_CLIPS
    return max(1, min(most, int(gigabytes * _PIXELS_PER_GB) // pixels))


def halve_if_too_large(
    compute: Callable[[list[Any]], Result], items: list[Any], join: Callable[[list[Result]], Result]
) -> Result:
    """Compute for all items at once, or for halves of them where the memory is too small.

    Raises:
        OutOfMemoryError: one item alone is too much.
    """
    import torch

    try:
        return compute(items)
    except torch.OutOfMemoryError:
        if len(items) == 1:
            raise
    # Outside of the handler, which would keep what the failed pass has allocated.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(items) // 2
    halves = (items[:middle], items[middle:])
    return join([halve_if_too_large(compute, half, join) for half in halves])


def prepare_for_training(model: nn.Module, device: Device) -> None:
    """Lay a network's convolutions out as a GPU wants them, and let copies to it overlap with computing."""
    if not device.gpu:
        return
    use_channels_last(model)
    copy_without_waiting(model)


def copy_without_waiting(model: Any) -> None:
    """Let a network's data preprocessor copy from pinned memory while the GPU computes."""
    preprocessor = getattr(model, "data_preprocessor", model)
    if hasattr(preprocessor, "_non_blocking"):
        preprocessor._non_blocking = True


def use_channels_last(model: nn.Module) -> None:
    """Lay the kernels of convolutions out with channels last, in place: maps follow them."""
    import torch

    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in model.parameters():
        if parameter.ndim in formats:
            parameter.data = parameter.data.contiguous(memory_format=formats[parameter.ndim])
