"""Recipes: how a model is trained, as a small reviewed TOML file.

A recipe holds what a paper's table would: frames, views, optimiser, schedule. It names no
model and no data, so the same recipe compares models. `--recipe NAME` takes one of
`manifests/recipes/`, `--recipe FILE` any other; flags of the command line win over it.
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

FREEZE_STAGES = {"none": -1, "stem": 0, "1": 1, "2": 2, "3": 3, "4": 4}
_CHOICES: dict[str, tuple[str, ...]] = {
    "freeze": tuple(FREEZE_STAGES),
    "train_crop": ("random", "resized", "center"),
    "optimizer": ("sgd", "adam", "adamw"),
    "schedule": ("constant", "step", "cosine"),
    "class_weights": ("none", "balanced"),
}
# From 0 up to but without 1.
_SHARES = ("dropout", "label_smoothing", "ema", "momentum")
# The least value of a key; 0 for those not named.
_LEAST: dict[str, int] = dict.fromkeys(
    (
        *("clip_len", "frame_interval", "epochs", "batch", "accumulate", "lr_batch"),
        *("views", "num_clips", "num_crops"),
    ),
    1,
) | {"short_side": 32, "crop": 32}


@dataclass(frozen=True)
class Recipe:
    """How to train and how to look at a clip.

    Attributes:
        description: what it is for, in a sentence or two.
        clip_len, frame_interval: frames a view, and their distance; None takes the model's own.
        fps: frames a second that a clip of any rate is looked at with; None takes its own.
        short_side: the frame is resized to this before cropping, in pixels.
        crop: side of the square the model sees, in pixels.
        train_crop: `random` place, `resized` (random place and scale), or `center`.
        flip: mirror half of the training views.
        augment: chains of `dance augment` (`hflip,jitter,noise`), made of the frames as they are
            read: a training view is the clip as it is or one of these, each equally likely.
        views: training views of a clip that are made in turn; None makes a new one every epoch
            (and where the frozen part is computed once and stored, one for the clip as it is and
            for each chain, two at least).
        view_seed: of frames, crops, flips and augmentation; None takes the run's own seed.
        freeze: the last frozen stage of the backbone: `none`, `stem`, `1` to `4`.
        epochs, patience: passes over the training part, and the number of them without a better
            top-1 on val after which no more follow; 0 for no such end.
        batch, accumulate: clips a step, and the steps whose gradients make one update.
        lr, lr_batch: learning rate and the clips an update it was found for; others scale it.
        optimizer: `sgd`, `adam` or `adamw`.
        momentum: of `sgd`.
        weight_decay: share of a weight that is taken off it an update, before the rate.
        dropout: share of the features that the head does not see in training.
        label_smoothing: share of the target that is spread over all classes.
        class_weights: `balanced` weighs a class by the inverse of its share of the training part.
        ema: decay of a running average of the weights, which then is what is evaluated and kept;
            0 for none.
        amp: compute the training steps in half precision where that is safe: bfloat16 on a CPU,
            float16 on a GPU.
        clip_grad: largest norm of the gradients together; 0 lets any pass.
        schedule: of the learning rate: `constant`, `step` or `cosine`.
        warmup_epochs: linear, from a tenth.
        milestones, gamma: of the `step` schedule: after these epochs, times gamma.
        norm_eval: batch norm keeps its pre-trained averages, as small batches need.
        num_clips, num_crops: views of a clip whose probabilities are averaged in evaluation.
        workers: processes that decode; None fits the machine.
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
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} {getattr(self, name)!r} is not one of {', '.join(allowed)}")
        for field in fields(self):
            value = getattr(self, field.name)
            least = _LEAST.get(field.name, 0)
            if isinstance(value, float) and not math.isfinite(value):
                raise InputError(f"{field.name} {value} is no finite number")
            if isinstance(value, int | float) and value < least:
                raise InputError(f"{field.name} {value} is below {least:g}")
        if self.num_crops not in (1, 3):
            raise InputError(f"num_crops {self.num_crops} is not 1 (center) or 3 (along the longer side)")
        if self.crop > self.short_side:
            raise InputError(f"crop {self.crop} is larger than short_side {self.short_side}")
        for name in _SHARES:
            if not getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)} is not below 1")
        try:
            _ = self.chains
        except UsageError as error:
            raise InputError(f"augment: {error.message}", error.hint) from None

    @property
    def frozen_stages(self) -> int:
        """`freeze` as MMAction2 counts it: -1 none, 0 the stem, 1 to 4."""
        return FREEZE_STAGES[self.freeze]

    @property
    def chains(self) -> tuple[Chain, ...]:
        """What a training view may undergo instead of staying as it is."""
        return parse_chains(self.augment) if self.augment else ()

    @property
    def update_batch(self) -> int:
        """Clips an update of the weights."""
        return self.batch * self.accumulate

    def scaled_lr(self) -> float:
        """The learning rate for this recipe's updates: in proportion to their clips (Goyal et al. 2017)."""
        return self.lr * self.update_batch / self.lr_batch

    def with_changes(self, **changes: Any) -> Recipe:
        """Replace what is given and not None: flags over recipe.

        A learning rate given so is meant for the batch as it is, and is not scaled.
        """
        given = {key: value for key, value in changes.items() if value is not None}
        changed = replace(self, **given)
        return replace(changed, lr_batch=changed.update_batch) if "lr" in given else changed

    def with_set(self, texts: Sequence[str]) -> Recipe:
        """Replace keys by texts such as `ema=0.99`: the key and its value as in a recipe's file.

        Raises:
            InputError: one of them is none, or names no key, or its value cannot be.
        """
        table: dict[str, Any] = {}
        for text in texts:
            key, equals, value = (word.strip() for word in text.partition("="))
            if not equals or not key:
                raise InputError(f"--set {text}: is not KEY=VALUE", "for example --set ema=0.99")
            table[key] = _toml_value(value)
        try:
            return replace(self, **_checked(table))
        except InputError as error:
            raise InputError(f"--set: {error.message}", error.hint) from None


def recipe_names() -> list[str]:
    """Names of the recipes that come with the tool."""
    return names_in(RECIPES)


def read_recipe(name: str) -> Recipe:
    """Read a recipe by name, or by the path of a TOML file.

    Raises:
        InputError: no such recipe, not TOML, an unknown key, or a value that cannot be.
    """
    path, table = read_named("recipe", name, RECIPES)
    return parse_recipe(table, path)


def parse_recipe(table: dict[str, Any], path: Path) -> Recipe:
    """Check a recipe's keys and types; `path` is for the message.

    Raises:
        InputError: a key is unknown, or its value of another type or out of range.
    """
    try:
        return Recipe(**_checked(table))
    except InputError as error:
        raise InputError.at(path, None, error.message, error.hint) from None


def _checked(table: Mapping[str, Any]) -> dict[str, Any]:
    """Check keys and types; the values' ranges are the Recipe's own business."""
    hints = get_type_hints(Recipe)
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in hints:
            near = get_close_matches(key, hints, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(hints)}"
            raise InputError(f"a recipe has no key {key!r}", hint)
        values[key] = _as_type(value, hints[key], f"{key!r}")
    return values


def _toml_value(text: str) -> Any:
    """Read a value as TOML, and what is none as plain text: nobody types quotes through a shell."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _as_type(value: Any, hint: Any, what: str) -> Any:
    kinds = get_args(hint) or (hint,)
    if tuple in (getattr(hint, "__origin__", None), *kinds):
        if isinstance(value, list) and all(type(item) is int for item in value):
            return tuple(value)
        raise InputError(f"{what} is not a list of whole numbers")
    if float in kinds and type(value) is int:
        return float(value)
    # TOML has it as a number, and the recipe as a name.
    if kinds == (str,) and type(value) is int:
        return str(value)
    if type(value) not in kinds:
        names = " or ".join(kind.__name__ for kind in kinds if kind is not type(None))
        raise InputError(f"{what} is {value!r}, not of type {names}")
    return value
