"""Whether a view covers the same time in every clip, and whether every clip is long enough for one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# Rates closer than this, such as 23.976 and 25, count as one.
_SAME_RATE = 1.1


def timing_notes(lengths: Sequence[tuple[int, float]], sampler: Mapping[str, Any]) -> Iterator[str]:
    """Say where frame rates change what a view shows, and how many clips are shorter than a view.

    Args:
        lengths: number of frames and frame rate of each listed clip.
        sampler: the frame sampler as configured, with the model's own values.
    """
    if not lengths:
        return
    per_view, interval = int(sampler["clip_len"]), int(sampler.get("frame_interval", 1))
    slowest, fastest = min(rate for _, rate in lengths), max(rate for _, rate in lengths)
    target, span = sampler.get("target_fps"), per_view * interval
    # Other samplers, and those of single frames, spread their frames over the whole clip.
    in_a_row = sampler["type"] == "SampleFrames" and per_view > 1
    if in_a_row and not target and fastest > _SAME_RATE * slowest:
        yield (
            f"frame rates of the clips differ ({slowest:.4g} to {fastest:.4g} fps): a view of "
            f"{per_view}x{interval} frames lasts {span / fastest:.2g} to {span / slowest:.2g} s; "
            "--set fps=25 makes them equal"
        )
    short = sum(
        count < (span * (rate / target if target else 1) if in_a_row else per_view) for count, rate in lengths
    )
    if short:
        what = f"{per_view}x{interval} frames" if in_a_row else f"{per_view} frames"
        at = f" at {target} fps" if in_a_row and target else ""
        yield f"{short} of {len(lengths)} clips are shorter than a view of {what}{at}: their frames repeat"
