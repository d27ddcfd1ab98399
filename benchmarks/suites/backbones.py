"""The forward pass of frozen backbones on the CPU, in several ways: one thread, processor time.

    python -m benchmarks.suites.backbones [NAME ...] [--rounds 3] [--compile] [--quick]

Every way computes the output of one network on the same four views (random weights and pixels, batch
norms fitted to them), turn by turn. What torch computes features with is 1: batch norm fused into the
convolutions, kernels with channels last. `plain` is the network as MMAction2 builds it. Told is how many
times as fast a way is, by processor time per view, in brackets if its values are more than 0.001 of the
largest from those of `plain`. ONNX Runtime and OpenVINO are tried where they are installed, torch.compile
where it is asked for.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.lib.compare import middle, take_turns, tell, timed

NAMES = (
    "inception", "resnet50", "slowfast", "tsn", "tsm", "csn", "c3d", "x3d-m",
    "swin-tiny", "timesformer", "uniformer-small", "mvit-small", "videomae-base", "uniformerv2-base",
)  # fmt: skip
# What convolutional networks see; the others have one size.
SIDE, FRAMES = 112, 16
VIEWS = 4
# Values that are this far apart count as the same.
SAME = 1e-3
Way = Callable[[], Any]
ALONE = "one at a time"
WAYS = ("plain", "fused alone", "input too", ALONE, "bfloat16", "compiled", "ONNX Runtime", "OpenVINO")


def network(name: str) -> tuple[Any, Any]:
    """Build the backbone of a zoo entry and a view of it."""
    import torch

    from dancecli.core.recipe import Recipe
    from dancecli.model.networks.base import build_model_config, model_base
    from dancecli.model.networks.build import build_model
    from dancecli.model.networks.zoo import find_entry

    entry = find_entry(name)
    base = model_base(entry)
    model = build_model(build_model_config(base, Recipe(), 10, None), seed=0).backbone
    # Not every backbone of MMAction2 returns itself from eval().
    model.eval()
    side = entry.crop or SIDE
    if base.is_3d:
        frames = int(base.sampler.get("clip_len", FRAMES)) if entry.crop else FRAMES
        view = torch.rand(1, 3, frames, side, side) * 4 - 2
    else:
        view = torch.rand(int(getattr(model, "num_segments", 8)), 3, side, side) * 4 - 2
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            module.momentum = None
            module.train()
    with torch.no_grad():
        model(view)
    model.eval()
    return model, torch.cat([view] * VIEWS)


def ways(model: Any, view: Any, folder: Path, *, compiled: bool) -> dict[str, Way]:
    """Give the ways to compute this network that work."""
    import torch

    from dancecli.model.networks.fusion import fuse_conv_bn

    ours = fuse_conv_bn(model)
    contiguous = fuse_conv_bn(model)
    for parameter in contiguous.parameters():
        parameter.data = parameter.data.contiguous()
    last = torch.channels_last_3d if view.ndim == 5 else torch.channels_last
    laid = view.contiguous(memory_format=last)
    one = view[: len(view) // VIEWS]

    def half() -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return ours(view)

    found: dict[str, Way] = {
        "plain": lambda: model(view),
        "torch": lambda: ours(view),
        "fused alone": lambda: contiguous(view),
        "input too": lambda: ours(laid),
        "bfloat16": half,
        ALONE: lambda: ours(one),
    }
    if compiled:
        fast = torch.compile(contiguous)
        found["compiled"] = lambda: fast(view)
    return found | _exported(contiguous, view, folder)


def _exported(model: Any, view: Any, folder: Path) -> dict[str, Way]:
    """Give the engines that take the network as ONNX."""
    import torch

    file = folder / "network.onnx"
    # What MMAction2 and the exporter print of layers that they do not know is no result.
    with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()), torch.inference_mode():
        torch.onnx.export(model, (view,), str(file), dynamo=False)
    if not file.exists():
        return {}
    found: dict[str, Way] = {}
    with contextlib.suppress(Exception):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: view.numpy()}
        found["ONNX Runtime"] = lambda: session.run(None, feed)
    with contextlib.suppress(Exception):
        import openvino

        core = openvino.Core()
        settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        request = core.compile_model(core.read_model(file), "CPU", settings)
        found["OpenVINO"] = lambda: list(request([view.numpy()]).values())
    return found


def _flat(output: Any) -> Any:
    """Give what a backbone returns as one vector; the first of several views."""
    import numpy as np

    if isinstance(output, list | tuple):
        return np.concatenate([_flat(one) for one in output])
    array = output.float().numpy() if hasattr(output, "float") else np.asarray(output)
    return array.ravel()


def measure(name: str, rounds: int, *, compiled: bool) -> dict[str, dict[str, float]]:
    """Time every way of one network; those that fail are left out."""
    import numpy as np
    import torch

    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        model, view = network(name)
        able: dict[str, Way] = {}
        apart: dict[str, float] = {}
        truth = _flat(model(view))
        for way, compute in ways(model, view, Path(folder), compiled=compiled).items():
            with contextlib.suppress(Exception):
                output = _flat(compute())
                # One view's outputs are not the first of those of all where there are several maps.
                apart[way] = (
                    0.0 if way == ALONE else float(np.abs(output - truth).max() / np.abs(truth).max())
                )
                able[way] = compute
        costs = take_turns({way: lambda c=compute: timed(c) for way, compute in able.items()}, rounds)
    seconds = {way: middle(cost).cpu_s / (1 if way == ALONE else VIEWS) for way, cost in costs.items()}
    return {
        way: {"seconds": round(took, 4), "ratio": round(seconds["torch"] / took, 2), "apart": apart[way]}
        for way, took in seconds.items()
    }


def _cell(found: dict[str, float] | None) -> str:
    """Give the ratio, in brackets if the values are not torch's; a dash where the way failed."""
    if found is None:
        return "-"
    text = f"{found['ratio']:.2f}"
    return text if found["apart"] <= SAME else f"({text})"


def main() -> int:
    """Measure every network that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--compile", action="store_true", help="torch.compile too: minutes per network")
    parser.add_argument("--quick", action="store_true", help="one network, one round")
    asked = parser.parse_args()
    if asked.quick:
        asked.names, asked.rounds = ["x3d-m"], 1
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    rows, measured = [], {}
    for name in asked.names:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = measure(name, asked.rounds, compiled=asked.compile)
        measured[name] = found
        rows.append((name, *(_cell(found.get(way)) for way in WAYS)))
        ratios = {way: (one["ratio"], f"{one['apart']:.0e}") for way, one in found.items()}
        print(name, ratios, file=sys.stderr, flush=True)
    return tell("backbones", measured, [], ("network", *WAYS), rows)


if __name__ == "__main__":
    raise SystemExit(main())
