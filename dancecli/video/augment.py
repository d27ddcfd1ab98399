"""Augmented copies of a clip: one ffmpeg run, one decode, one output a copy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.augmentation import Op
from dancecli.video.ffmpeg import H264

if TYPE_CHECKING:
    from ffmpeg.nodes import FilterableStream

# Six to eight times as fast as the encoder's defaults within 0.008 of their SSIM, and as quick to read
# in training as the clips themselves. `superfast` at 23 gives files of the same size in 1.5 times the
# time; the encoder's defaults give files of 0.4 times the size that take twice as long to read.
COPY_H264 = {**H264, "preset": "ultrafast", "crf": 25}
# Names what a copy's pixels depend on beside its operations: change it when they do.
ENCODING = "ultrafast-25"


def copies_args(parent: Path, wanted: Sequence[tuple[tuple[Op, ...], Path]]) -> list[str]:
    """Build the arguments that make all copies of a clip in one run, one frame for one frame.

    The sound is left out: it would be the parent's, which is there already.

    Args:
        parent: the clip.
        wanted: for each copy the operations in their order, and the file to write, `.mp4`.
    """
    import ffmpeg

    read = ffmpeg.input(str(parent.absolute()), **{"threads": 1, "err_detect:v": "explode"})["v:0"]
    branches = read.filter_multi_output("split", len(wanted)) if len(wanted) > 1 else [read]
    writing = {
        **COPY_H264,
        "fps_mode": "passthrough",
        "map_metadata": -1,
        "fflags": "+bitexact",
        "flags:v": "+bitexact",
        "filter_complex_threads": 1,
    }
    outputs = [
        ffmpeg.output(_filtered(branches[i], ops), str(target.absolute()), **writing)
        for i, (ops, target) in enumerate(wanted)
    ]
    arguments: list[str] = ffmpeg.merge_outputs(*outputs).overwrite_output().get_args()
    return arguments


def filter_of(op: Op) -> tuple[str, dict[str, Any]]:
    """Give the ffmpeg filter of an operation, with its options."""
    if op.name == "jitter":
        return "eq", {"brightness": op["brightness"], "saturation": op["saturation"]}
    if op.name == "noise":
        # ffmpeg's strength is sqrt(3) times the standard deviation; without the flag `t` the pattern stays.
        strength = round(op["sigma"] * math.sqrt(3))
        return "noise", {"c0_strength": strength, "all_seed": int(op["seed"])}
    return op.name, {}


def _filtered(stream: FilterableStream, ops: tuple[Op, ...]) -> FilterableStream:
    for op in ops:
        name, options = filter_of(op)
        stream = stream.filter(name, **options)
    return stream
