"""Ids that begin with `-` (one YouTube id in 64 does) are typed like any other, without `--` before them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typer.core import TyperOption

_VIDEO = re.compile(r"-[A-Za-z0-9_-]{10}")
_CLIP = re.compile(r"-[A-Za-z0-9_-]{0,63}_\d+_\d+(?:\.[A-Za-z0-9+_.-]+)?")
# A word this close to an option is that option, misspelt.
_NEAR = 0.75


def ids_last(args: Sequence[str], options: Iterable[TyperOption]) -> list[str]:
    """Move the ids among the arguments of a command behind `--`, where nothing is an option.

    Args:
        args: as typed.
        options: of the command.
    """
    takes_value = {
        name: not (option.is_flag or option.count)
        for option in options
        for name in (*option.opts, *option.secondary_opts)
    }
    kept: list[str] = []
    ids: list[str] = []
    words = iter(args)
    for word in words:
        if word == "--":
            return [*kept, "--", *ids, *words] if ids else [*kept, word, *words]
        if _is_id(word, takes_value):
            ids.append(word)
            continue
        kept.append(word)
        if takes_value.get(word):
            kept.extend(value for value in (next(words, None),) if value is not None)
    return [*kept, "--", *ids] if ids else kept


def _is_id(word: str, options: dict[str, bool]) -> bool:
    if word in options:
        return False
    if _CLIP.fullmatch(word):
        return True
    if not _VIDEO.fullmatch(word):
        return False
    if word.startswith("--"):
        import difflib

        return not difflib.get_close_matches(word, options, n=1, cutoff=_NEAR)
    # `-wDIR`: an option with its value attached.
    return not (word[:2] in options and Path(word[2:]).exists())
