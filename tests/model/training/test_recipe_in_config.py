"""Each value of a recipe reaches the config of a run, and the paper's values are in its recipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from dancecli.core.recipe import Recipe, read_recipe
from dancecli.model.networks.base import INCEPTION, model_base
from dancecli.model.networks.build import lr_factors
from dancecli.model.networks.mmaction import CONFIGS
from dancecli.model.networks.zoo import find_entry
from dancecli.model.training.config import DataPlan, build_config, schedulers
from dancecli.report.results.paper import read_experiments

STEPS = 4


def config_of(recipe: Recipe, counts: tuple[int, ...] = (6, 2, 1), base: Any = INCEPTION) -> dict[str, Any]:
    data = DataPlan(Path("/w"), "s", len(counts), has_val=True, train_counts=counts)
    return build_config(base, recipe, data, None, seed=0, deterministic=True)


def factors(recipe: Recipe) -> list[float]:
    """The learning-rate factor of each step."""
    return lr_factors(schedulers(recipe), recipe.epochs, STEPS)


def test_rare_classes_have_the_larger_weights() -> None:
    head = config_of(Recipe(class_weights="balanced"))["model"]["cls_head"]
    assert head["loss_cls"]["class_weight"] == pytest.approx([9 / 18, 9 / 6, 9 / 3])


def test_label_smoothing_is_that_of_the_recipe() -> None:
    assert config_of(Recipe(label_smoothing=0.15))["model"]["cls_head"]["label_smooth_eps"] == 0.15


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_the_optimizer_has_the_values_of_the_recipe(optimizer: str) -> None:
    recipe = Recipe(optimizer=optimizer, lr=0.02, weight_decay=0.03, momentum=0.8, clip_grad=7, accumulate=2)
    wrapper = config_of(recipe)["optim_wrapper"]
    expected = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}[optimizer]
    assert (wrapper["optimizer"]["type"], wrapper["optimizer"]["weight_decay"]) == (expected, 0.03)
    assert wrapper["optimizer"].get("momentum") == (0.8 if optimizer == "sgd" else None)
    ratio = 2.0 if optimizer == "sgd" else 2.0**0.5
    assert wrapper["optimizer"]["lr"] == pytest.approx(0.02 * ratio)
    assert wrapper["clip_grad"] == {"max_norm": 7, "norm_type": 2}
    assert wrapper["accumulative_counts"] == 2


def test_the_step_schedule_drops_after_its_milestones() -> None:
    found = factors(Recipe(schedule="step", epochs=5, milestones=(2, 4), gamma=0.3))
    assert found == pytest.approx([1.0] * 2 * STEPS + [0.3] * 2 * STEPS + [0.09] * STEPS)


def test_the_warm_up_begins_at_a_tenth_and_the_cosine_ends_near_zero() -> None:
    found = factors(Recipe(schedule="cosine", epochs=6, warmup_epochs=2))
    assert found[0] == pytest.approx(0.1)
    assert found[: 2 * STEPS] == sorted(found[: 2 * STEPS])
    assert max(found) == pytest.approx(1.0, abs=0.02)
    assert found[2 * STEPS :] == sorted(found[2 * STEPS :], reverse=True)
    assert found[-1] < 0.05


# What the paper states, section by section (5.2 and 5.3; the views in 4.3 and 4.4).
PAPER = {
    "paper-resnet50": {"lr": 1e-2, "epochs": 3},
    "paper-scheduled": {"lr": 1e-4, "epochs": 10, "schedule": "step", "milestones": (4, 8), "gamma": 0.1},
    "paper-optimal": {"lr": 7.87e-4, "dropout": 0.2966, "epochs": 10, "optimizer": "sgd"},
    "paper-two-stream": {
        **{"lr": 7.87e-4, "dropout": 0.2966, "epochs": 10, "optimizer": "sgd"},
        **{"clip_len": 64, "fps": 25, "crop": 224, "freeze": "none", "flip": True},
    },
}


@pytest.mark.parametrize("name", PAPER)
def test_each_number_of_the_paper_is_in_its_recipe(name: str) -> None:
    recipe = read_recipe(name)
    assert {key: getattr(recipe, key) for key in PAPER[name]} == PAPER[name]
    # The rate is the paper's, not scaled to another batch.
    assert recipe.scaled_lr() == pytest.approx(PAPER[name]["lr"])
    assert recipe.head == "trained"


def test_the_baseline_and_the_sizes_are_those_of_the_paper() -> None:
    rows = {row.name: row for row in read_experiments()}
    baseline = read_recipe("paper-two-stream").with_set(rows["two-stream-baseline"].changes)
    assert (baseline.optimizer, baseline.scaled_lr(), baseline.dropout) == ("adam", 1e-3, 0.5)
    assert [(rows[name].size, rows[name].ratios) for name in ("resnet50", "scheduled", "tuned")] == [
        (1500, "93/7"), (525, "90/10"), (525, "90/10"),
    ]  # fmt: skip
    for name in ("two-stream", "two-stream-baseline"):
        assert "inflated from ImageNet" in rows[name].title


@pytest.mark.parametrize(
    ("name", "entry"),
    [("paper-resnet50", "resnet50"), ("paper-scheduled", "nonlocal"), ("paper-optimal", "nonlocal")],
)
def test_what_the_paper_leaves_open_follows_the_config_of_the_model(name: str, entry: str) -> None:
    recipe, found = read_recipe(name), find_entry(entry)
    theirs = Config.fromfile(CONFIGS / found.config)
    ours = config_of(recipe, base=model_base(found))
    steps = {step["type"]: step for step in ours["train_dataloader"]["dataset"]["pipeline"]}
    crop = next(step for step in theirs.train_pipeline if step["type"] == "MultiScaleCrop")
    assert steps["MultiScaleCrop"]["scales"] == tuple(crop["scales"])
    assert (steps["MultiScaleCrop"]["input_size"], crop["input_size"]) == (224, 224)
    assert steps["MultiScaleCrop"]["max_wh_scale_gap"] == crop["max_wh_scale_gap"]
    views = {step["type"]: step for step in theirs.test_pipeline}
    assert recipe.num_clips == views["SampleFrames"]["num_clips"] == 10
    assert (recipe.num_crops, recipe.short_side) == (3, views["ThreeCrop"]["crop_size"])
    assert recipe.norm_eval is theirs.model.backbone.norm_eval is False
    assert (recipe.momentum, recipe.weight_decay) == (
        theirs.optim_wrapper.optimizer.momentum,
        theirs.optim_wrapper.optimizer.weight_decay,
    )
    assert recipe.dropout == (0.2966 if name == "paper-optimal" else theirs.model.cls_head.dropout_ratio)
    assert ours["model"]["backbone"]["norm_eval"] is False
