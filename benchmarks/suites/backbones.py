"""The features of frozen backbones on the CPU, computed in several ways.

    python -m benchmarks.suites.backbones [NAME ...] [--rounds 3] [--threads 1] [--compile] [--quick]

Every way computes the features of one network, pooled as its head takes them, of the same views (random
weights and pixels, batch norms fitted to them), turn by turn. What torch computes them with here is 1:
batch norm fused into the convolutions, kernels with channels last. `plain` is the network as MMAction2
builds it. Told is how many times as fast a way is, by the clock, with as many threads as there are cores
unless fewer are asked for; in brackets if its values are more than 0.001 of the largest from those of
`plain`. OpenVINO is what `dance` takes for networks of attention where it is installed, ONNX Runtime the
network as an ONNX file, compiled is torch.compile, where it is asked for. `gain` is the last word: what
`dance` takes over `plain`.
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
    "inception", "resnet50", "nonlocal", "slowonly", "slowfast", "tsn", "tsm", "csn", "c3d", "x3d-m",
    "swin-tiny", "timesformer", "uniformer-small", "mvit-small", "videomae-base", "uniformerv2-base",
)  # fmt: skip
# What networks see; some have one size.
SIDE, FRAMES = 112, 16
# So many at once, of those with a size of their own half as many: they are four times as large.
VIEWS = 4
# Values that are this far apart count as the same.
SAME = 1e-3
Way = Callable[[], Any]
ALONE, TORCH, OPENVINO = "one at a time", "torch", "OpenVINO"
WAYS = ("plain", "fused alone", ALONE, "bfloat16", "compiled", "ONNX Runtime", OPENVINO, "gain")


def network(name: str) -> tuple[Any, Any]:
    """Build the network of a zoo entry, and views for it: [N, V, ...]."""
    import torch

    from dancecli.core.recipe import Recipe
    from dancecli.model.networks.base import build_model_config, model_base
    from dancecli.model.networks.build import build_model
    from dancecli.model.networks.zoo import find_entry

    entry = find_entry(name)
    base = model_base(entry)
    model = build_model(build_model_config(base, Recipe(), 10, None), seed=0)
    # Not every backbone of MMAction2 returns itself from eval().
    model.eval()
    side, count = entry.crop or SIDE, VIEWS // 2 if entry.crop == 224 else VIEWS
    if base.is_3d:
        frames = int(base.sampler.get("clip_len", FRAMES)) if entry.crop else FRAMES
        view = torch.rand(1, 3, frames, side, side) * 4 - 2
    else:
        view = torch.rand(int(getattr(model.backbone, "num_segments", 8)), 3, side, side) * 4 - 2
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            module.momentum = None
            module.train()
    with torch.no_grad():
        model.backbone(view)
    model.eval()
    return model, torch.stack([view] * count)


def ways(model: Any, views: Any, folder: Path, *, compiled: bool) -> dict[str, Way]:
    """Give the ways to compute the features of these views that work."""
    import torch

    from dancecli.model.training.features.frozen import FrozenBackbone

    plain, ours, contiguous = (FrozenBackbone(model, model.data_preprocessor, 4) for _ in range(3))
    plain.backbone = model.backbone
    for parameter in contiguous.backbone.parameters():
        parameter.data = parameter.data.contiguous()

    def half() -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return ours.features_of(views)

    found: dict[str, Way] = {
        "plain": lambda: plain.features_of(views),
        TORCH: lambda: ours.features_of(views),
        "fused alone": lambda: contiguous.features_of(views),
        "bfloat16": half,
        ALONE: lambda: ours.features_of(views[:1]),
    }
    if compiled:
        fast = FrozenBackbone(model, model.data_preprocessor, 4, compiled=True)
        found["compiled"] = lambda: fast.features_of(views)
    return found | _onnx_runtime(contiguous, views, folder) | _openvino(model, views)


def _openvino(model: Any, views: Any) -> dict[str, Way]:
    """Let OpenVINO compute as `dance` does, of convolutions too; nothing where it cannot."""
    from dancecli.core.progress import Reporter
    from dancecli.model.training.features.fast_cpu import OpenVinoPass
    from dancecli.model.training.features.frozen import FrozenBackbone

    frozen = FrozenBackbone(model, model.data_preprocessor, 4)
    reporter = Reporter(on_message=lambda text: print(text, file=sys.stderr))
    frozen.forward_pass = by_openvino = OpenVinoPass(frozen, reporter)
    by_openvino.expect(10**6)
    # It is compiled at the first batch, and computes from the second on.
    for _ in range(2):
        frozen.forward_pass(views)
    return {OPENVINO: lambda: frozen.forward_pass(views)} if frozen.engine.startswith(OPENVINO) else {}


def _onnx_runtime(frozen: Any, views: Any, folder: Path) -> dict[str, Way]:
    """Give ONNX Runtime, where it is installed and takes the network."""
    import torch

    class Features(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = frozen.backbone, frozen.head

        def forward(self, inputs: Any) -> Any:
            return frozen.features_of(inputs)

    file = folder / "network.onnx"
    found: dict[str, Way] = {}
    # What MMAction2 and the exporter print of layers that they do not know is no result.
    with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()), torch.inference_mode():
        torch.onnx.export(Features().eval(), (views,), str(file), dynamo=False)
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: views.numpy()}
        found["ONNX Runtime"] = lambda: session.run(None, feed)[0]
    return found


def measure(name: str, rounds: int, *, compiled: bool) -> dict[str, dict[str, float]]:
    """Time every way of one network; those that fail are left out."""
    import numpy as np
    import torch

    from dancecli.model.training.features.fast_cpu import mostly_linear

    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        model, views = network(name)
        tried = ways(model, views, Path(folder), compiled=compiled)
        truth = _array(tried["plain"]())
        able: dict[str, Way] = {}
        apart: dict[str, float] = {}
        for way, compute in tried.items():
            with contextlib.suppress(Exception):
                output = _array(compute())
                apart[way] = float(np.abs(output - truth[: len(output)]).max() / np.abs(truth).max())
                able[way] = compute
        costs = take_turns({way: lambda c=compute: timed(c) for way, compute in able.items()}, rounds)
    seconds = {way: middle(cost).clock_s / (1 if way == ALONE else len(views)) for way, cost in costs.items()}
    found = {
        way: {"seconds": round(took, 4), "ratio": round(seconds[TORCH] / took, 2), "apart": apart[way]}
        for way, took in seconds.items()
    }
    kept = OPENVINO if apart.get(OPENVINO, 1) <= SAME and mostly_linear(model.backbone) else TORCH
    gain = seconds["plain"] / seconds[kept]
    return found | {"gain": {"seconds": seconds[kept], "ratio": round(gain, 2), "apart": apart[kept]}}


def _array(features: Any) -> Any:
    """Give features as an array of float32."""
    import numpy as np

    return features.float().numpy() if hasattr(features, "float") else np.asarray(features)


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
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of each way")
    parser.add_argument("--compile", action="store_true", help="torch.compile too: minutes per network")
    parser.add_argument("--quick", action="store_true", help="one network, one round")
    asked = parser.parse_args()
    if asked.quick:
        asked.names, asked.rounds = ["x3d-m"], 1
    os.environ["OMP_NUM_THREADS"] = str(asked.threads)
    import torch

    torch.set_num_threads(asked.threads)
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
