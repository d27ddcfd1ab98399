"""What a GPU is given, with torch's own questions about it answered by the test."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dancecli.core.recipe import Recipe
from dancecli.model.hardware import device as hardware
from dancecli.model.hardware.device import CPU, Device
from dancecli.model.networks.base import INCEPTION
from dancecli.model.training.config import DataPlan, build_config


def joined(parts: list[list[int]]) -> list[int]:
    return [item for part in parts for item in part]


H100 = Device(gpu=True, bfloat16=True, free_bytes=80 * 10**9, count=8)
OLD = Device(gpu=True, bfloat16=False, free_bytes=8 * 10**9, count=1)


def config_of(device: Device, recipe: Recipe, tmp_path, processes: int = 1):
    plan = DataPlan(tmp_path, "s", 3, has_val=True)
    return build_config(
        INCEPTION, recipe, plan, None, 0, deterministic=not device.gpu, device=device, processes=processes
    )


def test_torch_is_asked_what_the_device_can_do(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert hardware.current_device() == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (7 * 10**9, 8 * 10**9))
    asked = []

    def is_bf16_supported(including_emulation: bool = True) -> bool:
        asked.append(including_emulation)
        return including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert hardware.current_device() == Device(gpu=True, bfloat16=False, free_bytes=7 * 10**9, count=2)
    # A GPU that only emulates it is slower with it.
    assert asked == [False]


@pytest.mark.parametrize(
    ("device", "amp", "optimizer", "dtype", "validation"),
    [
        (CPU, False, "OptimWrapper", None, "ValLoop"),
        (CPU, True, "Bfloat16OptimWrapper", None, "HalfPrecisionValLoop"),
        (H100, False, "OptimWrapper", None, "ValLoop"),
        (H100, True, "Bfloat16OptimWrapper", None, "HalfPrecisionValLoop"),
        (OLD, True, "AmpOptimWrapper", "float16", "HalfPrecisionValLoop"),
    ],
)
def test_half_precision_is_what_the_device_computes_fast(device, amp, optimizer, dtype, validation, tmp_path):
    config = config_of(device, Recipe(amp=amp), tmp_path)
    assert config["optim_wrapper"]["type"] == optimizer
    assert config["optim_wrapper"].get("dtype") == dtype
    assert config["val_cfg"]["type"] == validation
    assert config["val_cfg"].get("dtype") == (hardware.half_precision(device) if amp else None)


def test_a_gpu_gets_pinned_memory_tuned_convolutions_workers_and_large_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(hardware, "num_cores", lambda: 32)
    cpu, gpu = (config_of(device, Recipe(), tmp_path) for device in (CPU, H100))
    assert gpu["train_dataloader"]["pin_memory"]
    assert "pin_memory" not in cpu["train_dataloader"]
    assert (cpu["env_cfg"]["cudnn_benchmark"], gpu["env_cfg"]["cudnn_benchmark"]) == (False, True)
    assert (cpu["train_dataloader"]["num_workers"], gpu["train_dataloader"]["num_workers"]) == (4, 16)
    # Eight processes share the cores.
    assert config_of(H100, Recipe(), tmp_path, 8)["train_dataloader"]["num_workers"] == 3
    assert config_of(H100, Recipe(workers=2), tmp_path)["train_dataloader"]["num_workers"] == 2
    sizes = [
        config["test_dataloader"]["batch_size"] for config in (cpu, config_of(OLD, Recipe(), tmp_path), gpu)
    ]
    assert sizes == [2, 6, 64]


@pytest.mark.parametrize(
    ("decode_s", "step_s", "needed"),
    [(0.02, 0.02, 2), (0.02, 0.002, 14), (0.02, 0.0001, 16), (0.001, 1.0, 1), (0.02, 0.0, 16)],
)
def test_as_many_workers_as_keep_the_network_busy(decode_s, step_s, needed):
    assert hardware.workers_needed(decode_s, step_s, 16) == needed


def test_fast_math_is_for_gpus_alone(monkeypatch):
    said = []
    monkeypatch.setattr(torch, "set_float32_matmul_precision", said.append)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    hardware.use_fast_math(CPU)
    assert (said, torch.backends.cudnn.benchmark) == ([], False)
    hardware.use_fast_math(H100)
    assert (said, torch.backends.cudnn.benchmark) == (["high"], True)


def test_a_batch_that_does_not_fit_is_computed_in_halves():
    passes = []

    def compute(items: list[int]) -> list[int]:
        passes.append(len(items))
        if len(items) > 3:
            raise torch.OutOfMemoryError("no memory")
        return [2 * item for item in items]

    found = hardware.halve_if_too_large(compute, list(range(10)), joined)
    assert found == [2 * item for item in range(10)]
    assert passes == [10, 5, 2, 3, 5, 2, 3]

    def never(items: list[int]) -> list[int]:
        raise torch.OutOfMemoryError("no memory")

    with pytest.raises(torch.OutOfMemoryError):
        hardware.halve_if_too_large(never, [1, 2], joined)


def test_channels_last_changes_where_kernels_lie_and_not_their_values():
    model = nn.Sequential(nn.Conv3d(4, 8, 3), nn.Conv2d(4, 8, 3), nn.Linear(4, 4))
    before = [parameter.clone() for parameter in model.parameters()]
    model.data_preprocessor = SimpleNamespace(_non_blocking=False)
    hardware.prepare_for_training(model, CPU)
    assert model[0].weight.is_contiguous()
    hardware.prepare_for_training(model, H100)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert model[1].weight.is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert model.data_preprocessor._non_blocking


def test_what_is_frozen_is_not_among_the_gradients_that_processes_share(monkeypatch):
    from mmengine.runner import Runner

    from dancecli.model.training.run_hook import QuietRunner

    seen = {}

    def wrap(self, _, model):
        seen["shared"] = [name for name, p in model.named_parameters() if p.requires_grad]
        return model

    class Backbone(nn.Linear):
        """Freezes itself once it is in training mode, as MMAction2's do."""

        def train(self, mode: bool = True) -> Backbone:
            self.weight.requires_grad_(False)
            return super().train(mode)

    compiled = []

    def note(module: nn.Module) -> None:
        compiled.append(module)

    monkeypatch.setattr(nn.Module, "compile", note)
    monkeypatch.setattr(Runner, "wrap_model", wrap)
    monkeypatch.setattr(QuietRunner, "world_size", 2)
    monkeypatch.setattr(QuietRunner, "rank", 0)
    runner = QuietRunner.__new__(QuietRunner)
    runner._frozen, runner._device, runner._compiled = ("neck",), CPU, True
    model = nn.ModuleDict({"backbone": Backbone(2, 2), "neck": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    runner.wrap_model({}, model.eval())
    assert compiled == [model["backbone"]]
    assert seen["shared"] == ["backbone.bias", "head.weight", "head.bias"]


def test_half_precision_passes_give_nearly_the_same():
    layer = nn.Linear(64, 64)
    x = torch.randn(8, 64)
    with hardware.half_precision_pass(None, x.device):
        assert layer(x).dtype == torch.float32
    with hardware.half_precision_pass("bfloat16", x.device):
        half = layer(x)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), layer(x), rtol=0.05, atol=0.05)
