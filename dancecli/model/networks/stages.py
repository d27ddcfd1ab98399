"""What has to be known about each type of backbone and head: one table for each.

A backbone is a stem and four stages, whatever its layers are called. A row says how it is frozen,
whether it has a setting for fixed batch-norm statistics, and the steps of its forward pass, by which
it can be cut after any stage. A head's row says what it pools, by which a network can be cut before it.
A backbone of MMAction2 is added by a row of `BACKBONES` (and one of `manifests/zoo.toml`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import ModelError
from dancecli.model.networks.hub.architectures import ARCHITECTURES
from dancecli.model.networks.steps import (
    C3D_STAGES,
    LAST_STAGE,
    MVIT_STAGES,
    STEM,
    Step,
    c2d_steps,
    c3d_steps,
    cat,
    inception_steps,
    mvit_steps,
    quarters,
    r2plus1d_steps,
    resnet_steps,
    slowfast_steps,
    swin_steps,
    timesformer_steps,
    uniformer_steps,
    uniformerv2_steps,
    vit_steps,
    x3d_steps,
)

__all__ = [
    "BACKBONES",
    "HEADS",
    "LAST_STAGE",
    "STEM",
    "Backbone",
    "Head",
    "has_norm_eval",
    "has_one_layer",
    "head_row",
    "is_linear_probe",
    "pooling_type",
    "prefixes",
    "run_lower",
    "run_upper",
    "settings",
    "tokens_of",
    "why_no_tokens",
    "why_not_cut",
]

if TYPE_CHECKING:
    from torch import Tensor, nn

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
        several: between its stages there is a tuple of tensors.
        fetches: setting by which it would read weights of its own; empty if it has none.
        tokens: from its output to its tokens, [N, tokens, channels]; None where it pools them itself.
        token_settings: settings without which it would pool them.
    """

    parts: Callable[[Mapping[str, Any]], Parts | None] = lambda _: None
    freezes: bool = False
    freezes_all: bool = False
    norm_eval: bool = False
    steps: Callable[[Any], Iterator[Step]] | None = None
    several: bool = False
    fetches: str = ""
    tokens: Callable[[Any], Tensor] | None = None
    token_settings: Mapping[str, Any] = field(default_factory=dict)


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


def _c3d_parts(_: Mapping[str, Any]) -> Parts:
    learned = [tuple(name for name in names if name.startswith("conv")) for names in C3D_STAGES]
    return (*learned[:-1], (*learned[-1], "fc6", "fc7"))


def _uniformer_parts(_: Mapping[str, Any]) -> Parts:
    return (("patch_embed1",), ("blocks1",), *((f"patch_embed{i}", f"blocks{i}") for i in (2, 3, 4)))


def _slowfast_parts(_: Mapping[str, Any]) -> Parts:
    found = []
    for stage in range(5):
        layer = f"layer{stage}" if stage else "conv1"
        lateral = (f"slow_path.{layer}_lateral",) if stage < LAST_STAGE else ()
        found.append((f"slow_path.{layer}", f"fast_path.{layer}", *lateral))
    return tuple(found)


def _layers(name: str, stem: tuple[str, ...], count: str) -> Callable[[Mapping[str, Any]], Parts]:
    """Give the parts of a transformer: its stem, and a quarter of its layers a stage.

    Args:
        name: of its list of layers.
        stem: what comes before them.
        count: the setting that says how many there are; twelve if it is not set.
    """

    def parts(backbone: Mapping[str, Any]) -> Parts:
        return (stem, *_named(name, quarters(int(backbone.get(count, 12)))))

    return parts


def _named(name: str, begins: tuple[int, ...]) -> Iterator[tuple[str, ...]]:
    for first, end in itertools.pairwise(begins):
        yield tuple(f"{name}.{i}" for i in range(first, end))


def _mvit_parts(backbone: Mapping[str, Any]) -> Parts | None:
    begins = MVIT_STAGES.get(str(backbone.get("arch", "base")).lower())
    return (("patch_embed", "cls_token"), *_named("blocks", begins)) if begins else None


def _tokens_of_map(x: Tensor) -> Tensor:
    """Take each place of a map as a token: [N, C, ...] to [N, tokens, C]."""
    return x.flatten(2).transpose(1, 2)


def _tokens_of_slowfast(x: tuple[Tensor, Tensor]) -> Tensor:
    """Join the fast channels, averaged to the slow frame rate, to the slow ones at each place."""
    slow, fast = x
    steps = fast.reshape(*fast.shape[:2], slow.shape[2], -1, *fast.shape[3:]).mean(3)
    return _tokens_of_map(cat([steps, slow]))


def _tokens_of_mvit(x: Any) -> Tensor:
    """Take the places of the last stage, without its class token."""
    last = x[-1]
    return _tokens_of_map(last[0] if isinstance(last, list | tuple) else last)


def _hub_parts(backbone: Mapping[str, Any]) -> Parts | None:
    """Give a quarter of the layers a stage, as of MMAction2's transformers; None if it has no layers."""
    stem, layers = ARCHITECTURES[backbone["architecture"]].parts_of(backbone["config"])
    if not layers:
        return None
    begins = quarters(len(layers))
    return (
        (f"net.{stem}",),
        *(tuple(f"net.{name}" for name in layers[i:j]) for i, j in itertools.pairwise(begins)),
    )


_RESNET = Backbone(freezes=True, freezes_all=True, norm_eval=True, steps=resnet_steps, tokens=_tokens_of_map)

BACKBONES: dict[str, Backbone] = {
    "InceptionI3D": replace(_RESNET, steps=inception_steps),
    "ResNet3d": _RESNET,
    "ResNet3dSlowOnly": _RESNET,
    "ResNet3dCSN": _RESNET,
    "ResNet": _RESNET,
    "ResNetTSM": replace(_RESNET, fetches="pretrained2d"),
    "ResNet2Plus1d": replace(_RESNET, steps=r2plus1d_steps),
    "C2D": replace(_RESNET, steps=c2d_steps),
    # Its last convolution is in none of its own stages.
    "X3D": Backbone(freezes=True, norm_eval=True, steps=x3d_steps, tokens=_tokens_of_map),
    "C3D": Backbone(_c3d_parts, steps=c3d_steps),
    "ResNet3dSlowFast": Backbone(
        _slowfast_parts, steps=slowfast_steps, several=True, tokens=_tokens_of_slowfast
    ),
    "SwinTransformer3D": Backbone(
        freezes=True, steps=swin_steps, fetches="pretrained2d", tokens=_tokens_of_map
    ),
    "UniFormer": Backbone(_uniformer_parts, steps=uniformer_steps, fetches="pretrained2d"),
    "VisionTransformer": Backbone(
        _layers("blocks", ("patch_embed",), "depth"),
        steps=vit_steps,
        tokens=_tokens_of_map,
        token_settings={"return_feat_map": True},
    ),
    "TimeSformer": Backbone(
        _layers(
            "transformer_layers.layers",
            ("patch_embed", "cls_token", "pos_embed", "time_embed"),
            "num_transformer_layers",
        ),
        steps=timesformer_steps,
    ),
    "UniFormerV2": Backbone(
        _layers(
            "transformer.resblocks",
            ("class_embedding", "positional_embedding", "conv1", "ln_pre"),
            "layers",
        ),
        steps=uniformerv2_steps,
        several=True,
        fetches="clip_pretrained",
    ),
    "MViT": Backbone(_mvit_parts, steps=mvit_steps, several=True, tokens=_tokens_of_mvit),
    "HubBackbone": Backbone(_hub_parts, tokens=lambda x: x, token_settings={"tokens": True}),
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
        lambda head, x: cat([_mean_of_maps(head, x[1]), _mean_of_maps(head, x[0])]),
        _restore_slowfast,
    ),
    "TSNHead": Head(_as_configured, frames_averaged=True),
    # Dropout comes before the average over the frames, so each frame has a mask of its own.
    "TSMHead": Head(_as_configured, linear=False),
    "TimeSformerHead": Head(lambda _, x: x),
    "UniFormerHead": Head(lambda _, x: x),
    "MViTHead": Head(lambda head, x: head.pre_logits(x), _restore_mvit),
    "X3DHead": Head(lambda head, x: head.pool(x), linear=False, one_layer=False),
    # Ours, over the tokens of the backbone.
    "AttentiveHead": Head(
        lambda head, x: tokens_of(head.of, x), linear=False, one_layer=False, dropout=False
    ),
}


def head_row(head: Any) -> Head:
    """Return what is known of a built head; of a probe of pooled features, of the head that pools for it."""
    return HEADS[type(getattr(head, "base", head)).__name__]


def pooling_type(head: Mapping[str, Any]) -> str:
    """Name the type that pools for a head, by its config: that of its `base`, or its own."""
    return str(head.get("base", head)["type"])


def tokens_of(kind: str, output: Any) -> Tensor:
    """Give the tokens of a backbone's output.

    Args:
        kind: its type.
        output: its output, or tokens already.

    Returns:
        [N, tokens, channels].

    Raises:
        ModelError: the backbone pools its tokens.
    """
    if not isinstance(output, tuple | list) and output.ndim == 3:
        found: Tensor = output
        return found
    tokens = BACKBONES[kind].tokens
    if tokens is None:
        raise ModelError(f"a {kind} gives no tokens")
    return tokens(output)


def why_no_tokens(model: Mapping[str, Any]) -> str:
    """Say why a model gives no tokens for an attentive probe; empty if it does."""
    kind = model["backbone"]["type"]
    row = BACKBONES.get(kind)
    if row is None:
        return f"it is not known how to read the tokens of a {kind}"
    return "" if row.tokens else f"a {kind} gives one vector per view, already pooled"


def _row_of(backbone: Mapping[str, Any]) -> Backbone:
    """Return what is known of a backbone; of one with fewer stages than four, only its normalization."""
    row = BACKBONES.get(backbone["type"], Backbone())
    return row if backbone.get("num_stages", LAST_STAGE) == LAST_STAGE else Backbone(norm_eval=row.norm_eval)


def settings(backbone: Mapping[str, Any], stage: int, norm_eval: bool) -> dict[str, Any]:
    """Give the backbone's own settings for freezing up to a stage; empty if it has none."""
    row = _row_of(backbone)
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
    row = _row_of(backbone)
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
    row = _row_of(model["backbone"])
    if row.steps is None:
        return f"a {kind} cannot be cut after stage {stage}: its layers are not known"
    return ""


def is_linear_probe(model: Mapping[str, Any], stage: int) -> bool:
    """Tell whether what is trained is dropout and one linear layer over stored features."""
    head = HEADS.get(model["cls_head"]["type"])
    return stage == LAST_STAGE and not why_not_cut(model, stage) and head is not None and head.linear


def has_one_layer(model: Mapping[str, Any]) -> bool:
    """Tell whether the head's scores are those of one linear layer over what it pools."""
    head = HEADS.get(model["cls_head"]["type"])
    return head is not None and head.one_layer


def run_lower(backbone: nn.Module, x: Tensor, stage: int) -> Tensor:
    """Run a backbone up to and including a stage (0 the stem, 1 to 4).

    Args:
        backbone: of a type whose row has steps.
        x: clips, [B, 3, T, H, W]; of a 2-D network frames, [B, 3, H, W].
        stage: the last one to run, not the last of all.

    Returns:
        What `run_upper` takes, [B, ...].
    """
    from dancecli.model.networks.packing import pack

    state = _run(backbone, x, range(stage + 1))
    return pack(state) if isinstance(state, tuple) else state


def run_upper(backbone: nn.Module, z: Tensor, stage: int) -> Any:
    """Continue to the backbone's output after `z = run_lower(backbone, x, stage)`; see `run_lower`."""
    from dancecli.model.networks.packing import unpack

    several = BACKBONES[type(backbone).__name__].several
    return _run(backbone, unpack(z) if several else z, range(stage + 1, LAST_STAGE + 1))


def _run(backbone: Any, x: Any, stages: range) -> Any:
    steps = BACKBONES[type(backbone).__name__].steps
    assert steps is not None  # noqa: S101 - see `why_not_cut`
    for stage, step in steps(backbone):
        if stage in stages:
            x = step(x)
    return x
