"""Four augmented copies of a clip: four ffmpeg runs against one with a split graph.

    python benchmarks/augment.py CLIP.mp4... [--rounds 5]

The two ways alternate within a round, so that a busy machine is unfair to neither. The four runs
are what one writes by hand: `ffmpeg -i IN -vf FILTER -an -c:v libx264 OUT`, with one thread, as
many clips are done side by side. SSIM and size are told for each; SSIM is against the filtered
picture before it is encoded.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from dancecli.augmentation import DEFAULT_OPS, Op, describe, draw, parse_chains
from dancecli.media.copies import copies_args, filter_of
from dancecli.media.ffmpeg import find_ffmpeg
from dancecli.media.hashing import sha256_of
from dancecli.media.verify import decode

Wanted = list[tuple[tuple[Op, ...], Path]]


def filter_text(ops: tuple[Op, ...]) -> str:
    """Write operations as ffmpeg's `-vf` takes them."""
    named = [filter_of(op) for op in ops]
    return ",".join(
        f"{name}={':'.join(f'{k}={v}' for k, v in options.items())}" if options else name
        for name, options in named
    )


def run(args: list[str]) -> tuple[float, float]:
    """Run ffmpeg; give its seconds of processor time and on the clock."""
    started_s = time.perf_counter()
    command = [str(find_ffmpeg()), "-nostdin", "-hide_banner", "-v", "error", "-y", *args]
    process = subprocess.Popen(command)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = status
    if status:
        raise SystemExit(f"ffmpeg failed: {command}")
    return used.ru_utime + used.ru_stime, time.perf_counter() - started_s


def by_hand(clip: Path, wanted: Wanted) -> tuple[float, float]:
    """Make the copies one by one, with the encoder's defaults."""
    times = []
    for ops, target in wanted:
        reading = ["-threads", "1", "-i", str(clip), "-vf", filter_text(ops), "-an"]
        times.append(run([*reading, "-c:v", "libx264", "-threads", "1", str(target)]))
    return sum(cpu for cpu, _ in times), sum(clock for _, clock in times)


def as_augment(clip: Path, wanted: Wanted) -> tuple[float, float]:
    """Make the copies in one run and prove each by a full decode, as `dance augment` does."""
    cpu_s, clock_s = run(copies_args(clip, wanted))
    cpu_before_s, before_s = time.process_time(), time.perf_counter()
    for _, target in wanted:
        decode(target)
        sha256_of(target)
    return cpu_s + time.process_time() - cpu_before_s, clock_s + time.perf_counter() - before_s


def ssim(copy: Path, clip: Path, ops: tuple[Op, ...]) -> float:
    """Hold a copy against the filtered, unencoded clip."""
    graph = f"[1:v]{filter_text(ops)}[ref];[0:v][ref]ssim"
    command = [str(find_ffmpeg()), "-nostdin", "-i", str(copy), "-i", str(clip), "-lavfi", graph]
    said = subprocess.run([*command, "-f", "null", "-"], capture_output=True, text=True, check=True).stderr
    found = re.search(r"All:([\d.]+)", said)
    assert found, said
    return float(found[1])


def measure(clip: Path, rounds: int, folder: Path) -> tuple[float, float]:
    """Print one clip's figures; give how many times faster one run is, by processor and by clock."""
    chains = [draw(chain, lambda _: 0.7) for chain in parse_chains(DEFAULT_OPS)]
    hand: Wanted = [(ops, folder / f"hand{i}.mp4") for i, ops in enumerate(chains)]
    ours: Wanted = [(ops, folder / f"ours{i}.mp4") for i, ops in enumerate(chains)]
    times = [
        (by_hand(clip, hand), run(copies_args(clip, ours)), as_augment(clip, ours)) for _ in range(rounds)
    ]
    print(f"{clip.name}: {clip.stat().st_size / 1024:.0f} KiB, {rounds} rounds")
    for (ops, slow), (_, fast) in zip(hand, ours, strict=True):
        one, two = ssim(slow, clip, ops), ssim(fast, clip, ops)
        sizes = [path.stat().st_size / clip.stat().st_size for path in (slow, fast)]
        print(
            f"  {describe(ops):44} SSIM {one:.4f} -> {two:.4f} ({two - one:+.4f})"
            f"   size, parent = 1: {sizes[0]:.2f} -> {sizes[1]:.2f}"
        )
    hand_s, ours_s, proven_s = (
        [statistics.median(one[way][i] for one in times) for i in (0, 1)] for way in (0, 1, 2)
    )
    ratios = hand_s[0] / ours_s[0], hand_s[1] / ours_s[1]
    print(
        f"  processor time {hand_s[0]:.2f} s -> {ours_s[0]:.2f} s ({proven_s[0]:.2f} s with the proof): "
        f"{ratios[0]:.1f} times as fast ({hand_s[0] / proven_s[0]:.1f}); by the clock {ratios[1]:.1f} "
        f"({hand_s[1] / proven_s[1]:.1f})"
    )
    return ratios


def main() -> None:
    """Measure all clips that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ratios = [measure(clip, asked.rounds, Path(folder)) for clip in asked.clips]
    print(
        f"median over {len(ratios)} clips: {statistics.median(cpu for cpu, _ in ratios):.1f} by processor "
        f"time, {statistics.median(clock for _, clock in ratios):.1f} by the clock"
    )


if __name__ == "__main__":
    main()
