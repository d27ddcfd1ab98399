"""Inception-v1 I3D (Carreira & Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017) in PyTorch.

The network of github.com/deepmind/kinetics-i3d, layer for layer, so that its Kinetics-400
weights give its logits: TensorFlow's `SAME` padding (the odd row goes to the end), batch
norm with epsilon 1e-3 and no scale. It has the manners of an MMAction2 backbone
(`frozen_stages`, `norm_eval`, `init_weights`, `train`) and imports none of it.

Frames go in as RGB scaled to [-1, 1]: (pixel - 127.5) / 127.5.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Self

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dancecli.core.errors import ModelError
from dancecli.model.networks.mmaction import MODELS

FEATURE_CHANNELS = 1024
KINETICS400 = "kinetics400"

Size3 = tuple[int, int, int]

# Channels of a mixed layer: branch 0; branch 1's 1x1 and 3x3; branch 2's 1x1 and 3x3; branch 3.
_MIXED: dict[str, tuple[int, int, int, int, int, int]] = {
    "mixed_3b": (64, 96, 128, 16, 32, 32),
    "mixed_3c": (128, 128, 192, 32, 96, 64),
    "mixed_4b": (192, 96, 208, 16, 48, 64),
    "mixed_4c": (160, 112, 224, 24, 64, 64),
    "mixed_4d": (128, 128, 256, 24, 64, 64),
    "mixed_4e": (112, 144, 288, 32, 64, 64),
    "mixed_4f": (256, 160, 320, 32, 128, 128),
    "mixed_5b": (256, 160, 320, 32, 128, 128),
    "mixed_5c": (384, 192, 384, 48, 128, 128),
}


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding before and after one axis, as TensorFlow's `SAME` has it: output = ceil(size / stride)."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _pad_same(x: Tensor, kernel: Size3, stride: Size3) -> tuple[Tensor, Size3]:
    """Pad with zeros what is lopsided, and return what the operator itself can pad evenly."""
    # Whole numbers also while the network is traced for export, where a size is a tensor.
    pads = [same_padding(int(n), k, s) for n, k, s in zip(x.shape[2:], kernel, stride, strict=True)]
    if all(before == after for before, after in pads):
        return x, (pads[0][0], pads[1][0], pads[2][0])
    # F.pad counts from the last axis.
    return F.pad(x, [n for pair in reversed(pads) for n in pair]), (0, 0, 0)


class SameConv3d(nn.Conv3d):
    """A 3-D convolution with TensorFlow's `SAME` padding and, as batch norm follows, no bias."""

    def __init__(self, in_channels: int, out_channels: int, kernel: Size3, stride: Size3 = (1, 1, 1)) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, bias=False)
        self.window, self.step = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T, H, W] to [N, C', ceil(T/s), ceil(H/s), ceil(W/s)]."""
        return self.convolve(*_pad_same(x, self.window, self.step))

    def convolve(self, x: Tensor, padding: Size3) -> Tensor:
        """Convolve [N, C, T, H, W], with what of the padding is not in it yet."""
        return F.conv3d(x, self.weight, self.bias, self.step, padding)


class SameMaxPool3d(nn.Module):
    """Max pooling with TensorFlow's `SAME` padding, of input that is not negative.

    Every pool of this network follows a ReLU, so a padded zero never wins over a real value.
    """

    def __init__(self, kernel: Size3, stride: Size3) -> None:
        super().__init__()
        self.window, self.step = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T, H, W] to [N, C, ceil(T/s), ceil(H/s), ceil(W/s)]."""
        x, padding = _pad_same(x, self.window, self.step)
        return F.max_pool3d(x, self.window, self.step, padding)


class ShiftBatchNorm3d(nn.BatchNorm3d):
    """Batch norm that shifts but does not scale, as Sonnet's default is.

    The running averages move by 1/100 a batch, not by the original's 1/1000: fine-tuning on a
    few hundred clips would otherwise end before they arrive.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features, eps=1e-3, momentum=0.01)
        self.register_parameter("weight", None)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize [N, C, T, H, W]; by the running averages where a batch has one value a channel."""
        if self.training and x.numel() == x.shape[1]:
            # A last batch of one small view: a single value has no spread.
            return F.batch_norm(x, self.running_mean, self.running_var, bias=self.bias, eps=self.eps)
        normal: Tensor = super().forward(x)
        return normal

    def reset_parameters(self) -> None:
        """Forget the running averages and the shift."""
        self.reset_running_stats()
        nn.init.zeros_(self.bias)


class Unit3D(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__()
        self.conv = SameConv3d(in_channels, out_channels, (kernel,) * 3, (stride,) * 3)
        self.bn: nn.Module = ShiftBatchNorm3d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T, H, W] to [N, C', T/s, H/s, W/s], not negative."""
        return F.relu(self.bn(self.conv(x)), inplace=True)


class Mixed(nn.Module):
    """An inception module: four branches over the same input, their channels put side by side."""

    def __init__(self, in_channels: int, channels: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        c0, c1a, c1b, c2a, c2b, c3 = channels
        self.branch_0 = Unit3D(in_channels, c0)
        self.branch_1 = nn.Sequential(Unit3D(in_channels, c1a), Unit3D(c1a, c1b, 3))
        self.branch_2 = nn.Sequential(Unit3D(in_channels, c2a), Unit3D(c2a, c2b, 3))
        self.branch_3 = nn.Sequential(SameMaxPool3d((3, 3, 3), (1, 1, 1)), Unit3D(in_channels, c3))
        self.out_channels = c0 + c1b + c2b + c3

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, T, H, W] to [N, out_channels, T, H, W]."""
        return torch.cat([self.branch_0(x), self.branch_1(x), self.branch_2(x), self.branch_3(x)], dim=1)


@MODELS.register_module(force=True)
class InceptionI3D(nn.Module):
    """The convolutional part of Inception-v1 I3D, as an MMAction2 backbone.

    Stages, as freezing counts them: 0 `stem` (1a to 2c), 1 (3b, 3c), 2 (4b to 4d), 3 (4e, 4f),
    4 (5b, 5c). A pool closes the stage before it: having no weights it can always be frozen
    with it, and what a cache keeps at that boundary is an eighth of the size.

    Args:
        in_channels: 3 for RGB, 2 for optical flow.
        frozen_stages: the last stage that is not trained; -1 trains all, 4 none.
        norm_eval: keep the running averages of batch norm as they are while training.
        pretrained: `kinetics400` for the weights of `dancecli.model.networks.inception_weights`, which
            are for RGB, or None for a fresh start. Read by `init_weights`, not before.

    Raises:
        ModelError: there is no such stage, or no such weights for these channels.
    """

    def __init__(
        self,
        in_channels: int = 3,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        pretrained: str | None = None,
    ) -> None:
        super().__init__()
        if frozen_stages not in range(-1, 5):
            raise ModelError(
                f"frozen_stages {frozen_stages} is not a stage of Inception I3D", "choose -1 to 4"
            )
        if pretrained not in (None, KINETICS400) or (pretrained and in_channels != 3):
            raise ModelError(
                f"no weights {pretrained!r} for {in_channels} channels are known to Inception I3D",
                f"there are {KINETICS400!r} for 3 channels; load others as a checkpoint",
            )
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.pretrained = pretrained
        self.stem = nn.Sequential(
            OrderedDict[str, nn.Module](
                conv_1a=Unit3D(in_channels, 64, 7, 2),
                pool_2a=SameMaxPool3d((1, 3, 3), (1, 2, 2)),
                conv_2b=Unit3D(64, 64),
                conv_2c=Unit3D(64, 192, 3),
                pool_3a=SameMaxPool3d((1, 3, 3), (1, 2, 2)),
            )
        )
        pool_4a = SameMaxPool3d((3, 3, 3), (2, 2, 2))
        pool_5a = SameMaxPool3d((2, 2, 2), (2, 2, 2))
        self.stage1 = _stage(192, ["mixed_3b", "mixed_3c"], pool_4a=pool_4a)
        self.stage2 = _stage(480, ["mixed_4b", "mixed_4c", "mixed_4d"])
        self.stage3 = _stage(512, ["mixed_4e", "mixed_4f"], pool_5a=pool_5a)
        self.stage4 = _stage(832, ["mixed_5b", "mixed_5c"])
        self._fresh_weights()
        self._freeze()

    @property
    def stages(self) -> list[nn.Sequential]:
        """The stages in order; their places are the numbers that `frozen_stages` means."""
        return [self.stem, self.stage1, self.stage2, self.stage3, self.stage4]

    def forward(self, x: Tensor) -> Tensor:
        """Features before pooling: [N, C, T, H, W] in [-1, 1] to [N, 1024, T/8, H/32, W/32], rounded up."""
        for stage in self.stages:
            x = stage(x)
        return x

    def init_weights(self) -> None:
        """Give the weights that `pretrained` names, or fresh ones.

        Raises:
            ModelError, MissingDependencyError: the Kinetics-400 weights are not installed.
        """
        if self.pretrained is None:
            self._fresh_weights()
        else:
            from dancecli.model.networks.inception_weights import kinetics_weights

            self.load_state_dict(kinetics_weights().state_dict)

    def train(self, mode: bool = True) -> Self:
        """Switch to training (or evaluation), leaving what is frozen in evaluation."""
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def _freeze(self) -> None:
        for part in self.stages[: self.frozen_stages + 1]:
            part.eval()
            part.requires_grad_(requires_grad=False)

    def _fresh_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, SameConv3d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            elif isinstance(module, ShiftBatchNorm3d):
                module.reset_parameters()


class InceptionLogits(nn.Module):
    """The original classification head: local average, dropout, one linear layer, mean over time.

    Args:
        num_classes: 400 for the Kinetics-400 weights.
        dropout: share of the pooled features that is dropped in training.
    """

    def __init__(self, num_classes: int = 400, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.conv = nn.Conv3d(FEATURE_CHANNELS, num_classes, 1)

    def forward(self, features: Tensor) -> Tensor:
        """[N, 1024, T', H', W'] of the backbone to [N, num_classes] logits.

        The window of 2x7x7 is the original's; a smaller map is averaged whole, a larger one
        in all its windows.
        """
        t, h, w = features.shape[2:]
        pooled = F.avg_pool3d(features, (min(2, t), min(7, h), min(7, w)), stride=1)
        logits: Tensor = self.conv(self.dropout(pooled))
        return logits.mean(dim=(2, 3, 4))


def _stage(in_channels: int, names: Sequence[str], **pool: SameMaxPool3d) -> nn.Sequential:
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name in names:
        layers[name] = mixed = Mixed(in_channels, _MIXED[name])
        in_channels = mixed.out_channels
    layers.update(pool)
    return nn.Sequential(layers)
