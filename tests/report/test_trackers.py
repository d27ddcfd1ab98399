"""Runs in Weights & Biases and MLflow, read back by these libraries themselves, without a network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.fake_run import make_run

from dancecli.core.errors import MissingDependencyError
from dancecli.report import trackers
from dancecli.storage.workspace import Workspace

BLOCK, FULL, LAST = 32768, 1, 4


@pytest.fixture
def two(workspace: Workspace) -> Workspace:
    """A finished run and one that is not."""
    for name in ("done-1", "running-1"):
        make_run(workspace.root, ("wave", "spin"), test=20, val=10, name=name)
        path = workspace.run(name) / "run.json"
        record = json.loads(path.read_text())
        record |= {"status": "done" if name == "done-1" else "failed", "group": "both"}
        path.write_text(
            json.dumps(record | {"results": {"test": {"n": 20, "top1": 15, "top5": 20}, "val": None}})
        )
    return workspace


def chunks_of(path: Path) -> Iterator[bytes]:
    """The records of a file of wandb: LevelDB's log format, after seven bytes of its own."""
    data, at, held = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        if (left := BLOCK - at % BLOCK) < 7:
            at += left
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        held += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (FULL, LAST):
            yield held
            held = b""


def test_wandb_offline_holds_the_run(two: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    proto = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_DIR", raising=False)
    assert trackers.log_wandb(two, "dances") == ["done-1"]
    assert trackers.log_wandb(two, "dances") == []
    (file,) = two.root.glob("wandb/offline-run-*/*.wandb")
    found: dict[str, list[Any]] = {}
    for chunk in chunks_of(file):
        record = proto.Record.FromString(chunk)
        kind = record.WhichOneof("record_type")
        found.setdefault(kind, []).append(getattr(record, kind))
    run = found["run"][0]
    assert (run.display_name, run.project, run.run_group) == ("done-1", "dances", "both")
    names = [{item.key or "/".join(item.nested_key) for item in row.item} for row in found["history"]]
    assert sum("train/loss" in row for row in names) == 120
    assert sum("val/top1" in row for row in names) == 10
    told = {item.key or "/".join(item.nested_key) for row in found["summary"] for item in row.update}
    assert "test/top1_accuracy" in told


def test_mlflow_in_a_folder_holds_the_run(
    two: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    uri = (tmp_path / "mlruns").as_uri()
    assert trackers.log_mlflow(two, uri) == ["done-1"]
    assert trackers.log_mlflow(two, uri) == []
    client = mlflow.MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("dance").experiment_id])
    assert run.info.run_name == "done-1"
    assert run.info.status == "FINISHED"
    assert run.data.params["model.backbone"] == "InceptionI3D"
    assert run.data.metrics["test/top1_accuracy"] == 0.75
    losses = client.get_metric_history(run.info.run_id, "train/loss")
    assert [metric.step for metric in losses] == list(range(1, 121))


def test_a_library_that_is_missing_is_one_line(two: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(trackers.importlib, "import_module", missing)
    with pytest.raises(MissingDependencyError, match="wandb is not installed"):
        trackers.log_wandb(two, "dances")
    with pytest.raises(MissingDependencyError, match="mlflow-skinny is not installed"):
        trackers.log_mlflow(two, "file:x")
