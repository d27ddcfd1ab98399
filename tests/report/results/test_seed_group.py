"""One report over several seeds: what each seed says, and what they say together."""

from __future__ import annotations

import json
from collections.abc import Callable
from statistics import mean, stdev

import numpy as np
import pytest
from helpers.builders import Ran
from helpers.fake_run import make_run

from dancecli.core.errors import InputError, WorkspaceError
from dancecli.core.records import Prediction
from dancecli.report.report import ReportResult, ReportSettings, report
from dancecli.report.results.seed_group import spread
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace

LABELS = ("wave", "spin", "<b>bounce</b>", "step", "robot", "kick")
GROUP = "many"


def change(workspace: Workspace, run: str, **changed: object) -> None:
    path = workspace.run(run) / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


@pytest.fixture
def seeds(workspace: Workspace) -> Workspace:
    for seed in range(3):
        name = f"{GROUP}-seed{seed}"
        make_run(workspace.root, LABELS, test=48, val=12, name=name, salt=str(seed), skill=2.0)
        change(workspace, name, group=GROUP, seed=seed)
    make_run(workspace.root, LABELS, test=48, val=12, name="alone-1")
    return workspace


def rights(workspace: Workspace, run: str) -> list[bool]:
    rows = tables.read(workspace.run(run) / "predictions.parquet", Prediction)
    test = sorted((p for p in rows if p.subset == "test"), key=lambda p: p.clip_id)
    return [p.scores[p.label_index] == max(p.scores) for p in test]


@pytest.fixture
def made(seeds: Workspace) -> ReportResult:
    return report(seeds, ReportSettings(GROUP))


def test_mean_spread_and_flips_are_those_of_the_runs(seeds: Workspace, made: ReportResult) -> None:
    table = np.array([rights(seeds, f"{GROUP}-seed{seed}") for seed in range(3)])
    rates = table.mean(axis=1).tolist()
    told = made.document["subsets"]["test"]
    assert told["top1"]["mean"] == pytest.approx(mean(rates), abs=1e-12)
    assert told["top1"]["sd"] == pytest.approx(stdev(rates), abs=1e-12)
    assert (told["top1"]["low"], told["top1"]["high"]) == pytest.approx((min(rates), max(rates)))
    hits = table.sum(axis=0)
    assert told["clips_that_flip"] == int(((hits > 0) & (hits < 3)).sum()) > 0
    assert told["clips_never_right"] == int((hits == 0).sum())
    low, high = told["method_interval"]
    assert low < told["top1"]["mean"] < high
    for index, row in enumerate(told["per_class"]):
        recalls = table[:, [i for i in range(48) if i % 6 == index]].mean(axis=1).tolist()
        assert row["recall"]["mean"] == pytest.approx(mean(recalls), abs=1e-12)
        assert row["recall"]["sd"] == pytest.approx(stdev(recalls), abs=1e-12)
    assert [run["seed"] for run in made.document["runs"]] == [0, 1, 2]
    assert set(told["runs"]) == {f"{GROUP}-seed{seed}" for seed in range(3)}


def test_the_page_links_to_a_page_of_each_run(seeds: Workspace, made: ReportResult) -> None:
    text = made.page.read_text()
    for seed in range(3):
        name = f"{GROUP}-seed{seed}"
        assert f'href="../{name}/index.html"' in text
        assert (seeds.report(name) / "index.html").is_file()
    assert "<b>bounce" not in text
    assert "alone-1" not in text
    assert "dance report --run many\n" in text
    before = made.page.read_bytes()
    assert report(seeds, ReportSettings(GROUP)).page.read_bytes() == before


def test_a_run_that_is_not_ended_is_left_out_and_one_alone_is_no_group(seeds: Workspace) -> None:
    (seeds.run(f"{GROUP}-seed1") / "predictions.parquet").unlink()
    found = report(seeds, ReportSettings(GROUP))
    assert [run["seed"] for run in found.document["runs"]] == [0, 2]
    assert "has no predictions yet" in found.document["left_out"][0]
    (seeds.run(f"{GROUP}-seed2") / "predictions.parquet").unlink()
    with pytest.raises(WorkspaceError, match=r"of the 3 runs of 'many', 1 can be read"):
        report(seeds, ReportSettings(GROUP))


def test_runs_that_were_not_evaluated_alike_are_no_group(seeds: Workspace) -> None:
    make_run(seeds.root, LABELS[:5], test=25, name=f"{GROUP}-seed3", split="other")
    change(seeds, f"{GROUP}-seed3", group=GROUP, seed=3)
    with pytest.raises(InputError, match="cannot be compared: their labels differ"):
        report(seeds, ReportSettings(GROUP))


def test_a_part_without_predictions_is_refused_and_a_dry_run_writes_nothing(workspace: Workspace) -> None:
    for seed in range(2):
        make_run(workspace.root, LABELS, test=48, name=f"{GROUP}-seed{seed}", salt=str(seed))
        change(workspace, f"{GROUP}-seed{seed}", group=GROUP, seed=seed)
    report(workspace, ReportSettings(GROUP), dry_run=True)
    assert not (workspace.root / "reports").exists()
    with pytest.raises(InputError, match="no predictions for subset 'val'"):
        report(workspace, ReportSettings(GROUP, subset="val"))


def test_identical_runs_have_no_interval_over_seeds(workspace: Workspace, dance: Callable[..., Ran]) -> None:
    for seed in range(3):
        name = f"{GROUP}-seed{seed}"
        make_run(workspace.root, LABELS, test=48, name=name)
        change(workspace, name, group=GROUP, seed=seed, probe={"protocol": "full", "head": "linear"})
    why = "the runs are identical: a solved head does not depend on the seed; --epochs N trains heads that do"
    line = dance("report", "--run", GROUP).out.splitlines()[0]
    assert why in line
    assert "over seeds" not in line
    page = (workspace.report(GROUP) / "index.html").read_text()
    assert why in page
    assert "over other seeds" not in page
    alone = report(workspace, ReportSettings(f"{GROUP}-seed0")).document["subsets"]["test"]["top1"]
    told = json.loads((workspace.report(GROUP) / "metrics.json").read_text())["subsets"]["test"]
    assert told["method_interval"] == pytest.approx([alone["low"], alone["high"]])
    # Of other heads it is only said that they are.
    change(workspace, f"{GROUP}-seed0", probe=None)
    line = report(workspace, ReportSettings(GROUP)).headline
    assert "the runs have identical predictions" in line
    assert "solved" not in line


def test_the_command(seeds: Workspace, dance: Callable[..., Ran]) -> None:
    ran = dance("report", "--run", GROUP)
    assert ran.code == 0
    assert ran.out.startswith("top-1 over 3 seeds: mean ")
    assert ran.out.splitlines()[1] == str(seeds.report(GROUP) / "index.html")


def test_one_value_has_no_deviation() -> None:
    assert spread([0.5]).sd is None


def test_the_mean_confusion_matrix_sums_to_the_clips(workspace: Workspace) -> None:
    labels = ("wave", "spin", "bounce")
    for seed in (0, 1):
        name = f"many-seed{seed}"
        make_run(workspace.root, labels, test=30, name=name, salt=name, skill=1.0)
        path = workspace.run(name) / "run.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"seed": seed, "group": "many"}))
    result = report(workspace, ReportSettings("many"))
    told = result.document["subsets"]["test"]["runs"]
    both = [told[f"many-seed{seed}"]["confusion"] for seed in (0, 1)]
    page = result.page.read_text()
    for i, label in enumerate(labels):
        for j, other in enumerate(labels):
            clips = sum(matrix[i][j] for matrix in both) / 2
            if clips:
                assert f'title="{label} called {other}: {clips:g} of 10"' in page
