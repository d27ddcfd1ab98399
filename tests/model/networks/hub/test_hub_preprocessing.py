"""Preprocessor files as they are found on the Hub, and what they come to in our steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.hub_models import CROPPED, SQUASHED

from dancecli.core.errors import ModelError
from dancecli.model.networks.hub.preprocessing import FrameSettings, read_frame_settings
from dancecli.model.networks.hub.repository import Repository


def read(folder: Path, content: dict[str, Any], file: str = "preprocessor_config.json") -> FrameSettings:
    (folder / file).write_text(json.dumps(content))
    return read_frame_settings(Repository("someone/tiny", "", folder))


@pytest.mark.parametrize(
    ("changes", "short_side", "crop", "squashed"),
    [
        ({}, 36, 32, False),
        ({"do_center_crop": False}, 36, 36, False),
        # One number is the short side where a crop follows; so older files have it.
        ({"size": 40, "crop_size": 32}, 40, 32, False),
        ({"size": 40, "do_center_crop": False}, 40, 40, True),
        ({"size": {"height": 32, "width": 32}, "do_center_crop": False}, 32, 32, True),
        ({"size": {"height": 40, "width": 40}}, 40, 32, False),
    ],
)
def test_sizes(tmp_path: Path, changes: dict[str, Any], short_side: int, crop: int, squashed: bool):
    found = read(tmp_path, {**CROPPED, **changes})
    assert (found.short_side, found.crop, found.squashed) == (short_side, crop, squashed)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"do_normalize": False},
        {"do_rescale": False},
        # ViViT: from -1 to 1 before it is normalized.
        {"offset": True, "rescale_factor": 1 / 127.5},
    ],
)
def test_mean_and_deviation_are_rescaling_and_normalizing_together(tmp_path: Path, changes: dict[str, Any]):
    content = {**CROPPED, **changes}
    found = read(tmp_path, content)
    pixels = np.array([[0.0, 100.0, 255.0]] * 3)
    expected = pixels * content["rescale_factor"] if content["do_rescale"] else pixels
    expected = expected - 1 if content.get("offset") else expected
    if content["do_normalize"]:
        mean, std = np.array(content["image_mean"])[:, None], np.array(content["image_std"])[:, None]
        expected = (expected - mean) / std
    ours = (pixels - np.array(found.mean)[:, None]) / np.array(found.std)[:, None]
    assert ours == pytest.approx(expected)


def test_the_filter_and_the_description(tmp_path: Path):
    found = read(tmp_path, SQUASHED)
    assert found.interpolation == "bicubic"
    assert str(found) == "resized to 32 x 32, bicubic; mean 0.5 0.5 0.5, std 0.5 0.5 0.5"
    assert str(read(tmp_path, CROPPED)).startswith("short side 36, center crop 32, bilinear; mean 0.485")


def test_the_file_of_videos_counts_before_that_of_pictures(tmp_path: Path):
    read(tmp_path, SQUASHED)
    found = read(tmp_path, {**CROPPED, "num_frames": 16, "fps": 4}, "video_preprocessor_config.json")
    assert (found.file, found.num_frames, found.fps) == ("video_preprocessor_config.json", 16, 4.0)


def test_a_processor_of_several_is_read_inside(tmp_path: Path):
    found = read(tmp_path, {"processor_class": "CLIP", "image_processor": CROPPED}, "processor_config.json")
    assert (found.file, found.crop) == ("processor_config.json", 32)


def test_no_file_is_refused(tmp_path: Path):
    with pytest.raises(ModelError, match=r"has no preprocessor_config\.json: size and normalization"):
        read_frame_settings(Repository("someone/tiny", "", tmp_path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_size": {"height": 32, "width": 48}}, "32 x 48 pixels are no square"),
        ({"crop_size": 99}, "a crop of 99 from 36 pixels"),
        ({"size": {"longest_edge": 400}}, "height"),
        ({"image_std": [0.2, 0.0, 0.2]}, "deviation of three colors"),
        ({"image_mean": "gray"}, "cannot be followed"),
    ],
)
def test_what_cannot_be_followed_is_named(tmp_path: Path, changes: dict[str, Any], message: str):
    with pytest.raises(ModelError, match=message):
        read(tmp_path, {**CROPPED, **changes})
