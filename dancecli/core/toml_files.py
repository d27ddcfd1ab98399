"""TOML files that come with the tool and are named, or a user's own by its path."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from dancecli.core.errors import InputError


def names_in(folder: Path) -> list[str]:
    """Give the names of those that come with the tool."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def read_named(what: str, name: str, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Read one by name, or by the path of a TOML file; give its path too, for messages.

    Args:
        what: it is, such as `recipe`.
        name: or a path that ends with `.toml`.
        folder: of those that come with the tool.

    Raises:
        InputError: there is none, or it is not TOML.
    """
    path = Path(name) if name.endswith(".toml") else folder / f"{name}.toml"
    try:
        return path, tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        hint = f"known {what}s: {', '.join(names_in(folder))}; or give the path of a .toml file"
        raise InputError(f"there is no {what} {name!r}", hint) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError.at(path, None, f"is not valid TOML: {error}", "correct that line") from None
