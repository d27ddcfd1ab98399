"""A study's record, made without a model: every figure in it follows from a hash of names."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from helpers.fake_run import uniform

from dancecli.storage.workspace import Workspace

SPACE = {
    "lr": {"low": 1e-5, "high": 1e-2, "log": True},
    "dropout": {"low": 0.2, "high": 0.7},
    "optimizer": {"choices": ["adam", "sgd"]},
}


def make_study(root: Path, trials: int = 20, n: int = 60, name: str = "fake") -> Workspace:
    """Write a study whose accuracy peaks at a learning rate of 4e-4; trial 0 is the baseline.

    The last trial but two was pruned, the last but one failed, the last is running.
    """
    workspace = Workspace(root)
    rows = [_trial(i, n) for i in range(trials)]
    if trials > 4:
        rows[-3] |= {"state": "pruned", "epochs": 3, "right": ""}
        failed = {"state": "failed", "val": None, "loss": None, "epoch": None, "right": ""}
        rows[-2] |= {**failed, "epochs": 1, "note": "the loss was no number in epoch 1"}
        rows[-1] |= {**failed, "state": "running", "epochs": None}
    done = [row for row in rows if row["state"] == "done"]
    best = min(done, key=lambda t: (-t["val"]["top1"], t["loss"]), default={"number": None})
    record = {
        "schema": 1,
        "name": name,
        "status": "done",
        "updated_utc": "2026-11-22T11:00:00+00:00",
        "storage": f"studies/{name}.db",
        "model": {"pretrain": "inception", "given": "inception", "title": "Inception-v1 I3D, RGB"},
        "weights": {"given": None, "sha256": "ab" * 32},
        "split": {"name": "full", "hash": "cd" * 32, "counts": {"train": 1395, "val": n, "test": 60}},
        "classes": 19,
        "view": "64x1 frames, 1 clip x 1 center crop 224",
        "seed": 0,
        "wanted": trials,
        "epochs": 10,
        "recipe": {"name": "default", "freeze": "4"},
        "space": SPACE,
        "sampling": "TPE",
        "pruning": "median",
        "trained": {"batched": 8, "sequential": "", "batch": 16},
        "val": {
            "n": n,
            "hash": "ef" * 32,
            "clips": [f"c{i}" for i in range(n)],
            "groups": [f"v{i}" for i in range(n)],
        },
        "best": best["number"],
        "trials": rows,
    }
    folder = workspace.study_folder(name)
    folder.mkdir(parents=True)
    (folder / "study.json").write_text(json.dumps(record))
    return workspace


def _trial(i: int, n: int) -> dict[str, Any]:
    lr = 1e-3 if i == 0 else 10 ** (-5 + 3 * uniform("lr", i))
    dropout = 0.5 if i == 0 else 0.2 + 0.5 * uniform("dropout", i)
    skill = 0.75 - 0.25 * abs(math.log10(lr) + 3.4)
    # The same clips are hard for all trials, and a few fall either way.
    right = [0.8 * uniform("clip", c) + 0.2 * uniform("clip", c, i) < skill for c in range(n)]
    optimizer = "sgd" if i and uniform("optimizer", i) < 0.4 else "adam"
    return {
        "number": i,
        "state": "done",
        "baseline": i == 0,
        "params": {"lr": lr, "dropout": dropout, "optimizer": optimizer},
        "val": {"n": n, "top1": sum(right)},
        "loss": 2 - skill,
        "epoch": 9,
        "epochs": 10,
        "seconds": 1.0,
        "curve": [],
        "right": "".join("1" if hit else "0" for hit in right),
        "note": "",
    }
