"""Built-in TOML files by name, or a user's own by path."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from dancecli.core.errors import InputError


def names_in(folder: Path) -> list[str]:
    """Return the names of the built-in files of a folder."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def read_named(what: str, name: str, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Read a file by name or path; return its path too, for messages.

    Args:
        what: kind of the file, such as `recipe`.
        name: name of a built-in file, or a path that ends with `.toml`.
        folder: folder of the built-in files.

    Raises:
        InputError: there is no such file, or it is not TOML.
    """
    path = Path(name) if name.endswith(".toml") else folder / f"{name}.toml"
    try:
        return path, tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        hint = f"known {what}s: {', '.join(names_in(folder))}; or give the path of a .toml file"
        raise InputError(f"there is no {what} {name!r}", hint) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError.at(path, None, f"is not valid TOML: {error}", "correct that line") from None
