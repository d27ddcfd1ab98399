"""Search spaces: recipe keys with bounds or choices, as a small TOML file.

    [lr]
    low = 1e-5
    high = 1e-2
    log = true

    [optimizer]
    choices = ["adam", "sgd"]

`--space NAME` takes one of `manifests/spaces/`, `--space FILE` any other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from dancecli.core.errors import InputError
from dancecli.core.labels import MANIFESTS
from dancecli.core.recipe import Recipe, parse_recipe
from dancecli.core.toml_files import names_in, read_named

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

SPACES = MANIFESTS / "spaces"
Value: TypeAlias = str | int | float | bool

# All trials must be evaluated alike, and independently of the machine.
_NOT_SEARCHED = {
    "description": "does not change the training",
    "workers": "only changes the speed",
    "lr_batch": "only scales lr: search lr",
    "num_clips": "is part of the evaluation protocol, the same for all trials",
    "num_crops": "is part of the evaluation protocol, the same for all trials",
    "epochs": "is the budget of a trial, the same for all trials: use --epochs",
}
_BOUNDS = ("low", "high", "log", "step")


@dataclass(frozen=True)
class Dimension:
    """One recipe key and the values to search.

    Attributes:
        low, high: bounds, both included; None with choices.
        log: sample on a logarithmic scale.
        step: distance between values; None for any, 1 for integers.
        choices: the values of a categorical dimension.
    """

    key: str
    low: float | int | None = None
    high: float | int | None = None
    log: bool = False
    step: float | int | None = None
    choices: tuple[Value, ...] = ()

    def holds(self, value: object) -> bool:
        """Whether a value lies in the dimension."""
        if self.choices:
            return value in self.choices
        if not isinstance(value, int | float) or self.low is None or self.high is None:
            return False
        return self.low <= value <= self.high

    def table(self) -> dict[str, Any]:
        """Return the dimensions as in the file."""
        if self.choices:
            return {"choices": list(self.choices)}
        found = {"low": self.low, "high": self.high, "log": self.log or None, "step": self.step}
        return {key: value for key, value in found.items() if value is not None}

    def distribution(self) -> BaseDistribution:
        """Convert to Optuna's distributions."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        low, high = self.low, self.high
        if isinstance(low, int) and isinstance(high, int):
            return IntDistribution(low, high, log=self.log, step=int(self.step or 1))
        assert low is not None  # noqa: S101 - checked by read_space
        assert high is not None  # noqa: S101
        return FloatDistribution(low, high, log=self.log, step=self.step)


@dataclass(frozen=True)
class Space:
    """The dimensions of a search space, in the order of the file."""

    name: str
    dimensions: tuple[Dimension, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The recipe keys that are searched."""
        return tuple(dimension.key for dimension in self.dimensions)

    def table(self) -> dict[str, dict[str, Any]]:
        """Return the dimensions as in the file."""
        return {dimension.key: dimension.table() for dimension in self.dimensions}

    def distributions(self) -> dict[str, BaseDistribution]:
        """Convert to Optuna's distributions."""
        return {dimension.key: dimension.distribution() for dimension in self.dimensions}

    def point_of(self, recipe: Recipe) -> dict[str, Value] | None:
        """Return a recipe as a point of the space; None if it lies outside."""
        point = {key: recipe.scaled_lr() if key == "lr" else getattr(recipe, key) for key in self.keys}
        return point if all(d.holds(point[d.key]) for d in self.dimensions) else None


def space_names() -> list[str]:
    """Return the names of the built-in spaces."""
    return names_in(SPACES)


def read_space(name: str, recipe: Recipe) -> Space:
    """Read a space by name, or by the path of a TOML file.

    Args:
        name: one of `space_names`, or a path that ends in `.toml`.
        recipe: recipe of the trials; every bound must be valid in it.

    Raises:
        InputError: no such space, not TOML, or an invalid key or bound.
    """
    path, table = read_named("space", name, SPACES)
    if not table:
        raise InputError.at(path, None, "has no dimension to search", "add a table such as [lr]")
    found = tuple(_dimension(path, key, entry, recipe) for key, entry in table.items())
    return Space(path.stem, found)


def _dimension(path: Path, key: str, entry: Any, recipe: Recipe) -> Dimension:
    known = [field.name for field in fields(Recipe) if field.name not in _NOT_SEARCHED]
    if key in _NOT_SEARCHED:
        raise InputError.at(path, None, f"[{key}] cannot be searched: it {_NOT_SEARCHED[key]}")
    if key not in known:
        near = get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        raise InputError.at(path, None, f"[{key}] is not a recipe key", hint)
    example = 'give it low and high, or choices = ["adam", "sgd"]'
    if not isinstance(entry, dict):
        raise InputError.at(path, None, f"{key!r} must be a table: [{key}]", example)
    for word in entry:
        if word not in (*_BOUNDS, "choices"):
            known_words = ", ".join((*_BOUNDS, "choices"))
            raise InputError.at(path, None, f"[{key}] has no entry {word!r}", f"known: {known_words}")
    if "choices" in entry and len(entry) == 1:
        return Dimension(key, choices=_choices(path, key, entry["choices"], recipe))
    if "choices" in entry or not {"low", "high"} <= set(entry):
        raise InputError.at(path, None, f"[{key}] needs either low and high, or choices alone", example)
    return _range(path, key, entry, recipe)


def _choices(path: Path, key: str, listed: Any, recipe: Recipe) -> tuple[Value, ...]:
    if not isinstance(listed, list) or len(listed) < 2:
        raise InputError.at(path, None, f"[{key}] choices must be a list of at least two values")
    found = tuple(_possible(path, key, value, recipe) for value in listed)
    if len(set(found)) < len(found):
        raise InputError.at(path, None, f"[{key}] choices lists a value twice")
    return found


def _range(path: Path, key: str, entry: Mapping[str, Any], recipe: Recipe) -> Dimension:
    low, high = (_possible(path, key, entry[end], recipe) for end in ("low", "high"))
    if isinstance(low, bool | str) or isinstance(high, bool | str):
        raise InputError.at(path, None, f"[{key}] is not a number: list its choices")
    log, step = entry.get("log", False), entry.get("step")
    whole = isinstance(low, int)
    if not isinstance(log, bool):
        raise InputError.at(path, None, f"[{key}] log is {log!r}, not true or false")
    kinds = (int,) if whole else (int, float)
    if step is not None and (type(step) not in kinds or not 0 < step < math.inf):
        what = "an integer" if whole else "a number"
        raise InputError.at(path, None, f"[{key}] step is {step!r}, not {what} above 0")
    if low >= high:
        raise InputError.at(path, None, f"[{key}] low {low} is not below high {high}")
    if log and low <= 0:
        raise InputError.at(path, None, f"[{key}] low is {low}; with log it must be above 0")
    if log and step is not None:
        raise InputError.at(path, None, f"[{key}] has both log and step", "omit one of them")
    return Dimension(key, low, high, log, step)


def _possible(path: Path, key: str, value: Any, recipe: Recipe) -> Value:
    """Check that a recipe can have this value; convert an integer to the type of the key."""
    table = {k: v for k, v in json.loads(json.dumps(asdict(recipe))).items() if v is not None}
    try:
        found = getattr(parse_recipe({**table, key: value}, path), key)
    except InputError as error:
        said = error.message.removeprefix(f"{path}: ")
        raise InputError.at(path, None, f"[{key}] {said}", error.hint) from None
    if not isinstance(found, str | int | float | bool):
        raise InputError.at(path, None, f"[{key}] is a list, which cannot be searched")
    return found
