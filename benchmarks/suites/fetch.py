"""What `dance fetch` adds to the work of ffmpeg, a clip.

    python -m benchmarks.suites.fetch [--clips 40] [--rounds 3] [--quick]

The whole command cuts one clip from each of many videos in a folder, with two workers: lists read,
jobs dispatched, every clip validated by a full decode, hashed, renamed, recorded in the ledger and
in the manifest. Beside it run the same ffmpeg commands, one after the other, and nothing else. The
command runs with few clips and with many: the difference is the cost per clip, the rest is start-
up. The videos are synthetic, 640x360. The lower bound is ffmpeg.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.lib.compare import Bar, Cost, figures, middle, run_child, spread, take_turns, tell, timed
from benchmarks.lib.cut_workload import CLIP_S
from benchmarks.lib.fetch_workload import LABEL, write_list
from benchmarks.lib.sample_videos import draw_film
from dancecli.video.decode import validate
from dancecli.video.ffmpeg import run_ffmpeg, trim_args
from dancecli.video.source import probe

START_S, FEW = 1, 4
MANY_CLIPS, FEW_CLIPS, FFMPEG, PROOF = (
    "dance fetch",
    f"dance fetch, {FEW} clips",
    "ffmpeg alone",
    "proof alone",
)
SHARE = 0.35


def whole(folder: Path, clips: int) -> Cost:
    """Fetch from the folder into a new workspace."""
    listing = write_list(
        folder / f"list{clips}.csv", [(_video_id(i), START_S, START_S + CLIP_S) for i in range(clips)]
    )
    labels = folder / "labels.txt"
    labels.write_text(f"{LABEL}\n")
    with tempfile.TemporaryDirectory(dir=folder) as root:
        asked = [
            "--annotations",
            str(listing),
            "--labels",
            str(labels),
            "--source",
            "local",
            "--min-free",
            "0",
        ]
        more = ["--folder", str(folder / "videos"), "--workspace", root, "--workers", "2"]
        cost = run_child(
            [sys.executable, "-m", "dancecli", "fetch", *asked, *more], stderr=subprocess.DEVNULL
        )
        made = len(list((Path(root) / "clips").rglob("*.mp4")))
    if made != clips:
        raise SystemExit(f"{made} of {clips} clips")
    return cost


def _video_id(i: int) -> str:
    return f"v{i:010d}"


def main() -> int:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of few clips")
    asked = parser.parse_args()
    if asked.quick:
        asked.clips, asked.rounds = 8, 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "videos").mkdir()
        film = draw_film(folder, size=(640, 360))
        for i in range(asked.clips):
            (folder / "videos" / f"{_video_id(i)}.mp4").symlink_to(film)
        facts, target = probe(film), folder / "clip.mp4"
        cutting = trim_args(film, facts, 1000 * START_S, 1000 * (START_S + CLIP_S), target)

        def many_times(work: partial[object]) -> None:
            for _ in range(FEW):
                work()

        cut = partial(run_ffmpeg, cutting)
        proof = partial(validate, target, 1000 * CLIP_S)
        cut()
        proof()
        found = take_turns(
            {
                MANY_CLIPS: partial(whole, folder, asked.clips),
                FEW_CLIPS: partial(whole, folder, FEW),
                FFMPEG: partial(timed, partial(many_times, cut)),
                PROOF: partial(timed, partial(many_times, proof)),
            },
            asked.rounds,
        )
    more = asked.clips - FEW
    slopes = [
        1000 * (many.cpu_s - few.cpu_s) / more
        for many, few in zip(found[MANY_CLIPS], found[FEW_CLIPS], strict=True)
    ]
    each = statistics.median(slopes)
    ffmpeg, proving = (1000 * middle(found[way]).cpu_s / FEW for way in (FFMPEG, PROOF))
    rest = each - ffmpeg - proving
    start_s = middle(found[FEW_CLIPS]).cpu_s - FEW * each / 1000
    rows = [
        ("dance fetch, per clip", f"{each:.1f}", f"{min(slopes):.1f} to {max(slopes):.1f}"),
        ("of which ffmpeg", f"{ffmpeg:.1f}", spread(found[FFMPEG])),
        ("of which validation", f"{proving:.1f}", spread(found[PROOF])),
        ("of which everything else", f"{rest:.1f}", ""),
        ("once: start-up of the command and its workers", f"{1000 * start_s:.0f}", ""),
    ]
    bars = [
        Bar(
            f"what a clip costs beside ffmpeg: at most {SHARE:.0%} of what ffmpeg costs",
            f"{(each - ffmpeg) / ffmpeg:.0%}",
            each - ffmpeg <= SHARE * ffmpeg,
        )
    ]
    measured = {
        "clips": asked.clips,
        "rounds": asked.rounds,
        **{way: figures(middle(costs)) for way, costs in found.items()},
        "a_clip_ms": round(each, 1),
        "ffmpeg_ms": round(ffmpeg, 1),
        "proof_ms": round(proving, 1),
        "rest_ms": round(rest, 1),
    }
    floor = (
        f"ffmpeg alone takes {100 * ffmpeg / each:.0f} % of what a clip costs, "
        f"the proof {100 * proving / each:.0f} %"
    )
    return tell("fetch", measured, bars, ("part", "CPU ms", "spread"), rows, floor=floor)


if __name__ == "__main__":
    raise SystemExit(main())
