"""Annotation rows: read, filtered by label, grouped by video and split, against the csv module.

    python -m benchmarks.suites.manifests [--rows 10000,100000,650000] [--rounds 5] [--quick]

The lower bound is what one writes by hand: `csv.reader`, the rows of the requested labels grouped
by video, with no further checks. dance reads the same list as `dance fetch` does, every requested
row validated, and assigns the result to subsets as `dance split` does. Both keep the rows of 19 of
700 labels; a third variant keeps all of them. Each is a process of its own.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.lib.compare import (
    Bar,
    Plot,
    figures,
    middle,
    run_again,
    spread,
    take_turns,
    tell,
    times_as_fast,
)

if TYPE_CHECKING:
    from dancecli.core.records import Clip

WAYS = {"by hand": "csv module, 19 labels", "some": "dance, 19 labels", "all": "dance, all 700 labels"}
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
_NUM_LABELS, _NUM_WANTED = 700, 19
_MOST_MB = 500
_SLOWEST = 3.0


def make_list(path: Path, num_rows: int) -> None:
    """Write a list in the form of Kinetics-700, as long as asked for, and its label files."""
    dice = random.Random(0)
    labels = [f"label number {i}" for i in range(_NUM_LABELS)]
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("label", "youtube_id", "time_start", "time_end", "split"))
        for i in range(num_rows):
            start_s = dice.randrange(600)
            video_id = "".join(dice.choices(_LETTERS, k=11))
            rows.writerow((labels[i % _NUM_LABELS], video_id, start_s, start_s + 10, "train"))
    for name, count in (("some", _NUM_WANTED), ("all", _NUM_LABELS)):
        (path.parent / f"{name}.txt").write_text("\n".join(labels[:count]) + "\n", encoding="utf-8")


def by_hand(path: Path) -> int:
    """Gather the wanted rows by video; give the number of videos."""
    wanted = set((path.parent / "some.txt").read_text(encoding="utf-8").splitlines())
    found: dict[str, list[tuple[float, float, str]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        for row in rows:
            if row[0] in wanted:
                found.setdefault(row[1], []).append((float(row[2]), float(row[3]), row[0]))
    return len(found)


def as_dance(path: Path, labels: str) -> int:
    """Read, filter, group and divide; return the number of clips."""
    from dancecli.dataset.split.assign import assign_subsets, count_overlaps, parse_ratios

    clips = assign_subsets(clips_of(path, labels), parse_ratios("90/5/5"), 0, {})
    if count_overlaps(clips):
        raise SystemExit("a group is in two subsets")
    return len(clips)


def clips_of(path: Path, labels: str) -> list[Clip]:
    """Read a list, and take every row of it for a clip that is there."""
    from dancecli.core.labels import LabelSet
    from dancecli.core.records import Clip
    from dancecli.sources.kinetics import read_lists

    return [
        Clip(
            clip_id=segment.clip_id,
            video_id=segment.video_id,
            start_ms=segment.start_ms,
            end_ms=segment.end_ms,
            label=segment.label,
            official_split=segment.official_split,
            dataset=segment.dataset,
            path="",
            num_frames=250,
            fps_num=25,
            fps_den=1,
            width=340,
            height=256,
            has_audio=True,
            num_bytes=0,
            sha256="",
            source="",
        )
        for segment in read_lists([path], LabelSet.read(path.parent / f"{labels}.txt")).segments
    ]


def measure(num_rows: int, rounds: int) -> dict[str, Any]:
    """Let the ways take turns over one list."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "list.csv"
        make_list(path, num_rows)
        ways = {
            name: partial(run_again, __file__, "--child", name, path)
            for name in ("start", "by hand", "some", "all")
        }
        found = take_turns(ways, rounds)
    costs = {name: middle(found[name]) for name in found}
    return {
        "rows": num_rows,
        "rounds": rounds,
        "slower": round(1 / times_as_fast(found["by hand"], found["some"]), 2),
        "slower, the interpreter's start taken off": round(
            (costs["some"].cpu_s - costs["start"].cpu_s) / (costs["by hand"].cpu_s - costs["start"].cpu_s), 2
        ),
        **{name: {**figures(cost), "spread": spread(found[name])} for name, cost in costs.items()},
    }


def child(way: str, path: Path) -> None:
    """Go one way."""
    if way == "by hand":
        by_hand(path)
    elif way != "start":
        as_dance(path, way)


def bars_of(found: Sequence[dict[str, Any]]) -> list[Bar]:
    """Hold the longest list against the bars."""
    most = found[-1]
    rows = f"{most['rows']:,} rows"
    return [
        Bar(
            f"{rows}, at most {_SLOWEST:g} times the csv module",
            f"{most['slower']}",
            most["slower"] <= _SLOWEST,
        ),
        *(
            Bar(
                f"{rows}, {name} kept, under {_MOST_MB} MB",
                f"{most[name]['peak_mb']:.0f} MB",
                most[name]["peak_mb"] < _MOST_MB,
            )
            for name in ("some", "all")
        ),
    ]


def main() -> int:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", default="10000,100000,650000")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(asked.child[0], Path(asked.child[1]))
        return 0
    sizes, rounds = (
        ([10_000, 50_000], 3) if asked.quick else ([*map(int, asked.rows.split(","))], asked.rounds)
    )
    found = [measure(num_rows, rounds) for num_rows in sizes]
    rows = [
        (f"{one['rows']:,}", names, one[way]["cpu_s"], one[way]["spread"], f"{one[way]['peak_mb']:.0f}")
        for one in found
        for way, names in WAYS.items()
    ]
    plots = [
        Plot(
            f"manifests-{kind}",
            "annotation rows",
            what,
            {names: [(one["rows"], one[way][figure]) for one in found] for way, names in WAYS.items()},
        )
        for kind, figure, what in (
            ("time", "cpu_s", "processor time, s"),
            ("memory", "peak_mb", "peak memory, MB"),
        )
    ]
    most = found[-1]
    floor = (
        f"the csv module alone takes {most['by hand']['cpu_s']:.2f} s and {most['by hand']['peak_mb']:.0f} "
        f"MB for {most['rows']:,} rows; the interpreter's start, {most['start']['cpu_s']:.2f} s, is part of "
        "every figure"
    )
    columns = ("rows", "way", "CPU, s", "spread", "peak, MB")
    return tell("manifests", found, bars_of(found), columns, rows, floor=floor, plots=plots)


if __name__ == "__main__":
    sys.exit(main())
