"""Runs in a workspace of real clips: two that are done and differ on the test clip, and one that trains."""

from __future__ import annotations

import json
import platform
from typing import Any

from helpers.clip_workspace import LABELS
from helpers.fake_run import history, run_card

from dancecli.core.records import Prediction, SplitClip
from dancecli.storage import tables
from dancecli.storage.lockfile import split_digest, subset_digest
from dancecli.storage.workspace import Workspace

NAMES = ("inception-full-1", "nonlocal-full-2", "resnet50-full-3")


def with_runs(workspace: Workspace) -> tuple[str, str, str]:
    """Add the runs; of the two that are done the first alone got the test clip right. Returns their names."""
    parts = tables.read(workspace.split("full"), SplitClip)
    digest = split_digest(parts, LABELS)
    meta = {
        key: value
        for key, value in tables.read_meta(workspace.split("full")).items()
        if not key.startswith("dance.")
    }
    tables.write(workspace.split("full"), SplitClip, parts, meta | {"split.hash": digest})
    counts = {name: sum(p.subset == name for p in parts) for name in ("train", "val", "test")}
    test_hash = subset_digest((p.clip_id, p.sha256, p.label) for p in parts if p.subset == "test")
    for i, name in enumerate(NAMES):
        folder = workspace.run(name)
        folder.mkdir(parents=True)
        card: dict[str, Any] = run_card(name, "full", LABELS, digest, counts)
        card["split"]["test_hash"] = test_hash
        card["process"] = {"host": platform.node(), "pid": 0}
        rows = [{**row, "loss": row["loss"] * (1 + 0.2 * i)} for row in history(1)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / "config.py").write_text("lr = 0.01\n")
        if i < 2:
            predictions = [
                Prediction(
                    p.clip_id, p.subset, LABELS.index(p.label), _scores(LABELS.index(p.label) ^ (i == 1))
                )
                for p in parts
                if p.subset != "train"
            ]
            head = {"run.name": name, "split.hash": digest, "test.hash": test_hash,
                    "view.protocol": card["views"]["test"], "weights.sha256": card["weights"]["sha256"],
                    "labels": json.dumps(LABELS)}  # fmt: skip
            tables.write(folder / "predictions.parquet", Prediction, predictions, head)
        else:
            card |= {"status": "running", "finished_utc": None}
            card["optim"]["epochs"] = 30
        (folder / "run.json").write_text(json.dumps(card))
    return NAMES


def _scores(best: int) -> tuple[float, ...]:
    return tuple(0.8 if i == best else 0.2 for i in range(len(LABELS)))
