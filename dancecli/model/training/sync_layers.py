"""Batch norm and dropout of one batch that several processes share: as one process with the whole batch.

Batch norm takes its statistics over all processes (torch's own synchronized batch norm needs a GPU).
Dropout draws the mask of the whole batch in every process, from the same seed, and each uses its own
clips' rows of it; a mask drawn by each process alone would be another than one process draws.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from dancecli.model.training.distributed import RankInfo


class SyncBatchNorm(_BatchNorm):
    """Batch norm over the clips of all processes, with gradients through the shared statistics."""

    def _check_input_dim(self, x: Tensor) -> None:
        """Take maps of any size."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize maps of shape [N, C, ...]; in evaluation mode as torch does."""
        if not self.training:
            return super().forward(x)
        dims = [0, *range(2, x.ndim)]
        shape = (1, -1, *[1] * (x.ndim - 2))
        values = x.float()
        count = torch.full((1,), values.numel() / values.shape[1], device=x.device)
        total = _sum_over_processes(torch.cat([values.sum(dims), count]))
        n = total[-1:]
        mean = total[:-1] / n
        # In two passes: a mean of squares less the square of the mean loses digits.
        centered = values - mean.view(shape)
        variance = _sum_over_processes(centered.square().sum(dims)) / n
        self._follow(mean.detach(), variance.detach(), n.detach())
        y = centered * torch.rsqrt(variance + self.eps).view(shape)
        if self.weight is not None:
            y = y * self.weight.view(shape)
        if self.bias is not None:
            y = y + self.bias.view(shape)
        return y.to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor, n: Tensor) -> None:
        """Move the running averages, of the unbiased variance, as torch does."""
        if self.running_mean is None or self.running_var is None:
            return
        if self.num_batches_tracked is not None:
            self.num_batches_tracked += 1
        step = self.momentum
        if step is None:
            step = 1.0 / float(self.num_batches_tracked or 1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), step)
        self.running_var.lerp_((variance * n / (n - 1).clamp(min=1)).to(self.running_var.dtype), step)


class SharedDropout(nn.Module):
    """Dropout whose mask is this process's share of the whole batch's mask.

    Args:
        p: probability of dropping a value.
        rank_info: which process this is; process r has the clips r, r + size, r + 2 size, ...

    Attributes:
        clips: of this process's batch; set before each step.
        generator: of the masks, the same in all processes; set before each step.
    """

    def __init__(self, p: float, rank_info: RankInfo) -> None:
        super().__init__()
        self.p, self.rank_info = p, rank_info
        self.clips = 1
        self.generator: torch.Generator | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Drop values of features of shape [clips x views, ...]; nothing in evaluation mode."""
        if not self.training or self.p == 0:
            return x
        keep = 1 - self.p
        mask = self._whole(x, *x.shape[1:]).bernoulli_(keep, generator=self.generator)
        return x * self._own(mask).reshape(x.shape) / keep

    def _whole(self, x: Tensor, *rest: int) -> Tensor:
        """Give an empty tensor for the whole batch: [clips of all processes, views, *rest]."""
        clips = self.clips if x.shape[0] % self.clips == 0 else 1
        rows = (clips * self.rank_info.size, x.shape[0] // clips)
        return torch.empty((*rows, *rest), dtype=x.dtype, device=x.device)

    def _own(self, whole: Tensor) -> Tensor:
        return whole[self.rank_info.rank :: self.rank_info.size]


class SharedDropPath(SharedDropout):
    """Stochastic depth, in the same way: a clip's whole residual branch is dropped."""

    def forward(self, x: Tensor) -> Tensor:
        """Drop whole rows of features of shape [clips x views, ...]."""
        if not self.training or self.p == 0:
            return x
        keep = 1 - self.p
        drawn = self._own(self._whole(x).uniform_(generator=self.generator))
        return x.div(keep) * (keep + drawn.reshape(-1, *[1] * (x.ndim - 1))).floor()


def share_layers(model: nn.Module, rank_info: RankInfo) -> nn.Module:
    """Put layers that act on the whole batch in the place of those that act on a process's share.

    Weights, their names and the random numbers drawn so far stay as they are. Other layers that draw
    random numbers draw those of their own process.
    """
    for name, child in list(model.named_children()):
        setattr(model, name, _shared(child, rank_info))
    return model


def begin_step(model: nn.Module, seed: int, clips: int) -> None:
    """Seed the masks of a step, equally in all processes.

    Args:
        model: with shared layers.
        seed: torch's before the step of one process alone.
        clips: of this process's batch.
    """
    layers = [module for module in model.modules() if isinstance(module, SharedDropout)]
    if not layers:
        return
    parameter = next(model.parameters())
    generator = torch.Generator(device=parameter.device).manual_seed(seed)
    for layer in layers:
        layer.clips, layer.generator = clips, generator


def _shared(layer: nn.Module, rank_info: RankInfo) -> nn.Module:
    if isinstance(layer, _BatchNorm) and not isinstance(layer, SyncBatchNorm):
        return _as_sync_batch_norm(layer)
    if type(layer) is nn.Dropout:
        return SharedDropout(layer.p, rank_info)
    # MMCV's, timm's and their copies in MMAction2.
    if type(layer).__name__ == "DropPath":
        return SharedDropPath(float(getattr(layer, "drop_prob", 0.0) or 0.0), rank_info)
    return share_layers(layer, rank_info)


def _as_sync_batch_norm(layer: _BatchNorm) -> nn.Module:
    shared: Any = SyncBatchNorm(
        layer.num_features, layer.eps, layer.momentum, layer.affine, layer.track_running_stats
    )
    # The same tensors: an optimizer or a checkpoint finds them under the same names.
    for key in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        if key in layer._parameters:
            shared._parameters[key] = layer._parameters[key]
        elif key in layer._buffers:
            shared._buffers[key] = layer._buffers[key]
    shared.train(layer.training)
    found: nn.Module = shared
    return found


class _AllReduce(torch.autograd.Function):
    """The sum over all processes; so is its gradient."""

    @staticmethod
    def forward(_: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


def _sum_over_processes(tensor: Tensor) -> Tensor:
    if not dist.is_initialized():
        return tensor
    summed: Tensor = _AllReduce.apply(tensor)  # type: ignore[no-untyped-call]
    return summed
