"""The cost of one view in GFLOPs, and the measured throughput of a run."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

from dancecli.core.recipe import Recipe
from dancecli.model.dataloading.pipelines import frame_sampler
from dancecli.model.networks.base import ModelBase
from dancecli.model.networks.zoo import ZooEntry

# Shorter than this is no measurement.
_LEAST_S = 0.5


def cost_of_view(entry: ZooEntry, model: dict[str, Any], base: ModelBase, recipe: Recipe) -> dict[str, Any]:
    """Give a view's cost for `run.json`: counted, or the zoo's figure, and which of the two it is."""
    counted = gflops_of_view(model, base, recipe)
    source = "counted for this view" if counted else "of the zoo, for the model's own view"
    found = counted or entry.gflops or None
    return {"gflops_view": found, "gflops_from": source if found else None}


def speed_record(
    seconds: Mapping[str, float], computed: int, evaluated: int, cached: bool
) -> dict[str, Any] | None:
    """Give the throughput in clips per second for `run.json`; None if too few were processed.

    Args:
        seconds: of the run's phases.
        computed: views whose features were computed; the rest of the network takes little beside it.
        evaluated: clips that the whole network evaluated, where nothing is cached.
        cached: whether features are cached.
    """
    spent = seconds.get("features" if cached else "evaluate", 0.0)
    count = computed if cached else evaluated
    if spent < _LEAST_S or not count:
        return None
    of = "decoding and the frozen backbone" if cached else "decoding and the whole network"
    return {"clips_per_s": round(count / spent, 3), "clips": count, "of": of}


def gflops_of_view(model: dict[str, Any], base: ModelBase, recipe: Recipe) -> float | None:
    """Count the multiply-adds of a forward pass over one view, in 10^9, as the papers of the field do.

    Args:
        model: MMAction2's config of the network.
        base: what was taken over from its own config.
        recipe: frames and crop.

    Returns:
        None where the network cannot be run on shapes alone, and for a skeleton network.
    """
    if base.skeleton is not None:
        return None
    import torch
    from torch.overrides import TorchFunctionMode
    from torch.utils.flop_counter import FlopCounterMode

    from dancecli.model.networks.build import MODELS
    from dancecli.model.networks.mmaction import MMLogger, init_default_scope, silence

    class ReadableRates(TorchFunctionMode):
        """Transformers read the drop rates of their layers from a `linspace`, which must have values."""

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            place = {"device": "cpu"} if func is torch.linspace else {}
            return func(*args, **{**(kwargs or {}), **place})

    init_default_scope("mmaction")
    silence(MMLogger.get_current_instance())
    shape = _input_shape(base, recipe)
    try:
        with torch.device("meta"), ReadableRates(), torch.no_grad(), warnings.catch_warnings():
            # Torch's own, of how MMAction2's networks use it.
            warnings.simplefilter("ignore")
            network = MODELS.build(model).eval()
            with FlopCounterMode(display=False) as counter:
                network.backbone(torch.empty(shape))
    except Exception:  # a layer that asks for values raises nearly anything
        return None
    # It counts a multiplication and an addition as two; the tables of the zoo count them as one.
    total = counter.get_total_flops() / 2e9
    return round(total, 2) if total > 0 and math.isfinite(total) else None


def _input_shape(base: ModelBase, recipe: Recipe) -> tuple[int, ...]:
    sampler, side = frame_sampler(base, recipe), recipe.crop
    channels, frames = int(base.model["backbone"].get("in_channels", 3)), int(sampler["clip_len"])
    if base.is_3d:
        return (1, channels, frames, side, side)
    # Of flow a stack of fields is one picture of many channels.
    pictures = int(sampler.get("num_clips", 1)) * (1 if base.flow else frames)
    return (pictures, channels, side, side)
