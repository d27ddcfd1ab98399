"""A backbone for inference alone gives the same values, for any that is cut at its freeze boundary."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from dancecli.model.networks.fusion import inference_copy
from dancecli.model.networks.inception import SameConv3d, ShiftBatchNorm3d
from dancecli.model.networks.mmaction import MODELS, Conv3d, init_default_scope


@pytest.mark.parametrize("kind", ["InceptionI3D", "ResNet3d", "ResNet3dSlowOnly", "ResNet3dCSN"])
@torch.inference_mode()
def test_a_folded_copy_gives_the_same_and_leaves_the_original_alone(kind):
    init_default_scope("mmaction")
    torch.manual_seed(7)
    depth = {} if kind == "InceptionI3D" else {"depth": 50, "pretrained": None}
    lively = MODELS.build({"type": kind, **depth})
    lively.eval()
    for module in lively.modules():
        # A norm that has something to do.
        if isinstance(module, nn.BatchNorm3d):
            for values in (module.bias, module.running_mean):
                nn.init.normal_(values, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            if not isinstance(module, ShiftBatchNorm3d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
    x = torch.rand(1, 3, 8, 64, 64) * 2 - 1
    before = lively(x)
    fast = inference_copy(lively)
    assert not any(isinstance(module, nn.BatchNorm3d) for module in fast.modules())
    assert not fast.training
    assert torch.isfinite(before).all()
    assert before.std() > 1e-3 * before.abs().max()
    assert (fast(x) - before).abs().max() < 1e-4 * before.abs().max()
    assert torch.equal(lively(x), before)


@pytest.mark.parametrize(
    "convolution", [nn.Conv3d(4, 8, 1), Conv3d(4, 8, 3, 2, 1), SameConv3d(4, 8, (3, 3, 3))]
)
def test_onednn_computes_one_clip_with_one_thread(convolution: nn.Conv3d) -> None:
    x = torch.rand(1, 4, 4, 8, 8)
    with torch.inference_mode():
        expected = convolution(x)
        fast = inference_copy(nn.Sequential(convolution))
        with torch.profiler.profile() as watched:
            found = fast(x)
    names = {event.key for event in watched.key_averages()}
    assert "aten::mkldnn_convolution" in names
    assert not any("slow_conv" in name for name in names)
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 6), (2, 3, 6), (2, 1, 3, 2, 6)])
def test_onednn_computes_a_linear_layer_where_no_gradient_is_needed(
    bias: bool, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    layer, x = nn.Linear(6, 4, bias=bias), torch.rand(shape)
    fast = inference_copy(nn.Sequential(layer))
    with torch.inference_mode(), torch.profiler.profile() as watched:
        found = fast(x)
    assert any("linear_pointwise" in event.key for event in watched.key_averages())
    assert torch.allclose(found, layer(x), atol=1e-6)
    # Grad-CAM needs the gradient of the input.
    x.requires_grad_()
    fast(x).sum().backward()
    assert torch.allclose(x.grad, layer.weight.detach().sum(0).expand(shape))


def test_mkl_multiplies_where_it_is_no_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    layer = inference_copy(nn.Sequential(nn.Linear(6, 4)))[0]
    assert type(layer) is nn.Linear


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_trace_holds_the_convolution_that_others_know() -> None:
    fast = inference_copy(nn.Sequential(nn.Conv3d(4, 8, 1)))
    traced = str(torch.jit.trace(fast, torch.rand(1, 4, 4, 8, 8)).inlined_graph)
    assert "aten::_convolution" in traced or "aten::conv3d" in traced
    assert "mkldnn" not in traced


def test_shapes_are_found_without_computing(caplog: pytest.LogCaptureFixture) -> None:
    fast = inference_copy(nn.Sequential(nn.Conv3d(3, 8, 1), nn.Linear(4, 2)))
    with torch.inference_mode(), FakeTensorMode(allow_non_fake_inputs=True):
        assert fast(torch.empty(2, 3, 4, 4, 4)).shape == (2, 8, 4, 4, 2)
    # Torch reports what a fake tensor cannot do before it raises.
    assert not caplog.records
