"""From a clip's file to what the network sees: MMAction2 pipelines, as plain data.

Frames stay integers until they are in a batch; normalization is done by the data preprocessor (the
NumPy transform costs more than decoding). One decoder thread per worker, see `clip_decoder`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dancecli.core.augmentation import chains_text
from dancecli.core.errors import ModelError, UsageError
from dancecli.core.recipe import Recipe
from dancecli.model.dataloading.flow_data import on_flow
from dancecli.model.dataloading.pose_data import on_skeletons, skeleton_steps
from dancecli.model.hardware.device import CPU, Device, clips_per_pass
from dancecli.model.networks.base import ModelBase

# Skeletons are small: 17 maps of 64 x 64 cells, or 17 points, per frame.
_FORWARD_SKELETONS = 16


def train_pipeline(base: ModelBase, recipe: Recipe) -> list[dict[str, Any]]:
    """From a file to a training view.

    Raises:
        ModelError: a skeleton network is to see augmented frames.
    """
    if base.skeleton is not None:
        if recipe.chains:
            raise ModelError("poses do not support augmentation of frames", "omit --augment")
        sampler = frame_sampler(base, recipe)
        return skeleton_steps(base.skeleton, sampler, training=True, flip=recipe.flip)
    side = recipe.crop
    crops: dict[str, list[dict[str, Any]]] = {
        "random": [{"type": "RandomCrop", "size": side}],
        "resized": [
            {"type": "RandomResizedCrop", "area_range": (0.4, 1.0)},
            {"type": "Resize", "scale": (side, side), "keep_ratio": False},
        ],
        # As in MMAction2's configs of I3D.
        "multi-scale": [
            {"type": "MultiScaleCrop", "input_size": side, "scales": (1, 0.8), "max_wh_scale_gap": 0},
            {"type": "Resize", "scale": (side, side), "keep_ratio": False},
        ],
        "center": [{"type": "CenterCrop", "crop_size": side}],
    }
    flip = [{"type": "Flip", "flip_ratio": 0.5}] if recipe.flip else []
    copied = [{"type": "AugmentedView", "ops": chains_text(recipe.chains)}] if recipe.chains else []
    return _pipeline(base, recipe, frame_sampler(base, recipe), [*crops[recipe.train_crop], *flip], copied)


def test_pipeline(base: ModelBase, recipe: Recipe) -> list[dict[str, Any]]:
    """From a file to the views of evaluation, the same every time.

    Raises:
        ModelError: several clips are requested of a model of single frames.
        UsageError: several crops are requested of a skeleton network.
    """
    sampler = {**frame_sampler(base, recipe), "test_mode": True}
    if recipe.num_clips > 1:
        if not base.is_3d:
            raise ModelError("this model samples single frames of the whole clip", "use --num-clips 1")
        sampler["num_clips"] = recipe.num_clips
    if base.skeleton is not None:
        if recipe.num_crops > 1:
            raise UsageError("a skeleton has no crops", "use --num-crops 1, or more clips (--num-clips)")
        return skeleton_steps(base.skeleton, sampler, training=False, flip=False)
    crop = {"type": "CenterCrop", "crop_size": recipe.crop}
    if recipe.num_crops == 3:
        # Three squares that together cover the frame: as wide as the short side.
        crop = {"type": "ThreeCrop", "crop_size": recipe.short_side}
    return _pipeline(base, recipe, sampler, [crop])


def frame_sampler(base: ModelBase, recipe: Recipe) -> dict[str, Any]:
    """The model's own frame sampler, with the recipe's number and distance of frames."""
    sampler = dict(base.sampler)
    if base.is_3d:
        sampler["clip_len"] = recipe.clip_len or sampler["clip_len"]
    if base.is_3d and sampler["type"] == "SampleFrames":
        sampler["frame_interval"] = recipe.frame_interval or sampler.get("frame_interval", 1)
        if recipe.fps:
            sampler["target_fps"] = recipe.fps
    return sampler


def refuse_unused_keys(base: ModelBase, recipe: Recipe) -> None:
    """Let no key of a recipe be given that the model's way to choose frames does not take.

    Raises:
        UsageError: one is.
    """
    taken = ["clip_len"] if base.is_3d else []
    if base.is_3d and base.sampler["type"] == "SampleFrames":
        taken += ["frame_interval", "fps"]
    for key in ("clip_len", "frame_interval", "fps"):
        value = getattr(recipe, key)
        if value is not None and key not in taken:
            how = "frames over the whole clip" if base.is_3d else "single frames of the whole clip"
            raise UsageError(
                f"this model samples {how}: it does not take the recipe's {key} = {value}",
                f"use a recipe without {key}, or another model",
            )


def forward_batch(base: ModelBase, recipe: Recipe, views: int = 1, device: Device = CPU) -> int:
    """Number of clips per forward pass where no gradient is needed, to limit memory."""
    if base.skeleton is not None:
        return _FORWARD_SKELETONS
    sampler = frame_sampler(base, recipe)
    frames = int(sampler["clip_len"]) * int(sampler.get("num_clips", 1)) * views
    return clips_per_pass(frames * recipe.crop**2, device)


def _pipeline(
    base: ModelBase,
    recipe: Recipe,
    sampler: dict[str, Any],
    crops: list[dict[str, Any]],
    copied: Sequence[dict[str, Any]] = (),
) -> list[dict[str, Any]]:
    steps = [
        {"type": "ClipInit"},
        sampler,
        {"type": "ClipDecode"},
        *copied,
        *_resized(base, recipe),
        *crops,
        {"type": "FormatShape", "input_format": base.input_format},
        {"type": "PackActionInputs", "meta_keys": ("filename",)},
    ]
    if base.drawn:
        return on_skeletons(steps)
    return on_flow(steps, base.flow) if base.flow else steps


def _resized(base: ModelBase, recipe: Recipe) -> list[dict[str, Any]]:
    """Resize to the recipe's short side, or squash into the square that the model takes."""
    how = {} if base.interpolation == "bilinear" else {"interpolation": base.interpolation}
    if base.squashed:
        return [{"type": "Resize", "scale": (recipe.crop, recipe.crop), "keep_ratio": False, **how}]
    return [{"type": "Resize", "scale": (-1, recipe.short_side), **how}]
