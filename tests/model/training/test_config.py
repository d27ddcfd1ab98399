from __future__ import annotations

from pathlib import Path

import pytest

from dancecli.core.errors import ModelError, UsageError
from dancecli.core.recipe import Recipe
from dancecli.model.dataloading.pipelines import forward_batch, refuse_unused_keys
from dancecli.model.dataloading.pipelines import test_pipeline as evaluation_pipeline
from dancecli.model.networks.base import INCEPTION, ModelBase, model_base
from dancecli.model.networks.weights import StartWeights
from dancecli.model.networks.zoo import find_entry, read_zoo
from dancecli.model.training.config import DataPlan, build_config, render_config

DATA = DataPlan(Path("/data set/w"), "s", 19, has_val=True)
FROM_FILE = StartWeights("r50", "/w.pth", "ab" * 32, "/w.pth", "", 300, 300)


@pytest.fixture(scope="module")
def resnet50() -> ModelBase:
    return model_base(find_entry("resnet50"))


def build(base, recipe=None, data=DATA, start=None):
    return build_config(base, recipe or Recipe(), data, start, seed=3, deterministic=True)


@pytest.mark.parametrize("name", sorted(read_zoo()))
def test_every_model_of_the_zoo_gives_a_config_that_reads_back_as_it_was(name):
    base = model_base(find_entry(name))
    # A skeleton has no crops.
    crops = 3 if base.skeleton is None else 1
    config = build(base, Recipe(num_clips=2 if base.is_3d else 1, num_crops=crops))
    text = render_config(config, ["a run", ""])
    found: dict[str, object] = {}
    exec(text, found)
    assert {key: found[key] for key in config} == config
    assert text.startswith("# a run\n#\n")
    assert max(map(len, text.splitlines())) <= 160
    assert config["model"]["cls_head"]["num_classes"] == 19
    assert config["model"]["cls_head"]["average_clips"] == "prob"


def test_the_head_is_fresh_and_the_lower_stages_are_frozen(resnet50):
    model = build(resnet50, Recipe(freeze="3", dropout=0.2), start=FROM_FILE)["model"]
    assert model["backbone"]["frozen_stages"] == 3
    assert model["backbone"]["norm_eval"] is True
    # Else MMAction2 fetches ImageNet weights before it loads ours.
    assert model["backbone"]["pretrained"] is None
    assert (model["cls_head"]["in_channels"], model["cls_head"]["dropout_ratio"]) == (2048, 0.2)
    assert build(resnet50, start=FROM_FILE)["load_from"] == "/w.pth"
    assert build(resnet50)["load_from"] is None
    assert resnet50.model["cls_head"]["num_classes"] == 400  # the base is not touched


def test_frames_stay_bytes_until_the_data_preprocessor(resnet50):
    for config in (build(resnet50), build(INCEPTION)):
        kinds = [step["type"] for step in config["train_dataloader"]["dataset"]["pipeline"]]
        assert "Normalize" not in kinds
        assert kinds[0] == "ClipInit"
        assert config["model"]["data_preprocessor"]["mean"]


def test_training_views_alone_are_augmented_as_they_are_read(resnet50):
    config = build(resnet50, Recipe(augment="hflip, jitter+noise"))
    kinds = {
        part: [step["type"] for step in config[f"{part}_dataloader"]["dataset"]["pipeline"]]
        for part in ("train", "val", "test")
    }
    at = kinds["train"].index("AugmentedView")
    assert kinds["train"][at - 1 : at + 2] == ["ClipDecode", "AugmentedView", "Resize"]
    assert config["train_dataloader"]["dataset"]["pipeline"][at]["ops"] == "hflip,jitter+noise"
    assert "AugmentedView" not in kinds["val"] + kinds["test"]


def test_clips_are_found_by_list_and_workspace(resnet50):
    config = build(resnet50)
    for part in ("train", "val", "test"):
        dataset = config[f"{part}_dataloader"]["dataset"]
        assert dataset["ann_file"] == f"/data set/w/annotations/s/{part}.txt"
        assert dataset["data_prefix"] == {"video": "/data set/w"}
    assert config["val_dataloader"]["dataset"]["test_mode"] is True
    without = build(resnet50, data=DataPlan(DATA.root, "s", 19, has_val=False))
    assert without["val_dataloader"] is without["val_cfg"] is without["val_evaluator"] is None
    assert without["default_hooks"]["checkpoint"]["save_best"] is None


@pytest.mark.parametrize(
    ("recipe", "kinds"),
    [
        (Recipe(schedule="cosine"), ["CosineAnnealingLR"]),
        (Recipe(schedule="cosine", warmup_epochs=2), ["LinearLR", "CosineAnnealingLR"]),
        (Recipe(schedule="step", milestones=(4, 8), gamma=0.1), ["MultiStepLR"]),
        (Recipe(schedule="constant"), []),
        (Recipe(schedule="cosine", warmup_epochs=9, epochs=3), ["LinearLR"]),
    ],
)
def test_schedules(recipe, kinds):
    assert [step["type"] for step in build(INCEPTION, recipe)["param_scheduler"]] == kinds


@pytest.mark.parametrize(
    ("recipe", "rates"),
    [
        # After epochs 4 and 8, a tenth of the rate: the paper's schedule.
        (Recipe(schedule="step", milestones=(4, 8), epochs=10), [1.0] * 4 + [0.1] * 4 + [0.01] * 2),
        (Recipe(schedule="step", milestones=(1,), gamma=0.5, epochs=3), [1.0, 0.5, 0.5]),
        (Recipe(schedule="constant", epochs=3), [1.0] * 3),
    ],
)
def test_the_learning_rate_of_each_epoch(recipe, rates):
    from dancecli.model.networks.build import lr_factors
    from dancecli.model.training.config import schedulers

    steps = 5
    factors = lr_factors(schedulers(recipe), recipe.epochs, steps)
    assert [factors[epoch * steps] for epoch in range(recipe.epochs)] == pytest.approx(rates)


def test_the_warm_up_begins_with_a_tenth_and_a_cosine_ends_at_zero():
    from dancecli.model.networks.build import lr_factors
    from dancecli.model.training.config import schedulers

    recipe = Recipe(schedule="cosine", warmup_epochs=2, epochs=6)
    factors = lr_factors(schedulers(recipe), 6, 10)
    assert factors[0] == pytest.approx(0.1)
    assert factors[20] == pytest.approx(1.0, abs=0.05)
    assert factors[40] == pytest.approx(0.5, abs=0.05)
    assert factors[-1] < 0.01


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_weight_decay_and_momentum_reach_the_optimizer(optimizer):
    recipe = Recipe(optimizer=optimizer, weight_decay=0.03, momentum=0.8)
    settings = build(INCEPTION, recipe)["optim_wrapper"]["optimizer"]
    assert settings["weight_decay"] == 0.03
    assert settings.get("momentum") == (0.8 if optimizer == "sgd" else None)


def test_class_weights_are_in_the_order_of_the_classes_and_smoothing_is_as_given(resnet50):
    data = DataPlan(DATA.root, "s", 3, has_val=True, train_counts=(6, 2, 1))
    head = build(resnet50, Recipe(class_weights="balanced", label_smoothing=0.2), data)["model"]["cls_head"]
    assert head["loss_cls"]["class_weight"] == pytest.approx([0.5, 1.5, 3.0])
    assert head["label_smooth_eps"] == 0.2


def test_training_crops_and_flips(resnet50):
    def steps(recipe):
        pipeline = build(resnet50, recipe)["train_dataloader"]["dataset"]["pipeline"]
        return {step["type"]: step for step in pipeline}

    resized = steps(Recipe(train_crop="resized"))
    assert resized["RandomResizedCrop"]["area_range"] == (0.4, 1.0)
    assert resized["Flip"]["flip_ratio"] == 0.5
    assert steps(Recipe())["RandomCrop"]["size"] == 224
    assert steps(Recipe(train_crop="center"))["CenterCrop"]["crop_size"] == 224
    assert "Flip" not in steps(Recipe(flip=False))


@pytest.mark.parametrize(
    ("name", "recipe", "key"),
    [
        ("uniformerv2-base", Recipe(fps=25), "fps"),
        ("uniformerv2-base", Recipe(frame_interval=4), "frame_interval"),
        ("tsn", Recipe(clip_len=16), "clip_len"),
        ("tsm", Recipe(fps=25), "fps"),
    ],
)
def test_keys_that_a_sampler_does_not_take_are_refused(name, recipe, key):
    with pytest.raises(UsageError, match=f"does not take the recipe's {key} = "):
        refuse_unused_keys(model_base(find_entry(name)), recipe)
    refuse_unused_keys(model_base(find_entry("resnet50")), recipe)


@pytest.mark.parametrize(("name", "hooked"), [("slowfast", True), ("uniformer-small", True), ("tsm", False)])
def test_batch_norm_is_fixed_by_rule(name, hooked):
    base = model_base(find_entry(name))
    hooks = [hook["type"] for hook in build(base, Recipe(freeze="none"))["custom_hooks"]]
    assert ("NormEvalHook" in hooks) is hooked
    assert build(base, Recipe(freeze="none"))["model"]["backbone"].get("norm_eval") is (
        None if hooked else True
    )
    assert "NormEvalHook" not in [
        hook["type"] for hook in build(base, Recipe(freeze="none", norm_eval=False))["custom_hooks"]
    ]


@pytest.mark.parametrize(
    ("optimizer", "keys"),
    [("sgd", {"momentum"}), ("adam", set()), ("adamw", set())],
)
def test_the_rate_is_scaled_to_the_batch(optimizer, keys):
    recipe = Recipe(optimizer=optimizer, lr=0.01, lr_batch=64, batch=8)
    wrapper = build(INCEPTION, recipe)["optim_wrapper"]
    # In proportion to the batch for SGD, by the square root for Adam.
    assert wrapper["optimizer"]["lr"] == pytest.approx(0.01 / 8 if optimizer == "sgd" else 0.01 / 8**0.5)
    assert set(wrapper["optimizer"]) == {"type", "lr", "weight_decay"} | keys
    assert wrapper["clip_grad"] == {"max_norm": 40.0, "norm_type": 2}


def test_evaluation_looks_at_as_many_clips_and_crops_as_asked(resnet50):
    steps = evaluation_pipeline(resnet50, Recipe(num_clips=10, num_crops=3))
    assert steps[1]["num_clips"] == 10
    assert steps[1]["test_mode"] is True
    assert steps[4] == {"type": "ThreeCrop", "crop_size": 256}
    one = evaluation_pipeline(resnet50, Recipe())
    assert one[1]["num_clips"] == 1
    assert one[4] == {"type": "CenterCrop", "crop_size": 224}
    assert (
        forward_batch(resnet50, Recipe(), 30) == 1 < forward_batch(resnet50, Recipe(crop=64, short_side=64))
    )


def test_frames_are_the_models_own_unless_the_recipe_has_others(resnet50):
    sampler = build(resnet50)["train_dataloader"]["dataset"]["pipeline"][1]
    assert (sampler["clip_len"], sampler["frame_interval"]) == (32, 2)
    sampler = build(resnet50, Recipe(clip_len=8, frame_interval=4))["train_dataloader"]["dataset"][
        "pipeline"
    ][1]
    assert (sampler["clip_len"], sampler["frame_interval"]) == (8, 4)


def test_a_config_that_is_none_is_refused(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("model = dict(type='BMN')\n")
    with pytest.raises(ModelError, match="is not the config of a video classifier"):
        model_base(find_entry(str(path)))
    path.write_text("model = dict(\n")
    with pytest.raises(ModelError, match="is not an MMAction2 config"):
        model_base(find_entry(str(path)))
