"""Every frozen backbone is computed once: cut at its stage or before its head, with the same results."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from dancecli.core.recipe import Recipe
from dancecli.model.networks import stages
from dancecli.model.networks.base import ModelBase, build_model_config, model_base
from dancecli.model.networks.zoo import find_entry

CLASSES, CLIPS = 5, 3
_RES18 = {"depth": 18, "base_channels": 8}
# Settings that make a backbone of the zoo small, the views [V, C, ...] that it takes then, and the
# features that its head sees.
SMALL: dict[str, tuple[dict, tuple[int, ...], int]] = {
    "inception": ({}, (1, 3, 8, 32, 32), 1024),
    "inception-flow": ({}, (1, 2, 8, 32, 32), 1024),
    "resnet50": ({"base_channels": 8}, (1, 3, 8, 32, 32), 256),
    "nonlocal": ({"base_channels": 8}, (1, 3, 8, 32, 32), 256),
    "slowonly": (_RES18, (1, 3, 4, 32, 32), 64),
    "csn": ({"depth": 50, "base_channels": 8}, (1, 3, 8, 32, 32), 256),
    "tsn": ({"depth": 18}, (3, 3, 32, 32), 512),
    "tsn-flow": ({"depth": 18}, (3, 10, 32, 32), 512),
    "tsm": ({"depth": 18, "num_segments": 4}, (4, 3, 32, 32), 512),
    "slowfast": (
        {"slow_pathway": {"depth": 18}, "fast_pathway": {"depth": 18}},
        (1, 3, 32, 32, 32),
        576,
    ),
    "x3d-m": ({}, (1, 3, 4, 32, 32), 432),
    "timesformer": ({"num_transformer_layers": 2, "num_frames": 2, "img_size": 32}, (1, 3, 2, 32, 32), 768),
    "swin-tiny": (
        {"arch": {"embed_dims": 24, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 2, 4]}},
        (1, 3, 4, 32, 32),
        192,
    ),
    "mvit-small": ({"arch": "tiny", "spatial_size": 32, "temporal_size": 4}, (1, 3, 4, 32, 32), 768),
    "c3d": ({}, (1, 3, 16, 112, 112), 16),
    "uniformer-small": ({"depth": [1, 1, 1, 1]}, (1, 3, 4, 64, 64), 512),
    "uniformerv2-base": (
        {
            "layers": 4,
            "n_layers": 2,
            "return_list": [1, 3],
            "t_size": 4,
            "input_resolution": 32,
            "pretrained": None,
        },
        (1, 3, 4, 32, 32),
        768,
    ),
    "videomae-base": ({"depth": 4, "img_size": 32, "num_frames": 4}, (1, 3, 4, 32, 32), 768),
    "videomae-large": ({"depth": 4, "img_size": 32, "num_frames": 4}, (1, 3, 4, 32, 32), 1024),
}
# One of each type of backbone.
AT_STAGES = ("inception", "resnet50", "slowonly", "csn", "tsn", "tsm", "x3d-m", "swin-tiny")
AT_STAGES += ("uniformer-small", "videomae-base", "slowfast", "timesformer", "mvit-small")
AT_STAGES += ("uniformerv2-base", "c3d")


def small_base(name: str) -> ModelBase:
    base = model_base(find_entry(name))
    changes, _, features = SMALL[name]
    for key, value in changes.items():
        inner = base.model["backbone"].get(key)
        base.model["backbone"][key] = {**inner, **value} if isinstance(inner, dict) else value
    base.model["cls_head"]["in_channels"] = features
    if name == "tsm":
        base.model["cls_head"]["num_segments"] = 4
    return base


@pytest.fixture(autouse=True)
def narrow_c3d(monkeypatch):
    """C3D has 78 million weights and takes no small frames: give it an eighth of the width."""
    from dancecli.model.networks.mmaction import MODELS

    backbone = MODELS.get("C3D")
    build = backbone.__init__

    def narrow(self, *args, **kwargs):
        with torch.device("meta"):
            build(self, *args, **kwargs)
            for module in self.modules():
                if isinstance(wide := getattr(module, "conv", None), torch.nn.Conv3d):
                    sizes = (max(3, wide.in_channels // 8), wide.out_channels // 8)
                    module.conv = torch.nn.Conv3d(*sizes, wide.kernel_size, wide.stride, wide.padding)
        self.fc6, self.fc7 = torch.nn.Linear(1024, 16), torch.nn.Linear(16, 16)
        self.to_empty(device="cpu")

    monkeypatch.setattr(backbone, "__init__", narrow)


def make_lively(model: torch.nn.Module) -> None:
    """Give batch norm something to do: random statistics, as after training."""
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.8, 1.2)
            if module.weight is not None:
                module.weight.data.uniform_(0.8, 1.2)
    for module in model.modules():
        if hasattr(module, "conv_out"):
            # Random dot products add up to powers of ten: as after training, a block adds a little.
            module.conv_out.bn.weight.data.mul_(1e-3)


def both_networks(name: str, freeze: str):
    """The whole network, and the head network beside its frozen backbone, with the same weights."""
    from dancecli.model.networks.build import MODELS, build_model
    from dancecli.model.training.features.frozen import FrozenBackbone, head_network_config

    base = small_base(name)
    recipe = Recipe(freeze=freeze, dropout=0.0)
    config = build_model_config(base, recipe, CLASSES, None)
    whole = build_model(config, seed=0)
    make_lively(whole)
    head = build_model(head_network_config(config, recipe.frozen_stages), seed=0)
    head.load_state_dict(whole.state_dict())
    frozen = FrozenBackbone(whole, MODELS.build(config["data_preprocessor"]), recipe.frozen_stages)
    return whole, head, frozen, recipe


def batch_of(inputs):
    from dancecli.model.networks.mmaction import ActionDataSample

    samples = [ActionDataSample().set_gt_label(i) for i in range(len(inputs))]
    for sample in samples:
        sample.set_metainfo({"filename": "clip"})
    return {"inputs": list(inputs), "data_samples": samples}


def loss_and_gradients(model, batch, recipe, config):
    from dancecli.model.training.components import FreezeHook, NormEvalHook

    hooks = [NormEvalHook()]
    if names := stages.prefixes(config["backbone"], recipe.frozen_stages):
        hooks.append(FreezeHook(names))
    for hook in hooks:
        hook.before_train(SimpleNamespace(model=model))
    model.train()
    for hook in hooks:
        hook.before_train_iter(None, 0)
    torch.manual_seed(2)
    loss, _ = model.parse_losses(model(**model.data_preprocessor(batch, training=True), mode="loss"))
    loss.backward()
    trained = {name: p.grad for name, p in model.named_parameters() if p.requires_grad and p.grad is not None}
    return float(loss.detach()), trained


def assert_same(name: str, freeze: str) -> None:
    whole, head, frozen, recipe = both_networks(name, freeze)
    config = small_base(name).model
    torch.manual_seed(1)
    view = SMALL[name][1]
    inputs = torch.randint(0, 256, (CLIPS, *view), dtype=torch.uint8)
    features = frozen.features(batch_of(inputs))
    assert frozen.shape_of(view) == tuple(features.shape[1:])
    loss, gradients = loss_and_gradients(whole, batch_of(inputs), recipe, config)
    head_loss, head_gradients = loss_and_gradients(head, batch_of(features.clone()), recipe, config)
    assert head_loss == pytest.approx(loss, abs=1e-4, rel=1e-5)
    assert set(head_gradients) == set(gradients)
    for key, value in gradients.items():
        # Where a value is near 0, a unit may switch over within the features' tolerance.
        assert (head_gradients[key] - value).norm() <= 0.02 * value.norm() + 1e-6, key
    crops = torch.randint(0, 256, (CLIPS, 2 * view[0], *view[1:]), dtype=torch.uint8)
    with torch.inference_mode():
        expected = whole.eval().test_step(batch_of(crops))
        found = head.eval().test_step(batch_of(frozen.features(batch_of(crops))))
    for sample, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other.pred_score, sample.pred_score, rtol=0, atol=1e-4)


def test_every_model_of_the_zoo_is_listed():
    from dancecli.model.networks.zoo import read_zoo

    # Networks on poses are trained in tests/model/runs/test_skeletons.py.
    bases = [model_base(entry) for entry in read_zoo().values()]
    families = {base.model["backbone"]["type"] for base in bases if base.skeleton is None}
    assert families == {small_base(name).model["backbone"]["type"] for name in SMALL}


@pytest.mark.parametrize("name", SMALL)
def test_a_network_cut_before_its_head_gives_what_the_whole_one_gives(name):
    assert not stages.why_not_cut(small_base(name).model, stages.LAST_STAGE)
    assert_same(name, "4")


@pytest.mark.parametrize(
    # C3D takes no smaller frames.
    ("name", "freeze"),
    [(name, freeze) for name in AT_STAGES for freeze in ("stem", "3") if (name, freeze) != ("c3d", "stem")],
)
def test_a_network_cut_at_a_stage_gives_what_the_whole_one_gives(name, freeze):
    assert_same(name, freeze)


@pytest.mark.parametrize("name", AT_STAGES)
def test_the_steps_of_a_backbone_are_its_forward_pass(name):
    from dancecli.model.networks.build import build_model

    model = build_model(build_model_config(small_base(name), Recipe(), CLASSES, None), seed=0).eval()
    make_lively(model)
    x = torch.randn(2 if model.__class__.__name__ == "Recognizer3D" else 4, *SMALL[name][1][1:])
    with torch.inference_mode():
        for stage in range(stages.LAST_STAGE):
            z = stages.run_lower(model.backbone, x, stage)
            assert len(z) == len(x)
            torch.testing.assert_close(stages.run_upper(model.backbone, z, stage), model.backbone(x))


def test_every_type_of_the_zoo_is_cut_at_its_stages():
    kinds = {small_base(name).model["backbone"]["type"] for name in SMALL}
    assert {small_base(name).model["backbone"]["type"] for name in AT_STAGES} == kinds


def test_a_timesformer_of_attention_in_space_alone_is_cut_too():
    from dancecli.model.networks.build import build_model

    base = small_base("timesformer")
    base.model["backbone"]["attention_type"] = "space_only"
    model = build_model(build_model_config(base, Recipe(), CLASSES, None), seed=0).eval()
    x = torch.randn(3, 3, 2, 32, 32)
    with torch.inference_mode():
        z = stages.run_lower(model.backbone, x, 2)
        assert tuple(z.shape) == (3, 2, 5, 768)
        torch.testing.assert_close(stages.run_upper(model.backbone, z, 2), model.backbone(x))


def test_several_tensors_in_one_row_are_exact_in_half_precision():
    from dancecli.model.networks.packing import pack, unpack

    tensors = (torch.randn(2, 25_089, 3).half(), torch.randn(2, 0, 7).half(), torch.randn(2, 4, 1, 5).half())
    packed = pack([tensor.float() for tensor in tensors])
    for found, tensor in zip(unpack(packed.half()), tensors, strict=True):
        assert torch.equal(found, tensor)


@pytest.mark.parametrize(
    ("name", "changes", "freeze", "reason"),
    [
        ("resnet50", {}, -1, "nothing is frozen"),
        ("resnet50", {"backbone": {"type": "TANet"}}, 3, "a TANet cannot be cut after stage 3: its layers"),
        ("resnet50", {"neck": {"type": "TPN"}}, 4, "a Recognizer3D with a neck has more than"),
        ("resnet50", {"cls_head": {"type": "TRNHead"}}, 4, "what a TRNHead uses of its backbone"),
        ("resnet50", {"test_cfg": {"fcn_test": True}}, 4, "its evaluation is fully convolutional"),
    ],
)
def test_where_a_network_cannot_be_cut_there_is_a_reason(name, changes, freeze, reason):
    model = {**model_base(find_entry(name)).model, **changes}
    assert reason in stages.why_not_cut(model, freeze)


@pytest.mark.parametrize("name", ["inception", "nonlocal", "csn", "tsn", "tsm", "slowfast", "x3d-m"])
def test_no_batch_norm_that_follows_a_convolution_is_left_in_a_frozen_backbone(name):
    _, _, frozen, _ = both_networks(name, "4")
    assert not [key for key, module in frozen.backbone.named_modules() if isinstance(module, _BatchNorm)]
