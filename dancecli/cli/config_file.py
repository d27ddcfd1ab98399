"""`dance.toml` as defaults of the options: one table per command, one key per option.

    [fetch]
    url-template = "http://example.org/{video_id}.mp4"
    limit = 50

A command-line option takes precedence over the file, the file over the built-in default. A
relative path in the file is relative to its folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typer import BadParameter
from typer.core import TyperOption

from dancecli.core.errors import InputError

if TYPE_CHECKING:
    from dancecli.storage.workspace import Workspace


def read_defaults(
    workspace: Workspace, owner: str, known: Sequence[TyperOption], owners: Sequence[str]
) -> dict[str, Any]:
    """Read a command's table of `dance.toml` into a dict of values by parameter name.

    Args:
        workspace: the workspace whose file is read.
        owner: the command whose table is read.
        known: the options of that command.
        owners: all commands that may have a table.

    Raises:
        InputError: a table or key is unknown, or a value is invalid for its option.
    """
    settings = workspace.read_settings()
    _refuse_unknown(workspace.settings, "table", settings, owners)
    table = settings.get(owner, {})
    if not isinstance(table, dict):
        raise InputError.at(workspace.settings, None, f"{owner!r} must be a table: [{owner}]")
    options = {key_of(option): option for option in known}
    _refuse_unknown(workspace.settings, f"key in [{owner}]", table, options)
    for key, value in table.items():
        reason = _reason_invalid(options[key], value)
        if reason:
            what = f"[{owner}] {key} = {value!r}: {reason}"
            raise InputError.at(workspace.settings, None, what, f"see dance {owner} --help")
    return {
        str(options[key].name): _from_folder(workspace.root, options[key], value)
        for key, value in table.items()
    }


def workspace_flag(args: Sequence[str], options: Iterable[TyperOption]) -> Path | None:
    """Find `--workspace` before the options are parsed, since their defaults are in the workspace.

    Args:
        args: as the parser gets them.
        options: of the command; the word behind one that takes a value is no option.
    """
    value_of = {name for option in options if not (option.is_flag or option.count) for name in option.opts}
    found = None
    words = iter(args)
    for word in words:
        if word == "--":
            break
        if word in ("--workspace", "-w"):
            found = next(words, found)
        elif word.startswith("--workspace="):
            found = word.partition("=")[2]
        elif word.startswith("-w"):
            found = word[2:]
        elif word in value_of:
            next(words, None)
    return None if found is None else Path(found)


def _refuse_unknown(path: Path, what: str, found: Iterable[str], known: Iterable[str]) -> None:
    for key in sorted(set(found) - set(known)):
        near = get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
        raise InputError.at(path, None, f"unknown {what} {key!r}", hint)


def _reason_invalid(option: TyperOption, value: Any) -> str:
    """Return why a value is invalid for an option; empty if it is valid."""
    if isinstance(value, dict) or (isinstance(value, list) and not option.multiple):
        return "must be a single value"
    try:
        option.process_value(None, value)  # type: ignore[arg-type]  # no context is needed
    except BadParameter as error:
        return error.message
    return ""


def _from_folder(root: Path, option: TyperOption, value: Any) -> Any:
    """Resolve a relative path against the folder of the file, not the current folder."""
    parsed = option.process_value(None, value)  # type: ignore[arg-type]  # no context is needed
    if isinstance(parsed, Path):
        return str(root / parsed)
    return [str(root / one) if isinstance(one, Path) else one for one in parsed] if option.multiple else value


def key_of(option: TyperOption) -> str:
    """Return an option's key in `dance.toml`: its long name without dashes."""
    return max(option.opts, key=len).removeprefix("--")


def toml_of(option: TyperOption) -> str:
    """Format an option's default as TOML; empty if it has none."""
    default = option.default
    if default is None:
        return " []" if option.multiple else ""
    if isinstance(default, Path):
        default = str(default)
    return " " + json.dumps(default, ensure_ascii=False)
