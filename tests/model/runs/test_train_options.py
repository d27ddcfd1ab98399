"""What a recipe may ask for beside the plain things, each seen at work."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dancecli.core.progress import Progress, Reporter
from dancecli.core.records import Clip
from dancecli.model.runs.finetune import FinetuneSettings, finetune, make_plan
from dancecli.model.training.config import balanced_weights
from dancecli.storage import tables


@pytest.fixture
def settings(tiny_recipe, tiny_model) -> FinetuneSettings:
    """The head alone, without chance but the order."""
    return FinetuneSettings(
        pretrain=str(tiny_model), weights="none", freeze="4", recipe=str(tiny_recipe), changes=("dropout=0",)
    )


def with_changes(settings, *changes, **others):
    return replace(settings, changes=(*settings.changes, *changes), **others)


def metrics_of(workspace, run, kind="train"):
    lines = (workspace.run(run) / "metrics.jsonl").read_text().splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]


def head_of(workspace, run, name="last"):
    import torch

    state = torch.load(workspace.run(run) / "checkpoints" / f"{name}.pth", weights_only=True)["state_dict"]
    return {key: value for key, value in state.items() if key.startswith("cls_head.")}


def test_small_batches_summed_up_train_like_the_batch_that_they_make(corpus, settings):
    import torch

    workspace = corpus(val=1)
    settings = with_changes(settings, "schedule=constant")
    whole = finetune(workspace, with_changes(settings, "batch=4", name="whole")).record
    parts = finetune(workspace, with_changes(settings, "batch=2", "accumulate=2", name="parts")).record
    assert whole["optim"]["lr"] == parts["optim"]["lr"] == 0.01
    assert len(metrics_of(workspace, "parts")) == 2 * len(metrics_of(workspace, "whole")) == 8
    for key, value in head_of(workspace, "whole").items():
        assert torch.allclose(value, head_of(workspace, "parts")[key], atol=1e-6), key
    note = "scaled to 0.005 for 2 x 1"
    plan = make_plan(workspace, with_changes(settings, "batch=1", "accumulate=2"))
    assert any(note in line for line in plan.notes)


def test_a_run_ends_when_validation_brings_nothing_new_and_knows_it_when_it_goes_on(corpus, settings):
    workspace = corpus()
    # With rate 0 no epoch is better than the first.
    settings = with_changes(settings, "patience=2", "epochs=9", "schedule=constant", lr=0.0, name="r")

    def stop(now: Progress) -> None:
        if now.text.startswith("evaluating"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(workspace, settings, Reporter(stop))
    assert [row["epoch"] for row in metrics_of(workspace, "r", "val")] == [1, 2, 3]
    record = finetune(workspace, FinetuneSettings(resume=True)).record
    assert [row["epoch"] for row in metrics_of(workspace, "r", "val")] == [1, 2, 3]
    assert (record["checkpoint"]["epochs_run"], record["checkpoint"]["epoch"]) == (3, 3)
    assert record["optim"]["patience"] == 2


def test_the_average_of_the_weights_is_what_is_validated_and_kept(corpus, settings):
    import torch

    workspace = corpus(val=0)
    record = finetune(workspace, with_changes(settings, name="plain", epochs=1)).record
    assert record["checkpoint"]["averaged"] is False
    record = finetune(workspace, with_changes(settings, "ema=0.6", name="averaged", epochs=1)).record
    assert record["checkpoint"]["averaged"] is True
    # Training itself is the same; only what is kept of it differs.
    rows = metrics_of(workspace, "plain"), metrics_of(workspace, "averaged")
    assert [row["loss"] for row in rows[0]] == [row["loss"] for row in rows[1]]
    plain, averaged = head_of(workspace, "plain"), head_of(workspace, "averaged")
    assert not any(torch.equal(plain[key], averaged[key]) for key in plain)


def test_an_average_follows_by_its_formula_and_leaves_what_is_frozen():
    import torch

    from dancecli.model.training.ema import WeightAverageHook

    class Runner:
        model = torch.nn.ModuleDict({"low": torch.nn.Linear(1, 1), "head": torch.nn.Linear(1, 1, bias=False)})

        class optim_wrapper:  # noqa: N801
            updates = iter([True, False, True])

            @classmethod
            def should_update(cls):
                return next(cls.updates)

    Runner.model["low"].requires_grad_(requires_grad=False)
    weight = Runner.model["head"].weight
    hook = WeightAverageHook(0.2)
    weight.data.fill_(0.0)
    hook.before_train_iter(Runner, 0)
    for value in (1.0, 2.0, 3.0):
        weight.data.fill_(value)
        hook.after_train_iter(Runner, 0)
    # The second step was no update. Decays: min(0.2, 2/11), then 0.2.
    first = 1 - 2 / 11
    assert hook.average == {"head.weight": pytest.approx(first + 0.8 * (3 - first))}
    hook.before_val_epoch(Runner)
    assert weight.item() == pytest.approx(first + 0.8 * (3 - first))
    hook.after_val_epoch(Runner)
    assert weight.item() == 3.0


def test_half_precision_trains_nearly_the_same_and_is_said(corpus, settings):
    workspace = corpus()
    settings = replace(settings, freeze="3")
    full = finetune(workspace, replace(settings, name="full")).record
    half = finetune(workspace, replace(settings, name="half", amp=True)).record
    assert (full["optim"]["amp"], half["optim"]["amp"]) == (None, "bfloat16")
    losses = [[row["loss"] for row in metrics_of(workspace, run)] for run in ("full", "half")]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert all(value.dtype.is_floating_point for value in head_of(workspace, "half").values())
    assert {value.element_size() for value in head_of(workspace, "half").values()} == {4}


def test_rare_classes_weigh_more():
    weights = balanced_weights([6, 2, 0])
    assert weights == [pytest.approx(4 / 6), 2.0, 1.0]
    assert sum(n * w for n, w in zip([6, 2], weights[:2], strict=True)) == pytest.approx(8)


def test_class_weights_and_smoothing_reach_the_loss(corpus, settings):
    import torch

    workspace = corpus()
    for name, changes in [
        ("plain", ()),
        ("weighed", ("class_weights=balanced",)),
        ("smooth", ("label_smoothing=0.5",)),
    ]:
        finetune(workspace, with_changes(settings, *changes, "epochs=1", "batch=7", name=name))
    plain, weighed, smooth = (metrics_of(workspace, run)[0]["loss"] for run in ("plain", "weighed", "smooth"))
    # Seven clips of three classes, 3, 2 and 2: the weights move the mean a little, smoothing does as well.
    assert len({plain, weighed, smooth}) == 3
    assert weighed == pytest.approx(plain, rel=0.2)
    assert torch.isfinite(torch.tensor([plain, weighed, smooth])).all()


def test_there_is_one_cached_view_per_augmentation_chain(corpus, settings, tiny_recipe):
    workspace = corpus()
    tiny_recipe.write_text(tiny_recipe.read_text().replace("views = 2\n", ""))
    assert make_plan(workspace, settings).recipe.views == 2
    plan = make_plan(workspace, replace(settings, augment="hflip, jitter,hflip+noise"))
    assert plan.recipe.views == 4
    assert any("the original clip or hflip or jitter or hflip+noise" in line for line in plan.notes)
    record = finetune(workspace, replace(settings, augment="hflip,jitter", epochs=1)).record
    assert record["views"]["augment"] == "hflip,jitter"
    assert record["recipe"]["augment"] == "hflip,jitter"
    assert "original or hflip or jitter" in record["views"]["train"]
    assert "hflip" not in record["views"]["test"]


def test_training_clips_augmented_twice_are_reported(corpus, settings):
    workspace = corpus()
    clips = tables.read(workspace.clips, Clip)
    copy = replace(clips[0], clip_id=f"{clips[0].clip_id}.hflip", parent_id=clips[0].clip_id, op="hflip")
    clips.append(replace(copy, path=f"augmented/{copy.clip_id}.mp4"))
    tables.write(workspace.clips, Clip, clips)
    (workspace.root / "augmented").mkdir()
    (workspace.root / clips[-1].path).write_bytes(b"x")
    with (workspace.annotations("small") / "train.txt").open("a") as file:
        file.write(f"{clips[-1].path} 0\n")
    told = "1 of the training clips were augmented by dance augment already"
    assert any(told in line for line in make_plan(workspace, replace(settings, augment="jitter")).notes)
    assert not any(told in line for line in make_plan(workspace, settings).notes)


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"freeze": "3"}, True), ({"changes": ("freeze=3",)}, True), ({}, False), ({"freeze": "4"}, False),
     ({"freeze": "3", "lr": 1e-4}, False), ({"changes": ("freeze=3", "lr=1e-4")}, False),
     ({"freeze": "3", "weights": "none"}, False)],
)  # fmt: skip
def test_a_learning_rate_chosen_for_more_frozen_stages_is_reported(corpus, changes, told):
    plan = make_plan(corpus(), FinetuneSettings(pretrain="inception", recipe="demo", **changes))
    notes = [note for note in plan.notes if "chosen for --freeze 4; with --freeze 3" in note]
    assert len(notes) == told
