"""Networks of the Hub at a hundredth of their size, random, saved as transformers saves them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SIDE = 32
_SMALL = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64}
_TEXT = {**_SMALL, "num_hidden_layers": 1, "vocab_size": 600}
_VISION = {**_SMALL, "image_size": SIDE, "patch_size": 16}
_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
# As the preprocessor files of the Hub are written.
CROPPED = {
    "do_resize": True, "size": {"shortest_edge": 36}, "resample": 2,
    "do_center_crop": True, "crop_size": {"height": SIDE, "width": SIDE},
    "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, **_IMAGENET,
}  # fmt: skip
SQUASHED = {
    "do_resize": True, "size": {"height": SIDE, "width": SIDE}, "resample": 3,
    "do_rescale": True, "rescale_factor": 1 / 255,
    "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
}  # fmt: skip

# The class that was published, its configuration, and the preprocessor's file.
TINY: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "vjepa2": (
        "VJEPA2Model",
        {
            "crop_size": SIDE, "frames_per_clip": 8, "hidden_size": 48, "num_attention_heads": 2,
            "num_hidden_layers": 4, "pred_hidden_size": 24, "pred_num_attention_heads": 2,
            "pred_num_hidden_layers": 1,
        },
        CROPPED,
    ),
    "videomae": (
        "VideoMAEForVideoClassification",
        {**_SMALL, "image_size": SIDE, "num_frames": 8},
        CROPPED,
    ),
    "vivit": (
        "VivitForVideoClassification",
        {**_SMALL, "image_size": SIDE, "num_frames": 8},
        {**CROPPED, "offset": True, "rescale_factor": 1 / 127.5},
    ),
    "timesformer": (
        "TimesformerForVideoClassification",
        {**_SMALL, "image_size": SIDE, "num_frames": 8},
        CROPPED,
    ),
    "xclip": (
        "XCLIPModel",
        {
            "projection_dim": 24,
            "prompt_num_attention_heads": 4,
            "text_config": _TEXT,
            "vision_config": {
                **_VISION, "num_frames": 8, "mit_hidden_size": 24, "mit_intermediate_size": 32,
                "mit_num_attention_heads": 4,
            },
        },
        CROPPED,
    ),
    "dinov2": (
        "Dinov2Model",
        {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "image_size": 56},
        {**CROPPED, "size": {"shortest_edge": 48}, "crop_size": {"height": 42, "width": 42}},
    ),
    "dinov2_with_registers": (
        "Dinov2WithRegistersModel",
        {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "image_size": 42},
        {**CROPPED, "size": {"shortest_edge": 48}, "crop_size": {"height": 42, "width": 42}},
    ),
    "dinov3_vit": ("DINOv3ViTModel", {**_VISION, "num_register_tokens": 4}, {**SQUASHED, **_IMAGENET}),
    "siglip": ("SiglipModel", {"text_config": _TEXT, "vision_config": _VISION}, SQUASHED),
    "clip": (
        "CLIPModel",
        {"projection_dim": 24, "text_config": _TEXT, "vision_config": _VISION},
        CROPPED,
    ),
    "hiera": (
        "HieraForImageClassification",
        {"image_size": [64, 64], "embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2]},
        {**CROPPED, "size": {"shortest_edge": 72}, "crop_size": {"height": 64, "width": 64}},
    ),
}  # fmt: skip


def save_tiny(folder: Path, architecture: str) -> Any:
    """Save a random network with its preprocessor's file; return it."""
    import torch
    import transformers

    transformers.logging.disable_progress_bar()
    kind, settings, preprocessor = TINY[architecture]
    network = getattr(transformers, kind)
    torch.manual_seed(7)
    model = network(network.config_class(**settings)).eval()
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return model


@pytest.fixture(scope="session")
def saved_models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Save each network once."""
    root = tmp_path_factory.mktemp("hub")

    def saved(architecture: str) -> Path:
        folder = root / architecture
        if not folder.exists():
            save_tiny(folder, architecture)
        return folder

    return saved


@pytest.fixture
def hub_folder(tmp_path: Path, saved_models: Callable[[str], Path]) -> Callable[[str], Path]:
    """Give a folder of a test's own with a network."""

    def copied(architecture: str) -> Path:
        return Path(shutil.copytree(saved_models(architecture), tmp_path / f"{architecture}-tiny"))

    return copied
