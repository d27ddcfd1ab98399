"""Runs and studies in TensorBoard's form, read back by TensorBoard itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.builders import Ran
from tensorboard.backend.event_processing import event_accumulator as accumulator

from dancecli.core.errors import MissingDependencyError
from dancecli.report import tensorboard
from dancecli.storage.workspace import Workspace

STUDY = {
    "schema": 1,
    "status": "running",
    "updated_utc": "2026-11-22T07:00:00+00:00",
    "wanted": 4,
    "trials": [
        {"number": 0, "state": "done", "params": {"lr": 0.01, "optimizer": "sgd"}, "epochs": 3,
         "val": {"n": 40, "top1": 30}, "curve": [0.25, 0.5, 0.75]},
        {"number": 1, "state": "pruned", "params": {"lr": 0.1}, "epochs": 1, "val": None, "curve": [0.1]},
        {"number": 2, "state": "failed", "params": {"lr": 9.0}, "epochs": None, "val": None, "curve": []},
    ],
}  # fmt: skip


@pytest.fixture
def busy(workspace: Workspace) -> Workspace:
    folder = workspace.run("a")
    folder.mkdir(parents=True)
    created = "2026-11-22T07:00:00+00:00"
    card = {"schema": 1, "status": "running", "created_utc": created, "optim": {"epochs": 9}}
    (folder / "run.json").write_text(json.dumps(card))
    add(workspace, *(step(i) for i in (1, 2, 3)))
    place = workspace.root / "studies" / "s"
    place.mkdir(parents=True)
    (place / "study.json").write_text(json.dumps(STUDY))
    return workspace


def step(i: int) -> dict[str, Any]:
    timed = {"epoch": 1, "step": i, "time_s": 0.5 * i}
    return {"kind": "train", **timed, "loss": 2 / i, "top1": 0.5, "lr": 0.01}


def add(workspace: Workspace, *rows: dict[str, Any]) -> None:
    with (workspace.run("a") / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def read(folder: Path) -> Any:
    found = accumulator.EventAccumulator(str(folder))
    found.Reload()
    return found


def test_a_run_is_read_back_and_followed(busy: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "tb"
    assert tensorboard.write_events(busy, folder) == 3
    found = read(folder / "runs" / "a")
    losses = found.Scalars("loss/train")
    assert [(e.step, e.value) for e in losses] == [(1, 2.0), (2, 1.0), (3, pytest.approx(2 / 3))]
    assert losses[2].wall_time - losses[0].wall_time == pytest.approx(1.0)
    assert tensorboard.write_events(busy, folder) == 0

    path = folder / "runs" / "a" / tensorboard.FILE
    before = path.read_bytes()
    add(busy, {"kind": "val", "epoch": 1, "loss": None, "top1": 0.75, "top5": 1.0, "n": 8})
    assert tensorboard.write_events(busy, folder) == 1
    assert path.read_bytes().startswith(before)
    found.Reload()
    assert [(e.step, e.value) for e in found.Scalars("top1/val")] == [(3, 0.75)]

    (busy.run("a") / "metrics.jsonl").write_text("")
    add(busy, step(1) | {"loss": 7.0})
    assert tensorboard.write_events(busy, folder) == 1
    assert [e.value for e in read(folder / "runs" / "a").Scalars("loss/train")] == [7.0]


def test_a_study_is_a_run_a_trial_with_its_settings(busy: Workspace, tmp_path: Path) -> None:
    tensorboard.write_events(busy, tmp_path / "tb")
    folder = tmp_path / "tb" / "studies" / "s"
    assert sorted(path.name for path in folder.iterdir()) == ["trial-0", "trial-1"]
    found = read(folder / "trial-0")
    assert [e.value for e in found.Scalars("top1/val")] == [0.25, 0.5, 0.75]
    assert found.Scalars("top1/val of the trial")[0].value == 0.75
    from tensorboard.plugins.hparams import metadata

    content = found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    start = metadata.parse_session_start_info_plugin_data(content)
    assert start.hparams["lr"].number_value == 0.01
    assert start.hparams["optimizer"].string_value == "sgd"


def test_without_tensorboard_it_is_one_sentence(
    busy: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(tensorboard.importlib, "import_module", missing)
    with pytest.raises(MissingDependencyError, match="TensorBoard is not installed"):
        tensorboard.write_events(busy, tmp_path / "tb")


def test_the_command_follows_until_nothing_is_at_work(busy: Workspace, dance: Callable[..., Ran]) -> None:
    card = busy.run("a") / "run.json"
    card.write_text(card.read_text().replace("running", "done"))
    study = busy.root / "studies" / "s" / "study.json"
    study.write_text(study.read_text().replace("running", "done"))
    ran = dance("board", "--watch", "--tensorboard", "tb")
    assert ran.code == 0
    assert "tensorboard --logdir tb" in ran.err
    assert ["s", "done", "3/4", "1", "1", "75.0", "0"] in [line.split() for line in ran.out.splitlines()]
    assert (busy.root / "tb" / "runs" / "a" / tensorboard.FILE).is_file()
