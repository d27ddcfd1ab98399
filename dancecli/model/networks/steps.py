"""The forward passes of MMAction2's backbones in steps, each of the stem or of one of four stages.

Every function repeats the `forward` of its backbone's class, step by step, so that a network can be cut
after any stage. What a step gives is [N, ...], or a tuple of such tensors.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

STEM, LAST_STAGE = 0, 4
# The stage that a step of the forward pass belongs to, and the step.
Step = tuple[int, Callable[[Any], Any]]


def cat(tensors: list[Tensor], dim: int = 1) -> Tensor:
    """Join tensors, [N, C, ...] or [N, tokens, C]: by default along their second dimension."""
    import torch

    return torch.cat(tensors, dim=dim)


def resnet_steps(net: Any) -> Iterator[Step]:
    """2-D and 3-D; MMAction2's `ResNet.forward` and `ResNet3d.forward`."""
    yield STEM, net.conv1
    if getattr(net, "with_pool1", True):
        yield STEM, net.maxpool
    for i, name in enumerate(net.res_layers, 1):
        yield i, getattr(net, name)
        if i == 1 and getattr(net, "with_pool2", False):
            yield i, net.pool2


def r2plus1d_steps(net: Any) -> Iterator[Step]:
    """R(2+1)D; it has the settings of the pools and does not read them."""
    yield STEM, net.conv1
    yield STEM, net.maxpool
    yield from ((i, getattr(net, name)) for i, name in enumerate(net.res_layers, 1))


def c2d_steps(net: Any) -> Iterator[Step]:
    """C2D, whose layers but the pools are 2-D."""
    yield STEM, _frame_by_frame(net.conv1)
    yield STEM, net.maxpool3d_1
    for i, name in enumerate(net.res_layers, 1):
        yield i, _frame_by_frame(getattr(net, name))
        if i == 1:
            yield i, net.maxpool3d_2


def _frame_by_frame(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    def run(x: Tensor) -> Tensor:
        """From and to [N, C, T, H, W]."""
        frames = x.transpose(1, 2)
        maps: Tensor = layer(frames.flatten(0, 1))
        return maps.reshape(*frames.shape[:2], *maps.shape[1:]).transpose(1, 2)

    return run


def inception_steps(net: Any) -> Iterator[Step]:
    """Inception-v1 I3D."""
    yield from enumerate(net.stages)


def x3d_steps(net: Any) -> Iterator[Step]:
    """X3D."""
    yield STEM, net.conv1_s
    yield STEM, net.conv1_t
    yield from ((i, getattr(net, name)) for i, name in enumerate(net.res_layers, 1))
    yield LAST_STAGE, net.conv5


C3D_STAGES = (
    ("conv1a", "pool1"),
    ("conv2a", "pool2"),
    ("conv3a", "conv3b", "pool3"),
    ("conv4a", "conv4b", "pool4"),
    ("conv5a", "conv5b", "pool5"),
)


def c3d_steps(net: Any) -> Iterator[Step]:
    """C3D, its linear layers with the last stage."""
    for stage, names in enumerate(C3D_STAGES):
        yield from ((stage, getattr(net, name)) for name in names)
    yield LAST_STAGE, lambda x: net.relu(net.fc6(x.flatten(1)))
    yield LAST_STAGE, lambda x: net.relu(net.fc7(net.dropout(x)))


def swin_steps(net: Any) -> Iterator[Step]:
    """Video Swin; channels are last inside the layers."""
    yield STEM, net.patch_embed
    yield STEM, net.pos_drop

    def run(i: int, layer: Any) -> Callable[[Tensor], Tensor]:
        def step(x: Tensor) -> Tensor:
            """From and to [N, C, T, H, W]; between, channels are last."""
            x = layer(x.contiguous(), do_downsample=net.out_after_downsample)
            if i == net.num_layers:
                x = getattr(net, f"norm{i - 1}")(x)
            elif layer.downsample is not None and not net.out_after_downsample:
                x = layer.downsample(x)
            return x.permute(0, 4, 1, 2, 3).contiguous()

        return step

    yield from ((i, run(i, layer)) for i, layer in enumerate(net.layers, 1))


def uniformer_steps(net: Any) -> Iterator[Step]:
    """UniFormer."""
    yield STEM, net.patch_embed1
    yield STEM, net.pos_drop
    for stage in range(1, 5):
        if stage > 1:
            yield stage, getattr(net, f"patch_embed{stage}")
        yield from ((stage, block) for block in getattr(net, f"blocks{stage}"))
    yield LAST_STAGE, net.norm


def quarters(count: int) -> tuple[int, ...]:
    """Where stages begin in a transformer whose layers are all alike, and the end."""
    return tuple(round(i * count / LAST_STAGE) for i in range(LAST_STAGE + 1))


# The layers with which the stages of an MViT begin, where the maps become smaller; and the end.
MVIT_STAGES = {
    "tiny": (0, 1, 3, 8, 10),
    "small": (0, 1, 3, 14, 16),
    "base": (0, 2, 5, 21, 24),
    "large": (0, 2, 8, 44, 48),
}


def _by_quarters(layers: Any) -> Iterator[tuple[int, Any]]:
    """Give each layer with its stage."""
    begins = quarters(len(layers))
    for stage, (first, end) in enumerate(itertools.pairwise(begins), 1):
        yield from ((stage, layers[i]) for i in range(first, end))


def vit_steps(net: Any) -> Iterator[Step]:
    """VideoMAE; between the stages tokens, [N, tokens, C]."""

    def embed(x: Tensor) -> Tensor:
        """To tokens, [N, tokens, C]; a map of another size takes interpolated positions."""
        from torch.nn.functional import interpolate

        grid = (x.shape[-2] // net.patch_size, x.shape[-1] // net.patch_size)
        positions = net.pos_embed
        if grid != tuple(net.grid_size):
            maps = positions.reshape(-1, *net.grid_size, net.embed_dims).permute(0, 3, 1, 2)
            maps = interpolate(maps, size=grid, mode="bicubic", align_corners=False)
            positions = maps.permute(0, 2, 3, 1).reshape(1, -1, net.embed_dims)
        embedded: Tensor = net.pos_drop(net.patch_embed(x)[0] + positions)
        return embedded

    def end(x: Tensor) -> Tensor:
        x = net.norm(x)
        pooled: Tensor = net.fc_norm(x.mean(1)) if net.fc_norm is not None else x[:, 0]
        return pooled

    yield STEM, embed
    yield from _by_quarters(net.blocks)
    yield LAST_STAGE, end


def slowfast_steps(net: Any) -> Iterator[Step]:
    """Between the stages: the maps of the slow pathway, the fast ones' joined to them, and of the fast."""
    slow, fast = net.slow_path, net.fast_path

    def sampled(x: Tensor, rate: float) -> Tensor:
        from torch.nn.functional import interpolate

        return interpolate(x, mode="nearest", scale_factor=(1.0 / rate, 1.0, 1.0))

    def joined(x_slow: Tensor, x_fast: Tensor, lateral: str) -> tuple[Tensor, Tensor]:
        return cat([x_slow, getattr(slow, lateral)(x_fast)]) if lateral else x_slow, x_fast

    def stem(x: Tensor) -> tuple[Tensor, Tensor]:
        x_slow = slow.maxpool(slow.conv1(sampled(x, net.resample_rate)))
        x_fast = fast.maxpool(fast.conv1(sampled(x, net.resample_rate // net.speed_ratio)))
        return joined(x_slow, x_fast, "conv1_lateral" if slow.lateral else "")

    def run(name: str, lateral: str) -> Callable[[tuple[Tensor, Tensor]], tuple[Tensor, Tensor]]:
        return lambda x: joined(getattr(slow, name)(x[0]), getattr(fast, name)(x[1]), lateral)

    yield STEM, stem
    for i, name in enumerate(slow.res_layers):
        more = slow.lateral and i < len(slow.res_layers) - 1
        yield i + 1, run(name, slow.lateral_connections[i] if more else "")


def timesformer_steps(net: Any) -> Iterator[Step]:
    """Between the stages: tokens, [N, tokens, C]; of attention in space alone [N, T, tokens, C]."""
    only_space = net.attention_type == "space_only"

    def embed(x: Tensor) -> Tensor:
        clips = len(x)
        x = net.patch_embed(x)
        x = cat([net.cls_token.expand(len(x), -1, -1), x])
        x = net.drop_after_pos(x + net.pos_embed)
        if only_space:
            return x.reshape(clips, -1, *x.shape[1:])
        # From the patches of each frame to the frames of each patch, and back to one row.
        first, patches = x[:clips, :1], x[:, 1:]
        patches = patches.reshape(clips, -1, *patches.shape[1:]).transpose(1, 2).flatten(0, 1)
        patches = net.drop_after_time(patches + net.time_embed)
        return cat([first, patches.reshape(clips, -1, patches.shape[-1])])

    def run(layer: Any) -> Callable[[Tensor], Tensor]:
        def step(x: Tensor) -> Tensor:
            out: Tensor = layer(x.flatten(0, 1) if only_space else x, None, None)
            return out.reshape(x.shape)

        return step

    yield STEM, embed
    yield from ((stage, run(layer)) for stage, layer in _by_quarters(net.transformer_layers.layers))
    yield LAST_STAGE, lambda x: net.norm(x.mean(1) if only_space else x)[:, 0]


def mvit_steps(net: Any) -> Iterator[Step]:
    """Between the stages: class tokens [N, 0 or 1, C], and those of the maps [N, T, H, W, C]."""

    def split(x: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
        first = int(net.with_cls_token)
        return x[:, :first], x[:, first:].reshape(len(x), *size, x.shape[-1])

    def embed(x: Tensor) -> tuple[Tensor, Tensor]:
        from dancecli.model.networks.mmaction import resize_pos_embed

        clips = len(x)
        x, size = net.patch_embed(x)
        x = cat([net.cls_token.expand(clips, -1, -1), x])
        if net.use_abs_pos_embed:
            x = x + resize_pos_embed(
                net.pos_embed,
                net.patch_resolution,
                size,
                mode=net.interpolate_mode,
                num_extra_tokens=net.num_extra_tokens,
            )
        return split(x if net.with_cls_token else x[:, 1:], size)

    def run(i: int) -> Callable[[tuple[Tensor, Tensor]], tuple[Tensor, Tensor]]:
        def step(state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            first, maps = state
            x, size = net.blocks[i](cat([first, maps.flatten(1, 3)]), tuple(maps.shape[1:4]))
            scale = net.stage_indices.get(i)
            return split(getattr(net, f"norm{scale}")(x) if scale in net.out_scales else x, size)

        return step

    def end(state: tuple[Tensor, Tensor]) -> tuple[Any, ...]:
        first, maps = state
        maps = maps.permute(0, 4, 1, 2, 3)
        return ([maps, first[:, 0] if net.with_cls_token else None],) if net.output_cls_token else (maps,)

    yield STEM, embed
    begins = MVIT_STAGES[_mvit_arch(net)]
    for stage, (start, stop) in enumerate(itertools.pairwise(begins), 1):
        yield from ((stage, run(i)) for i in range(start, stop))
    yield LAST_STAGE, end


def _mvit_arch(net: Any) -> str:
    """Find which size a network is by the number of its layers."""
    return next(arch for arch, begins in MVIT_STAGES.items() if begins[-1] == len(net.blocks))


def uniformerv2_steps(net: Any) -> Iterator[Step]:
    """Between the stages: tokens [N, T, 1 + H W, C], then those of earlier layers that the end reads."""
    trunk = net.transformer

    def embed(x: Tensor) -> tuple[Tensor, ...]:
        maps = net.conv1(x)
        clips, width = maps.shape[:2]
        frames = maps.permute(0, 2, 3, 4, 1).reshape(-1, maps.shape[3] * maps.shape[4], width)
        first = net.class_embedding.to(frames.dtype).expand(len(frames), 1, -1)
        tokens = net.ln_pre(cat([first, frames]) + net.positional_embedding.to(frames.dtype))
        return (tokens.reshape(clips, -1, *tokens.shape[1:]),)

    def run(i: int) -> Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]:
        def step(state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            x, *kept = state
            if i - 1 in trunk.return_list:
                kept.append(x)
            # The blocks take [tokens, N T, C].
            clips, frames, tokens, width = x.shape
            out = trunk.resblocks[i](x.permute(2, 0, 1, 3).reshape(tokens, -1, width), trunk.T)
            return (out.view(tokens, clips, frames, width).permute(1, 2, 0, 3), *kept)

        return step

    def end(state: tuple[Tensor, ...]) -> Tensor:
        x, *kept = state
        if len(trunk.resblocks) - 1 in trunk.return_list:
            kept.append(x)
        clips, frames, tokens, width = x.shape
        side = int((tokens - 1) ** 0.5)
        told = trunk.temporal_cls_token.repeat(1, clips, 1)
        for one, local, reader in zip(kept, trunk.dpe, trunk.dec, strict=True):
            maps = one[:, :, 1:].permute(0, 3, 1, 2).reshape(clips, width, frames, side, side)
            patches = local(maps).reshape(clips, width, frames, -1).permute(0, 2, 3, 1)
            whole = cat([one[:, :, :1], one[:, :, 1:] + patches], dim=2)
            told = reader(told, whole.flatten(1, 2).transpose(0, 1))
        weight = trunk.sigmoid(trunk.balance)
        out: Tensor = trunk.norm((1 - weight) * told[0] + weight * x[:, :, 0].mean(1))
        return out

    yield STEM, embed
    for stage, i in _by_quarters(range(len(trunk.resblocks))):
        yield stage, run(i)
    yield LAST_STAGE, end
