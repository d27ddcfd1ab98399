"""`dance.toml` as the flags' defaults: a table a command, a key a flag without its dashes.

    [fetch]
    url-template = "http://example.org/{video_id}.mp4"
    limit = 50

What is typed on the command line wins over the file, the file over the built-in default. A relative
path in it starts at its folder.
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
    """Read a command's table of `dance.toml` as values by the name of the parameter.

    Args:
        workspace: whose file it is.
        owner: the command that the table is named after.
        known: that command's options.
        owners: all commands that may have a table.

    Raises:
        InputError: a table or key that is unknown, or a value that its flag does not take.
    """
    settings = workspace.read_settings()
    _refuse_unknown(workspace.settings, "table", settings, owners)
    table = settings.get(owner, {})
    if not isinstance(table, dict):
        raise InputError.at(workspace.settings, None, f"{owner!r} must be a table: [{owner}]")
    options = {key_of(option): option for option in known}
    _refuse_unknown(workspace.settings, f"key in [{owner}]", table, options)
    for key, value in table.items():
        reason = _misfit(options[key], value)
        if reason:
            what = f"[{owner}] {key} = {value!r}: {reason}"
            raise InputError.at(workspace.settings, None, what, f"see dance {owner} --help")
    return {
        str(options[key].name): _from_folder(workspace.root, options[key], value)
        for key, value in table.items()
    }


def workspace_flag(args: Sequence[str]) -> Path | None:
    """Find `--workspace` before the flags are parsed, since it says where their defaults are."""
    for i, arg in enumerate(args):
        if arg == "--":
            break
        if arg.startswith("--workspace="):
            return Path(arg.partition("=")[2])
        if arg in ("--workspace", "-w") and i + 1 < len(args):
            return Path(args[i + 1])
    return None


def _refuse_unknown(path: Path, what: str, found: Iterable[str], known: Iterable[str]) -> None:
    for key in sorted(set(found) - set(known)):
        near = get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known) or 'none'}"
        raise InputError.at(path, None, f"there is no {what} named {key!r}", hint)


def _misfit(option: TyperOption, value: Any) -> str:
    """Say why a value is none for a flag; empty if it is one."""
    if isinstance(value, dict) or (isinstance(value, list) and not option.multiple):
        return "it is to be a single value"
    try:
        option.process_value(None, value)  # type: ignore[arg-type]  # no context is needed
    except BadParameter as error:
        return error.message
    return ""


def _from_folder(root: Path, option: TyperOption, value: Any) -> Any:
    """Let a relative path start at the file that names it, wherever the command is typed."""
    meant = option.process_value(None, value)  # type: ignore[arg-type]  # no context is needed
    if isinstance(meant, Path):
        return str(root / meant)
    return [str(root / one) if isinstance(one, Path) else one for one in meant] if option.multiple else value


def key_of(option: TyperOption) -> str:
    """Name an option as `dance.toml` does: its long flag without dashes."""
    return max(option.opts, key=len).removeprefix("--")


def toml_of(option: TyperOption) -> str:
    """Write an option's default as TOML; empty if it has none."""
    default = option.default
    if default is None:
        return " []" if option.multiple else ""
    if isinstance(default, Path):
        default = str(default)
    return " " + json.dumps(default, ensure_ascii=False)
