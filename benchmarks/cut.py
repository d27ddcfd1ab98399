"""Clips out of long videos: the crawler's command against ours, and what follows from it.

    python benchmarks/cut.py [FILM.mp4] [--starts 45 300 1500] [--rounds 5] [--quick]

The crawler's command, of ActivityNet's and MMAction2's scripts, decodes all that comes before the
clip: `ffmpeg -i IN -ss T -t L -c:v libx264 -c:a copy -threads 1 OUT`; what they train on is then
scaled to a short side of 256 by a second run, and copies are a run each. Ours seeks, scales and
encodes at once, and proves the clip by a full decode and a checksum, which is counted. A film that
is too short for a start is repeated; without one, a picture of 1280x720 is drawn.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

from side_by_side import Bar, Cost, figures, middle, run_child, take_turns, tell, timed, times_as_fast

from dancecli.augmentation import DEFAULT_OPS, draw, parse_chains
from dancecli.media.copies import copies_args
from dancecli.media.ffmpeg import find_ffmpeg, run_ffmpeg, trim_args
from dancecli.media.hashing import sha256_of
from dancecli.media.verify import decode, probe

LENGTH_S = 10
BARS = {45: 8.0, 300: 15.0}
COPIES_BAR = 8.0
FILTERS = ("hflip", "vflip", "eq=brightness=0.1:saturation=0.8", "noise=c0s=10:allf=t")
Ways = dict[str, Callable[[], Cost]]


def ffmpeg(*args: object) -> Cost:
    """Run ffmpeg as one types it."""
    return run_child([str(find_ffmpeg()), "-nostdin", "-v", "error", "-y", *map(str, args)])


def together(*costs: Cost) -> Cost:
    """Add up what is done one after the other."""
    return Cost(sum(cost.cpu_s for cost in costs), sum(cost.clock_s for cost in costs))


def film_of(folder: Path, given: Path | None, seconds: int) -> Path:
    """Give a film of at least so many seconds."""
    film = given
    if film is None:
        film = folder / "drawn.mp4"
        picture = "testsrc2=size=1280x720:rate=25,noise=alls=12:allf=t"
        sound = ["-f", "lavfi", "-i", "sine=frequency=330:sample_rate=44100"]
        coding = ["-c:v", "libx264", "-preset", "veryfast", "-g", "125", "-pix_fmt", "yuv420p", "-c:a", "aac"]
        run_ffmpeg(["-y", "-f", "lavfi", "-i", picture, *sound, "-t", "30", *coding, str(film)])
    times = 1000 * seconds // probe(film).duration_ms + 1
    if times == 1:
        return film
    long = folder / f"film{seconds}.mp4"
    ffmpeg("-stream_loop", times, "-i", film, "-c", "copy", "-t", seconds, long)
    return long


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
        sha256_of(target)

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
        ffmpeg(*copies_args(clip, wanted))
        for _, target in wanted:
            decode(target)
            sha256_of(target)

    return timed(work)


def main() -> int:
    """Measure every start, then the copies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("film", type=Path, nargs="?")
    parser.add_argument("--starts", type=int, nargs="+", default=[45, 300, 1500])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one round, one early start")
    asked = parser.parse_args()
    if asked.quick:
        asked.starts, asked.rounds = [45], 1
    measured, bars, rows = {}, [], []

    def note(what: str, ways: Ways, bar: float | None) -> None:
        found = take_turns(ways, asked.rounds)
        slow, fast = found.values()
        ratio = times_as_fast(slow, fast)
        costs = {name: middle(costs) for name, costs in found.items()}
        measured[what] = {"times as fast": round(ratio, 2), **{n: figures(c) for n, c in costs.items()}}
        rows.append((what, *(f"{cost.cpu_s:.2f}" for cost in costs.values()), f"{ratio:.1f}"))
        if bar:
            bars.append(Bar(f"{what}: at least {bar:g} times as fast", f"{ratio:.1f}", ratio >= bar))

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        theirs_clip, our_clip = folder / "crawler.mp4", folder / "ours.mp4"
        film = film_of(folder, asked.film, max(asked.starts) + LENGTH_S + 30)
        decode(film) if asked.quick else probe(film)  # what is imported for it is no part of a turn
        for start_s in asked.starts:
            ways = {
                "theirs": lambda s=start_s: crawler(film, s, theirs_clip),
                "ours": lambda s=start_s: ours(film, s, our_clip),
            }
            note(f"cut at {start_s} s", ways, BARS.get(start_s))
        first = asked.starts[0]
        ways = {
            "theirs": lambda: together(
                crawler(film, first, theirs_clip), then_copies(theirs_clip, folder, by_hand=True)
            ),
            "ours": lambda: together(
                ours(film, first, our_clip), then_copies(our_clip, folder, by_hand=False)
            ),
        }
        note(f"cut at {first} s and four copies", ways, COPIES_BAR)
    return tell("cut", measured, bars, ("", "theirs, CPU s", "ours", "ratio"), rows)


if __name__ == "__main__":
    raise SystemExit(main())
