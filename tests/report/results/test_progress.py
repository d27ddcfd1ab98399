"""How far each run is, while they are at work."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

from dancecli.report.results.progress import State, states
from dancecli.storage.workspace import Workspace


def begin(workspace: Workspace, name: str, status: str, lines: str = "") -> None:
    folder = workspace.run(name)
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"schema": 1, "status": status, "optim": {"epochs": 9}}))
    (folder / "metrics.jsonl").write_text(lines)


def test_the_state_is_that_of_the_last_whole_lines(workspace: Workspace) -> None:
    rows: list[dict[str, Any]] = [
        {"kind": "train", "epoch": 1, "step": i, "loss": 2.0 if i < 10 else 1.0, "top1": 0.5}
        for i in range(30)
    ]
    rows += [{"kind": "val", "epoch": 1, "top1": 0.75}, {"kind": "val", "epoch": 2, "top1": 0.7}]
    begin(workspace, "a", "running", "\n".join(map(json.dumps, rows)) + '\n{"kind": "tra')
    with workspace.lock("run-a"):
        assert states(workspace) == [State("a", "running", 2, 9, 1.0, 0.5, 0.7, 0.75)]
    assert [state.status for state in states(workspace)] == ["interrupted"]


def test_a_run_without_a_step_and_one_that_cannot_be_read(workspace: Workspace) -> None:
    begin(workspace, "a", "running")
    begin(workspace, "b", "done")
    (workspace.run("b") / "run.json").write_text("{")
    with workspace.lock("run-a"):
        found = {state.run: state for state in states(workspace)}
    assert found["a"] == State("a", "running", 0, 9, None, None, None, None)
    assert found["b"].status == "unreadable"


def test_watching_ends_when_no_run_is_at_work(workspace: Workspace, dance: Callable[..., Any]) -> None:
    begin(workspace, "a", "running", '{"kind": "val", "epoch": 4, "top1": 0.5}\n')

    def end() -> None:
        time.sleep(4)
        done = {"schema": 1, "status": "done", "optim": {"epochs": 9}}
        (workspace.run("a") / "run.json").write_text(json.dumps(done))

    other = threading.Thread(target=end)
    with workspace.lock("run-a"):
        other.start()
        ran = dance("board", "--watch", timeout_s=90)
        other.join()
    assert ran.code == 0
    assert ["a", "done", "4/9", "50.0", "50.0"] in [line.split() for line in ran.out.splitlines()]
