"""Every model of the zoo builds from random weights, trains one step and evaluates, at a small size.

Those of every day are one a family; the others run where DANCE_NIGHTLY is set.
"""

from __future__ import annotations

import os

import pytest

from dancecli.model import freezing
from dancecli.model.config import build_model_config, model_base
from dancecli.model.recipe import Recipe
from dancecli.model.zoo import find_entry, read_zoo

EVERY_DAY = {"inception", "nonlocal", "swin-tiny", "tsm", "tsn-flow", "slowfast", "uniformerv2-base"}
# Of the transformers two layers are like twelve; their picture must have the size they were made for.
REDUCED = {
    "TimeSformer": {"num_transformer_layers": 2},
    "VisionTransformer": {"depth": 2},
    "UniFormerV2": {
        "layers": 2,
        "n_layers": 1,
        "return_list": [1],
        "clip_pretrained": False,
        "pretrained": None,
    },
}
FRAMES = {"TimeSformer": 8, "VisionTransformer": 16, "UniFormerV2": 8, "MViT": 16, "C3D": 16}
SIDE = {"TimeSformer": 224, "VisionTransformer": 224, "UniFormerV2": 224, "MViT": 224, "C3D": 112}


def small_input(base):
    import torch

    kind = base.model["backbone"]["type"]
    side = SIDE.get(kind, 64)
    channels = base.model["backbone"].get("in_channels", 3)
    if base.is_3d:
        shape = (1, channels, FRAMES.get(kind, 32 if "SlowFast" in kind else 8), side, side)
    else:
        shape = (base.sampler["num_clips"], channels, side, side)
    return torch.randint(0, 256, shape, dtype=torch.uint8)


@pytest.mark.parametrize("name", sorted(read_zoo()))
def test_it_trains_a_step_and_evaluates(name):
    if name not in EVERY_DAY and not os.environ.get("DANCE_NIGHTLY"):
        pytest.skip("runs where DANCE_NIGHTLY is set")
    import torch

    from dancecli.model.mmaction import ActionDataSample, build_model

    base = model_base(find_entry(name))
    base.model["backbone"].update(REDUCED.get(base.model["backbone"]["type"], {}))
    model = build_model(build_model_config(base, Recipe(freeze="none", norm_eval=False), 5, None), seed=0)
    clips = small_input(base)
    samples = [ActionDataSample().set_gt_label(label) for label in (0, 3)]
    batch = {"inputs": [clips, clips.flip(-1)], "data_samples": samples}
    model.train()
    data = model.data_preprocessor(batch, training=True)
    loss, _ = model.parse_losses(model(**data, mode="loss"))
    loss.backward()
    assert torch.isfinite(loss)
    moved = [p.grad.abs().sum() > 0 for p in model.parameters() if p.grad is not None]
    # Where the residual branches begin at zero, what lies inside them has no gradient yet.
    assert sum(moved) / len(moved) > 0.1
    model.eval()
    with torch.inference_mode():
        found = model.test_step(batch)
    assert [sample.pred_score.shape for sample in found] == [(5,), (5,)]
    assert all(float(sample.pred_score.sum()) == pytest.approx(1, abs=1e-4) for sample in found)


@pytest.mark.parametrize("name", ["slowfast", "timesformer", "tsn", "swin-tiny", "c3d"])
@pytest.mark.parametrize("freeze", ["stem", "3", "4"])
def test_the_parts_to_freeze_are_there(name, freeze):
    from dancecli.model.mmaction import shapes_of

    base = model_base(find_entry(name))
    recipe = Recipe(freeze=freeze)
    names = shapes_of(build_model_config(base, recipe, 5, None))
    for prefix in freezing.prefixes(base.model["backbone"]["type"], recipe.frozen_stages):
        assert any(key == prefix or key.startswith(f"{prefix}.") for key in names), prefix


def test_a_model_of_one_size_is_given_that(corpus):
    from dancecli.model.plan import FinetuneSettings, make_plan

    workspace = corpus()
    plan = make_plan(workspace, FinetuneSettings(pretrain="c3d", weights="none"))
    assert (plan.recipe.crop, plan.recipe.short_side) == (112, 128)
    plan = make_plan(workspace, FinetuneSettings(pretrain="resnet50", weights="none"))
    assert (plan.recipe.crop, plan.recipe.short_side) == (224, 256)
