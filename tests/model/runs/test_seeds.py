"""Groups of runs that differ in their seed alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dancecli.cli.models.finetune import _show_group
from dancecli.core.errors import WorkspaceError
from dancecli.core.progress import Reporter
from dancecli.core.recipe import read_recipe
from dancecli.model.networks.base import build_model_config, model_base
from dancecli.model.networks.zoo import find_entry
from dancecli.model.runs.finetune import FinetuneSettings
from dancecli.model.runs.seeds import GroupResult, finetune_seeds, plan_group, spread

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def settings(tmp_path, tiny_recipe, tiny_model) -> FinetuneSettings:
    """With weights from a file: only of such are features shared between seeds."""
    import torch

    from dancecli.model.networks.build import build_model

    base, recipe = model_base(find_entry(str(tiny_model))), read_recipe(str(tiny_recipe))
    model = build_model(build_model_config(base, recipe, 3, None), seed=5)
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    return FinetuneSettings(
        pretrain=str(tiny_model), weights=str(tmp_path / "weights.pth"), freeze="4", recipe=str(tiny_recipe)
    )


def test_the_same_call_goes_on_with_a_group_and_makes_what_is_missing(corpus, settings):
    workspace = corpus()
    seen: list[str] = []

    def stop(now):
        if now.text.startswith("training") and "tiny_i3d-small-1-seed1" in workspace.runs():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune_seeds(workspace, settings, 2, Reporter(stop))
    assert workspace.runs() == ["tiny_i3d-small-1-seed0", "tiny_i3d-small-1-seed1"]
    said: list[str] = []
    group = finetune_seeds(workspace, settings, 2, Reporter(lambda now: seen.append(now.text), said.append))
    assert (group.name, group.num_fresh) == ("tiny_i3d-small-1", 1)
    assert [(r["name"], r["group"], r["seed"], r["status"]) for r in group.records] == [
        (f"tiny_i3d-small-1-seed{i}", "tiny_i3d-small-1", i, "done") for i in range(2)
    ]
    # The second seed trains on what the first one has stored, and says so.
    assert not any(text.startswith("features") for text in seen)
    assert any("all seeds train on the same views" in line for line in said)
    assert {r["recipe"]["view_seed"] for r in group.records} == {0}
    assert group.document["results"]["test"]["top1"]["k"] == [
        r["results"]["test"]["top1"] for r in group.records
    ]
    assert finetune_seeds(workspace, settings, 2).num_fresh == 0
    # Other settings are another group, and a name that is taken is no place for them.
    other = replace(settings, lr=0.5)
    assert plan_group(workspace, other).name == "tiny_i3d-small-2"
    assert plan_group(workspace, settings).name == "tiny_i3d-small-1"
    with pytest.raises(WorkspaceError, match="run 'tiny_i3d-small-1-seed0' has other settings"):
        finetune_seeds(workspace, replace(other, name="tiny_i3d-small-1"), 2)


def test_a_group_is_of_one_training_set_and_of_the_same_weights(corpus, settings):
    workspace = corpus()
    finetune_seeds(workspace, settings, 1)
    assert plan_group(workspace, settings).name == "tiny_i3d-small-1"
    train, weights = workspace.annotations("small") / "train.txt", Path(settings.weights)
    for path, other in (
        (train, b"".join(train.read_bytes().splitlines(True)[:-1])),
        (weights, b"other weights"),
    ):
        before = path.read_bytes()
        path.write_bytes(other)
        assert plan_group(workspace, settings).name == "tiny_i3d-small-2"
        with pytest.raises(WorkspaceError, match="has other settings, weights or clips than this call"):
            finetune_seeds(workspace, replace(settings, name="tiny_i3d-small-1"), 2)
        path.write_bytes(before)
    assert finetune_seeds(workspace, settings, 1).num_fresh == 0


def test_mean_and_spread_are_those_of_the_shares():
    records = [{"results": {"val": None, "test": {"n": 10, "top1": k, "top5": 10}}} for k in (5, 6, 10)]
    found = spread(records, "test")
    assert spread(records, "val") is None
    assert found["n"] == 10
    assert found["top1"] == {
        "k": [5, 6, 10],
        "mean": pytest.approx(0.7),
        "sd": pytest.approx((0.07) ** 0.5),
        "min": 0.5,
        "max": 1.0,
    }
    assert found["top5"]["sd"] == 0
    assert spread(records[:1], "test")["top1"]["sd"] is None


@pytest.mark.parametrize("head", ["linear", "attentive"])
def test_that_runs_are_identical_is_said_after_the_table(capsys, head):
    found = {"n": 8, "top1": 5, "top5": 8}
    record = {
        "name": "g-seed0", "seed": 0, "split": {}, "views": {"test": "1 view"}, "labels": ["a", "b"],
        "results": {"val": None, "test": found}, "probe": {"protocol": "full", "head": head},
    }  # fmt: skip
    _show_group(GroupResult("g", (record, record), 2))
    said = "the runs are identical: a solved head does not depend on the seed"
    assert (said in capsys.readouterr().err.splitlines()[-1]) is (head == "linear")


def test_seeds_are_counted_from_0_and_go_on_by_themselves(dance):
    for other in (("--seed", "1"), ("--resume",)):
        ran = dance("finetune", "--seeds", "2", *other)
        assert ran.code == 2
        assert f"--seeds and {other[0]} exclude each other" in ran.err
