"""What `--freeze` means for each backbone: a stem and four stages, whatever its parts are called."""

from __future__ import annotations

from typing import Any

from dancecli.errors import ModelError

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


def _quarters(layers: str, stem: tuple[str, ...], last: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Twelve equal layers, three a stage."""
    stages = [tuple(f"{layers}.{i}" for i in range(start, start + 3)) for start in range(0, 12, 3)]
    return (stem, *stages[:3], (*stages[3], *last))


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
    "TimeSformer": _quarters(
        "transformer_layers.layers", ("patch_embed", "cls_token", "pos_embed", "time_embed"), ("norm",)
    ),
}


def settings(backbone: str, stage: int, norm_eval: bool) -> dict[str, Any]:
    """Give the backbone's own settings for freezing up to a stage; empty if it has none."""
    if backbone in _WITH_NORM_EVAL:
        return {"frozen_stages": stage, "norm_eval": norm_eval}
    return {"frozen_stages": stage} if backbone in _WITHOUT_NORM_EVAL else {}


def prefixes(backbone: str, stage: int) -> list[str]:
    """Name the parts that a `FreezeHook` must freeze because the backbone cannot.

    Args:
        backbone: its type.
        stage: the last frozen stage: -1 none, 0 the stem, 1 to 4.

    Raises:
        ModelError: it is not known what the stages of this backbone are.
    """
    if stage < 0 or (settings(backbone, stage, norm_eval=True) and stage < LAST_STAGE):
        return []
    if backbone in _WITH_NORM_EVAL:
        return []
    if stage == LAST_STAGE:
        return ["backbone"]
    if backbone not in _PARTS:
        raise ModelError(
            f"the stages of a {backbone} are not known here", "use --freeze none, or --freeze 4 for all of it"
        )
    return [f"backbone.{part}" for parts in _PARTS[backbone][: stage + 1] for part in parts]
