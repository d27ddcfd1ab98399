"""Recipes: how a model is trained, as a small reviewed TOML file.

A recipe holds what the training table of a paper would: frames, views, optimizer, schedule. It
names no model and no data, so one recipe compares models. `--recipe NAME` takes a built-in recipe
of `manifests/recipes/`, `--recipe FILE` any other; command-line flags override its keys.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args, get_type_hints

from dancecli.core.augmentation import Chain, parse_chains
from dancecli.core.errors import InputError, UsageError
from dancecli.core.labels import MANIFESTS
from dancecli.core.toml_files import names_in, read_named

RECIPES = MANIFESTS / "recipes"
TRAINED, SOLVED = "trained", "solved"
ATTENTIVE, KNN, PROTOTYPE = "attentive", "knn", "prototype"
# Heads that are fitted to the stored features of a wholly frozen backbone.
PROBES = (SOLVED, ATTENTIVE, KNN, PROTOTYPE)
# How a probe is fitted: on all training clips, or as a benchmark publishes it.
FULL, MTEB, VJEPA2 = "full", "mteb", "vjepa2"
# The one head of a published protocol.
PROTOCOL_HEADS = {MTEB: SOLVED, VJEPA2: ATTENTIVE}
# How the head of a network that is trained by epochs starts, besides `SOLVED`.
RANDOM, PRETRAINED = "random", "pretrained"
# What a validation subset is for.
AUTO, HELD_OUT = "auto", "held-out"
# These keys only apply to training by epochs.
EPOCH_KEYS = frozenset(
    (
        *("epochs", "patience", "batch", "accumulate", "lr", "lr_batch", "optimizer", "momentum"),
        *("weight_decay", "dropout", "label_smoothing", "ema", "amp", "clip_grad", "schedule"),
        *("warmup_epochs", "milestones", "gamma", "head_init"),
    )
)

FREEZE_STAGES = {"none": -1, "stem": 0, "1": 1, "2": 2, "3": 3, "4": 4}
_CHOICES: dict[str, tuple[str, ...]] = {
    "freeze": tuple(FREEZE_STAGES),
    "train_crop": ("random", "resized", "multi-scale", "center"),
    "optimizer": ("sgd", "adam", "adamw"),
    "schedule": ("constant", "step", "cosine"),
    "class_weights": ("none", "balanced"),
    "head": (TRAINED, *PROBES),
    "protocol": (FULL, *PROTOCOL_HEADS),
    "head_init": (SOLVED, RANDOM, PRETRAINED),
    "validation": (AUTO, HELD_OUT),
}
# At least 0 and below 1.
_SHARES = ("dropout", "label_smoothing", "ema", "momentum")
# Minimum of a key; 0 for the others.
_LEAST: dict[str, int] = dict.fromkeys(
    (
        *("clip_len", "frame_interval", "epochs", "batch", "accumulate", "lr_batch"),
        *("views", "num_clips", "num_crops"),
    ),
    1,
) | {"short_side": 32, "crop": 32}


@dataclass(frozen=True)
class Recipe:
    """How to train a model, and which views of a clip it sees.

    Attributes:
        description: purpose of the recipe, in one or two sentences.
        clip_len, frame_interval: frames per view and their distance; None takes the model's own.
        fps: resample clips to this frame rate; None keeps each clip's own rate.
        short_side: resize the short side of frames to this many pixels before cropping.
        crop: side of the square input of the model, in pixels.
        train_crop: training crop: `random` position, `resized` (random position and area),
            `multi-scale` (random size and one of five positions, as MMAction2's MultiScaleCrop),
            or `center`.
        flip: flip half of the training views horizontally.
        augment: augmentation chains as in `dance augment` (`hflip,jitter,noise`), applied while
            decoding: a training view is the original clip or one of them, each equally likely.
        views: number of different training views per clip, used in turn; None draws a new view in
            every epoch (with cached features: one for the original and each chain, at least two).
        view_seed: random seed for frames, crops, flips and augmentation; None takes the run's seed.
        freeze: last frozen stage of the backbone: `none`, `stem`, `1` to `4`.
        head: `solved` finds the head of a wholly frozen backbone by regularized logistic regression
            on cached features; `attentive`, `knn` and `prototype` are other probes of them. The keys
            of training by epochs do not apply then. `trained` trains it by epochs, as is always done
            where more than the head is trained.
        protocol: how a probe is fitted: `full` on all training clips, with what is chosen by grouped
            cross-validation; `mteb` or `vjepa2` as published.
        head_init: where training by epochs starts the head: `solved`, the head that is solved on
            features of the network as it is at the start; `random`; or `pretrained`, matching classes
            from the pre-trained classifier. None is `solved` for a partly frozen network, else `random`.
        validation: `auto` trains on a validation subset that is too small to choose an epoch by;
            `held-out` never does.
        epochs: number of epochs.
        patience: early-stopping patience in epochs; 0 disables early stopping.
        batch: clips per step.
        accumulate: gradient accumulation steps.
        lr, lr_batch: learning rate, and the clips per update it was chosen for; see `scaled_lr`.
        optimizer: `sgd`, `adam` or `adamw`.
        momentum: momentum of `sgd`.
        weight_decay: weight decay.
        dropout: dropout probability.
        label_smoothing: label smoothing.
        class_weights: `balanced` weights classes by their inverse frequency in the training subset.
        ema: EMA decay; EMA weights are evaluated and saved; 0 disables EMA.
        amp: automatic mixed precision in all passes: bfloat16, or float16 on GPUs without it.
        clip_grad: max gradient norm; 0 disables clipping.
        schedule: learning-rate schedule: `constant`, `step` or `cosine`.
        warmup_epochs: epochs of linear warm-up from a tenth of the learning rate.
        milestones, gamma: of the `step` schedule: multiply by gamma after these epochs.
        norm_eval: keep the pre-trained batch norm statistics, as small batches need.
        num_clips, num_crops: views per clip whose probabilities are averaged in evaluation.
        workers: decoding processes; None depends on the machine.
    """

    description: str = ""
    clip_len: int | None = None
    frame_interval: int | None = None
    fps: int | None = None
    short_side: int = 256
    crop: int = 224
    train_crop: str = "random"
    flip: bool = True
    augment: str = ""
    views: int | None = None
    view_seed: int | None = None
    freeze: str = "4"
    head: str = TRAINED
    protocol: str = FULL
    head_init: str | None = None
    validation: str = AUTO
    epochs: int = 20
    patience: int = 0
    batch: int = 16
    accumulate: int = 1
    lr: float = 1e-3
    lr_batch: int = 16
    optimizer: str = "adam"
    momentum: float = 0.9
    weight_decay: float = 0.0
    dropout: float = 0.5
    label_smoothing: float = 0.0
    class_weights: str = "none"
    ema: float = 0.0
    amp: bool = False
    clip_grad: float = 40.0
    schedule: str = "cosine"
    warmup_epochs: int = 0
    milestones: tuple[int, ...] = ()
    gamma: float = 0.1
    norm_eval: bool = True
    num_clips: int = 1
    num_crops: int = 1
    workers: int | None = None

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            chosen = getattr(self, name)
            if chosen is not None and chosen not in allowed:
                raise InputError(f"{name} {chosen!r} is not one of {', '.join(allowed)}")
        for field in fields(self):
            value = getattr(self, field.name)
            least = _LEAST.get(field.name, 0)
            if isinstance(value, float) and not math.isfinite(value):
                raise InputError(f"{field.name} must be finite, not {value}")
            if isinstance(value, int | float) and value < least:
                raise InputError(f"{field.name} must be at least {least:g}, not {value}")
        if self.num_crops not in (1, 3):
            raise InputError(
                f"num_crops must be 1 (center) or 3 (along the longer side), not {self.num_crops}"
            )
        if self.crop > self.short_side:
            raise InputError(f"crop {self.crop} is larger than short_side {self.short_side}")
        if self.head != PROTOCOL_HEADS.get(self.protocol, self.head):
            raise InputError(
                f"protocol {self.protocol} has the head {PROTOCOL_HEADS[self.protocol]}, not {self.head}"
            )
        for name in _SHARES:
            if not getattr(self, name) < 1:
                raise InputError(f"{name} must be below 1, not {getattr(self, name)}")
        try:
            _ = self.chains
        except UsageError as error:
            raise InputError(f"augment: {error.message}", error.hint) from None

    @property
    def frozen_stages(self) -> int:
        """`freeze` as MMAction2 counts it: -1 for none, 0 for the stem, 1 to 4."""
        return FREEZE_STAGES[self.freeze]

    @property
    def chains(self) -> tuple[Chain, ...]:
        """The augmentation chains of training views."""
        return parse_chains(self.augment) if self.augment else ()

    @property
    def update_batch(self) -> int:
        """Clips per update of the weights."""
        return self.batch * self.accumulate

    def scaled_lr(self) -> float:
        """Return the learning rate scaled to the clips per update.

        In proportion for SGD (Goyal et al. 2017), by the square root for Adam and AdamW (Malladi et
        al. 2022).
        """
        ratio = self.update_batch / self.lr_batch
        return self.lr * (ratio if self.optimizer == "sgd" else math.sqrt(ratio))

    def with_changes(self, **changes: Any) -> Recipe:
        """Replace the keys that are given and not None: flags override the recipe.

        A learning rate given here is meant for the batch as it is, and is not scaled.

        Raises:
            UsageError: a value is invalid.
        """
        given = {key: value for key, value in changes.items() if value is not None}
        try:
            changed = replace(self, **given)
        except InputError as error:
            raise UsageError(error.message, error.hint) from None
        return replace(changed, lr_batch=changed.update_batch) if "lr" in given else changed

    def with_set(self, texts: Sequence[str]) -> Recipe:
        """Replace keys by texts such as `ema=0.99`, with the value as in a recipe file.

        A learning rate given here is meant for the batch as it is, as in `with_changes`.

        Raises:
            UsageError: a text is not KEY=VALUE, the key is unknown or the value invalid.
        """
        table: dict[str, Any] = {}
        for text in texts:
            key, equals, value = (word.strip() for word in text.partition("="))
            if not equals or not key:
                raise UsageError(f"--set {text}: is not KEY=VALUE", "for example --set ema=0.99")
            table[key] = _toml_value(value)
        try:
            changed = replace(self, **_checked(table))
        except InputError as error:
            raise UsageError(f"--set: {error.message}", error.hint) from None
        typed = "lr" in table and "lr_batch" not in table
        return replace(changed, lr_batch=changed.update_batch) if typed else changed


def recipe_names() -> list[str]:
    """Return the names of the built-in recipes."""
    return names_in(RECIPES)


def read_recipe(name: str) -> Recipe:
    """Read a recipe by name, or by the path of a TOML file.

    Raises:
        InputError: no such recipe, not TOML, an unknown key, or an invalid value.
    """
    path, table = read_named("recipe", name, RECIPES)
    return parse_recipe(table, path)


def parse_recipe(table: dict[str, Any], path: Path) -> Recipe:
    """Check the keys and types of a recipe; `path` is for the message.

    Raises:
        InputError: a key is unknown, or its value has the wrong type or is out of range.
    """
    try:
        return Recipe(**_checked(table))
    except InputError as error:
        raise InputError.at(path, None, error.message, error.hint) from None


def recorded_recipe(table: Mapping[str, Any], path: Path) -> Recipe:
    """Check the recipe in the record of a run, which has all keys; `path` is for the message.

    Raises:
        InputError: see `parse_recipe`.
    """
    return parse_recipe({key: value for key, value in table.items() if value is not None}, path)


def _checked(table: Mapping[str, Any]) -> dict[str, Any]:
    """Check keys and types; Recipe checks the ranges."""
    hints = get_type_hints(Recipe)
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in hints:
            near = get_close_matches(key, hints, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(hints)}"
            raise InputError(f"unknown recipe key {key!r}", hint)
        values[key] = _as_type(value, hints[key], f"{key!r}")
    return values


def _toml_value(text: str) -> Any:
    """Read a value as TOML, or else as plain text: shells remove quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _as_type(value: Any, hint: Any, what: str) -> Any:
    kinds = get_args(hint) or (hint,)
    if tuple in (getattr(hint, "__origin__", None), *kinds):
        if isinstance(value, list) and all(type(item) is int for item in value):
            return tuple(value)
        raise InputError(f"{what} must be a list of integers")
    if float in kinds and type(value) is int:
        return float(value)
    # A number in TOML, a name in the recipe (freeze = 4).
    if kinds == (str,) and type(value) is int:
        return str(value)
    if type(value) not in kinds:
        names = " or ".join(kind.__name__ for kind in kinds if kind is not type(None))
        raise InputError(f"{what} must be of type {names}, not {value!r}")
    return value
