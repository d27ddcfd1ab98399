"""A model's scores for the clips of a subset, and its accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dancecli.core.augmentation import chains_text
from dancecli.core.errors import ModelError
from dancecli.core.progress import Reporter
from dancecli.core.recipe import Recipe
from dancecli.core.records import Prediction
from dancecli.core.text import pluralize
from dancecli.core.topk import top_k_correct
from dancecli.model.dataloading.split_data import Example
from dancecli.model.hardware.device import copy_without_waiting, half_precision_pass


def predict_subset(
    model: Any,
    loader: Any,
    subset: str,
    examples: Sequence[Example],
    reporter: Reporter,
    precision: str | None = None,
) -> list[Prediction]:
    """Score the clips of a subset.

    Args:
        model: an MMAction2 recognizer whose head averages probabilities over the views.
        loader: gives the clips in the order of `examples`.
        subset: `val` or `test`.
        examples: the clips.
        reporter: in clips.
        precision: half precision of the network; None for that of its weights.

    Raises:
        ModelError: a score is not finite.
    """
    import torch

    model.eval()
    scores: list[list[float]] = []
    device = next(model.parameters()).device
    if device.type == "cuda":
        copy_without_waiting(model)
    with torch.inference_mode(), half_precision_pass(precision, device):
        for batch in loader:
            scores += [sample.pred_score.double().tolist() for sample in model.test_step(batch)]
            reporter.progress(len(scores), len(examples), f"evaluating · {subset}")
    return as_predictions(scores, subset, examples)


def as_predictions(
    scores: Sequence[Sequence[float]], subset: str, examples: Sequence[Example]
) -> list[Prediction]:
    """Make predictions of the scores of a subset's clips.

    Args:
        scores: for each example its probabilities, [classes].
        subset: `val` or `test`.
        examples: the clips.

    Raises:
        ModelError: a score is not finite.
    """
    found = []
    for example, row in zip(examples, scores, strict=True):
        total = sum(row)
        if not total > 0:
            raise ModelError(f"the scores of clip {example.clip_id} are not finite", "use a lower --lr")
        # Single precision leaves the sum of the probabilities a hair off one.
        probabilities = tuple(value / total for value in row)
        found.append(Prediction(example.clip_id, subset, example.label_index, probabilities))
    return found


def accuracy(predictions: Sequence[Prediction]) -> dict[str, int] | None:
    """Count how often the true class is first, and among the first five; None without predictions."""
    if not predictions:
        return None

    def hits(k: int) -> int:
        return sum(top_k_correct(p.scores, p.label_index, k) for p in predictions)

    return {"n": len(predictions), "top1": hits(1), "top5": hits(5)}


def views_record(recipe: Recipe, sampler: dict[str, Any], cached: bool) -> dict[str, Any]:
    """Describe the views of training and evaluation, for `run.json`.

    `test` is the view protocol: all that decides which subset of a clip, and at which size, is seen.

    Args:
        recipe: crops, clips and sizes.
        sampler: the frame sampler as configured, with the model's own values.
        cached: whether the features of training views are cached.
    """
    if sampler["type"] == "UniformSampleFrames":
        return _skeleton_views(recipe, sampler)
    clip_len, interval = int(sampler["clip_len"]), int(sampler.get("frame_interval", 1))
    frames = f"{clip_len}x{interval} frames"
    if clip_len == 1:
        frames = pluralize(sampler["num_clips"], "single frame")
    elif sampler.get("num_clips", 1) > 1:
        frames = f"{sampler['num_clips']} stacks of {clip_len} fields"
    elif sampler["type"] == "UniformSample":
        frames = f"{clip_len} frames over the whole clip"
    if fps := sampler.get("target_fps"):
        frames += f" at {fps} fps"
    crop = recipe.crop if recipe.num_crops == 1 else recipe.short_side
    place = "center crop" if recipe.num_crops == 1 else "crops"
    train = f"{frames}, {recipe.train_crop} crop {recipe.crop}" + (", flip" if recipe.flip else "")
    if recipe.chains:
        train += ", original or " + " or ".join("+".join(chain) for chain in recipe.chains)
    if recipe.views:
        train += f", {recipe.views} {'cached ' if cached else ''}views"
    return {
        "train": train,
        "test": (
            f"{frames}, {_count(recipe.num_clips, 'clip')} x {recipe.num_crops} {place} {crop}, "
            f"short side {recipe.short_side}"
        ),
        "clip_len": clip_len,
        "frame_interval": interval,
        "num_clips": recipe.num_clips,
        "num_crops": recipe.num_crops,
        "short_side": recipe.short_side,
        "crop": crop,
        "train_views": recipe.views,
        "augment": chains_text(recipe.chains) or None,
    }


def _skeleton_views(recipe: Recipe, sampler: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the views of a skeleton network, which has neither crops nor sizes of a picture."""
    poses = f"{sampler['clip_len']} poses over the whole clip"
    return {
        "train": poses + (", flip" if recipe.flip else ""),
        "test": f"{poses}, {_count(recipe.num_clips, 'clip')}",
        "clip_len": int(sampler["clip_len"]),
        "frame_interval": None,
        "num_clips": recipe.num_clips,
        "num_crops": 1,
        "short_side": None,
        "crop": None,
        "train_views": recipe.views,
        "augment": None,
    }


def _count(n: int, word: str) -> str:
    return f"{n} {word}" if n == 1 else f"{n} {word}s"
