"""Writes a config of plain data as Python that reads like one written by hand."""

from __future__ import annotations

import keyword
from collections.abc import Mapping, Sequence
from typing import Any

_WIDTH = 100


def render_config(config: Mapping[str, Any], header: Sequence[str]) -> str:
    """Write a config as Python that reads like one written by hand; `header` becomes comments."""
    lines = [f"# {line}".rstrip() for line in header]
    for key, value in config.items():
        text = _source(value, 0, len(key) + 3)
        lines += ["", f"{key} = {text}"] if "\n" in text else [f"{key} = {text}"]
    return "\n".join(lines) + "\n"


def _source(value: Any, indent: int, used: int) -> str:
    """Python source of plain data: on one line if it fits, else an item a line."""
    if isinstance(value, Mapping) and all(_is_name(key) for key in value):
        items = [(f"{key}=", item) for key, item in value.items()]
        left, right = "dict(", ")"
    elif isinstance(value, list | tuple):
        items = [("", item) for item in value]
        left, right = ("[", "]") if isinstance(value, list) else ("(", ",)" if len(value) == 1 else ")")
    else:
        return repr(value)
    inline = left + ", ".join(key + _source(item, 0, -(10**6)) for key, item in items) + right
    if indent + used + len(inline) <= _WIDTH:
        return inline
    pad = " " * (indent + 4)
    rows = [f"{pad}{key}{_source(item, indent + 4, len(key) + 1)},\n" for key, item in items]
    return f"{left}\n{''.join(rows)}{' ' * indent}{right[-1]}"


def _is_name(key: object) -> bool:
    return isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key)
