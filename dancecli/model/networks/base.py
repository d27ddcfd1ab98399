"""What a model is before a run changes it: network, normalization, view, as plain data."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dancecli.core.errors import ModelError, UsageError
from dancecli.core.flow_format import BOUND_PX
from dancecli.core.recipe import Recipe
from dancecli.model.networks import stages
from dancecli.model.networks.hub.model import HubModel, describe_views, recognizer, sampler
from dancecli.model.networks.inflation import FLOW_CHANNELS
from dancecli.model.networks.weights import StartWeights
from dancecli.model.networks.zoo import ZooEntry

FLOW, POSE = "flow", "pose"
# What a model of frames may see.
FRAMES, SKELETONS = "frames", "skeletons"
# The input of a graph network: joints as vertices, [person, 17, channels] per frame.
GRAPH = "graph"


@dataclass(frozen=True)
class SkeletonSteps:
    """What is between a clip's poses and a skeleton network, as in its own config.

    Attributes:
        train: the steps in training.
        test: those of evaluation.
    """

    train: tuple[dict[str, Any], ...]
    test: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class ModelBase:
    """What is taken from a model's own config.

    Attributes:
        model: the recognizer with its head and data preprocessor, as MMAction2 builds it.
        sampler: the transform that chooses frames, as in training.
        input_format: axes of the input, `NCTHW` or another that `FormatShape` knows.
        flow: how its optical flow was computed; empty for other models.
        skeleton: its steps from the poses of a clip; None for a model of frames or flow.
        drawn: it sees skeletons, drawn in the places of frames.
        squashed: whole frames are resized to the square that it takes, whatever their shape.
        interpolation: of resized frames.
        notes: what its own files say of its frames, for the plan of a run.
    """

    model: dict[str, Any]
    sampler: dict[str, Any]
    input_format: str
    flow: str = ""
    skeleton: SkeletonSteps | None = None
    drawn: bool = False
    squashed: bool = False
    interpolation: str = "bilinear"
    notes: tuple[str, ...] = ()

    @property
    def reads_poses(self) -> bool:
        """Whether its input is the poses of a clip."""
        return self.drawn or self.skeleton is not None

    @property
    def is_3d(self) -> bool:
        """Whether a view is a clip of frames (and not a set of single ones, or of short stacks of flow)."""
        return self.input_format != "NCHW"


def flow_preprocessor(channels: int, format_shape: str) -> dict[str, Any]:
    """Give the data preprocessor's settings for flow: 2 channels as `NCTHW`, 2 x clip_len as `NCHW`."""
    return {
        "type": "ActionDataPreprocessor",
        "mean": [0.0] * channels,
        "std": [float(BOUND_PX)] * channels,
        "format_shape": format_shape,
    }


INCEPTION = ModelBase(
    model={
        "type": "Recognizer3D",
        "backbone": {"type": "InceptionI3D", "pretrained": None},
        "cls_head": {
            "type": "I3DHead",
            "num_classes": 400,
            "in_channels": 1024,
            "spatial_type": "avg",
            "dropout_ratio": 0.5,
            "average_clips": "prob",
        },
        "data_preprocessor": {
            "type": "ActionDataPreprocessor",
            "mean": [127.5, 127.5, 127.5],
            "std": [127.5, 127.5, 127.5],
            "format_shape": "NCTHW",
        },
    },
    sampler={"type": "SampleFrames", "clip_len": 64, "frame_interval": 1, "num_clips": 1},
    input_format="NCTHW",
)


# Fields of flow in the places of frames; `flow` names their method once a run has chosen it.
INCEPTION_FLOW = replace(
    INCEPTION,
    model={
        **INCEPTION.model,
        "backbone": {**INCEPTION.model["backbone"], "in_channels": FLOW_CHANNELS},
        "data_preprocessor": flow_preprocessor(FLOW_CHANNELS, "NCTHW"),
    },
)


def model_base(entry: ZooEntry) -> ModelBase:
    """Read a model's own config.

    Raises:
        ModelError: it is not the config of a video classifier.
    """
    if entry.hub is not None:
        return _hub_base(entry.hub)
    if not entry.config:
        return INCEPTION_FLOW if entry.modality == FLOW else INCEPTION
    from dancecli.model.networks.mmaction import CONFIGS, read_config

    # Joining an absolute path gives that path: a config the user named.
    path = CONFIGS / entry.config
    config = read_config(path)
    if entry.modality == POSE:
        return _skeleton_base(config, path)
    pipeline = _train_pipeline(config)
    samplers = [step for step in pipeline if "Sample" in step["type"]]
    shapes = [step["input_format"] for step in pipeline if step["type"] == "FormatShape"]
    if "cls_head" not in config.get("model", {}) or not samplers or not shapes:
        raise ModelError(f"{path}: is not the config of a video classifier that is trained on frames")
    sampler = {key: value for key, value in samplers[0].items() if key != "test_mode"}
    model = config["model"]
    if entry.modality == FLOW:
        channels, shape = model["backbone"].get("in_channels", 2), model["data_preprocessor"]["format_shape"]
        model["data_preprocessor"] = flow_preprocessor(channels, shape)
    base = ModelBase(model, sampler, shapes[0])
    if base.is_3d:
        sampler["num_clips"] = 1
    elif entry.frames:
        sampler["num_clips"] = entry.frames
    return base


def _hub_base(hub: HubModel) -> ModelBase:
    return ModelBase(
        model=recognizer(hub),
        sampler=sampler(hub),
        input_format="NCTHW",
        squashed=hub.frames.squashed,
        interpolation=hub.frames.interpolation,
        notes=(describe_views(hub),),
    )


def _skeleton_base(config: dict[str, Any], path: Path) -> ModelBase:
    """Read the config of a skeleton network: MMAction2's own steps stay, but for sampling and mirroring."""
    train = _pipeline_of(config, "train")
    test = _pipeline_of(config, "val")
    samplers = [step for step in train if "Sample" in step["type"]]
    if "cls_head" not in config.get("model", {}) or not samplers or not test:
        raise ModelError(f"{path}: is not the config of a skeleton network")
    model = config["model"]
    model.setdefault("data_preprocessor", {"type": "ActionDataPreprocessor"})
    shapes = [step["input_format"] for step in train if step["type"] == "FormatShape"]
    steps = SkeletonSteps(tuple(train), tuple(test))
    return ModelBase(model, {**samplers[0], "num_clips": 1}, shapes[0] if shapes else GRAPH, skeleton=steps)


def build_model_config(
    base: ModelBase,
    recipe: Recipe,
    num_classes: int,
    start: StartWeights | None,
    class_weights: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Give the model a fresh head for these classes, and freeze what it can freeze by itself."""
    model = copy.deepcopy(base.model)
    backbone, head = model["backbone"], model["cls_head"]
    backbone.update(stages.settings(backbone, recipe.frozen_stages, recipe.norm_eval))
    # Mixed labels (Mixup, CutMix) are for hundreds of thousands of clips, and hide the accuracy.
    model["data_preprocessor"].pop("blending", None)
    # MMAction2's configs name ImageNet weights that are fetched even if others are loaded after.
    if "pretrained" in backbone or (start and start.pretrained):
        backbone["pretrained"] = start.pretrained or None if start else None
    if fetches := stages.BACKBONES.get(backbone["type"], stages.Backbone()).fetches:
        backbone[fetches] = False
    backbone.pop("pretrained_type", None)
    # So do some of their parts, and by a map of classes in a file that is in no wheel.
    head.pop("channel_map", None)
    for part in (backbone, head):
        if (part.get("init_cfg") or {}).get("type") == "Pretrained":
            del part["init_cfg"]
    # It would refuse batches of more than one clip; ours are small enough already.
    (model.get("test_cfg") or {}).pop("max_testing_views", None)
    head.update(num_classes=num_classes, average_clips="prob")
    if has_dropout(head):
        head["dropout_ratio"] = recipe.dropout
    if recipe.label_smoothing or class_weights:
        head["loss_cls"] = {"type": "CrossEntropyLoss"}
    if class_weights:
        head["loss_cls"]["class_weight"] = list(class_weights)
    if recipe.label_smoothing or "label_smooth_eps" in head:
        head["label_smooth_eps"] = recipe.label_smoothing
    return model


def has_dropout(head: Mapping[str, Any]) -> bool:
    """Tell whether a head has dropout that can be set."""
    row = stages.HEADS.get(head["type"])
    return "dropout_ratio" in head or (row is not None and row.dropout)


def _train_pipeline(config: dict[str, Any]) -> list[dict[str, Any]]:
    return _pipeline_of(config, "train") or list(config.get("test_pipeline") or [])


def _pipeline_of(config: dict[str, Any], subset: str) -> list[dict[str, Any]]:
    dataset = config.get(f"{subset}_dataloader", {}).get("dataset", {})
    found = dataset.get("pipeline") or dataset.get("dataset", {}).get("pipeline")
    return list(found or config.get(f"{subset}_pipeline") or [])


def at_its_size(entry: ZooEntry, recipe: Recipe) -> Recipe:
    """Crop to the size that a model needs, with the share of the frame that it or the recipe says.

    Raises:
        UsageError: three crops are requested, which would be larger than the model accepts.
    """
    if entry.crop and recipe.crop != entry.crop:
        side = round(recipe.short_side * entry.crop / recipe.crop)
        recipe = replace(recipe, crop=entry.crop, short_side=side)
    if entry.short_side:
        recipe = replace(recipe, short_side=entry.short_side)
    if entry.crop and recipe.num_crops > 1 and recipe.short_side != entry.crop:
        raise UsageError(
            f"{entry.name} takes frames of {entry.crop} pixels, and {recipe.num_crops} crops would be as "
            f"wide as the short side, {recipe.short_side}",
            "use 1 crop, or more clips (--num-clips)",
        )
    return recipe
