"""What a reproduction will cost: the work of its runs, held against a measured pace of this machine."""

from __future__ import annotations

from collections.abc import Sequence

from dancecli.core.recipe import Recipe
from dancecli.model.networks.zoo import read_zoo
from dancecli.reproduction.plan import Trial, recipe_of

# The share of a residual network's work that lies in its last stage, forward and backward.
_LAST_STAGE = 0.5
_STORED_VIEWS = 2
_START_S = 12.0
# Of the two streams each; either has the same network.
_ONE_STREAM = "inception"


def work(trials: Sequence[Trial], clips: int) -> float:
    """Estimate what the runs that are not done will compute, in 10^9 multiply-adds.

    What two of them share (the frozen subset over the same clips) is counted once.
    """
    total, shared = 0.0, set()
    for trial in trials:
        if trial.status == "done":
            continue
        recipe = recipe_of(trial)
        one, size = _gflops(trial, recipe), trial.size or clips
        views = recipe.views or _STORED_VIEWS
        frozen = (trial.pretrain, recipe.freeze, size, views)
        if recipe.frozen_stages >= 3:
            total += 0 if frozen in shared else one * size * views
            total += one * size * recipe.epochs * _LAST_STAGE * (recipe.frozen_stages == 3)
            shared.add(frozen)
        else:
            total += len(trial.runs) * one * size * (3 * recipe.epochs + 1)
    return total


def seconds(trials: Sequence[Trial], clips: int, gflops_per_s: float) -> float:
    """Estimate how long the runs that are not done will take."""
    open_runs = sum(len(trial.runs) for trial in trials if trial.status != "done")
    return work(trials, clips) / gflops_per_s + _START_S * open_runs


def _gflops(trial: Trial, recipe: Recipe) -> float:
    """One view of a model of the zoo, whose figures are for 224 pixels and its own number of frames."""
    entry = read_zoo()[_ONE_STREAM if trial.two_stream else trial.pretrain]
    own = 32 if entry.config else 64
    return entry.gflops * (recipe.clip_len or own) / own * (recipe.crop / 224) ** 2


def measured_pace() -> float:
    """Time a 3-D convolution here: 10^9 multiply-adds a second that a network can hope for."""
    import time

    import torch

    place = "cuda" if torch.cuda.is_available() else "cpu"
    x = torch.zeros(1, 64, 8, 56, 56, device=place)
    layer = torch.nn.Conv3d(64, 64, 3, padding=1, device=place)
    best = float("inf")
    with torch.inference_mode():
        for _ in range(3):
            began = time.perf_counter()
            float(layer(x).sum())  # waits for the device
            best = min(best, time.perf_counter() - began)
    # Decoding, small layers and waiting for memory take about half of what remains.
    return 0.5 * 64 * 64 * 27 * 8 * 56 * 56 / 1e9 / best
