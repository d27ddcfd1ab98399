from __future__ import annotations

import json
import math
import multiprocessing
from dataclasses import replace

import numpy as np
import pytest

from dancecli.core.errors import InputError, ModelError, UsageError, WorkspaceError
from dancecli.core.progress import Progress, Reporter
from dancecli.core.records import Prediction
from dancecli.model.runs.finetune import FinetuneSettings, finetune, make_plan
from dancecli.model.runs.plan import Execution
from dancecli.storage import tables

# All that a recipe can have beside the plain things; three steps an update end an epoch between two.
EVERYTHING = (
    *("accumulate=3", "ema=0.9", "label_smoothing=0.1", "class_weights=balanced", "patience=9"),
    "augment=hflip,jitter+noise",
)


def rows_of(workspace, run, kind):
    lines = (workspace.run(run) / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]


def weights_of(workspace, run, name="last"):
    import torch

    path = workspace.run(run) / "checkpoints" / f"{name}.pth"
    return torch.load(path, weights_only=True)["state_dict"]


def test_a_run_leaves_record_metrics_checkpoints_and_predictions(corpus, tiny_recipe, tiny_model):
    workspace = corpus()
    seen: list[Progress] = []
    settings = FinetuneSettings(pretrain=str(tiny_model), weights="none", freeze="4", recipe=str(tiny_recipe))
    result = finetune(workspace, settings, Reporter(seen.append))
    folder = workspace.run("tiny_i3d-small-1")
    assert result.name == "tiny_i3d-small-1"
    record = json.loads((folder / "run.json").read_text())
    assert record == json.loads(json.dumps(result.record))
    assert record["status"] == "done"
    assert record["split"]["counts"] == {"train": 7, "val": 2, "test": 3}
    assert record["model"]["params_trainable"] == 64 * 3 + 3
    assert record["cache"] == {"used": True, "stage": 4, "dtype": "float32"}
    assert record["views"]["test"] == "8x1 frames, 1 clip x 1 center crop 64, short side 64"
    assert len(rows_of(workspace, result.name, "train")) == 4
    assert [row["epoch"] for row in rows_of(workspace, result.name, "val")] == [1, 2]
    rows = tables.read(folder / "predictions.parquet", Prediction)
    assert [row.subset for row in rows] == ["val"] * 2 + ["test"] * 3
    assert all(math.isclose(sum(row.scores), 1) for row in rows)
    hits = sum(row.scores.index(max(row.scores)) == row.label_index for row in rows if row.subset == "test")
    assert record["results"]["test"] == {"n": 3, "top1": hits, "top5": 3}
    assert tables.read_meta(folder / "predictions.parquet")["test.hash"] == record["split"]["test_hash"]
    assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == ["best.pth", "last.pth"]
    assert any(p.text.startswith("training · epoch 2/2") for p in seen)
    # The same features again cost nothing.
    again = finetune(workspace, settings, Reporter(seen.clear() or seen.append))
    assert again.name == "tiny_i3d-small-2"
    assert not any(p.text.startswith("features") for p in seen)
    assert (
        rows_of(workspace, again.name, "train")[-1]["loss"]
        == rows_of(workspace, result.name, "train")[-1]["loss"]
    )


def test_the_processes_that_decode_end_with_the_training(corpus, tiny_recipe, tiny_model):
    def stop(now: Progress) -> None:
        if now.text.startswith("training · epoch 2"):
            raise KeyboardInterrupt

    tiny_recipe.write_text(tiny_recipe.read_text() + "freeze = 'none'\n")
    settings = FinetuneSettings(pretrain=str(tiny_model), weights="none", recipe=str(tiny_recipe))
    before = set(multiprocessing.active_children())
    # Where they are left to the garbage collector, each loader takes five seconds.
    finetune(corpus(), settings)
    assert set(multiprocessing.active_children()) <= before
    with pytest.raises(KeyboardInterrupt):
        finetune(corpus(), replace(settings, name="stopped"), Reporter(stop))
    assert set(multiprocessing.active_children()) <= before


@pytest.mark.parametrize(
    ("pretrain", "freeze", "changes"),
    [("tiny", "stem", ()), ("tiny", "4", ()), ("inception", "3", ()), ("tiny", "3", EVERYTHING)],
)
def test_training_from_stored_features_gives_the_losses_of_training_from_clips(
    corpus, tiny_recipe, tiny_model, pretrain, freeze, changes
):
    workspace = corpus()
    losses, weights = [], []
    for cache in (True, False):
        settings = FinetuneSettings(
            pretrain=str(tiny_model) if pretrain == "tiny" else pretrain,
            weights="none",
            recipe=str(tiny_recipe),
            freeze=freeze,
            changes=changes,
            lr=1e-3,
            execution=Execution(cache=cache),
            cache_dtype="float32",
            name=f"cache-{cache}",
        )
        result = finetune(workspace, settings)
        losses.append([row["loss"] for row in rows_of(workspace, result.name, "train")])
        weights.append(weights_of(workspace, result.name))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert weights[0].keys() == weights[1].keys()
    for key, value in weights[0].items():
        assert np.allclose(value, weights[1][key], rtol=1e-3, atol=1e-4), key


@pytest.mark.parametrize(("cache", "changes"), [(True, ()), (True, EVERYTHING), (False, EVERYTHING)])
def test_a_run_that_was_stopped_and_resumed_ends_like_one_that_was_not(
    corpus, tiny_recipe, tiny_model, cache, changes
):
    workspace = corpus()
    settings = FinetuneSettings(
        pretrain=str(tiny_model),
        weights="none",
        recipe=str(tiny_recipe),
        freeze="3",
        epochs=3,
        changes=changes,
        execution=Execution(cache=cache),
        name="whole",
    )
    finetune(workspace, settings)

    def stop(now: Progress) -> None:
        if now.text.startswith("training · epoch 3/3"):
            raise KeyboardInterrupt

    stopped = FinetuneSettings(**{**settings.__dict__, "name": "stopped"})
    with pytest.raises(KeyboardInterrupt):
        finetune(workspace, stopped, Reporter(stop))
    assert json.loads((workspace.run("stopped") / "run.json").read_text())["status"] == "interrupted"
    result = finetune(workspace, FinetuneSettings(resume=True))
    assert result.name == "stopped"
    assert result.record["status"] == "done"
    for checkpoint in ("best", "last"):
        whole, resumed = (weights_of(workspace, run, checkpoint) for run in ("whole", "stopped"))
        assert all((whole[key] == resumed[key]).all() for key in whole)
    for kind in ("train", "val"):
        ours, theirs = rows_of(workspace, "whole", kind), rows_of(workspace, "stopped", kind)
        assert [(r["epoch"], r.get("loss"), r["top1"]) for r in ours] == [
            (r["epoch"], r.get("loss"), r["top1"]) for r in theirs
        ]
    assert not finetune(workspace, FinetuneSettings(resume=True, name="stopped")).fresh


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_clips(corpus, tiny_recipe, tiny_model):
    workspace = corpus()
    settings = FinetuneSettings(
        pretrain=str(tiny_model), weights="none", recipe=str(tiny_recipe), freeze="3", lr=1e30, name="wild"
    )
    with pytest.raises(ModelError) as caught:
        finetune(workspace, settings)
    assert "the loss became" in caught.value.message
    assert "clips: vid0" in caught.value.message
    record = json.loads((workspace.run("wild") / "run.json").read_text())
    assert (record["status"], record["error"]) == ("failed", caught.value.message)


def test_without_a_validation_part_the_last_epoch_counts(corpus, tiny_recipe, tiny_model):
    workspace = corpus(val=0)
    settings = FinetuneSettings(pretrain=str(tiny_model), weights="none", freeze="4", recipe=str(tiny_recipe))
    said: list[str] = []
    record = finetune(workspace, settings, Reporter(on_message=said.append)).record
    assert record["results"]["val"] is None
    assert record["results"]["test"]["n"] == 3
    assert record["checkpoint"] == {"name": "last", "epoch": 2, "epochs_run": 2, "averaged": False}
    assert any("no validation subset" in line for line in said)


def test_what_cannot_be_is_refused_before_anything_is_written(corpus, tiny_recipe, tiny_model):
    workspace = corpus()
    base = FinetuneSettings(pretrain=str(tiny_model), weights="none", freeze="4", recipe=str(tiny_recipe))
    (workspace.run("taken")).mkdir(parents=True)
    record = workspace.run("taken") / "run.json"
    record.touch()
    with pytest.raises(WorkspaceError, match="run 'taken' exists already"):
        finetune(workspace, replace(base, name="taken"))
    record.unlink()
    for changes, error, sentence in [
        ({"name": "a/b"}, InputError, "run name 'a/b' cannot be used"),
        ({"freeze": "5"}, UsageError, "freeze '5' is not one of"),
        ({"freeze": "none", "execution": Execution(cache=True)}, ModelError, "nothing is frozen"),
        ({"weights": None}, ModelError, "no weights are known"),
        ({"resume": True}, WorkspaceError, "there is no run to resume"),
        ({"split": "other"}, WorkspaceError, "there is no split 'other'"),
    ]:
        with pytest.raises(error, match=sentence):
            finetune(workspace, replace(base, **changes))
    assert [path.name for path in (workspace.root / "runs").iterdir()] == ["taken"]


def test_a_folder_that_a_kill_has_left_without_a_record_is_used(corpus, tiny_recipe, tiny_model):
    workspace = corpus()
    (workspace.run("left") / "checkpoints").mkdir(parents=True)
    settings = FinetuneSettings(
        pretrain=str(tiny_model), weights="none", recipe=str(tiny_recipe), name="left"
    )
    assert make_plan(workspace, settings).name == "left"


def test_a_run_whose_split_has_changed_is_not_resumed(corpus, tiny_recipe, tiny_model):
    workspace = corpus()

    def stop(_: Progress) -> None:
        raise KeyboardInterrupt

    settings = FinetuneSettings(
        pretrain=str(tiny_model), weights="none", freeze="4", recipe=str(tiny_recipe), name="r"
    )
    with pytest.raises(KeyboardInterrupt):
        finetune(workspace, settings, Reporter(lambda now: stop(now) if "features" in now.text else None))
    corpus(test=4)
    with pytest.raises(WorkspaceError, match="split 'small' has changed since run 'r' began"):
        finetune(workspace, FinetuneSettings(resume=True))


def test_random_weights_are_not_frozen_unless_asked(corpus, tiny_recipe, tiny_model):
    workspace = corpus()
    settings = FinetuneSettings(pretrain=str(tiny_model), weights="none", recipe=str(tiny_recipe))
    plan = make_plan(workspace, settings)
    assert (plan.recipe.freeze, plan.recipe.norm_eval, plan.cached) == ("none", False, False)
    plan = make_plan(workspace, replace(settings, freeze="4"))
    assert (plan.recipe.freeze, plan.cached) == ("4", True)
    assert make_plan(workspace, FinetuneSettings(weights=None)).recipe.freeze == "4"
