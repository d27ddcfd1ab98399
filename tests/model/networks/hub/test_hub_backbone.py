"""Each architecture of the Hub: what we load is what transformers loads, and we use the right part of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.hub_models import TINY

from dancecli.core.errors import ModelError
from dancecli.core.recipe import Recipe
from dancecli.model.networks import stages
from dancecli.model.networks.base import build_model_config, model_base
from dancecli.model.networks.hub.architectures import ARCHITECTURES, HIERA_VIDEO, TIMM
from dancecli.model.networks.weights import resolve_weights
from dancecli.model.networks.zoo import find_entry

Saved = Callable[[str], Path]
# Of a view of 8 frames of 2 x 2 patches; two frames share a patch, or a frame is one token.
TOKENS = {"vjepa2": 16, "videomae": 16, "vivit": 16, "xclip": 8}
pytestmark = pytest.mark.usefixtures("own_cache")


def built(folder: Path, freeze: str = "4"):
    """The recognizer of a repository with its weights, and the config of its model."""
    from dancecli.model.networks.build import build_model, shapes_of

    entry = find_entry(f"hf:{folder}")
    base, recipe = model_base(entry), Recipe(freeze=freeze)
    start = resolve_weights(entry, None, shapes_of(build_model_config(base, recipe, 3, None)))
    model = build_model(build_model_config(base, recipe, 3, start), 0, start.load_from)
    return model.eval(), base, start


def clips_for(base):
    import torch

    side = base.model["backbone"]["config"].get("crop_size") or find_side(base)
    torch.manual_seed(1)
    return torch.randn(2, 3, base.sampler["clip_len"], side, side)


def find_side(base) -> int:
    row = ARCHITECTURES[base.model["backbone"]["architecture"]]
    return row.side_of(base.model["backbone"]["config"]) or 32


def published_features(architecture: str, folder: Path, clips):
    """What the class of transformers gives for clips [N, 3, T, H, W], loaded its own way."""
    import transformers

    kind = TINY[architecture][0]
    model = getattr(transformers, kind).from_pretrained(folder).eval()
    if architecture == "vjepa2":
        return model.get_vision_features(clips.transpose(1, 2)).mean(1)
    if architecture == "xclip":
        return model.get_video_features(clips.transpose(1, 2)).pooler_output
    if architecture in ("videomae", "vivit", "timesformer"):
        tokens = getattr(model, model.base_model_prefix)(clips.transpose(1, 2)).last_hidden_state
        return tokens.mean(1) if architecture == "videomae" else tokens[:, 0]
    net = {"siglip": "vision_model", "clip": "vision_model", "hiera": "hiera"}.get(architecture)
    net = getattr(model, net) if net else model
    frames = [net(clips[:, :, t]) for t in range(clips.shape[2])]
    return sum(frame.pooler_output for frame in frames) / len(frames)


def test_every_architecture_has_a_tiny_network():
    # Those of other packages are in test_timm.py and test_hiera_video.py.
    assert set(TINY) == set(ARCHITECTURES) - {TIMM, HIERA_VIDEO}


@pytest.mark.parametrize("architecture", sorted(TINY))
def test_features_are_those_of_the_published_network(saved_models: Saved, architecture: str):
    import torch

    folder = saved_models(architecture)
    model, base, start = built(folder)
    assert start.matched == start.total > 0
    assert set(start.files) == {"config.json", "preprocessor_config.json", "model.safetensors"}
    clips = clips_for(base)
    with torch.no_grad():
        pooled, tokens = model.backbone.describe(clips)
        expected = published_features(architecture, folder, clips)
    assert pooled.shape == (2, base.model["cls_head"]["in_channels"])
    assert torch.allclose(pooled, expected, atol=1e-5)
    assert not torch.allclose(pooled[0], pooled[1], atol=1e-4)
    # Patches alone, of all frames: no class token, no register.
    assert tokens.ndim == 3
    assert tokens.shape == (2, TOKENS.get(architecture, 8 * 4), pooled.shape[1])


@pytest.mark.parametrize("architecture", sorted(TINY))
def test_the_parts_to_freeze_are_there(saved_models: Saved, architecture: str):
    model, base, _ = built(saved_models(architecture))
    names = list(model.state_dict())
    for freeze, stage in (("stem", 0), ("3", 3)):
        prefixes = stages.prefixes(base.model["backbone"], Recipe(freeze=freeze).frozen_stages)
        assert len(prefixes) >= 1 + stage
        for prefix in prefixes:
            assert any(key.startswith(f"{prefix}.") for key in names), prefix


@pytest.mark.parametrize("architecture", ["clip", "vjepa2"])
def test_all_that_a_checkpoint_needs_is_in_it(saved_models: Saved, tmp_path: Path, architecture: str):
    import torch

    from dancecli.model.networks.checkpoint import build_network

    model, base, _ = built(saved_models(architecture))
    plain = json.loads(json.dumps(build_model_config(base, Recipe(), 3, None)))
    again = build_network(plain, model.state_dict(), tmp_path / "x.pth")
    clips = clips_for(base)
    with torch.no_grad():
        assert torch.allclose(
            model.backbone(clips), again.backbone(clips.to(again.cls_head.fc_cls.weight.device))
        )


def test_weights_of_another_network_are_refused(hub_folder: Saved, saved_models: Saved):
    folder = hub_folder("vjepa2")
    (folder / "model.safetensors").write_bytes((saved_models("videomae") / "model.safetensors").read_bytes())
    with pytest.raises(ModelError, match=r"contains only 0 of 68 weights of the V-JEPA 2"):
        built(folder)


def test_a_truncated_file_is_refused(hub_folder: Saved):
    folder = hub_folder("vjepa2")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ModelError, match="is not a safetensors file"):
        built(folder)


def test_code_of_a_repository_is_refused(hub_folder: Saved):
    folder = hub_folder("videomae")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**config, "auto_map": {"AutoModel": "modeling.Net"}, "model_type": "VideoMAEv2_Base"})
    )
    with pytest.raises(ModelError, match=r"needs code of its own \(VideoMAEv2_Base\), which is not run"):
        find_entry(f"hf:{folder}")


def test_an_unknown_architecture_names_those_that_are_known(hub_folder: Saved):
    folder = hub_folder("videomae")
    (folder / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ModelError, match="of architecture 'bert', which is not supported") as raised:
        find_entry(f"hf:{folder}")
    assert "vjepa2" in raised.value.hint


def test_a_configuration_that_is_not_accepted_is_one_line(hub_folder: Saved):
    folder = hub_folder("videomae")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": "wide"}))
    with pytest.raises(ModelError, match="transformers does not accept its configuration"):
        find_entry(f"hf:{folder}")


def test_frames_of_another_size_than_the_network_takes_are_refused(hub_folder: Saved):
    folder = hub_folder("clip")
    preprocessor = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps({**preprocessor, "crop_size": 24}))
    with pytest.raises(ModelError, match="makes squares of 24 pixels, and the network takes 32"):
        find_entry(f"hf:{folder}")


def test_another_number_of_frames_is_refused_where_it_is_fixed(saved_models: Saved):
    import torch

    model, _, _ = built(saved_models("videomae"))
    with pytest.raises(ModelError, match="VideoMAE takes 8 frames, not 4"):
        model.backbone(torch.zeros(1, 3, 4, 32, 32))


def test_it_is_named_for_people(saved_models: Saved):
    entry = find_entry(f"hf:{saved_models('vjepa2')}")
    assert (entry.name, entry.crop, entry.short_side) == ("vjepa2", 32, 36)
    (note,) = model_base(entry).notes
    assert note == (
        "by its preprocessor_config.json: short side 36, center crop 32, bilinear; mean 0.485 0.456 0.406, "
        "std 0.229 0.224 0.225; 8 frames spread over the clip"
    )
