"""A run whose head is solved on cached features, from plan to report."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dancecli.core.records import Prediction, SplitClip
from dancecli.model.networks.checkpoint import run_checkpoint
from dancecli.model.runs.finetune import FinetuneSettings, finetune, make_plan
from dancecli.model.runs.plan import Execution
from dancecli.storage import tables


@pytest.fixture
def settings(tiny_model, tiny_recipe):
    text = tiny_recipe.read_text()
    tiny_recipe.write_text("".join(line for line in text.splitlines(True) if not line.startswith("views")))
    return FinetuneSettings(
        pretrain=str(tiny_model),
        weights="none",
        freeze="4",
        recipe=str(tiny_recipe),
        name="solved",
        changes=("head=solved",),
    )


def test_a_solved_run_is_complete_deterministic_and_independent_of_the_seed(corpus, settings):
    workspace = corpus()
    record = finetune(workspace, settings).record
    assert record["status"] == "done"
    assert (record["head"]["init"], record["head"]["solver"]) == ("solved", "L-BFGS")
    assert record["optim"]["lr"] is None
    assert record["views"]["train"].startswith("as in evaluation")
    assert record["results"]["test"]["n"] > 0
    rows = tables.read(workspace.run("solved") / "predictions.parquet", Prediction)
    again = finetune(workspace, replace(settings, name="again")).record
    assert tables.read(workspace.run("again") / "predictions.parquet", Prediction) == rows
    assert again["head"] == record["head"]
    assert not finetune(workspace, settings).fresh
    assert run_checkpoint(workspace, "solved")[2].name == "last.pth"
    # Trained by this file, the head would be another.
    config = (workspace.run("solved") / "config.py").read_text()
    assert "Its solved head was fitted" in config
    assert "train.py" not in config


def test_the_group_of_a_training_clip_is_that_of_the_split(corpus, settings, monkeypatch):
    from dancecli.model.training import solved_head

    workspace, seen = corpus(), []
    solve = solved_head.solve_head
    monkeypatch.setattr(
        solved_head,
        "solve_head",
        lambda x, y, groups, *a, **k: (seen.extend(groups), solve(x, y, groups, *a, **k))[1],
    )
    finetune(workspace, settings)
    of_split = [row for row in tables.read(workspace.split("small"), SplitClip) if row.subset == "train"]
    assert sorted(seen) == sorted(row.group for row in of_split)


def test_training_views_are_those_of_evaluation_unless_views_are_given(corpus, settings):
    workspace = corpus()
    plan = make_plan(workspace, settings)
    assert (plan.recipe.head, plan.recipe.views) == ("solved", None)
    assert any("on the evaluation view of each training clip" in note for note in plan.notes)
    three = make_plan(workspace, replace(settings, views=3))
    assert (three.recipe.head, three.recipe.views) == ("solved", 3)
    assert finetune(workspace, replace(settings, views=2, name="two")).record["views"]["train_views"] == 2


def test_keys_of_training_by_epochs_train_the_head_by_epochs(corpus, settings):
    workspace = corpus()
    for changes in ({"epochs": 2}, {"lr": 0.1}, {"changes": ("dropout=0.1",)}):
        plan = make_plan(workspace, replace(settings, **{"changes": (), "recipe": "default", **changes}))
        assert plan.recipe.head == "trained", changes
        assert any("the head is trained by epochs instead of solved" in note for note in plan.notes)
    assert make_plan(workspace, replace(settings, changes=(), recipe="default")).recipe.head == "solved"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"freeze": "3"}, "more than the head is trained"),
        ({"execution": Execution(cache=False)}, "features are not cached"),
    ],
)
def test_where_the_head_cannot_be_solved_it_is_trained_and_the_plan_says_why(corpus, settings, changes, why):
    plan = make_plan(corpus(), replace(settings, **changes))
    assert plan.recipe.head == "trained"
    assert f"the head is trained by epochs instead of solved: {why}" in plan.notes


def test_the_classifier_of_the_checkpoint_is_the_solved_one(corpus, settings, monkeypatch):
    from dancecli.model.training import solved_head

    workspace, heads = corpus(), []
    solve = solved_head.solve_head
    monkeypatch.setattr(solved_head, "solve_head", lambda *a, **k: heads.append(solve(*a, **k)) or heads[-1])
    finetune(workspace, settings)
    state = torch.load(workspace.run("solved") / "checkpoints" / "last.pth", weights_only=True)["state_dict"]
    weight = next(value for key, value in state.items() if key.endswith("fc_cls.weight"))
    assert torch.allclose(weight.double(), heads[0].weight, atol=1e-6)
