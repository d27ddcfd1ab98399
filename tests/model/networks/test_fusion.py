"""Batch norm in the convolutions changes no value, for any backbone that is cut at its freeze boundary."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dancecli.model.networks.fusion import fuse_conv_bn
from dancecli.model.networks.inception import ShiftBatchNorm3d
from dancecli.model.networks.mmaction import MODELS, init_default_scope


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
    fast = fuse_conv_bn(lively)
    assert not any(isinstance(module, nn.BatchNorm3d) for module in fast.modules())
    assert not fast.training
    assert torch.isfinite(before).all()
    assert before.std() > 1e-3 * before.abs().max()
    assert (fast(x) - before).abs().max() < 1e-4 * before.abs().max()
    assert torch.equal(lively(x), before)
