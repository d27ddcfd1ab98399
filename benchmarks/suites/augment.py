"""Four augmented copies of a clip: four ffmpeg runs against one with a split graph.

    python -m benchmarks.suites.augment [CLIP.mp4...] [--rounds 5] [--quick]

The variants are interleaved, so that a busy machine is unfair to none. The four runs are what one
writes by hand: `ffmpeg -i IN -vf FILTER -an -c:v libx264 OUT`, with one thread, since many clips
are processed side by side. dance is measured twice, alone and with the validation of every output
(a full decode and a checksum). SSIM compares with the filtered frames before encoding. Without
clips, synthetic ones are made.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.lib.compare import (
    Bar,
    Cost,
    figures,
    middle,
    run_child,
    spread,
    take_turns,
    tell,
    timed,
    times_as_fast,
)
from dancecli.core.augmentation import DEFAULT_OPS, Op, describe, draw, parse_chains
from dancecli.core.hashing import sha256_file
from dancecli.demo.choreography import STYLES
from dancecli.demo.encoder import write_video
from dancecli.demo.renderer import VideoSpec
from dancecli.video.augment import ENCODING, augment_args, filters_of
from dancecli.video.decode import decode
from dancecli.video.ffmpeg import find_ffmpeg, run_ffmpeg, trim_args
from dancecli.video.source import probe

Wanted = list[tuple[tuple[Op, ...], Path]]
_FASTER, _BAND = 4.5, 0.01
_SIZE = (340, 256)


def draw_clip(path: Path, style: str, seconds: int) -> Path:
    """Draw a film, and cut it as `dance fetch` cuts its clips."""
    film = path.with_suffix(".film.mp4")
    write_video(VideoSpec(f"augment-{style}", style, seconds, 25, *_SIZE), film)
    run_ffmpeg(trim_args(film, probe(film), 0, 1000 * seconds, path))
    film.unlink()
    return path


def filter_text(ops: tuple[Op, ...]) -> str:
    """Write operations as ffmpeg's `-vf` takes them."""
    named = filters_of(ops)
    return ",".join(
        f"{name}={':'.join(f'{k}={v}' for k, v in options.items())}" if options else name
        for name, options in named
    )


def run(args: list[str]) -> Cost:
    """Run ffmpeg as `dance` does."""
    return run_child([str(find_ffmpeg()), "-nostdin", "-hide_banner", "-v", "error", "-y", *args])


def by_hand(clip: Path, wanted: Wanted) -> Cost:
    """Make the copies one by one, with the encoder's defaults."""
    costs = []
    for ops, target in wanted:
        reading = ["-threads", "1", "-i", str(clip), "-vf", filter_text(ops), "-an"]
        costs.append(run([*reading, "-c:v", "libx264", "-threads", "1", str(target)]))
    return Cost(sum(cost.cpu_s for cost in costs), sum(cost.clock_s for cost in costs))


def as_augment(clip: Path, wanted: Wanted) -> Cost:
    """Make the copies in one run and prove each by a full decode, as `dance augment` does."""

    def work() -> None:
        run(augment_args(clip, wanted))
        for _, target in wanted:
            decode(target)
            sha256_file(target)

    return timed(work)


def ssim(copy: Path, clip: Path, ops: tuple[Op, ...]) -> float:
    """Hold a copy against the filtered, unencoded clip."""
    graph = f"[1:v]{filter_text(ops)}[ref];[0:v][ref]ssim"
    command = [str(find_ffmpeg()), "-nostdin", "-i", str(copy), "-i", str(clip), "-lavfi", graph]
    said = subprocess.run([*command, "-f", "null", "-"], capture_output=True, text=True, check=True).stderr
    found = re.search(r"All:([\d.]+)", said)
    assert found, said
    return float(found[1])


def measure(clip: Path, rounds: int, folder: Path) -> dict[str, Any]:
    """Give one clip's figures."""
    chains = [draw(chain, lambda _: 0.7) for chain in parse_chains(DEFAULT_OPS)]
    hand: Wanted = [(ops, folder / f"hand{i}.mp4") for i, ops in enumerate(chains)]
    ours: Wanted = [(ops, folder / f"ours{i}.mp4") for i, ops in enumerate(chains)]
    decode(clip)  # what is imported for it is no part of a turn
    found = take_turns(
        {
            "four runs": lambda: by_hand(clip, hand),
            "one run": lambda: run(augment_args(clip, ours)),
            "one run, proven": lambda: as_augment(clip, ours),
            "decoding alone": lambda: run(["-threads", "1", "-i", str(clip), "-an", "-f", "null", "-"]),
        },
        rounds,
    )
    copies = {}
    for (ops, slow), (_, fast) in zip(hand, ours, strict=True):
        sizes = [path.stat().st_size / clip.stat().st_size for path in (slow, fast)]
        copies[describe(ops)] = {
            "ssim": [ssim(path, clip, ops) for path in (slow, fast)],
            "size, parent = 1": [round(size, 2) for size in sizes],
        }
    return {
        "clip": clip.name,
        "kib": round(clip.stat().st_size / 1024),
        "times as fast": round(times_as_fast(found["four runs"], found["one run"]), 2),
        "times as fast, proven": round(times_as_fast(found["four runs"], found["one run, proven"]), 2),
        "ssim apart": round(max(abs(one["ssim"][1] - one["ssim"][0]) for one in copies.values()), 4),
        "copies": copies,
        **{name: {**figures(middle(costs)), "spread": spread(costs)} for name, costs in found.items()},
    }


def main() -> int:
    """Measure all clips, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--draw", type=int, default=len(STYLES), help="styles, if no clip is given")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    asked = parser.parse_args()
    styles, seconds, rounds = list(STYLES)[: asked.draw], 10, asked.rounds
    if asked.quick:
        styles, seconds, rounds = styles[:1], 3, 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = asked.clips or [draw_clip(folder / f"{style}.mp4", style, seconds) for style in styles]
        found = [measure(clip, rounds, folder) for clip in clips]
    ratios = [one["times as fast"] for one in found]
    apart = max(one["ssim apart"] for one in found)
    bars = [
        Bar(
            f"times as fast as four runs, {_FASTER} for every clip",
            f"{min(ratios)} to {max(ratios)}, median {statistics.median(ratios)}",
            min(ratios) >= _FASTER,
        ),
        Bar(f"SSIM within {_BAND} of the four runs'", f"{apart} at most", apart <= _BAND),
    ]
    rows = [
        (
            one["clip"],
            one["four runs"]["cpu_s"],
            one["one run"]["cpu_s"],
            one["one run"]["spread"],
            one["decoding alone"]["cpu_s"],
            one["times as fast"],
            one["times as fast, proven"],
            one["ssim apart"],
        )
        for one in found
    ]
    columns = (
        *("clip", "four runs, CPU s", "one run", "spread", "decoding alone", "times as fast"),
        *("validated", "SSIM difference"),
    )
    least, most = (
        statistics.median(one[way]["cpu_s"] for one in found) for way in ("decoding alone", "one run")
    )
    floor = (
        f"libavcodec alone takes {least:.2f} s to decode a clip once, the whole run for four copies "
        f"{most / least:.1f} times that: the rest is four times filter and encoder"
    )
    measured = {"encoding": ENCODING, "rounds": rounds, "clips": found}
    return tell("augment", measured, bars, columns, rows, floor=floor)


if __name__ == "__main__":
    sys.exit(main())
