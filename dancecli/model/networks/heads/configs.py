"""The config of a model whose head is a probe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dancecli.core.recipe import ATTENTIVE, KNN, PROTOTYPE
from dancecli.model.networks import stages


def with_probe(model: Mapping[str, Any], probe: str, *, entries: int = 0, blocks: int = 1) -> dict[str, Any]:
    """Replace the head of a model by a probe.

    Args:
        model: MMAction2's config of the recognizer, with its own head.
        probe: `attentive`, `knn` or `prototype`.
        entries: rows of features that nearest neighbors are searched in.
        blocks: attention blocks of an attentive probe.

    Returns:
        The config; of an attentive probe with a backbone that gives its tokens.
    """
    head, backbone = model["cls_head"], model["backbone"]
    common = {
        "num_classes": head["num_classes"],
        "in_channels": head["in_channels"],
        "average_clips": head["average_clips"],
        # A 2-D network sees single frames.
        "frames": model["type"] == "Recognizer2D",
    }
    if probe == ATTENTIVE:
        kind = backbone["type"]
        found = {"type": "AttentiveHead", "of": kind, "blocks": blocks, **common}
        settings = stages.BACKBONES[kind].token_settings
        return {**model, "backbone": {**backbone, **settings}, "cls_head": found}
    if probe == KNN:
        return {**model, "cls_head": {"type": "NeighborHead", "base": head, "entries": entries, **common}}
    assert probe == PROTOTYPE  # noqa: S101 - see `core.recipe`
    return {**model, "cls_head": {"type": "PrototypeHead", "base": head, **common}}
