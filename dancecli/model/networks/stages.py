"""What has to be known about each type of backbone and head: one table for each.

A backbone is a stem and four stages, whatever its layers are called. A row says how it is frozen,
whether it has a setting for fixed batch-norm statistics, and the steps of its forward pass, by which
it can be cut after any stage. A head's row says what it pools, by which a network can be cut before it.
A backbone of MMAction2 is added by a row of `BACKBONES` (and one of `manifests/zoo.toml`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn

STEM, LAST_STAGE = 0, 4
# The stage that a step of the forward pass belongs to, and the step.
Step = tuple[int, Callable[[Any], Any]]
# Names below `backbone.`: of the stem, then of each stage.
Parts = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Backbone:
    """One type of backbone.

    Attributes:
        parts: from its settings to the names of its stem and stages; None where they are not known.
        freezes: it has the setting `frozen_stages`, which counts as we do: 0 the stem, 1 to 4.
        freezes_all: with `frozen_stages=4` nothing of it is trained.
        norm_eval: it has the setting `norm_eval`.
        steps: its forward pass; None where it cannot be cut between stages.
        why_whole: the reason for that.
        inflates: it reads 2-D weights unless `pretrained2d` is switched off.
    """

    parts: Callable[[Mapping[str, Any]], Parts | None] = lambda _: None
    freezes: bool = False
    freezes_all: bool = False
    norm_eval: bool = False
    steps: Callable[[Any], Iterator[Step]] | None = None
    why_whole: str = ""
    inflates: bool = False


@dataclass(frozen=True)
class Head:
    """One type of classification head.

    Attributes:
        pool: from the head and the backbone's output to all that the head uses of it, [N, ...].
        restore: from the head and that to what the head takes in the place of the output.
        frames_averaged: it averages the frames of a clip before dropout.
        linear: it is dropout and one linear layer, `fc_cls`, over what it pools.
        one_layer: its scores are those of one linear layer, `fc_cls`, averaged over frames if there are any.
        dropout: it has the setting `dropout_ratio`.
    """

    pool: Callable[[Any, Any], Tensor]
    restore: Callable[[Any, Tensor], Any] = lambda _, pooled: pooled
    frames_averaged: bool = False
    linear: bool = True
    one_layer: bool = True
    dropout: bool = True


def _resnet_steps(net: Any) -> Iterator[Step]:
    """2-D and 3-D; MMAction2's `ResNet.forward` and `ResNet3d.forward`."""
    yield STEM, net.conv1
    if getattr(net, "with_pool1", True):
        yield STEM, net.maxpool
    for i, name in enumerate(net.res_layers, 1):
        yield i, getattr(net, name)
        if i == 1 and getattr(net, "with_pool2", False):
            yield i, net.pool2


def _r2plus1d_steps(net: Any) -> Iterator[Step]:
    # It has the settings of the pools and does not read them.
    yield STEM, net.conv1
    yield STEM, net.maxpool
    yield from ((i, getattr(net, name)) for i, name in enumerate(net.res_layers, 1))


def _c2d_steps(net: Any) -> Iterator[Step]:
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


def _inception_steps(net: Any) -> Iterator[Step]:
    yield from enumerate(net.stages)


def _x3d_steps(net: Any) -> Iterator[Step]:
    yield STEM, net.conv1_s
    yield STEM, net.conv1_t
    yield from ((i, getattr(net, name)) for i, name in enumerate(net.res_layers, 1))
    yield LAST_STAGE, net.conv5


_C3D_STAGES = (
    ("conv1a", "pool1"),
    ("conv2a", "pool2"),
    ("conv3a", "conv3b", "pool3"),
    ("conv4a", "conv4b", "pool4"),
    ("conv5a", "conv5b", "pool5"),
)


def _c3d_steps(net: Any) -> Iterator[Step]:
    for stage, names in enumerate(_C3D_STAGES):
        yield from ((stage, getattr(net, name)) for name in names)
    yield LAST_STAGE, lambda x: net.relu(net.fc6(x.flatten(1)))
    yield LAST_STAGE, lambda x: net.relu(net.fc7(net.dropout(x)))


def _c3d_parts(_: Mapping[str, Any]) -> Parts:
    learned = [tuple(name for name in names if name.startswith("conv")) for names in _C3D_STAGES]
    return (*learned[:-1], (*learned[-1], "fc6", "fc7"))


def _swin_steps(net: Any) -> Iterator[Step]:
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


def _uniformer_steps(net: Any) -> Iterator[Step]:
    yield STEM, net.patch_embed1
    yield STEM, net.pos_drop
    for stage in range(1, 5):
        if stage > 1:
            yield stage, getattr(net, f"patch_embed{stage}")
        yield from ((stage, block) for block in getattr(net, f"blocks{stage}"))
    yield LAST_STAGE, net.norm


def _uniformer_parts(_: Mapping[str, Any]) -> Parts:
    return (("patch_embed1",), ("blocks1",), *((f"patch_embed{i}", f"blocks{i}") for i in (2, 3, 4)))


def _slowfast_parts(_: Mapping[str, Any]) -> Parts:
    found = []
    for stage in range(5):
        layer = f"layer{stage}" if stage else "conv1"
        lateral = (f"slow_path.{layer}_lateral",) if stage < LAST_STAGE else ()
        found.append((f"slow_path.{layer}", f"fast_path.{layer}", *lateral))
    return tuple(found)


def _quarters(count: int) -> tuple[int, ...]:
    """Where stages begin in a transformer whose layers are all alike, and the end."""
    return tuple(round(i * count / LAST_STAGE) for i in range(LAST_STAGE + 1))


def _layers(name: str, stem: tuple[str, ...], count: str) -> Callable[[Mapping[str, Any]], Parts]:
    """Give the parts of a transformer: its stem, and a quarter of its layers a stage.

    Args:
        name: of its list of layers.
        stem: what comes before them.
        count: the setting that says how many there are; twelve if it is not set.
    """

    def parts(backbone: Mapping[str, Any]) -> Parts:
        return (stem, *_named(name, _quarters(int(backbone.get(count, 12)))))

    return parts


def _named(name: str, begins: tuple[int, ...]) -> Iterator[tuple[str, ...]]:
    for first, end in itertools.pairwise(begins):
        yield tuple(f"{name}.{i}" for i in range(first, end))


# The layers with which the stages of an MViT begin, where the maps become smaller; and the end.
_MVIT_STAGES = {
    "tiny": (0, 1, 3, 8, 10),
    "small": (0, 1, 3, 14, 16),
    "base": (0, 2, 5, 21, 24),
    "large": (0, 2, 8, 44, 48),
}


def _mvit_parts(backbone: Mapping[str, Any]) -> Parts | None:
    begins = _MVIT_STAGES.get(str(backbone.get("arch", "base")).lower())
    return (("patch_embed", "cls_token"), *_named("blocks", begins)) if begins else None


def _by_quarters(layers: Any) -> Iterator[Step]:
    begins = _quarters(len(layers))
    for stage, (first, end) in enumerate(itertools.pairwise(begins), 1):
        yield from ((stage, layers[i]) for i in range(first, end))


def _vit_steps(net: Any) -> Iterator[Step]:
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


_RESNET = Backbone(freezes=True, freezes_all=True, norm_eval=True, steps=_resnet_steps)

BACKBONES: dict[str, Backbone] = {
    "InceptionI3D": Backbone(freezes=True, freezes_all=True, norm_eval=True, steps=_inception_steps),
    "ResNet3d": _RESNET,
    "ResNet3dSlowOnly": _RESNET,
    "ResNet3dCSN": _RESNET,
    "ResNet": _RESNET,
    "ResNetTSM": Backbone(freezes=True, freezes_all=True, norm_eval=True, steps=_resnet_steps, inflates=True),
    "ResNet2Plus1d": Backbone(freezes=True, freezes_all=True, norm_eval=True, steps=_r2plus1d_steps),
    "C2D": Backbone(freezes=True, freezes_all=True, norm_eval=True, steps=_c2d_steps),
    # Its last convolution is in none of its own stages.
    "X3D": Backbone(freezes=True, norm_eval=True, steps=_x3d_steps),
    "C3D": Backbone(_c3d_parts, steps=_c3d_steps),
    "ResNet3dSlowFast": Backbone(
        _slowfast_parts, why_whole="its two pathways exchange features between the stages"
    ),
    "SwinTransformer3D": Backbone(freezes=True, steps=_swin_steps, inflates=True),
    "UniFormer": Backbone(_uniformer_parts, steps=_uniformer_steps, inflates=True),
    "VisionTransformer": Backbone(_layers("blocks", ("patch_embed",), "depth"), steps=_vit_steps),
    "TimeSformer": Backbone(
        _layers(
            "transformer_layers.layers",
            ("patch_embed", "cls_token", "pos_embed", "time_embed"),
            "num_transformer_layers",
        ),
        why_whole="its layers need the number of clips beside the tokens",
    ),
    "UniFormerV2": Backbone(
        _layers(
            "transformer.resblocks",
            ("class_embedding", "positional_embedding", "conv1", "ln_pre"),
            "layers",
        ),
        why_whole="its last stage reads the output of several layers at once",
    ),
    "MViT": Backbone(_mvit_parts, why_whole="its layers need the size of the maps beside the tokens"),
}


def _mean_of_maps(_: Any, x: Tensor) -> Tensor:
    """Average over time and space, [N, C, ...] to [N, C, 1, ...]; features without them stay."""
    return x if x.ndim == 2 else x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)


def _as_configured(head: Any, x: Tensor) -> Tensor:
    return _mean_of_maps(head, x) if getattr(head, "avg_pool", None) is not None else x


def _restore_slowfast(_: Any, pooled: Tensor) -> tuple[Tensor, Tensor]:
    # The head puts the fast features before the slow ones, wherever the border is.
    fast, slow = pooled.chunk(2, dim=1)
    return slow, fast


def _restore_mvit(head: Any, pooled: Tensor) -> tuple[Any, ...]:
    return ((None, pooled),) if head.with_cls_token else (pooled[..., None, None, None],)


_AVERAGE = {"type": "AvgConsensus"}

HEADS: dict[str, Head] = {
    "I3DHead": Head(_as_configured),
    "SlowFastHead": Head(
        # Slow, fast: each is averaged, then they are joined.
        lambda head, x: _cat([_mean_of_maps(head, x[1]), _mean_of_maps(head, x[0])]),
        _restore_slowfast,
    ),
    "TSNHead": Head(_as_configured, frames_averaged=True),
    # Dropout comes before the average over the frames, so each frame has a mask of its own.
    "TSMHead": Head(_as_configured, linear=False),
    "TimeSformerHead": Head(lambda _, x: x),
    "UniFormerHead": Head(lambda _, x: x),
    "MViTHead": Head(lambda head, x: head.pre_logits(x), _restore_mvit),
    "X3DHead": Head(lambda head, x: head.pool(x), linear=False, one_layer=False),
}


def _cat(tensors: list[Tensor]) -> Tensor:
    import torch

    return torch.cat(tensors, dim=1)


def settings(backbone: str, stage: int, norm_eval: bool) -> dict[str, Any]:
    """Give the backbone's own settings for freezing up to a stage; empty if it has none."""
    row = BACKBONES.get(backbone, Backbone())
    found: dict[str, Any] = {"frozen_stages": stage} if row.freezes else {}
    return found | ({"norm_eval": norm_eval} if row.norm_eval else {})


def has_norm_eval(backbone: str) -> bool:
    """Tell whether a backbone fixes its batch-norm statistics by a setting of its own."""
    return BACKBONES.get(backbone, Backbone()).norm_eval


def prefixes(backbone: Mapping[str, Any], stage: int) -> list[str]:
    """Name the parts that a `FreezeHook` must freeze because the backbone cannot.

    Args:
        backbone: its settings.
        stage: the last frozen stage: -1 none, 0 the stem, 1 to 4.

    Raises:
        ModelError: the stages of this backbone are not known.
    """
    row = BACKBONES.get(backbone["type"], Backbone())
    if stage < 0 or (row.freezes and (stage < LAST_STAGE or row.freezes_all)):
        return []
    if stage == LAST_STAGE:
        return ["backbone"]
    parts = row.parts(backbone)
    if parts is None:
        raise ModelError(
            f"the stages of backbone {backbone['type']} are not known",
            "use --freeze none, or --freeze 4 for all of it",
        )
    return [f"backbone.{part}" for listed in parts[: stage + 1] for part in listed]


def why_not_cut(model: Mapping[str, Any], stage: int) -> str:
    """Say why a network cannot be cut where it is frozen; empty if it can.

    Args:
        model: MMAction2's config of the recognizer.
        stage: the last frozen stage: -1 none, 0 the stem, 1 to 4. At 4 the cut is before the head.
    """
    if stage < 0:
        return "nothing is frozen"
    if model["type"] not in ("Recognizer2D", "Recognizer3D") or model.get("neck"):
        return f"a {model['type']} with a neck has more than a backbone and a head"
    if (model.get("test_cfg") or {}).get("fcn_test"):
        return "its evaluation is fully convolutional"
    kind, head = model["backbone"]["type"], model["cls_head"]["type"]
    if stage == LAST_STAGE:
        known = head in HEADS and (model["cls_head"].get("consensus") or _AVERAGE)["type"] == _AVERAGE["type"]
        return "" if known else f"it is not known what a {head} uses of its backbone"
    row = BACKBONES.get(kind, Backbone())
    if row.steps is None:
        return f"a {kind} cannot be cut after stage {stage}: " + (row.why_whole or "its layers are not known")
    return ""


def is_linear_probe(model: Mapping[str, Any], stage: int) -> bool:
    """Tell whether what is trained is dropout and one linear layer over stored features."""
    head = HEADS.get(model["cls_head"]["type"])
    return stage == LAST_STAGE and not why_not_cut(model, stage) and head is not None and head.linear


def has_one_layer(model: Mapping[str, Any]) -> bool:
    """Tell whether the head's scores are those of one linear layer over what it pools."""
    head = HEADS.get(model["cls_head"]["type"])
    return head is not None and head.one_layer


def run_lower(backbone: nn.Module, x: Tensor, stage: int) -> Any:
    """Run a backbone up to and including a stage (0 the stem, 1 to 4).

    Args:
        backbone: of a type whose row has steps.
        x: clips, [B, 3, T, H, W]; of a 2-D network frames, [B, 3, H, W].
        stage: the last one to run.
    """
    return _run(backbone, x, range(stage + 1))


def run_upper(backbone: nn.Module, z: Tensor, stage: int) -> Any:
    """Continue to the backbone's output after `z = run_lower(backbone, x, stage)`; see `run_lower`."""
    return _run(backbone, z, range(stage + 1, LAST_STAGE + 1))


def _run(backbone: Any, x: Any, stages: range) -> Any:
    steps = BACKBONES[type(backbone).__name__].steps
    assert steps is not None  # noqa: S101 - see `why_not_cut`
    for stage, step in steps(backbone):
        if stage in stages:
            x = step(x)
    return x
