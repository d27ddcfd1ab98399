"""Every model of the zoo builds from random weights, trains one step and evaluates, at a small size.

Those of every day are one a family; the others run where DANCE_NIGHTLY is set.
"""

from __future__ import annotations

import os

import pytest

from dancecli.core.errors import ModelError, UsageError
from dancecli.core.recipe import Recipe
from dancecli.model.networks import stages
from dancecli.model.networks.base import GRAPH, build_model_config, has_dropout, model_base
from dancecli.model.networks.zoo import find_entry, read_zoo

EVERY_DAY = {"inception", "nonlocal", "swin-tiny", "tsm", "tsn-flow", "slowfast", "uniformerv2-base", "x3d-m"}
EVERY_DAY |= {"posec3d", "stgcnpp"}
# Of the transformers two layers are like twelve; their picture must have the size they were made for.
REDUCED = {
    "TimeSformer": {"num_transformer_layers": 2},
    "VisionTransformer": {"depth": 2},
    "UniFormerV2": {
        "layers": 2,
        "n_layers": 1,
        "return_list": [1],
        "pretrained": None,
    },
}
FRAMES = {"TimeSformer": 8, "VisionTransformer": 16, "MViT": 16, "C3D": 16}
SIDE = {"TimeSformer": 224, "VisionTransformer": 224, "UniFormerV2": 224, "MViT": 224, "C3D": 112}


def small_input(base):
    import torch

    if base.skeleton is not None:
        graph = base.input_format == GRAPH
        return torch.rand((1, 2, 16, 17, 3) if graph else (1, 17, 8, 56, 56))
    kind = base.model["backbone"]["type"]
    side = SIDE.get(kind, 64)
    channels = base.model["backbone"].get("in_channels", 3)
    if base.is_3d:
        frames = FRAMES.get(kind, 32 if "SlowFast" in kind else 8)
        if kind == "UniFormerV2":
            frames = base.sampler["clip_len"]
        shape = (1, channels, frames, side, side)
    else:
        shape = (base.sampler["num_clips"], channels, side, side)
    return torch.randint(0, 256, shape, dtype=torch.uint8)


@pytest.mark.parametrize("name", sorted(read_zoo()))
def test_it_trains_a_step_and_evaluates(name):
    if name not in EVERY_DAY and not os.environ.get("DANCE_NIGHTLY"):
        pytest.skip("runs where DANCE_NIGHTLY is set")
    import torch

    from dancecli.model.networks.build import build_model
    from dancecli.model.networks.mmaction import ActionDataSample

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


@pytest.mark.parametrize(
    "name",
    [
        *("slowfast", "timesformer", "tsn", "swin-tiny", "c3d"),
        *("mvit-small", "videomae-base", "uniformerv2-base"),
    ],
)
@pytest.mark.parametrize("freeze", ["stem", "3", "4"])
def test_the_parts_to_freeze_are_there(name, freeze):
    from dancecli.model.networks.build import shapes_of

    base = model_base(find_entry(name))
    recipe = Recipe(freeze=freeze)
    names = shapes_of(build_model_config(base, recipe, 5, None))
    for prefix in stages.prefixes(base.model["backbone"], recipe.frozen_stages):
        assert any(key == prefix or key.startswith(f"{prefix}.") for key in names), prefix


def test_a_model_of_one_size_is_given_that(corpus):
    from dancecli.model.runs.plan import FinetuneSettings, make_plan

    workspace = corpus()
    plan = make_plan(workspace, FinetuneSettings(pretrain="c3d", weights="none"))
    assert (plan.recipe.crop, plan.recipe.short_side) == (112, 128)
    plan = make_plan(workspace, FinetuneSettings(pretrain="resnet50", weights="none"))
    assert (plan.recipe.crop, plan.recipe.short_side) == (224, 256)
    plan = make_plan(workspace, FinetuneSettings(pretrain="timesformer", weights="none", recipe="demo"))
    assert (plan.recipe.crop, plan.recipe.short_side) == (224, 256)
    assert plan.base.model["cls_head"]["type"] == "TimeSformerHead"
    assert has_dropout(plan.base.model["cls_head"])
    with pytest.raises(UsageError, match="takes frames of 112 pixels, and 3 crops would be as wide"):
        make_plan(workspace, FinetuneSettings(pretrain="c3d", weights="none", changes=("num_crops=3",)))


def test_a_head_of_several_layers_is_trained_by_epochs(corpus):
    from dancecli.model.runs.plan import FinetuneSettings, make_plan

    plan = make_plan(corpus(), FinetuneSettings(pretrain="x3d-m", weights="none", freeze="4"))
    assert plan.cached
    assert plan.recipe.head == "trained"
    assert any("a X3DHead is more than one linear layer" in note for note in plan.notes)


def test_the_layers_of_a_transformer_are_divided_among_the_stages():
    large = {"type": "VisionTransformer", "depth": 24}
    assert stages.prefixes(large, 1)[1:] == [f"backbone.blocks.{i}" for i in range(6)]
    small = {"type": "MViT", "arch": "small"}
    assert stages.prefixes(small, 3)[-1] == "backbone.blocks.13"
    assert len(stages.prefixes(small, 2)) == 2 + 3


def test_a_backbone_of_unknown_stages_is_refused_before_anything_is_fetched(corpus, tiny_model):
    from dancecli.model.runs.plan import FinetuneSettings, make_plan

    tiny_model.write_text(tiny_model.read_text().replace("ResNet3d", "ResNetAudio"))
    with pytest.raises(ModelError, match="the stages of backbone ResNetAudio are not known"):
        make_plan(corpus(), FinetuneSettings(pretrain=str(tiny_model), weights="none", freeze="2"))
