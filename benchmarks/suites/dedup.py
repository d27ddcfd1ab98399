"""Dedup: films in disguise, found again, and how time and memory grow with the number of clips.

    python -m benchmarks.suites.dedup [--films 300] [--clips 10000,100000,650000] [--seed TEXT] [--quick]

Makes synthetic videos that no threshold was tuned on, transforms each in five ways (re-encoded,
rescaled, mirrored, letterboxed, shifted in time and place), and counts how many of the results are
grouped with their original, and how many clips are grouped with another video. Then hashes of many
unrelated clips are grouped, by the functions alone and by the whole command; a tenth of them are
near-duplicates, with as many flipped bits as the transformed videos had.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lib.compare import Bar, Cost, Plot, figures, run_again, run_child, tell
from benchmarks.lib.dedup_workload import DISGUISES, Crowd, Flips, ffmpeg_version, looks_of_film
from dancecli.dataset.similarity.neighbors import SAME_PICTURE, HashArrays, connected, near_pairs
from dancecli.storage.workspace import Workspace
from dancecli.video.phash import PerceptualHashes

_WAYS = len(DISGUISES) + 1


def looks_of_films(seed: str, num_films: int) -> list[PerceptualHashes]:
    """Make the films and their copies, and hash them, film by film."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        return [one for film in pool.map(partial(looks_of_film, seed), range(num_films)) for one in film]


def films_found(looks: Sequence[PerceptualHashes]) -> dict[str, Any]:
    """Group films and copies, and say what was found: of what is asked for, and of the harder ones too."""
    found = evaluated(easier(looks), DISGUISES[:-1])
    return found | {"threshold": SAME_PICTURE, "with the harder ones": evaluated(looks, DISGUISES)}


def easier(looks: Sequence[PerceptualHashes]) -> list[PerceptualHashes]:
    """Leave out the last copy of each film, which is harder than what is asked for."""
    return [one for i, one in enumerate(looks) if (i + 1) % _WAYS]


def evaluated(looks: Sequence[PerceptualHashes], disguises: Sequence[str]) -> dict[str, Any]:
    """Group the films and copies, which come film by film, and hold the groups against the truth."""
    n, ways = len(looks), len(disguises) + 1
    groups = np.array(connected(n, *near_pairs(HashArrays.of(looks))))
    films = np.arange(n) // ways
    found = (groups == groups[films * ways]).reshape(-1, ways)[:, 1:]
    mixed = [films[groups == name] for name in set(groups.tolist())]
    # Of all pairs of clips of different films, those in one group; and the clips that have such company.
    connected_pairs = sum((len(of) ** 2 - int((np.bincount(of) ** 2).sum())) // 2 for of in mixed)
    pairs = (n**2 - n * ways) // 2
    company = sum(len(of) for of in mixed if len(set(of.tolist())) > 1)
    return {
        "films": n // ways,
        "copies": int(found.size),
        "found": int(found.sum()),
        "recall": round(float(found.mean()), 4),
        "pairs_of_different_films": pairs,
        "of_these_in_one_group": connected_pairs,
        "false_merges": connected_pairs / pairs,
        "clips_with_strangers": company,
        "recall_by_disguise": dict(zip(disguises, np.round(found.mean(axis=0), 4).tolist(), strict=True)),
    }


def measure_growth(sizes: Sequence[int], flips: Flips, command_to: int) -> list[dict[str, Any]]:
    """Group ever more clips: what the grouping takes, and up to a size what the command takes."""
    found = []
    for n in sizes:
        with tempfile.TemporaryDirectory() as folder:
            flips.write(Path(folder) / "flips.npz")
            room = run_again(__file__, "--child", "room", n, folder)
            alone = run_again(__file__, "--child", "group", n, folder)
            told = json.loads((Path(folder) / "answer.json").read_text(encoding="utf-8"))
            row = {"clips": n, **told, "hashes_mb": round(room.peak_mb, 1), "grouping": figures(alone)}
            if n <= command_to:
                row["command"] = figures(whole_command(n, Path(folder)))
        found.append(row)
        print(f"{n} clips: {json.dumps(row)}", file=sys.stderr)
    return found


def whole_command(n: int, folder: Path) -> Cost:
    """Run the command on a workspace whose clips are hashed already."""
    run_again(__file__, "--child", "fill", n, folder)
    command = [sys.executable, "-m", "dancecli", "dedup", "--json", "--workspace", str(folder / "space")]
    return run_child(command, stderr=subprocess.DEVNULL)


def child(what: str, n: int, folder: Path) -> None:
    """Do one part of a measurement in a process of its own."""
    crowd = Crowd.of(n, Flips.read(folder / "flips.npz"))
    if what == "fill":
        crowd.fill(Workspace(folder / "space"))
    elif what == "group":
        before_s = os.times()
        first, second = near_pairs(crowd.arrays)
        groups = connected(n, first, second)
        after_s = os.times()
        seconds = after_s.user + after_s.system - before_s.user - before_s.system
        answer = {
            "grouping_s": round(seconds, 1),
            "recall": round(crowd.recall(first, second), 5),
            "pairs": len(first),
            "groups": len(set(groups)),
        }
        (folder / "answer.json").write_text(json.dumps(answer), encoding="utf-8")


def main() -> int:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--films", type=int, default=300)
    parser.add_argument("--clips", default="10000,100000,650000")
    parser.add_argument("--command-to", type=int, default=650_000, help="for more clips, grouping alone")
    parser.add_argument("--seed", default="held out")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(asked.child[0], int(asked.child[1]), Path(asked.child[2]))
        return 0
    num_films, sizes = (
        (6, [1000, 4000]) if asked.quick else (asked.films, [*map(int, asked.clips.split(","))])
    )
    looks = looks_of_films(asked.seed, num_films)
    films = {"seed": asked.seed, "ffmpeg": ffmpeg_version(), **films_found(looks)}
    growth = measure_growth(sizes, Flips.of(easier(looks), DISGUISES[:-1]), asked.command_to)
    bars = [
        Bar("near-duplicates found, 99 %", f"{films['found']} of {films['copies']}", films["recall"] >= 0.99),
        Bar(
            "clips of different videos in one group, at most 0.1 % of such pairs",
            f"{films['of_these_in_one_group']} of {films['pairs_of_different_films']:,} pairs; "
            f"{films['clips_with_strangers']} of {films['films'] + films['copies']} are in such a group",
            films["false_merges"] <= 0.001,
        ),
        *(
            Bar(
                f"near-duplicates found among {row['clips']:,}, 99 %",
                f"{100 * row['recall']:.2f} %",
                row["recall"] >= 0.99,
            )
            for row in growth
        ),
        *(
            Bar("100,000 hashes grouped in a minute", f"{row['grouping_s']} s", row["grouping_s"] <= 60)
            for row in growth
            if row["clips"] == 100_000
        ),
    ]
    rows = [
        (
            f"{row['clips']:,}",
            row["grouping_s"],
            f"{row['grouping']['peak_mb']:.0f}",
            f"{row['hashes_mb']:.0f}",
            row["command"]["cpu_s"] if "command" in row else "",
            f"{row['command']['peak_mb']:.0f}" if "command" in row else "",
        )
        for row in growth
    ]
    columns = ("clips", "grouping, s", "peak, MB", "of which hashes, MB", "command, s", "peak, MB")
    lines = {
        "grouping alone": [(row["clips"], row["grouping_s"]) for row in growth],
        "dance dedup, hashes there": [
            (row["clips"], row["command"]["cpu_s"]) for row in growth if "command" in row
        ],
    }
    plots = [Plot("dedup", "clips", "processor time, s", lines)]
    most = growth[-1]
    floor = (
        f"the hashes alone fill {most['hashes_mb']:.0f} MB of memory for {most['clips']:,} clips; to compare "
        f"all pairs would be {most['clips'] ** 2 / 2:.0e} comparisons, {most['pairs']:,} pairs were found"
    )
    measured = {"films": films, "growth": growth}
    return tell("dedup", measured, bars, columns, rows, floor=floor, plots=plots)


if __name__ == "__main__":
    sys.exit(main())
