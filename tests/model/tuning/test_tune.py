from __future__ import annotations

import csv
import json
import math
from dataclasses import replace

import pytest

from dancecli.core.errors import WorkspaceError
from dancecli.core.progress import Progress, Reporter
from dancecli.core.recipe import read_recipe
from dancecli.core.records import Prediction
from dancecli.model.runs.finetune import FinetuneSettings, finetune
from dancecli.model.tuning import head_trials
from dancecli.model.tuning.plan import TuneSettings, plan_study
from dancecli.model.tuning.results import recipe_text
from dancecli.model.tuning.tune import tune
from dancecli.storage import tables


@pytest.fixture
def settings(tiny_recipe, tiny_model):
    return TuneSettings(
        trials=3,
        epochs=2,
        pretrain=str(tiny_model),
        weights="none",
        freeze="4",
        recipe=str(tiny_recipe),
        name="s",
    )


def params_and_results(record):
    keys = ("params", "val", "loss", "epoch", "curve", "right")
    return [{key: trial[key] for key in keys} for trial in record["trials"]]


def test_a_study_leaves_its_trials_and_a_recipe_whose_run_agrees(corpus, settings):
    workspace, seen = corpus(val=4), []
    result = tune(workspace, settings, Reporter(seen.append))
    folder = workspace.study_folder("s")
    record = json.loads((folder / "study.json").read_text())
    assert record == json.loads(json.dumps(result.record))
    assert (record["status"], result.trained, record["trained"]["batched"]) == ("done", 4, 8)
    assert [(t["number"], t["state"], t["baseline"]) for t in record["trials"]] == [
        (0, "done", True), (1, "done", False), (2, "done", False), (3, "done", False),
    ]  # fmt: skip
    assert record["val"]["groups"] == [clip[:5] for clip in record["val"]["clips"]]
    with (folder / "trials.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [float(line["lr"]) for line in lines] == [t["params"]["lr"] for t in record["trials"]]
    assert any("epoch 1/2" in now.text for now in seen)
    assert not any("test" in now.text for now in seen)
    best = record["trials"][record["best"]]
    recipe = read_recipe(str(folder / "best.toml"))
    assert recipe.description.startswith(
        f"Trial {best['number']} of study s, the best of 4: {best['val']['top1']}/4"
    )
    assert (recipe.scaled_lr(), recipe.dropout) == (best["params"]["lr"], best["params"]["dropout"])
    # Trained alone, by the ordinary way, a trial has the same results: this one and another.
    other = workspace.root / "other.toml"
    third = record["trials"][3]
    other.write_text(recipe_text(recipe.with_changes(**third["params"])))
    for trial, file in ((best, folder / "best.toml"), (third, other)):
        common = FinetuneSettings(pretrain=settings.pretrain, weights="none", freeze="4")
        run = finetune(workspace, replace(common, recipe=str(file)))
        rows = [
            row
            for row in tables.read(workspace.run(run.name) / "predictions.parquet", Prediction)
            if row.subset == "val"
        ]
        loss = -sum(math.log(row.scores[row.label_index]) for row in rows) / len(rows)
        assert loss == pytest.approx(trial["loss"], rel=1e-5)
        assert run.record["results"]["val"]["top1"] == trial["val"]["top1"]
        assert run.record["checkpoint"]["epoch"] == trial["epoch"]
    # The same again trains nothing; more trials train what is missing; another study of this seed repeats it.
    assert tune(workspace, settings).trained == 0
    more = tune(workspace, replace(settings, trials=5))
    assert more.trained == 2
    assert params_and_results(more.record)[:4] == params_and_results(record)
    again = tune(workspace, replace(settings, name="t"))
    assert params_and_results(again.record) == params_and_results(record)


def test_a_study_that_was_interrupted_goes_on(corpus, settings, monkeypatch):
    monkeypatch.setattr(head_trials.HeadTrials, "batched", 2)
    workspace, groups = corpus(), []

    def stop(now: Progress) -> None:
        groups.append(now.text.partition(" · epoch")[0])
        if now.text.startswith("trials · 2 to 3 · epoch 1"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(workspace, settings, Reporter(stop))
    record = json.loads((workspace.study_folder("s") / "study.json").read_text())
    assert record["status"] == "interrupted"
    assert [t["state"] for t in record["trials"]] == [
        "done",
        "done",
        "failed",
        "failed",
        "waiting",
        "waiting",
    ]
    result = tune(workspace, settings)
    trials = result.record["trials"]
    assert result.trained == 2
    assert [t["params"] for t in trials[4:]] == [t["params"] for t in trials[2:4]]
    assert [t["note"] for t in trials[4:]] == ["repeats trial 2", "repeats trial 3"]


def test_where_more_than_the_head_is_trained_each_trial_is_a_run_that_sees_no_test_clip(
    corpus, settings, monkeypatch
):
    workspace, said = corpus(), []
    monkeypatch.setattr("sys.argv", ["dance", "tune", "--storage", "mysql://me:pa55@host/db"])
    settings = replace(settings, freeze="3", trials=1)
    result = tune(workspace, settings, Reporter(on_message=said.append))
    assert "trials run one after the other: more than the head is trained" in said
    assert [t["state"] for t in result.record["trials"]] == ["done", "done"]
    folder = workspace.study_folder("s") / "trials" / "trial-0001"
    rows = tables.read(folder / "predictions.parquet", Prediction)
    assert {row.subset for row in rows} == {"val"}
    assert [len(t["curve"]) for t in result.record["trials"]] == [2, 2]
    assert not (folder / "checkpoints").exists()
    assert workspace.runs() == []
    assert json.loads((folder / "run.json").read_text())["command"] == [
        *("dance", "tune", "--storage", "mysql://***@host/db")
    ]
    files = (path for path in workspace.root.rglob("*") if path.is_file())
    assert [path for path in files if b"pa55" in path.read_bytes()] == []


def test_two_processes_record_the_trials_of_one(corpus, settings, tiny_recipe, tiny_model, dance):
    workspace = corpus()
    flags = (
        "--pretrain",
        str(tiny_model),
        "--weights",
        "none",
        "--freeze",
        "3",
        "--recipe",
        str(tiny_recipe),
    )
    flags = (*flags, "--trials", "3", "--epochs", "1", "--workspace", str(workspace.root), "--json")
    found = {}
    for name, gpus in (("one", "1"), ("two", "2")):
        done = dance("tune", *flags, "--name", name, "--gpus", gpus)
        assert done.code == 0, done.err
        assert "ended early" not in done.err
        found[name] = done.json
    one, two = found["one"], found["two"]
    assert two["status"] == "done"
    assert [t["state"] for t in two["trials"]] == ["done"] * 4
    assert [t["baseline"] for t in two["trials"]] == [True, False, False, False]
    # Drawn by number and seed, whoever draws.
    assert [t["params"] for t in two["trials"]] == [t["params"] for t in one["trials"]]
    assert [t["right"] for t in two["trials"]] == [t["right"] for t in one["trials"]]
    for shared, alone in zip(two["trials"], one["trials"], strict=True):
        assert shared["loss"] == pytest.approx(alone["loss"], abs=1e-4)
    said = [line for line in done.err.splitlines() if "study two:" in line]
    assert len(said) == 1


def test_which_trials_can_be_trained_together(corpus, settings, tmp_path):
    workspace = corpus()
    assert plan_study(workspace, settings).sequential == ""
    space = tmp_path / "space.toml"
    space.write_text("[batch]\nlow = 2\nhigh = 8\n")
    plan = plan_study(workspace, replace(settings, space=str(space)))
    assert plan.sequential == "batch is searched, and batched trials share it"
    recipe = tmp_path / "ema.toml"
    recipe.write_text("batch = 4\nema = 0.9\n")
    plan = plan_study(workspace, replace(settings, recipe=str(recipe)))
    assert plan.sequential == "batched trials do not support ema"
    space.write_text("[schedule]\nchoices = ['constant', 'cosine']\n[warmup_epochs]\nlow = 0\nhigh = 1\n")
    assert plan_study(workspace, replace(settings, space=str(space))).sequential == ""


def test_a_split_without_a_validation_part_is_refused_with_what_to_do(corpus, settings):
    with pytest.raises(WorkspaceError, match="split 'small' has no validation subset") as caught:
        tune(corpus(val=0), settings)
    assert "dance split --ratios 80/10/10" in caught.value.hint


def test_a_run_that_diverges_is_a_failed_trial_and_not_the_end(corpus, settings, tmp_path):
    space = tmp_path / "space.toml"
    space.write_text("[lr]\nlow = 1e30\nhigh = 2e30\n")
    settings = replace(settings, space=str(space), freeze="3", trials=1)
    result = tune(corpus(), settings)
    [trial] = result.record["trials"]
    assert trial["state"] == "failed"
    assert "the loss became" in trial["note"]
    assert result.record["best"] is None
    assert tune(corpus(), settings).trained == 0


@pytest.mark.parametrize(("given", "solved"), [({}, True), ({"lr": 0.01}, False), ({"freeze": "3"}, False)])
def test_a_study_knows_whether_finetune_would_solve_the_head(corpus, settings, given, solved):
    default = replace(settings, recipe="default", pretrain="inception", weights=None, **given)
    assert plan_study(corpus(val=4), default).solved_by_default == solved
