"""`--gpus` means and refuses the same in every command that has it."""

from __future__ import annotations

import pytest
import torch

from dancecli.cli.models import evaluate, features, predict, processes
from dancecli.core.errors import UsageError


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.usefixtures("two_gpus")
def test_more_processes_than_gpus_are_refused(workspace, tmp_path):
    commands = (
        lambda: predict.command([tmp_path / "a.mp4"], workspace.root, gpus=3),
        lambda: features.command(workspace.root, gpus=3),
        lambda: evaluate.command(workspace_dir=workspace.root, gpus=3),
        lambda: processes.check_gpus(3),
    )
    for command in commands:
        with pytest.raises(UsageError, match="this machine has 2 GPUs, not 3") as caught:
            command()
        assert caught.value.hint == "use --gpus 2"
    processes.check_gpus(2)


def test_without_gpus_processes_share_the_processor(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    processes.check_gpus(3)


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (("finetune", "--seeds", "2"), "--seeds"),
        (("finetune", "--folds"), "--folds"),
        (("evaluate", "--ensemble", "a", "b"), "--ensemble"),
        (("evaluate", "--baseline", "kinetics400"), "--baseline"),
        (("evaluate", "--control", "still"), "--control"),
    ],
)
def test_what_one_process_does_is_refused_in_the_same_words(dance, command, option):
    done = dance(*command, "--gpus", "2")
    assert done.code == 2
    assert f"error: {option} works in one process" in done.err
    assert "omit --gpus" in done.err
