"""How long a run's steps wait for their clips is measured, written down and shown."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest


def test_the_share_of_time_without_clips_is_told(tmp_path, monkeypatch):
    import torch

    from dancecli.core.progress import Reporter
    from dancecli.model.training import run_hook
    from dancecli.storage.runs import RunFolder

    now, shown = [100.0], []
    monkeypatch.setattr(run_hook, "time", SimpleNamespace(monotonic=lambda: now[0]))
    folder = RunFolder(tmp_path / "run")
    folder.root.mkdir()
    hook = run_hook.RunHook(folder, 1, 4, 0, "", Reporter(lambda p: shown.append(p.text)))
    wrapper = SimpleNamespace(param_groups=[{"lr": 0.1}])
    runner = SimpleNamespace(epoch=0, iter=0, optim_wrapper=wrapper)
    batch = {"data_samples": [None, None]}
    hook.before_train(runner)
    hook.before_train_epoch(runner)
    for waits, computes in [(3.0, 1.0), (0.5, 1.5)]:
        now[0] += waits
        hook.before_train_iter(runner, 0, batch)
        now[0] += computes
        hook.after_train_iter(runner, 0, batch, {"loss": torch.tensor(1.0), "top1_acc": 0.5})
    rows = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    assert [row["data_s"] for row in rows] == [3.0, 0.5]
    assert (hook.waited_s, hook.steps_s) == pytest.approx((3.5, 6.0))
    assert ["data wait 75%" in shown[0], "data wait 58%" in shown[1]] == [True, True]
