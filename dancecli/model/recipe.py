"""Recipes: how a model is trained, as a small reviewed TOML file.

A recipe holds what a paper's table would: frames, views, optimiser, schedule. It names no
model and no data, so the same recipe compares models. `--recipe NAME` takes one of
`manifests/recipes/`, `--recipe FILE` any other; flags of the command line win over it.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

from dancecli.errors import InputError
from dancecli.labels import MANIFESTS

RECIPES = MANIFESTS / "recipes"

FREEZE_STAGES = {"none": -1, "stem": 0, "1": 1, "2": 2, "3": 3, "4": 4}
_CHOICES: dict[str, tuple[str, ...]] = {
    "freeze": tuple(FREEZE_STAGES),
    "train_crop": ("random", "resized", "center"),
    "optimizer": ("sgd", "adam", "adamw"),
    "schedule": ("constant", "step", "cosine"),
}
# The least value of a key; 0 for those not named.
_LEAST: dict[str, int] = dict.fromkeys(
    ("clip_len", "frame_interval", "epochs", "batch", "lr_batch", "views", "num_clips", "num_crops"), 1
) | {"short_side": 32, "crop": 32}


@dataclass(frozen=True)
class Recipe:
    """How to train and how to look at a clip.

    Attributes:
        clip_len, frame_interval: frames a view, and their distance; None takes the model's own.
        short_side: the frame is resized to this before cropping, in pixels.
        crop: side of the square the model sees, in pixels.
        train_crop: `random` place, `resized` (random place and scale), or `center`.
        flip: mirror half of the training views.
        views: training views of a clip that are made in turn; None makes a new one every epoch
            (and three, where the frozen part is computed once and stored).
        freeze: the last frozen stage of the backbone: `none`, `stem`, `1` to `4`.
        lr, lr_batch: learning rate and the batch it was found for; another batch scales it.
        warmup_epochs: linear, from a tenth.
        milestones, gamma: of the `step` schedule: after these epochs, times gamma.
        norm_eval: batch norm keeps its pre-trained averages, as small batches need.
        num_clips, num_crops: views of a clip whose probabilities are averaged in evaluation.
        workers: processes that decode; None fits the machine.
    """

    description: str = ""
    clip_len: int | None = None
    frame_interval: int | None = None
    short_side: int = 256
    crop: int = 224
    train_crop: str = "random"
    flip: bool = True
    views: int | None = None
    freeze: str = "4"
    epochs: int = 20
    batch: int = 16
    lr: float = 1e-3
    lr_batch: int = 16
    optimizer: str = "adam"
    momentum: float = 0.9
    weight_decay: float = 0.0
    dropout: float = 0.5
    label_smoothing: float = 0.0
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
            if isinstance(value, int | float) and value < least:
                raise InputError(f"{field.name} {value} is below {least:g}")
        if self.num_crops not in (1, 3):
            raise InputError(f"num_crops {self.num_crops} is not 1 (center) or 3 (along the longer side)")
        if self.crop > self.short_side:
            raise InputError(f"crop {self.crop} is larger than short_side {self.short_side}")
        if not self.dropout < 1:
            raise InputError(f"dropout {self.dropout} is not below 1")

    @property
    def frozen_stages(self) -> int:
        """`freeze` as MMAction2 counts it: -1 none, 0 the stem, 1 to 4."""
        return FREEZE_STAGES[self.freeze]

    def scaled_lr(self) -> float:
        """The learning rate for this recipe's batch: in proportion to it (Goyal et al. 2017)."""
        return self.lr * self.batch / self.lr_batch

    def with_changes(self, **changes: Any) -> Recipe:
        """Replace what is given and not None: flags over recipe.

        A learning rate given so is meant for the batch as it is, and is not scaled.
        """
        given = {key: value for key, value in changes.items() if value is not None}
        changed = replace(self, **given)
        return replace(changed, lr_batch=changed.batch) if "lr" in given else changed


def recipe_names() -> list[str]:
    """Names of the recipes that come with the tool."""
    return sorted(path.stem for path in RECIPES.glob("*.toml"))


def read_recipe(name: str) -> Recipe:
    """Read a recipe by name, or by the path of a TOML file.

    Raises:
        InputError: no such recipe, not TOML, an unknown key, or a value that cannot be.
    """
    path = Path(name) if name.endswith(".toml") else RECIPES / f"{name}.toml"
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        hint = f"known recipes: {', '.join(recipe_names())}; or give the path of a .toml file"
        raise InputError(f"there is no recipe {name!r}", hint) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError.at(path, None, f"is not valid TOML: {error}", "correct that line") from None
    return parse_recipe(table, path)


def parse_recipe(table: dict[str, Any], path: Path) -> Recipe:
    """Check a recipe's keys and types; `path` is for the message."""
    hints = get_type_hints(Recipe)
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in hints:
            raise InputError.at(path, None, f"a recipe has no key {key!r}", f"known: {', '.join(hints)}")
        values[key] = _as_type(value, hints[key], f"{key!r}", path)
    try:
        return Recipe(**values)
    except InputError as error:
        raise InputError.at(path, None, error.message, error.hint) from None


def _as_type(value: Any, hint: Any, what: str, path: Path) -> Any:
    kinds = get_args(hint) or (hint,)
    if tuple in (getattr(hint, "__origin__", None), *kinds):
        if isinstance(value, list) and all(type(item) is int for item in value):
            return tuple(value)
        raise InputError.at(path, None, f"{what} is not a list of whole numbers")
    if float in kinds and type(value) is int:
        return float(value)
    if type(value) not in kinds:
        names = " or ".join(kind.__name__ for kind in kinds if kind is not type(None))
        raise InputError.at(path, None, f"{what} is {value!r}, not of type {names}")
    return value
