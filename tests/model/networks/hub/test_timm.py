"""Networks that timm published on the Hub: random, small, saved by timm itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.timm_here import import_timm

from dancecli.core.errors import ModelError
from dancecli.core.recipe import Recipe
from dancecli.model.networks.base import build_model_config, model_base
from dancecli.model.networks.weights import resolve_weights
from dancecli.model.networks.zoo import find_entry
from dancecli.storage import runs as rec

timm = import_timm()
pytestmark = pytest.mark.usefixtures("own_cache")

_VIT = {"img_size": 32, "embed_dim": 32, "depth": 4, "num_heads": 4}
# The architecture, its arguments, what is changed of its `pretrained_cfg`, tokens of 8 frames.
TINY = {
    "dinov3": ("vit_small_patch16_dinov3", {**_VIT, "num_heads": 2}, {"crop_pct": 1.0}, 32),
    "siglip": ("vit_base_patch16_siglip_224", _VIT, {"crop_mode": "squash", "crop_pct": 1.0}, 32),
    "resnet": ("test_resnet", {}, {"input_size": (3, 64, 64)}, 32),
    "convnext": ("test_convnext", {}, {"input_size": (3, 64, 64), "crop_mode": "center"}, 32),
}


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[str], tuple[Path, object]]:
    """Save a network as timm pushes it to the Hub; return the folder and the network."""

    def save(kind: str) -> tuple[Path, object]:
        import torch
        from timm.models import save_for_hf

        name, arguments, changed, _ = TINY[kind]
        torch.manual_seed(7)
        model = timm.create_model(name, num_classes=0, **arguments).eval()
        side = arguments.get("img_size")
        model.pretrained_cfg.update({**({"input_size": (3, side, side)} if side else {}), **changed})
        folder = tmp_path / f"{kind}-tiny"
        save_for_hf(model, folder, model_args=arguments, safe_serialization=True)
        return folder, model

    return save


def built(folder: Path):
    from dancecli.model.networks.build import build_model, shapes_of

    entry = find_entry(f"hf:{folder}")
    base, recipe = model_base(entry), Recipe(freeze="4")
    start = resolve_weights(entry, None, shapes_of(build_model_config(base, recipe, 3, None)))
    return build_model(build_model_config(base, recipe, 3, start), 0, start.load_from).eval(), base, start


@pytest.mark.parametrize("kind", sorted(TINY))
def test_features_are_the_mean_of_what_timm_gives_for_each_frame(saved, kind: str):
    import torch

    folder, theirs = saved(kind)
    assert "model_type" not in json.loads((folder / "config.json").read_text())
    model, base, start = built(folder)
    assert start.matched == start.total > 0
    side = json.loads((folder / "config.json").read_text())["pretrained_cfg"]["input_size"][-1]
    torch.manual_seed(1)
    clips = torch.randn(2, 3, 8, side, side)
    with torch.no_grad():
        pooled, tokens = model.backbone.describe(clips)
        expected = torch.stack([theirs(clips[:, :, t]) for t in range(8)]).mean(0)
    assert pooled.shape == (2, base.model["cls_head"]["in_channels"])
    assert torch.allclose(pooled, expected, atol=1e-5)
    assert tokens.shape[:2] == (2, TINY[kind][3])
    assert not torch.allclose(pooled[0], pooled[1], atol=1e-4)


@pytest.mark.parametrize("kind", sorted(TINY))
def test_frames_are_prepared_as_by_timm(saved, kind: str):
    import torch
    from PIL import Image
    from timm.data import create_transform, resolve_data_config

    from dancecli.model.networks.hub.model import open_model

    folder, _ = saved(kind)
    frames = open_model(f"hf:{folder}").frames
    settings = resolve_data_config(json.loads((folder / "config.json").read_text())["pretrained_cfg"])
    transform = create_transform(**settings)
    noise = np.random.default_rng(0).integers(0, 255, (7, 9, 3), np.uint8)
    picture = Image.fromarray(noise).resize((140, 100), Image.Resampling.BICUBIC)
    wanted = transform(picture)
    assert wanted.shape == (3, frames.crop, frames.crop)
    filters = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
    if frames.squashed:
        size = (frames.crop, frames.crop)
    else:
        size = (140 * frames.short_side // 100, frames.short_side)
    small = np.asarray(picture.resize(size, filters[frames.interpolation]), np.float32)
    top, left = (round((side - frames.crop) / 2) for side in small.shape[:2])
    small = small[top : top + frames.crop, left : left + frames.crop]
    found = torch.from_numpy((small - frames.mean) / frames.std).permute(2, 0, 1).float()
    assert torch.allclose(found, wanted, atol=0.02)


def test_a_network_of_timm_is_a_backbone_like_all_others(corpus, saved, monkeypatch: pytest.MonkeyPatch):
    from dancecli.model.evaluation.evaluate import EvaluateSettings, evaluate
    from dancecli.model.runs.finetune import FinetuneSettings, finetune
    from dancecli.model.runs.plan import Execution
    from dancecli.model.training.probes import attentive

    monkeypatch.setattr(attentive, "EPOCHS", 2)
    workspace, reference = corpus(), f"hf:{saved('dinov3')[0]}"

    def trained(**settings):
        wanted = FinetuneSettings(
            pretrain=reference, **settings, execution=Execution(preflight=False, cache=None)
        )
        return finetune(workspace, wanted)

    run = trained()
    assert run.record["versions"]["timm"] == timm.__version__
    for settings in ({"head": "attentive"}, {"head": "knn"}, {"head": "prototype"}, {"protocol": "mteb"}):
        assert trained(**settings).record["results"]["test"]["n"] == 3
    again = evaluate(workspace, EvaluateSettings(run.name))
    assert again.record["results"]["test"] == run.record["results"]["test"]
    assert rec.read_record(workspace, run.name)["weights"]["files"].keys() == {
        "config.json",
        "model.safetensors",
    }


def test_blocks_are_trained_where_there_are_any(saved):
    from dancecli.model.networks import stages

    _, base, _ = built(saved("dinov3")[0])
    assert stages.prefixes(base.model["backbone"], 3) == [
        "backbone.net.timm_model.patch_embed",
        *(f"backbone.net.timm_model.blocks.{i}" for i in range(3)),
    ]
    _, base, _ = built(saved("resnet")[0])
    with pytest.raises(ModelError, match="the stages of backbone HubBackbone are not known"):
        stages.prefixes(base.model["backbone"], 3)


def test_what_timm_does_not_know_is_one_line(saved):
    folder, _ = saved("siglip")
    config = json.loads((folder / "config.json").read_text())
    for changes, message in (
        ({"architecture": "vit_of_tomorrow"}, "timm does not accept the configuration of 'vit_of_tomorrow'"),
        ({"model_args": {"no_such": 1}}, "timm does not accept the configuration of 'vit_base_patch16"),
        ({"pretrained_cfg": {}}, r"its config.json cannot be followed \('input_size'\)"),
    ):
        (folder / "config.json").write_text(json.dumps({**config, **changes}))
        with pytest.raises(ModelError, match=message):
            model_base(find_entry(f"hf:{folder}"))
