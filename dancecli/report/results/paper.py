"""The paper's experiments: what it did and what it printed, read from `manifests/paper/`."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from dancecli.core.errors import InputError
from dancecli.core.labels import MANIFESTS
from dancecli.core.recipe import RECIPES

SOURCES = ("paper", "MMAction2", "ours")
_MARKED = re.compile(rf"(\w+) = (.+?)\s*# ({'|'.join(SOURCES)})(?:: (.+))?")
PAPER = MANIFESTS / "paper" / "experiments.toml"


@dataclass(frozen=True)
class Experiment:
    """One row of the paper's tables.

    Attributes:
        name: its table in the file.
        pretrain, recipe: of `dance finetune`; `two-stream` is what `dance train --stream both` makes.
        ratios, size: `--ratios` and `--subset` of `dance split`; 0 for all clips.
        top1, top5: per cent as printed; empty if there is none.
        clips: how many clips these can be of, inferred; 0 where nothing tells.
        subset: the subset that they were of.
        changes: of the recipe's keys, each as `key=value`.
        also: further figures of the same subset, as printed.
        against: the experiment that the paper holds this one to improve on; empty for none.
        remarks: what reading shows and no arithmetic does.
    """

    name: str
    title: str
    pretrain: str
    recipe: str
    ratios: str
    top1: str
    clips: int = 0
    size: int = 0
    top5: str = ""
    subset: str = "test"
    changes: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    against: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class RecipeValue:
    """One value of a recipe of the paper, and who states it.

    Attributes:
        text: the value as in the file.
        source: `paper`, `MMAction2` or `ours`.
        why: of what the paper does not state; may be empty.
    """

    key: str
    text: str
    source: str
    why: str = ""


def read_sources(recipe: str, folder: Path = RECIPES) -> tuple[RecipeValue, ...]:
    """Read who states each value of a recipe of the paper, from the comments of its file.

    Raises:
        InputError: a line has no such mark.
    """
    path = folder / f"{recipe}.toml"
    found = []
    for row, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line or line.startswith(("#", "description")):
            continue
        marked = _MARKED.fullmatch(line)
        if marked is None:
            raise InputError.at(path, row, "does not say who states this value", f"mark it: # {SOURCES[0]}")
        key, text, source, why = marked.groups()
        found.append(RecipeValue(key, text, source, why or ""))
    return tuple(found)


def read_experiments(path: Path = PAPER) -> tuple[Experiment, ...]:
    """Read the file, in its order.

    Raises:
        InputError: it is not TOML, or a table has an unknown key, lacks one, or names no other.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise InputError.at(path, None, f"is not valid TOML: {error}", "correct that line") from None
    found = tuple(_experiment(name, table, path) for name, table in tables.items())
    for one in found:
        if one.against and one.against not in tables:
            raise InputError.at(path, None, f"[{one.name}] is against {one.against!r}, which is not there")
    return found


def _experiment(name: str, table: dict[str, Any], path: Path) -> Experiment:
    known = {field.name for field in fields(Experiment)} - {"name"}
    if odd := sorted(set(table) - known):
        hint = f"known: {', '.join(sorted(known))}"
        raise InputError.at(path, None, f"[{name}] has no key {odd[0]!r}", hint)
    hints = get_type_hints(Experiment)
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in table.items()
    }
    for key, value in values.items():
        if not isinstance(value, getattr(hints[key], "__origin__", hints[key])):
            raise InputError.at(path, None, f"[{name}] {key} is {value!r}, not what it is to be")
    try:
        return Experiment(name=name, **values)
    except TypeError as error:
        raise InputError.at(path, None, f"[{name}] is not whole: {error}") from None
