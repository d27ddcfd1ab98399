"""Films whose every frame says its number, so that a cut can be checked by picture.

The number stands in 16 blocks, four by four, the lowest bit at the top left; it survives
scaling, re-encoding and, read with the same turn, rotation.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np

from dancecli.video.ffmpeg import find_ffmpeg

X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "30", "-pix_fmt", "yuv420p")


def make_video(
    path: Path,
    seconds: float = 6,
    *,
    fps: Fraction | int = 25,
    size: tuple[int, int] = (160, 120),
    codec: Sequence[str] = X264,
    filters: Sequence[str] = (),
    audio: bool = True,
) -> Path:
    """Render a film and give its path; `filters` are ffmpeg arguments before the codec's."""
    frames = b"".join(_picture(i, size) for i in range(round(seconds * Fraction(fps))))
    sound = ["-f", "lavfi", "-t", str(seconds), "-i", "sine=frequency=330:sample_rate=22050"] if audio else []
    picture = ["-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{size[0]}x{size[1]}", "-r", str(fps), "-i", "-"]
    subprocess.run(
        [str(find_ffmpeg()), "-v", "error", "-y", *picture, *sound, *filters, *codec, str(path)],
        input=frames,
        check=True,
    )
    return path


@cache
def _picture(number: int, size: tuple[int, int]) -> bytes:
    bits = np.array([[255 * (number >> (4 * row + column) & 1) for column in range(4)] for row in range(4)])
    rows = np.arange(size[1]) * 4 // size[1]
    columns = np.arange(size[0]) * 4 // size[0]
    return bits[rows][:, columns].astype(np.uint8).tobytes()


def numbers(path: Path, turns: int = 0) -> list[int]:
    """Read the number of every frame; `turns` quarter turns, counter-clockwise, come first."""
    with av.open(str(path)) as container:
        return [_number(np.rot90(f.to_ndarray(format="gray"), turns)) for f in container.decode(video=0)]


def _number(picture: np.ndarray) -> int:
    height, width = picture.shape
    found = 0
    for bit in range(16):
        row, column = divmod(bit, 4)
        found |= int(picture[int((row + 0.5) * height / 4), int((column + 0.5) * width / 4)] > 127) << bit
    return found
