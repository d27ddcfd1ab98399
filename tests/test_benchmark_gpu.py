"""The benchmark for GPUs does each kind of its cases at toy size on any machine, and keeps to its time."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks import gpu

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_a_dry_run_measures_every_kind_of_case(monkeypatch, capfd):
    # One way of freezing: the others differ by an argument, and each takes half a minute.
    monkeypatch.setattr(gpu, "FREEZES", ("4",))
    monkeypatch.setattr(sys, "argv", ["gpu", "--dry-run", "--minutes", "20"])
    monkeypatch.chdir(ROOT)
    assert gpu.main() == 0
    document = json.loads(capfd.readouterr().out)
    rows = {row[0]: row[1:] for row in document["rows"]}
    assert set(rows) == {"training, freeze 4", "features, freeze 4", "prediction, whole process"}
    ours, stock, ratio = map(float, rows["training, freeze 4"][:3])
    assert ours > 0
    assert stock > 0
    assert ratio == pytest.approx(ours / stock, rel=0.6)
    assert document["measured"]["minutes"] < 20


def test_what_does_not_fit_into_the_minutes_is_not_run(tmp_path):
    clock = gpu.Clock(minutes=0.02)
    with pytest.raises(gpu.OutOfTimeError):
        clock.run([sys.executable, "-c", "import time; time.sleep(30)"], tmp_path)
    bench = gpu.Bench(tmp_path, gpu.Clock(0), tmp_path / "recipe.toml", 1, 2, 32, gpu=False)
    (tmp_path / "recipe.toml").touch()
    rows, figures = gpu.measure(bench)
    assert figures == {}
    assert [row[1] for row in rows] == ["not run"] * 4


def test_the_rate_leaves_the_first_steps_out(tmp_path):
    bench = gpu.Bench(tmp_path, gpu.Clock(1), tmp_path, 1, 8, 32, gpu=False)
    # Three slow steps, then two clips per second each.
    assert bench._rate([10, 20, 30, 40, 44, 48]) == pytest.approx(8 * 2 / 8)
