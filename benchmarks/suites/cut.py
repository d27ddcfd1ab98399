"""Clips out of long videos: the crawler's command against ours, and what follows from it.

    python -m benchmarks.suites.cut [FILM.mp4] [--starts 30 45 300 1500] [--rounds 5] [--quick]

The crawler's command, from the scripts of ActivityNet and MMAction2, decodes everything before the
clip: `ffmpeg -i IN -ss T -t L -c:v libx264 -c:a copy -threads 1 OUT`; for training, the result is
scaled to a short side of 256 by a second run, and every augmented version is another run. dance
seeks, scales and encodes at once, and validates the clip by a full decode and a checksum, which is
included. The source video is given or synthetic, 1280x720, and looped where it is too short for a
start time; from ten minutes on there is one round. The lower bound is libavcodec alone: the clip's
ten seconds decoded at the source size, from the key frame before it, without scaling or encoding.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.lib.compare import (
    Bar,
    Cost,
    Plot,
    figures,
    middle,
    run_child,
    spread,
    take_turns,
    tell,
    timed,
    times_as_fast,
)
from benchmarks.lib.sample_videos import draw_film, repeated
from dancecli.core.augmentation import DEFAULT_OPS, draw, parse_chains
from dancecli.core.hashing import sha256_file
from dancecli.video.augment import augment_args
from dancecli.video.decode import decode
from dancecli.video.ffmpeg import find_ffmpeg, trim_args
from dancecli.video.source import probe

LENGTH_S = 10
LONG_S = 600
BARS = {45: 8.0, 300: 15.0}
COPIES_BAR, COPIES_START_S = 8.0, 45
FILTERS = ("hflip", "vflip", "eq=brightness=0.1:saturation=0.8", "noise=c0s=10:allf=t")
THEIRS, OURS, FLOOR = "crawler", "dance", "libavcodec alone"
Ways = dict[str, Callable[[], Cost]]


def ffmpeg(*args: object) -> Cost:
    """Run ffmpeg as one types it."""
    return run_child([str(find_ffmpeg()), "-nostdin", "-v", "error", "-y", *map(str, args)])


def together(*costs: Cost) -> Cost:
    """Add up what is done one after the other."""
    return Cost(sum(cost.cpu_s for cost in costs), sum(cost.clock_s for cost in costs))


def crawler(film: Path, start_s: int, target: Path) -> Cost:
    """Cut as the crawler does."""
    coding = ("-c:v", "libx264", "-c:a", "copy", "-threads", 1)
    return ffmpeg("-i", film, "-ss", start_s, "-t", LENGTH_S, *coding, target)


def ours(film: Path, start_s: int, target: Path) -> Cost:
    """Cut as `dance fetch` does, proof and checksum included."""

    def work() -> None:
        facts = probe(film)
        args = trim_args(film, facts, 1000 * start_s, 1000 * (start_s + LENGTH_S), target)
        ffmpeg("-xerror", *args)
        decode(target)
        sha256_file(target)

    return timed(work)


def then_copies(clip: Path, folder: Path, *, by_hand: bool) -> Cost:
    """Scale, if by hand, and make four copies."""
    if by_hand:
        small = folder / "small.mp4"
        costs = [ffmpeg("-i", clip, "-vf", "scale=-2:256", "-c:v", "libx264", "-threads", 1, small)]
        for i, text in enumerate(FILTERS):
            target = folder / f"hand{i}.mp4"
            costs.append(ffmpeg("-i", small, "-vf", text, "-an", "-c:v", "libx264", "-threads", 1, target))
        return together(*costs)
    chains = [draw(chain, lambda _: 0.7) for chain in parse_chains(DEFAULT_OPS)]
    wanted = [(ops, folder / f"ours{i}.mp4") for i, ops in enumerate(chains)]

    def work() -> None:
        ffmpeg(*augment_args(clip, wanted))
        for _, target in wanted:
            decode(target)
            sha256_file(target)

    return timed(work)


def decoding(film: Path, start_s: int) -> Cost:
    """Decode what lies in the clip, and no more."""
    return ffmpeg("-threads", 1, "-ss", start_s, "-t", LENGTH_S, "-i", film, "-an", "-f", "null", "-")


def main() -> int:
    """Measure every start, then the copies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("film", type=Path, nargs="?")
    parser.add_argument("--starts", type=int, nargs="+", default=[30, 45, 300, 1500])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one round, one early start")
    asked = parser.parse_args()
    if asked.quick:
        asked.starts, asked.rounds = [45], 1
    measured: dict[str, Any] = {"rounds": asked.rounds}
    bars, rows = [], []
    lines: dict[str, list[tuple[float, float]]] = {THEIRS: [], OURS: [], FLOOR: []}

    def note(what: str, ways: Ways, bar: float | None, rounds: int) -> dict[str, Cost]:
        found = take_turns(ways, rounds)
        ratio = times_as_fast(found[THEIRS], found[OURS])
        costs = {name: middle(costs) for name, costs in found.items()}
        measured[what] = {"times as fast": round(ratio, 2), **{n: figures(c) for n, c in costs.items()}}
        shown = [f"{costs[name].cpu_s:.2f}" if name in costs else "" for name in (THEIRS, OURS, FLOOR)]
        rows.append((what, *shown, spread(found[OURS]), f"{ratio:.1f}"))
        if bar:
            bars.append(Bar(f"{what}: at least {bar:g} times as fast", f"{ratio:.1f}", ratio >= bar))
        return costs

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        theirs_clip, our_clip = folder / "crawler.mp4", folder / "ours.mp4"
        film = repeated(asked.film or draw_film(folder), max(asked.starts) + LENGTH_S + 30, folder)
        ours(film, 0, our_clip)  # what is imported for it is no part of a turn
        for start_s in asked.starts:
            costs = note(
                f"cut at {start_s} s",
                {
                    THEIRS: lambda s=start_s: crawler(film, s, theirs_clip),
                    OURS: lambda s=start_s: ours(film, s, our_clip),
                    FLOOR: lambda s=start_s: decoding(film, s),
                },
                BARS.get(start_s),
                asked.rounds if start_s < LONG_S else 1,
            )
            for way, cost in costs.items():
                lines[way].append((start_s, cost.cpu_s))
        ways: Ways = {
            THEIRS: lambda: together(
                crawler(film, COPIES_START_S, theirs_clip), then_copies(theirs_clip, folder, by_hand=True)
            ),
            OURS: lambda: together(
                ours(film, COPIES_START_S, our_clip), then_copies(our_clip, folder, by_hand=False)
            ),
        }
        note(f"cut at {COPIES_START_S} s and four augmentations", ways, COPIES_BAR, asked.rounds)
        sizes = {
            name: clip.stat().st_size // 1024 for name, clip in ((THEIRS, theirs_clip), (OURS, our_clip))
        }
        rate = 8 * film.stat().st_size / probe(film).duration_ms
    measured |= {"clip_kib": sizes, "film_kbit_s": round(rate)}
    above = lines[OURS][0][1] / lines[FLOOR][0][1]
    floor = (
        f"decoding ten seconds of this film takes libavcodec {lines[FLOOR][0][1]:.2f} s of one core, and "
        f"dance takes {above:.1f} times that with scaling, encoding and validation; the clips have "
        f"{sizes[OURS]} KiB, the crawler's {sizes[THEIRS]}"
    )
    columns = ("", "crawler, CPU s", "dance", "libavcodec alone", "spread of dance", "ratio")
    plots = [Plot("cut", "start of the clip, s", "processor time, s", lines)]
    return tell(
        "cut", measured, bars, columns, rows, floor=floor, plots=plots if len(asked.starts) > 1 else ()
    )


if __name__ == "__main__":
    raise SystemExit(main())
