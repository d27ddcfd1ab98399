"""Hiera for video, random and small, saved as its own package pushes it to the Hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.timm_here import import_timm

from dancecli.core.errors import ModelError
from dancecli.core.recipe import Recipe
from dancecli.model.networks.base import build_model_config, model_base
from dancecli.model.networks.weights import resolve_weights
from dancecli.model.networks.zoo import find_entry

import_timm()
hiera = pytest.importorskip("hiera", reason="hiera-transformer is not installed: make timm")
pytestmark = pytest.mark.usefixtures("own_cache")

TINY = {
    "input_size": (4, 64, 64), "q_stride": (1, 2, 2), "mask_unit_size": (1, 4, 4), "patch_kernel": (3, 7, 7),
    "patch_stride": (2, 4, 4), "patch_padding": (1, 3, 3), "sep_pos_embed": True, "embed_dim": 16,
    "stages": (1, 1, 2), "q_pool": 2, "num_classes": 5,
}  # fmt: skip


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Any]:
    """Save a network as it is pushed to the Hub; return the folder and the network."""
    import torch

    torch.manual_seed(7)
    model = hiera.Hiera(**TINY).eval()
    model.save_pretrained(tmp_path / "hiera-tiny")
    return tmp_path / "hiera-tiny", model


def built(folder: Path) -> tuple[Any, Any, Any]:
    from dancecli.model.networks.build import build_model, shapes_of

    entry = find_entry(f"hf:{folder}")
    base, recipe = model_base(entry), Recipe(freeze="4")
    start = resolve_weights(entry, None, shapes_of(build_model_config(base, recipe, 3, None)))
    return build_model(build_model_config(base, recipe, 3, start), 0, start.load_from).eval(), base, start


def test_features_are_what_its_own_package_computes_before_the_classifier(saved: tuple[Path, Any]) -> None:
    import torch

    folder, theirs = saved
    assert "model_type" not in json.loads((folder / "config.json").read_text())
    model, base, start = built(folder)
    assert start.matched == start.total > 0
    torch.manual_seed(1)
    clips = torch.randn(2, 3, 4, 64, 64)
    with torch.no_grad():
        pooled, tokens = model.backbone.describe(clips)
        probabilities, stages = theirs(clips, return_intermediates=True)
        classified = theirs.head(pooled)
    assert pooled.shape == (2, base.model["cls_head"]["in_channels"]) == (2, 64)
    assert torch.allclose(classified, probabilities, atol=1e-5)
    assert torch.allclose(tokens, stages[-1].reshape(2, -1, 64), atol=1e-5)
    assert not torch.allclose(pooled[0], pooled[1], atol=1e-4)
    # Unlike the mean of single frames, it depends on their order.
    with torch.no_grad():
        assert not torch.allclose(model.backbone(clips.flip(2)), pooled, atol=1e-4)


def test_frames_are_those_that_it_was_trained_on(saved: tuple[Path, Any]) -> None:
    from dancecli.model.networks.hub.model import describe_views, open_model, sampler

    model = open_model(f"hf:{saved[0]}")
    assert sampler(model) == {"type": "SampleFrames", "clip_len": 4, "frame_interval": 4, "num_clips": 1}
    assert describe_views(model) == (
        "as it was trained: short side 73, center crop 64, bilinear; mean 0.45 0.45 0.45, std 0.225 0.225 "
        "0.225; 4 frames 4 apart, as Hiera for video was trained"
    )
    assert model.packages == ("hiera-transformer", "timm")


def test_an_autoencoder_a_wrong_setting_and_a_network_of_images_are_refused(saved: tuple[Path, Any]) -> None:
    folder, _ = saved
    config = json.loads((folder / "config.json").read_text())

    def refused(**changes: object) -> str:
        (folder / "config.json").write_text(json.dumps({**config, **changes}))
        with pytest.raises(ModelError) as caught:
            built(folder)
        return caught.value.message

    assert "an autoencoder" in refused(decoder_depth=8)
    assert "its configuration is not accepted" in refused(stages=[1])
    assert "its configuration is not accepted" in refused(stages="all")
    assert "architecture 'unknown'" in refused(input_size=[64, 64])
