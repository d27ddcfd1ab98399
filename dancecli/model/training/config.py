"""The config of a run: flat, readable, complete, and usable by MMAction2's own tools."""

from __future__ import annotations

import keyword
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dancecli.core.recipe import Recipe
from dancecli.core.records import Subset
from dancecli.model.dataloading.pipelines import forward_batch, test_pipeline, train_pipeline
from dancecli.model.dataloading.shared_memory import LOADER_TIMEOUT_S
from dancecli.model.hardware.device import CPU, Device, decoding_workers, half_precision
from dancecli.model.networks import stages
from dancecli.model.networks.base import ModelBase, build_model_config
from dancecli.model.networks.weights import StartWeights

_WIDTH = 100


# The modules that define what a config names beside MMAction2's own.
_REGISTERING = (
    "dancecli.model.networks.inception",
    "dancecli.model.networks.heads.attentive",
    "dancecli.model.networks.heads.pooled",
    "dancecli.model.networks.hub.backbone",
    "dancecli.model.dataloading.datasets",
    "dancecli.model.training.components",
    "dancecli.model.training.features.frozen",
)


@dataclass(frozen=True)
class DataPlan:
    """Where the clips are: the workspace, and which subsets of the split have any.

    Attributes:
        train_counts: training clips per class, for balanced weights.
        lists: the file of a subset's list in the split's folder, without `.txt`, where it is not the
            subset's name.
    """

    root: Path
    split: str
    num_classes: int
    has_val: bool
    train_counts: tuple[int, ...] = ()
    lists: Mapping[Subset, str] = field(default_factory=dict)


def build_config(
    base: ModelBase,
    recipe: Recipe,
    data: DataPlan,
    start: StartWeights | None,
    seed: int,
    deterministic: bool,
    device: Device = CPU,
    processes: int = 1,
) -> dict[str, Any]:
    """Put a run's whole config together.

    Args:
        base: the model.
        recipe: how to train; its learning rate is scaled here.
        data: the clips.
        start: the weights to start from, None for random ones.
        seed: of the fresh weights, the order, the views and dropout.
        deterministic: refuse algorithms whose result varies; not every GPU layer has another.
        device: that the run will compute on.
        processes: of this machine that share the run.

    Raises:
        ModelError: the backbone has no such stage that could be frozen.
    """
    workers = recipe.workers
    if workers is None:
        workers = decoding_workers(device, processes)
    view_seed = seed if recipe.view_seed is None else recipe.view_seed

    def loader(subset: str, pipeline: list[dict[str, Any]], batch: int, **dataset: Any) -> dict[str, Any]:
        training = subset == "train"
        kind: dict[str, Any] = {"type": "VideoDataset"}
        if training:
            kind = {"type": "ViewDataset", "view_seed": view_seed}
        if training and base.reads_poses:
            kind["poses_only"] = True
        listed = data.lists.get(Subset(subset), subset)
        sampler = {"type": "ViewSampler", "views": recipe.views or 0, "shuffle": True, "seed": seed}
        return {
            "batch_size": batch,
            "num_workers": workers,
            "persistent_workers": workers > 0,
            "timeout": LOADER_TIMEOUT_S if workers else 0,
            # A GPU fetches from pinned memory while it computes.
            **({"pin_memory": True} if device.gpu else {}),
            "sampler": sampler if training else {"type": "DefaultSampler", "shuffle": False},
            "dataset": {
                **kind,
                "ann_file": str(data.root / "annotations" / data.split / f"{listed}.txt"),
                "data_prefix": {"video": str(data.root)},
                "pipeline": pipeline,
                **dataset,
            },
        }

    views = recipe.num_clips * recipe.num_crops
    prefixes = stages.prefixes(base.model["backbone"], recipe.frozen_stages)
    frozen: list[dict[str, Any]] = [{"type": "FreezeHook", "prefixes": prefixes}] if prefixes else []
    if recipe.norm_eval and not stages.has_norm_eval(base.model["backbone"]["type"]):
        frozen.append({"type": "NormEvalHook"})
    averaged = [{"type": "WeightAverageHook", "decay": recipe.ema}] if recipe.ema else []
    weights = balanced_weights(data.train_counts) if recipe.class_weights == "balanced" else None
    test_batch = forward_batch(base, recipe, views, device)
    held_out = test_pipeline(base, recipe)
    accuracy = {"type": "TopKAccuracy"}
    return {
        "custom_imports": {"imports": list(_REGISTERING), "allow_failed_imports": False},
        "default_scope": "mmaction",
        "model": build_model_config(base, recipe, data.num_classes, start, weights),
        "train_dataloader": loader("train", train_pipeline(base, recipe), recipe.batch),
        "val_dataloader": loader("val", held_out, test_batch, test_mode=True) if data.has_val else None,
        "test_dataloader": loader("test", held_out, test_batch, test_mode=True),
        "val_evaluator": accuracy if data.has_val else None,
        "test_evaluator": accuracy,
        "train_cfg": {"type": "EpochBasedTrainLoop", "max_epochs": recipe.epochs, "val_interval": 1},
        "val_cfg": _val_loop(recipe, device) if data.has_val else None,
        "test_cfg": {"type": "TestLoop"},
        "optim_wrapper": _optim_wrapper(recipe, device),
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
            "cudnn_benchmark": device.gpu and not deterministic,
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


def balanced_weights(counts: Sequence[int]) -> list[float]:
    """Weigh each class by the inverse of its share, 1 on average over the clips; 1 where there is none."""
    present = sum(n > 0 for n in counts)
    return [sum(counts) / (present * n) if n else 1.0 for n in counts]


def amp_dtype(recipe: Recipe, device: Device) -> str | None:
    """Name the half precision of a run that uses it; None for float32."""
    return half_precision(device) if recipe.amp else None


def _val_loop(recipe: Recipe, device: Device) -> dict[str, Any]:
    dtype = amp_dtype(recipe, device)
    return {"type": "HalfPrecisionValLoop", "dtype": dtype} if dtype else {"type": "ValLoop"}


def _optim_wrapper(recipe: Recipe, device: Device) -> dict[str, Any]:
    names = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}
    optimizer: dict[str, Any] = {
        "type": names[recipe.optimizer],
        "lr": recipe.scaled_lr(),
        "weight_decay": recipe.weight_decay,
    }
    if recipe.optimizer == "sgd":
        optimizer["momentum"] = recipe.momentum
    wrapper: dict[str, Any] = {"type": "OptimWrapper", "optimizer": optimizer}
    dtype = amp_dtype(recipe, device)
    if dtype == "bfloat16":
        wrapper["type"] = "Bfloat16OptimWrapper"
    elif dtype:
        wrapper |= {"type": "AmpOptimWrapper", "dtype": dtype}
    if recipe.accumulate > 1:
        wrapper["accumulative_counts"] = recipe.accumulate
    if recipe.clip_grad:
        wrapper["clip_grad"] = {"max_norm": recipe.clip_grad, "norm_type": 2}
    return wrapper


def schedulers(recipe: Recipe) -> list[dict[str, Any]]:
    """Write the learning-rate schedule for mmengine."""
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


def render_config(config: Mapping[str, Any], header: Sequence[str]) -> str:
    """Write a config as Python that reads like one written by hand; `header` becomes comments."""
    lines = [f"# {line}".rstrip() for line in header]
    for key, value in config.items():
        text = _source(value, 0, len(key) + 3)
        lines += ["", f"{key} = {text}"] if "\n" in text else [f"{key} = {text}"]
    return "\n".join(lines) + "\n"


def _source(value: Any, indent: int, used: int) -> str:
    """Python source of plain data: on one line if it fits, else an item a line."""
    if isinstance(value, Mapping) and all(_is_name(key) for key in value):
        items = [(f"{key}=", item) for key, item in value.items()]
        left, right = "dict(", ")"
    elif isinstance(value, list | tuple):
        items = [("", item) for item in value]
        left, right = ("[", "]") if isinstance(value, list) else ("(", ",)" if len(value) == 1 else ")")
    else:
        return repr(value)
    inline = left + ", ".join(key + _source(item, 0, -(10**6)) for key, item in items) + right
    if indent + used + len(inline) <= _WIDTH:
        return inline
    pad = " " * (indent + 4)
    rows = [f"{pad}{key}{_source(item, indent + 4, len(key) + 1)},\n" for key, item in items]
    return f"{left}\n{''.join(rows)}{' ' * indent}{right[-1]}"


def _is_name(key: object) -> bool:
    return isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key)
