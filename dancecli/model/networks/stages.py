"""What `--freeze` means for each backbone: a stem and four stages, whatever its parts are called."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from dancecli.core.errors import ModelError

SPLIT_BACKBONES = ("InceptionI3D", "ResNet3d", "ResNet3dSlowOnly", "ResNet3dCSN")

LAST_STAGE = 4
# Backbones that freeze by themselves, counting as we do: 0 the stem, 1 to 4 the stages.
_WITH_NORM_EVAL = (
    "InceptionI3D",
    "ResNet3d",
    "ResNet3dSlowOnly",
    "ResNet3dCSN",
    "ResNet",
    "ResNetTSM",
    "C2D",
)
_WITHOUT_NORM_EVAL = ("SwinTransformer3D",)


def _slowfast(stage: int) -> tuple[str, ...]:
    layer = f"layer{stage}" if stage else "conv1"
    lateral = (f"slow_path.{layer}_lateral",) if stage < LAST_STAGE else ()
    return (f"slow_path.{layer}", f"fast_path.{layer}", *lateral)


# Parts of the others, below `backbone.`: the stem, then the stages.
_PARTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "ResNet3dSlowFast": tuple(_slowfast(stage) for stage in range(5)),
    "C3D": (
        ("conv1a",),
        ("conv2a",),
        ("conv3a", "conv3b"),
        ("conv4a", "conv4b"),
        ("conv5a", "conv5b", "fc6", "fc7"),
    ),
}


@dataclass(frozen=True)
class _Layers:
    """A transformer, a row of layers below `backbone.`; what comes after them goes with the last stage.

    Attributes:
        name: of the row.
        stem: what comes before it.
        count: the setting that says how many layers there are; twelve if it is not there.
    """

    name: str
    stem: tuple[str, ...]
    count: str = ""


_TRANSFORMERS = {
    "TimeSformer": _Layers(
        "transformer_layers.layers",
        ("patch_embed", "cls_token", "pos_embed", "time_embed"),
        "num_transformer_layers",
    ),
    "VisionTransformer": _Layers("blocks", ("patch_embed",), "depth"),
    "UniFormerV2": _Layers(
        "transformer.resblocks", ("class_embedding", "positional_embedding", "conv1", "ln_pre"), "layers"
    ),
    "MViT": _Layers("blocks", ("patch_embed", "cls_token")),
}
# The layers with which the stages of an MViT begin, where the picture becomes smaller; and the end.
_MVIT_STAGES = {
    "tiny": (0, 1, 3, 8, 10),
    "small": (0, 1, 3, 14, 16),
    "base": (0, 2, 5, 21, 24),
    "large": (0, 2, 8, 44, 48),
}


def _stages(backbone: Mapping[str, Any]) -> tuple[tuple[str, ...], ...] | None:
    """Name the parts of the stem and of the stages; None if they are not known."""
    layers = _TRANSFORMERS.get(backbone["type"])
    if layers is None:
        return _PARTS.get(backbone["type"])
    if layers.count:
        # All layers are alike: a quarter of them is a stage.
        quarter = int(backbone.get(layers.count, 12)) / LAST_STAGE
        begins: tuple[int, ...] | None = tuple(round(i * quarter) for i in range(LAST_STAGE + 1))
    else:
        begins = _MVIT_STAGES.get(str(backbone.get("arch", "base")).lower())
    if begins is None:
        return None
    stages = (range(first, end) for first, end in itertools.pairwise(begins))
    return (layers.stem, *(tuple(f"{layers.name}.{i}" for i in stage) for stage in stages))


def settings(backbone: str, stage: int, norm_eval: bool) -> dict[str, Any]:
    """Give the backbone's own settings for freezing up to a stage; empty if it has none."""
    if backbone in _WITH_NORM_EVAL:
        return {"frozen_stages": stage, "norm_eval": norm_eval}
    return {"frozen_stages": stage} if backbone in _WITHOUT_NORM_EVAL else {}


def prefixes(backbone: Mapping[str, Any], stage: int) -> list[str]:
    """Name the parts that a `FreezeHook` must freeze because the backbone cannot.

    Args:
        backbone: its settings.
        stage: the last frozen stage: -1 none, 0 the stem, 1 to 4.

    Raises:
        ModelError: it is not known what the stages of this backbone are.
    """
    kind = backbone["type"]
    if stage < 0 or (settings(kind, stage, norm_eval=True) and stage < LAST_STAGE):
        return []
    if kind in _WITH_NORM_EVAL:
        return []
    if stage == LAST_STAGE:
        return ["backbone"]
    parts = _stages(backbone)
    if parts is None:
        raise ModelError(
            f"the stages of a {kind} are not known here", "use --freeze none, or --freeze 4 for all of it"
        )
    return [f"backbone.{part}" for listed in parts[: stage + 1] for part in listed]


def can_split(model: dict[str, Any]) -> bool:
    """Whether this model can be cut at its freeze boundary."""
    return (
        model["type"] == "Recognizer3D"
        and model["backbone"]["type"] in SPLIT_BACKBONES
        and model["cls_head"]["type"] == "I3DHead"
        and not model.get("neck")
    )


def run_lower(backbone: nn.Module, x: Tensor, stage: int) -> Tensor:
    """Run the backbone up to and with a stage (0 the stem, 1 to 4).

    Args:
        backbone: a ResNet of any kind, or one that has `forward_lower`.
        x: clips, [B, 3, T, H, W]; of a 2-D network frames, [B, 3, H, W].
        stage: the last one to run.
    """
    net: Any = backbone
    if hasattr(net, "forward_lower"):
        lower: Tensor = net.forward_lower(x, stage)
        return lower
    x = net.conv1(x)
    if net.with_pool1:
        x = net.maxpool(x)
    return _res_layers(net, x, range(stage))


def run_upper(backbone: nn.Module, z: Tensor, stage: int) -> Tensor:
    """Go on after `run_lower(backbone, x, stage)`, whose result `z` is; see `run_lower`."""
    net: Any = backbone
    if hasattr(net, "forward_upper"):
        upper: Tensor = net.forward_upper(z, stage)
        return upper
    return _res_layers(net, z, range(stage, len(net.res_layers)))


def _res_layers(net: Any, x: Tensor, which: range) -> Tensor:
    for i in which:
        x = getattr(net, net.res_layers[i])(x)
        if i == 0 and net.with_pool2:
            x = net.pool2(x)
    return x
