"""Every value of the zoo is held against the configs and metafiles of the installed wheel."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import yaml

from dancecli.model.networks.base import INCEPTION, model_base
from dancecli.model.networks.mmaction import CONFIGS, Config
from dancecli.model.networks.zoo import find_entry, read_zoo

ENTRIES = {name: entry for name, entry in read_zoo().items() if entry.config}
# In these rows metafile.yml differs from the README, whose numbers the zoo has.
README_SAYS = {"slowonly": (76.45, 92.55)}
# MMAction2 1.x has no weights of it.
WITHOUT_ROW = {"tsn-flow"}
# mean, std, frames per view and their distance; a distance of 1 where frames are spread over the clip.
IMAGENET = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
HALF, QUARTER = ([127.5] * 3, [127.5] * 3), ([114.75] * 3, [57.375] * 3)
VIEWS: dict[str, tuple[tuple[list[float], list[float]], int, int]] = {
    "resnet50": (IMAGENET, 32, 2),
    "nonlocal": (IMAGENET, 32, 2),
    "i3d-heavy": (IMAGENET, 32, 2),
    "slowonly": (IMAGENET, 8, 8),
    "csn": (IMAGENET, 32, 2),
    "tsn": (IMAGENET, 1, 1),
    "frame": (IMAGENET, 1, 1),
    "tsn-flow": (([0.0] * 10, [20.0] * 10), 5, 1),
    "tsm": (IMAGENET, 1, 1),
    "slowfast": (IMAGENET, 32, 2),
    "timesformer": (HALF, 8, 32),
    "swin-tiny": (IMAGENET, 32, 2),
    "mvit-small": (QUARTER, 16, 4),
    "c3d": (([104.0, 117.0, 128.0], [1.0, 1.0, 1.0]), 16, 1),
    "uniformerv2-base": (QUARTER, 8, 1),
    "uniformerv2-base-k700": (QUARTER, 8, 1),
    "uniformerv2-large-k700": (QUARTER, 16, 1),
    "videomae-base": (IMAGENET, 16, 4),
    "videomae-large": (IMAGENET, 16, 4),
    "x3d-m": (([114.75] * 3, [57.38] * 3), 16, 5),
    "uniformer-small": (QUARTER, 16, 4),
    "videomaev2-base": (IMAGENET, 16, 4),
}
# Poses per view of the skeleton networks.
POSES = {"posec3d": 48, "stgcnpp": 100}


@functools.cache
def metafile_rows() -> dict[str, dict[str, Any]]:
    rows = {}
    for path in CONFIGS.rglob("metafile.yml"):
        for model in yaml.safe_load(path.read_text())["Models"]:
            rows.setdefault(model["Config"].removeprefix("configs/"), model)
    return rows


def number(text: Any, unit: str) -> float:
    return float(text.removesuffix(unit)) if isinstance(text, str) else text / {"M": 1e6, "G": 1e9}[unit]


@pytest.mark.parametrize("name", sorted(set(ENTRIES) - WITHOUT_ROW))
def test_accuracy_size_and_address_are_those_of_the_metafile(name):
    entry, row = ENTRIES[name], metafile_rows()[ENTRIES[name].config]
    # A row has one result or a list of them.
    found = row["Results"]
    result = found[0] if isinstance(found, list) else found
    metrics = result["Metrics"]
    published = (metrics["Top 1 Accuracy"], metrics.get("Top 5 Accuracy", 0.0))
    assert (entry.top1, entry.top5) == README_SAYS.get(name, published)
    assert entry.url == row["Weights"]
    sizes = row["Metadata"]
    if "Parameters" in sizes:
        assert entry.params_m == pytest.approx(number(sizes["Parameters"], "M"), abs=0.051)
    if "FLOPs" in sizes:
        # Those of TSN are of 25 frames.
        share = entry.frames / 25 if entry.frames else 1
        assert entry.gflops == pytest.approx(number(sizes["FLOPs"], "G") * share, abs=0.051)
    # One row spells it Kinetic400.
    dataset = result["Dataset"].replace("-", "").lower().replace("kinetic4", "kinetics4")
    assert dataset == entry.dataset.replace("-", "")


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_views_are_those_of_the_config(name):
    base = model_base(ENTRIES[name])
    if base.skeleton is not None:
        assert base.sampler == {"type": "UniformSampleFrames", "clip_len": POSES[name], "num_clips": 1}
        return
    (mean, std), frames, interval = VIEWS[name]
    preprocessor = base.model["data_preprocessor"]
    assert (preprocessor["mean"], preprocessor["std"]) == (mean, std)
    assert base.sampler["clip_len"] == frames
    assert base.sampler.get("frame_interval", 1) == interval


def test_the_model_of_one_frame_sees_the_middle_one():
    assert model_base(ENTRIES["frame"]).sampler["num_clips"] == 1
    assert model_base(ENTRIES["tsn"]).sampler["num_clips"] == 8


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_a_model_of_one_size_crops_to_it(name):
    entry = ENTRIES[name]
    config = Config.fromfile(str(CONFIGS / entry.config))
    steps = config.get("test_pipeline") or config.test_dataloader.dataset.pipeline
    crops = [step["crop_size"] for step in steps if step["type"].endswith("Crop")]
    if entry.crop:
        assert crops == [entry.crop]


def test_inception_takes_frames_as_deepmind_trained_it():
    # kinetics-i3d: RGB scaled to [-1, 1], 64 frames in a row; top-1 and top-5 of its README.
    preprocessor = INCEPTION.model["data_preprocessor"]
    assert (preprocessor["mean"], preprocessor["std"]) == ([127.5] * 3, [127.5] * 3)
    assert INCEPTION.sampler == {
        "type": "SampleFrames", "clip_len": 64, "frame_interval": 1, "num_clips": 1,
    }  # fmt: skip
    entry = find_entry("inception")
    assert (entry.top1, entry.top5) == (71.1, 89.3)
