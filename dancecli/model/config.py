"""One flat MMAction2 config a run: readable, complete, and good for MMAction2's own tools."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dancecli.core.errors import ModelError
from dancecli.core.recipe import Recipe
from dancecli.model import freezing
from dancecli.model.flow import flow_preprocessor
from dancecli.model.flowing import FLOW
from dancecli.model.inflation import FLOW_CHANNELS
from dancecli.model.pipelines import ModelBase, forward_batch, test_pipeline, train_pipeline
from dancecli.model.weights import StartWeights
from dancecli.model.zoo import ZooEntry

# These read their 2-D weights even where none are named.
_INFLATING = ("ResNetTSM", "SwinTransformer3D")
_DROPOUT_HEADS = ("I3DHead", "SlowFastHead", "TSNHead", "TSMHead", "MViTHead", "UniFormerHead")


@dataclass(frozen=True)
class DataPlan:
    """Where the clips are: the workspace, and which parts of the split have any.

    Attributes:
        train_counts: training clips of each class, for balanced weights.
    """

    root: Path
    split: str
    num_classes: int
    has_val: bool
    train_counts: tuple[int, ...] = ()


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
        ModelError: it is no config of a video classifier.
    """
    if not entry.config:
        return INCEPTION_FLOW if entry.modality == FLOW else INCEPTION
    from dancecli.model.mmaction import CONFIGS, read_config

    # Joining an absolute path gives that path: a config the user named.
    path = CONFIGS / entry.config
    config = read_config(path)
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
    return base


def build_config(
    base: ModelBase,
    recipe: Recipe,
    data: DataPlan,
    start: StartWeights | None,
    seed: int,
    deterministic: bool,
    gpu: bool = False,
) -> dict[str, Any]:
    """Put a run's whole config together.

    Args:
        base: the model.
        recipe: how to train; its learning rate is scaled here.
        data: the clips.
        start: the weights to start from, None for random ones.
        seed: of the fresh weights, the order, the views and dropout.
        deterministic: refuse algorithms whose result varies; not every GPU layer has another.
        gpu: the run will compute on one.

    Raises:
        ModelError: the backbone has no such stage that could be frozen.
    """
    workers = recipe.workers if recipe.workers is not None else default_workers()
    view_seed = seed if recipe.view_seed is None else recipe.view_seed

    def loader(part: str, pipeline: list[dict[str, Any]], batch: int, **dataset: Any) -> dict[str, Any]:
        training = part == "train"
        kind = {"type": "ViewDataset", "view_seed": view_seed} if training else {"type": "VideoDataset"}
        sampler = {"type": "ViewSampler", "views": recipe.views or 0, "shuffle": True, "seed": seed}
        return {
            "batch_size": batch,
            "num_workers": workers,
            "persistent_workers": workers > 0,
            "sampler": sampler if training else {"type": "DefaultSampler", "shuffle": False},
            "dataset": {
                **kind,
                "ann_file": str(data.root / "annotations" / data.split / f"{part}.txt"),
                "data_prefix": {"video": str(data.root)},
                "pipeline": pipeline,
                **dataset,
            },
        }

    views = recipe.num_clips * recipe.num_crops
    prefixes = freezing.prefixes(base.model["backbone"], recipe.frozen_stages)
    frozen = [{"type": "FreezeHook", "prefixes": prefixes}] if prefixes else []
    averaged = [{"type": "WeightAverageHook", "decay": recipe.ema}] if recipe.ema else []
    weights = balanced_weights(data.train_counts) if recipe.class_weights == "balanced" else None
    test_batch = forward_batch(base, recipe, views)
    held_out = test_pipeline(base, recipe)
    accuracy = {"type": "AccMetric"}
    return {
        "custom_imports": {"imports": ["dancecli.model.mmaction"], "allow_failed_imports": False},
        "default_scope": "mmaction",
        "model": build_model_config(base, recipe, data.num_classes, start, weights),
        "train_dataloader": loader("train", train_pipeline(base, recipe), recipe.batch),
        "val_dataloader": loader("val", held_out, test_batch, test_mode=True) if data.has_val else None,
        "test_dataloader": loader("test", held_out, test_batch, test_mode=True),
        "val_evaluator": accuracy if data.has_val else None,
        "test_evaluator": accuracy,
        "train_cfg": {"type": "EpochBasedTrainLoop", "max_epochs": recipe.epochs, "val_interval": 1},
        "val_cfg": {"type": "ValLoop"} if data.has_val else None,
        "test_cfg": {"type": "TestLoop"},
        "optim_wrapper": _optim_wrapper(recipe, gpu),
        "param_scheduler": schedulers(recipe),
        "default_hooks": {
            "runtime_info": {"type": "RuntimeInfoHook"},
            "timer": {"type": "IterTimerHook"},
            "logger": {"type": "LoggerHook", "interval": 20, "ignore_last": False},
            "param_scheduler": {"type": "ParamSchedulerHook"},
            "checkpoint": {
                "type": "CheckpointHook",
                "interval": 1,
                "max_keep_ckpts": 1,
                "save_best": "acc/top1" if data.has_val else None,
            },
            "sampler_seed": {"type": "DistSamplerSeedHook"},
        },
        "custom_hooks": [{"type": "StepSeedHook", "seed": seed}, *frozen, *averaged],
        "env_cfg": {
            "cudnn_benchmark": False,
            "mp_cfg": {"mp_start_method": "fork", "opencv_num_threads": 0},
            "dist_cfg": {"backend": "nccl"},
        },
        "log_processor": {"type": "LogProcessor", "window_size": 20, "by_epoch": True},
        "visualizer": {"type": "ActionVisualizer", "vis_backends": [{"type": "LocalVisBackend"}]},
        "randomness": {"seed": seed, "deterministic": deterministic},
        "log_level": "INFO",
        "load_from": start.load_from or None if start else None,
        "resume": False,
    }


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
    backbone.update(freezing.settings(backbone["type"], recipe.frozen_stages, recipe.norm_eval))
    # Mixed labels (Mixup, CutMix) are for hundreds of thousands of clips, and hide the accuracy.
    model["data_preprocessor"].pop("blending", None)
    # MMAction2's configs name ImageNet weights that are fetched even if others are loaded after.
    if "pretrained" in backbone or (start and start.pretrained):
        backbone["pretrained"] = start.pretrained or None if start else None
    if backbone["type"] in _INFLATING:
        backbone["pretrained2d"] = False
    backbone.pop("pretrained_type", None)
    # It would refuse batches of more than one clip; ours are small enough already.
    (model.get("test_cfg") or {}).pop("max_testing_views", None)
    head.update(num_classes=num_classes, average_clips="prob")
    if drops(head):
        head["dropout_ratio"] = recipe.dropout
    if recipe.label_smoothing or class_weights:
        head["loss_cls"] = {"type": "CrossEntropyLoss"}
    if class_weights:
        head["loss_cls"]["class_weight"] = list(class_weights)
    if recipe.label_smoothing or "label_smooth_eps" in head:
        head["label_smooth_eps"] = recipe.label_smoothing
    return model


def drops(head: Mapping[str, Any]) -> bool:
    """Tell whether a head has dropout that can be set."""
    return "dropout_ratio" in head or head["type"] in _DROPOUT_HEADS


def balanced_weights(counts: Sequence[int]) -> list[float]:
    """Weigh each class by the inverse of its share, 1 on average over the clips; 1 where there is none."""
    present = sum(n > 0 for n in counts)
    return [sum(counts) / (present * n) if n else 1.0 for n in counts]


def default_workers() -> int:
    """Decoding processes beside the one that computes: one fewer than the cores, at most four."""
    import os

    return max(1, min(4, (os.cpu_count() or 2) - 1))


def amp_dtype(recipe: Recipe, gpu: bool) -> str | None:
    """Name the half precision of the training steps; None for float32."""
    if not recipe.amp:
        return None
    return "float16" if gpu else "bfloat16"


def _optim_wrapper(recipe: Recipe, gpu: bool) -> dict[str, Any]:
    names = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}
    optimizer: dict[str, Any] = {
        "type": names[recipe.optimizer],
        "lr": recipe.scaled_lr(),
        "weight_decay": recipe.weight_decay,
    }
    if recipe.optimizer == "sgd":
        optimizer["momentum"] = recipe.momentum
    wrapper: dict[str, Any] = {"type": "OptimWrapper", "optimizer": optimizer}
    if dtype := amp_dtype(recipe, gpu):
        wrapper |= {"type": "AmpOptimWrapper", "dtype": dtype} if gpu else {"type": "CpuAmpOptimWrapper"}
    if recipe.accumulate > 1:
        wrapper["accumulative_counts"] = recipe.accumulate
    if recipe.clip_grad:
        wrapper["clip_grad"] = {"max_norm": recipe.clip_grad, "norm_type": 2}
    return wrapper


def schedulers(recipe: Recipe) -> list[dict[str, Any]]:
    """Write the course of the learning rate for mmengine."""
    begin, end = min(recipe.warmup_epochs, recipe.epochs), recipe.epochs
    plan: list[dict[str, Any]] = []
    if begin:
        warmup = {"start_factor": 0.1, "begin": 0, "end": begin, "by_epoch": True}
        plan.append({"type": "LinearLR", **warmup, "convert_to_iter_based": True})
    if recipe.schedule == "cosine" and begin < end:
        span = {"T_max": end - begin, "begin": begin, "end": end, "by_epoch": True}
        plan.append({"type": "CosineAnnealingLR", **span, "convert_to_iter_based": True})
    if recipe.schedule == "step":
        steps = {"milestones": list(recipe.milestones), "gamma": recipe.gamma, "by_epoch": True}
        plan.append({"type": "MultiStepLR", **steps})
    return plan


def _train_pipeline(config: dict[str, Any]) -> list[dict[str, Any]]:
    dataset = config.get("train_dataloader", {}).get("dataset", {})
    found = (
        dataset.get("pipeline") or dataset.get("dataset", {}).get("pipeline") or config.get("train_pipeline")
    )
    return list(found or config.get("test_pipeline") or [])
