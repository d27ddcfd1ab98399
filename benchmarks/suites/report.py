"""The page of a run: `dance report` beside what one writes with scikit-learn and matplotlib.

    python -m benchmarks.suites.report [--sizes 1000x19 10000x400 35000x700] [--rounds 3] [--quick]

Runs are synthetic: scores that favor the true class, ten thousand training clips, one drawn dance as the file
of every evaluated clip, so that the page has stills. By hand is a
script: the same Parquet file read with pandas, `accuracy_score`, `top_k_accuracy_score`,
`classification_report`, and the matrix drawn by `ConfusionMatrixDisplay` without its numbers. dance
checks the run against its split, computes intervals by clip and by source video, calibration and
mistakes, for a page that works without a network. Each is a process of its own. The lower bound is
the same Parquet file read and its scores ranked, with nothing written.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.lib.compare import (
    Bar,
    Plot,
    figures,
    middle,
    run_again,
    run_child,
    spread,
    take_turns,
    tell,
    times_as_fast,
)
from benchmarks.lib.sample_videos import draw_film

OURS, BY_HAND, FLOOR = "dance report", "by hand", "read and rank"
RUN, SPLIT = "made-up", "all"
_TRAIN = 10_000
_PIECE = 5000


def make_run(root: Path, clips: int, classes: int) -> None:
    """Write a workspace with one run, whose scores are drawn."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from dancecli.core.records import Clip, Prediction, SplitClip
    from dancecli.storage import tables
    from dancecli.storage.workspace import Workspace

    workspace = Workspace(root)
    labels = [f"class {i:03d}" for i in range(classes)]
    rows = [("test", i) for i in range(clips)] + [("train", i) for i in range(_TRAIN)]
    tables.write(workspace.clips, Clip, (_clip(part, i, labels) for part, i in rows))
    parts = (
        SplitClip(_name(part, i), part, f"{part}{i:06d}", labels[i % classes], f"{i:064x}")
        for part, i in rows
    )
    tables.write(workspace.split(SPLIT), SplitClip, parts, {"split.name": SPLIT, "split.hash": "0" * 64})
    folder = workspace.run(RUN)
    folder.mkdir(parents=True)
    card = _card(labels, {"train": _TRAIN, "val": 0, "test": clips})
    (folder / "run.json").write_text(json.dumps(card), encoding="utf-8")
    (folder / "metrics.jsonl").write_text("", encoding="utf-8")
    meta = {"run.name": RUN, "split.hash": "0" * 64, "test.hash": "0" * 64, "labels": json.dumps(labels)}
    schema = tables.to_table(Prediction, (), meta).schema
    dice = np.random.default_rng(0)
    with pq.ParquetWriter(folder / "predictions.parquet", schema) as writer:
        for at in range(0, clips, _PIECE):
            numbers = np.arange(at, min(at + _PIECE, clips))
            scores = dice.random((len(numbers), classes))
            scores[np.arange(len(numbers)), numbers % classes] += dice.random(len(numbers))
            scores /= scores.sum(axis=1, keepdims=True)
            places = np.arange(0, scores.size + 1, classes, dtype=np.int32)
            columns = [
                pa.array([_name("test", i) for i in numbers.tolist()]),
                pa.array(["test"] * len(numbers)),
                pa.array(numbers % classes),
                pa.ListArray.from_arrays(places, pa.array(scores.ravel())),
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def make_run_with_clips(root: Path, clips: int, classes: int) -> None:
    """Write that workspace with a file for each evaluated clip."""
    make_run(root, clips, classes)
    draw_clips(root, clips)


def draw_clips(root: Path, clips: int) -> None:
    """Give each evaluated clip its file: one drawn dance under many names."""
    film = draw_film(root, size=(340, 256))
    (root / "clips").mkdir()
    for i in range(clips):
        os.link(film, root / "clips" / f"{_name('test', i)}.mp4")


def _name(part: str, i: int) -> str:
    return f"{part}{i:06d}_0_10000"


def _clip(part: str, i: int, labels: list[str]) -> Any:
    from dancecli.core.records import Clip

    name = _name(part, i)
    row = (name, f"{part}{i:06d}", 0, 10_000, labels[i % len(labels)], "", "kinetics", f"clips/{name}.mp4")
    return Clip(*row, 250, 25, 1, 340, 256, True, 700_000, f"{i:064x}", "mirror")


def _card(labels: list[str], counts: dict[str, int]) -> dict[str, Any]:
    return {
        "schema": 1,
        "name": RUN,
        "status": "done",
        "created_utc": "2026-01-01T00:00:00Z",
        "finished_utc": "2026-01-01T01:00:00Z",
        "command": ["dance", "finetune"],
        "model": {
            "pretrain": "inception",
            "backbone": "InceptionI3D",
            "frozen_stages": 4,
            "params_total": 12_000_000,
            "params_trainable": 20_000,
        },
        "weights": None,
        "split": {
            "name": SPLIT,
            "hash": "0" * 64,
            "seed": 0,
            "ratios": "",
            "counts": counts,
            "test_hash": "0" * 64,
        },
        "labels": labels,
        "views": {
            "train": "",
            "test": "32x2 frames, 1 clip x 1 center crop 224",
            "clip_len": 32,
            "frame_interval": 2,
            "num_clips": 1,
            "num_crops": 1,
            "short_side": 256,
            "crop": 224,
        },
        "optim": None,
        "seed": 0,
        "cache": {"used": False, "stage": "", "dtype": ""},
        "versions": {},
        "seconds": {},
        "results": {"val": None, "test": None},
    }


def read_scores(root: Path) -> tuple[Any, Any]:
    """Read the truth and the scores, as a script does."""
    import numpy as np
    import pandas as pd

    frame = pd.read_parquet(root / "runs" / RUN / "predictions.parquet")
    return frame["label_index"].to_numpy(), np.stack(frame["scores"].to_numpy())


def by_hand(root: Path) -> None:
    """Do what a script of twenty lines does."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from sklearn import metrics

    truth, scores = read_scores(root)
    called, classes = scores.argmax(axis=1), range(scores.shape[1])
    text = [
        f"top-1 {metrics.accuracy_score(truth, called)}",
        f"top-5 {metrics.top_k_accuracy_score(truth, scores, k=5, labels=classes)}",
        metrics.classification_report(truth, called, labels=classes, zero_division=0),
    ]
    folder = root / "by-hand"
    folder.mkdir(exist_ok=True)
    (folder / "report.txt").write_text("\n".join(text), encoding="utf-8")
    matrix = metrics.confusion_matrix(truth, called, labels=classes)
    _, axes = plt.subplots(figsize=(10, 10))
    metrics.ConfusionMatrixDisplay(matrix).plot(ax=axes, include_values=False)
    plt.savefig(folder / "confusion.png", dpi=150)


def read_and_rank(root: Path) -> None:
    """Do the least that any of them does."""
    import numpy as np
    import pyarrow.parquet as pq

    scores = pq.read_table(root / "runs" / RUN / "predictions.parquet")["scores"].combine_chunks()
    count = len(scores)
    np.argpartition(scores.flatten().to_numpy().reshape(count, -1), -5, axis=1)


def measure(clips: int, classes: int, rounds: int) -> dict[str, Any]:
    """Let the ways take turns over one run."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        run_again(__file__, "--child", "make", root, clips, classes)
        command = [sys.executable, "-m", "dancecli", "report", "--run", RUN, "--workspace", str(root)]
        found = take_turns(
            {
                OURS: partial(run_child, command, stderr=subprocess.DEVNULL),
                BY_HAND: partial(run_again, __file__, "--child", "hand", root),
                FLOOR: partial(run_again, __file__, "--child", "floor", root),
            },
            rounds,
        )
        page = (root / "reports" / RUN / "index.html").stat().st_size
        written = sum(path.stat().st_size for path in (root / "reports" / RUN).iterdir())
    return {
        "clips": clips,
        "classes": classes,
        "page_mb": round(page / 1e6, 2),
        "folder_mb": round(written / 1e6, 2),
        "ours over by hand": round(times_as_fast(found[OURS], found[BY_HAND]), 2),
        **{way: {**figures(middle(costs)), "spread": spread(costs)} for way, costs in found.items()},
    }


def main() -> int:
    """Measure every size, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["1000x19", "10000x400", "35000x700"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round of the smallest")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        parts = {"make": make_run_with_clips, "hand": by_hand, "floor": read_and_rank}
        parts[asked.child[0]](Path(asked.child[1]), *map(int, asked.child[2:]))
        return 0
    if asked.quick:
        asked.sizes, asked.rounds = asked.sizes[:1], 1
    sizes = [size.split("x") for size in asked.sizes]
    found = [measure(int(clips), int(classes), asked.rounds) for clips, classes in sizes]
    rows = [
        (
            f"{one['clips']:,} x {one['classes']}",
            way,
            f"{one[way]['cpu_s']:.2f}",
            f"{one[way]['clock_s']:.2f}",
            one[way]["spread"],
            f"{one[way]['peak_mb']:.0f}",
            f"{one['page_mb']} of {one['folder_mb']}" if way == OURS else "",
        )
        for one in found
        for way in (OURS, BY_HAND, FLOOR)
    ]
    first, last = found[0], found[-1]
    bars = [
        Bar(
            f"{one['clips']:,} clips of {one['classes']} classes: a page under {most} MB",
            f"{one['page_mb']} MB",
            one["page_mb"] < most,
        )
        for one, most in ((first, 1), (last, 20))[: len(found)]
    ]
    took = first[OURS]["cpu_s"]
    bars.append(
        Bar(f"{first['clips']:,} clips: at most 1.3 s of processor time", f"{took:.2f} s", took <= 1.3)
    )
    lines = {
        way: [(one["clips"] * one["classes"], one[way]["cpu_s"]) for one in found]
        for way in (OURS, BY_HAND, FLOOR)
    }
    floor = (
        f"reading and ranking the scores of {last['clips']:,} clips takes {last[FLOOR]['cpu_s']:.1f} s; the "
        f"page takes {last[OURS]['cpu_s'] / last[FLOOR]['cpu_s']:.1f} times that"
    )
    columns = ("clips x classes", "way", "CPU, s", "clock, s", "spread", "peak, MB", "page of folder, MB")
    plots = (
        [Plot("report", "scores (clips times classes)", "processor time, s", lines)] if len(found) > 1 else []
    )
    return tell("report", found, bars, columns, rows, floor=floor, plots=plots)


if __name__ == "__main__":
    sys.exit(main())
