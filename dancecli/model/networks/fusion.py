"""Conv-BN fusion: a backbone for inference alone, with the same values in less time."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dancecli.model.hardware.device import use_channels_last
from dancecli.model.networks.inception import Unit3D
from dancecli.model.networks.mmaction import ConvModule


def fuse_conv_bn(backbone: nn.Module) -> nn.Module:
    """Copy a backbone in evaluation mode with batch norm fused into the convolutions.

    Outputs are the same within 1e-4. The copy cannot be trained, and its state dict is not that of
    the class. Layers other than a convolution followed by batch norm are copied as they are.
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
    return copy


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
