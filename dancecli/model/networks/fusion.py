"""A backbone for inference alone: batch norm fused, layers by oneDNN; the same values in less time."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dancecli.model.hardware.device import use_channels_last
from dancecli.model.networks.inception import SameConv3d, Size3, Unit3D
from dancecli.model.networks.mmaction import Conv3d, ConvModule, Linear


def inference_copy(backbone: nn.Module) -> nn.Module:
    """Copy a backbone in evaluation mode, with batch norm fused into the convolutions.

    On a CPU its 3-D convolutions are computed by oneDNN, with AVX-512 its linear layers, too. Outputs are the
    same within 1e-4. The copy cannot be trained, and its state dict is not that of the class.
    """
    copy = deepcopy(backbone)
    # Not every backbone of MMAction2 returns itself from eval().
    copy.eval()
    for module in copy.modules():
        if isinstance(module, Unit3D):
            _fuse(module, "bn")
        elif isinstance(module, ConvModule) and module.with_norm:
            _fuse(module, module.norm_name)
    copy.requires_grad_(requires_grad=False)
    # On a CPU too convolutions run faster so.
    use_channels_last(copy)
    if torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        _compute_by_onednn(copy)
    return copy


def _compute_by_onednn(backbone: nn.Module) -> None:
    """Give layers in a backbone a class that oneDNN computes; weights and names stay."""
    # With AVX2 alone MKL multiplies as fast or a tenth faster.
    wide = torch.backends.cpu.get_cpu_capability() == "AVX512"
    for module in backbone.modules():
        kind = type(module)
        # MMCV's own only add what a torch of before 1.5 lacked.
        if wide and kind in (nn.Linear, Linear):
            module.__class__ = OneDnnLinear
        elif kind is SameConv3d:
            module.__class__ = OneDnnSameConv3d
        elif kind in (nn.Conv3d, Conv3d) and module.padding_mode == "zeros":
            module.__class__ = OneDnnConv3d


class OneDnnLinear(nn.Linear):
    """A linear layer by oneDNN, twice as fast as by MKL on an AMD EPYC with AVX-512."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply it to the last axis, whatever the shape."""
        if _left_to_torch(input) or torch.is_grad_enabled():
            return super().forward(input)
        found: Tensor = torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, "none", [], "")
        return found


class OneDnnConv3d(nn.Conv3d):
    """A 3-D convolution by oneDNN."""

    def forward(self, input: Tensor) -> Tensor:
        """Convolve [N, C, T, H, W]."""
        return _convolve(self, input, self.padding)


class OneDnnSameConv3d(SameConv3d):
    """The same with TensorFlow's `SAME` padding."""

    def convolve(self, x: Tensor, padding: Size3) -> Tensor:
        """Convolve [N, C, T, H, W], with what of the padding is not in it yet."""
        return _convolve(self, x, padding)


def _convolve(layer: nn.Conv3d, x: Tensor, padding: Any) -> Tensor:
    """Convolve by oneDNN what torch, left alone, does in a loop of its own.

    It takes that for small batches and, with one thread, for kernels of one pixel, and is 2 to 5 times as
    slow then; see `use_mkldnn` in its Convolution.cpp.
    """
    rest = (layer.dilation, layer.groups)
    if _left_to_torch(x) or isinstance(padding, str):
        return nn.functional.conv3d(x, layer.weight, layer.bias, layer.stride, padding, *rest)
    return torch.mkldnn_convolution(x, layer.weight, layer.bias, padding, layer.stride, *rest)


def _left_to_torch(x: Tensor) -> bool:
    """Tell whether torch computes with x: traces, compilers and fake tensors know its own layers only."""
    traced = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]  # not in its stubs
    if traced or torch.compiler.is_compiling() or type(x) is not Tensor:
        return True
    return x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_autocast_enabled("cpu")


def _fuse(unit: Any, norm: str) -> None:
    """Put a unit's batch norm into the convolution before it."""
    # A TSM shifts channels before its convolution, and holds it inside.
    owner, key = (unit.conv, "net") if hasattr(unit.conv, "net") else (unit, "conv")
    convolution = getattr(owner, key)
    if isinstance(convolution, nn.Conv2d | nn.Conv3d) and isinstance(
        getattr(unit, norm), nn.BatchNorm2d | nn.BatchNorm3d
    ):
        setattr(owner, key, fuse_conv_bn_eval(convolution, getattr(unit, norm)))
        setattr(unit, norm, nn.Identity())
