"""A backbone for computing features alone: the same values, in less time."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dancecli.model.networks.inception import Unit3D
from dancecli.model.networks.mmaction import ConvModule


def fuse_conv_bn(backbone: nn.Module) -> nn.Module:
    """Copy a backbone as it is in evaluation, with the same values within 1e-4.

    Batch norm with its running averages goes into the convolutions, and the weights lie
    channels-last, which CPUs take faster. The copy cannot be trained, and its state dict is
    not that of the class.
    """
    copy = deepcopy(backbone)
    # Not every backbone of MMAction2 gives itself back from eval().
    copy.eval()
    for module in copy.modules():
        if isinstance(module, Unit3D):
            _fold(module, "bn")
        elif isinstance(module, ConvModule) and module.with_norm:
            _fold(module, module.norm_name)
    copy.requires_grad_(requires_grad=False)
    return copy.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload, no-any-return]


def _fold(unit: Any, norm: str) -> None:
    """Put a unit's batch norm into the convolution before it."""
    if isinstance(unit.conv, nn.Conv3d) and isinstance(getattr(unit, norm), nn.BatchNorm3d):
        unit.conv = fuse_conv_bn_eval(unit.conv, getattr(unit, norm))
        setattr(unit, norm, nn.Identity())
