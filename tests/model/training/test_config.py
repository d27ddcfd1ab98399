from __future__ import annotations

from pathlib import Path

import pytest

from dancecli.core.errors import ModelError
from dancecli.core.recipe import Recipe
from dancecli.model.dataloading.pipelines import forward_batch
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
    config = build(base, Recipe(num_clips=2 if base.is_3d else 1, num_crops=3))
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
    ("optimizer", "keys"),
    [("sgd", {"momentum"}), ("adam", set()), ("adamw", set())],
)
def test_the_rate_is_scaled_to_the_batch(optimizer, keys):
    recipe = Recipe(optimizer=optimizer, lr=0.01, lr_batch=64, batch=8)
    wrapper = build(INCEPTION, recipe)["optim_wrapper"]
    assert wrapper["optimizer"]["lr"] == pytest.approx(0.00125)
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
