"""Frames by torchcodec, which decodes on a GPU (NVDEC) or, as our own reader does, on the CPU."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.text import first_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FFMPEG, TORCHCODEC = "ffmpeg", "torchcodec"
# Frames that are asked for at once.
CHUNK = 32


class TorchcodecReader:
    """Reads frames of a file by torchcodec; frames are numbered as they are shown.

    Args:
        path: of the file.
        device: `cuda` or `cpu`.

    Raises:
        RuntimeError: it cannot be read.

    Attributes:
        total_frames: how many there are.
        fps: frames per second, by the header.
        on_gpu: NVDEC takes it; of a file that it cannot decode, torchcodec lets the CPU do it.
    """

    def __init__(self, path: str, device: str) -> None:
        from torchcodec.decoders import VideoDecoder

        # Exact: the whole file is scanned, so that frame i is frame i whatever its header says.
        self._decoder = VideoDecoder(
            path, dimension_order="NHWC", num_ffmpeg_threads=1, device=_numbered(device), seek_mode="exact"
        )
        self.total_frames = len(self._decoder)
        self.fps = float(self._decoder.metadata.average_fps_from_header or 0)
        self.on_gpu = device == "cuda" and not getattr(self._decoder, "cpu_fallback", False)

    def frames(self, numbers: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """Read frames [height, width, 3] of RGB bytes, in the order of their numbers.

        Raises:
            RuntimeError: the file cannot be read.
        """
        wanted = sorted(set(numbers.tolist()))
        found = dict(zip(wanted, self._batch(wanted).data.cpu().numpy(), strict=True))
        return [found[number] for number in numbers.tolist()]

    def in_order(self) -> Iterator[tuple[float, NDArray[np.uint8]]]:
        """Read all frames ([height, width, 3], RGB), each with its time in seconds, a few at a time.

        Raises:
            RuntimeError: the file cannot be read.
        """
        for first in range(0, self.total_frames, CHUNK):
            batch = self._batch(list(range(first, min(first + CHUNK, self.total_frames))))
            yield from zip(batch.pts_seconds.tolist(), batch.data.cpu().numpy(), strict=True)

    def _batch(self, numbers: list[int]) -> Any:
        try:
            return self._decoder.get_frames_at(numbers)
        except (IndexError, ValueError) as error:
            raise RuntimeError(str(error)) from error


def _numbered(device: str) -> str:
    """Name the GPU of this process; a data loader's worker has that of the process that started it."""
    if device != "cuda":
        return device
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("torch sees no GPU here")
    return f"cuda:{os.environ.get('LOCAL_RANK') or torch.cuda.current_device()}"


# Set once torchcodec has failed in this process, as where a GPU's memory is full.
_FAILED: list[str] = []


def open_by_torchcodec(path: str, device: str, left: Collection[str]) -> TorchcodecReader | None:
    """Open a file by torchcodec; None for one that stays with our own reader."""
    if _FAILED or Path(path).name in left:
        return None
    try:
        return TorchcodecReader(path, device)
    # A config may be read where torchcodec, or a library of it, is not installed.
    except (RuntimeError, ImportError, OSError) as error:
        note_failure(path, error)
        return None


def note_failure(path: str, error: Exception) -> None:
    """Say once that torchcodec has failed: from here on this process reads files by our own reader."""
    if not _FAILED:
        _FAILED.append(path)
        sys.stderr.write(
            f"torchcodec failed on {path} ({first_line(error)}): clips are read by ffmpeg from here on\n"
        )
