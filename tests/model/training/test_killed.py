"""A run that is killed with SIGKILL in mid-epoch, and continued, ends like one that was not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from dancecli.model.networks.mmaction import read_checkpoint
from dancecli.storage import runs as rec


def finetune_args(root: Path, name: str, model: Path, recipe: Path) -> list[str]:
    words = ("finetune", "--workspace", str(root), "--pretrain", str(model), "--weights", "none")
    flags = ("--recipe", str(recipe), "--epochs", "3", "--batch", "2", "--name", name, "--no-cache")
    return [sys.executable, "-m", "dancecli", *words, *flags]


def epochs_of(metrics: Path) -> list[int]:
    if not metrics.exists():
        return []
    lines = metrics.read_text().splitlines(keepends=True)
    rows = [json.loads(line) for line in lines if line.endswith("\n")]
    return [row["epoch"] for row in rows if row["kind"] == "train"]


def test_a_killed_run_goes_on_to_the_same_weights(corpus, tiny_recipe, tiny_model):
    workspace = corpus()
    args = finetune_args(workspace.root, "whole", tiny_model, tiny_recipe)
    assert subprocess.run(args, capture_output=True, check=False).returncode == 0
    folder = rec.RunFolder(workspace.run("killed"))
    process = subprocess.Popen(
        finetune_args(workspace.root, "killed", tiny_model, tiny_recipe),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    # In the second epoch, with a step of it done and others still to come.
    while epochs_of(folder.metrics).count(2) < 1:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert epochs_of(folder.metrics).count(3) == 0
    # Its record says that it is running, and no process holds its lock.
    assert json.loads(folder.record.read_text())["status"] == rec.RUNNING
    assert rec.read_record(workspace, "killed")["status"] == rec.INTERRUPTED
    args = [sys.executable, "-m", "dancecli", "finetune", "--workspace", str(workspace.root)]
    done = subprocess.run(
        [*args, "--resume", "--name", "killed"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    states = [
        read_checkpoint(workspace.run(run) / "checkpoints" / "last.pth")["state_dict"]
        for run in ("whole", "killed")
    ]
    assert states[0].keys() == states[1].keys()
    assert all((states[0][key] == states[1][key]).all() for key in states[0])
    metrics = [rec.RunFolder(workspace.run(run)).metrics.read_text() for run in ("whole", "killed")]
    whole, killed = [[json.loads(line) for line in text.splitlines()] for text in metrics]
    assert [row["loss"] for row in whole] == [row["loss"] for row in killed]


def test_a_run_that_a_scheduler_ends_says_so_and_goes_on(corpus, tiny_recipe, tiny_model):
    workspace = corpus()
    folder = rec.RunFolder(workspace.run("ended"))
    args = [*finetune_args(workspace.root, "ended", tiny_model, tiny_recipe), "--no-preflight"]
    process = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while epochs_of(folder.metrics).count(2) < 1:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; finished work is kept" in said
    assert rec.read_record(workspace, "ended")["status"] == rec.INTERRUPTED
    done = subprocess.run(args, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "resuming run" in done.stderr
