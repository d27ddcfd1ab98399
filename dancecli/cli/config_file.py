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
from typer.core import TyperCommand, TyperOption

from dancecli.core.errors import InputError

if TYPE_CHECKING:
    from typer import Context

    from dancecli.storage.workspace import Workspace

# These say what one call is to do or show; a default in a file would surprise.
_NOT_SETTINGS = {"workspace", "help", "dry_run", "json_output", "resume"}


class SettingsCommand(TyperCommand):
    """A command whose defaults come from the workspace's `dance.toml`."""

    def make_context(  # type: ignore[override]  # the context's class is private to typer
        self, info_name: str | None, args: list[str], parent: Context | None = None, **extra: Any
    ) -> Any:
        """Read the command's table of `dance.toml` before the flags are parsed."""
        # A shell that completes a line parses resiliently: a wrong dance.toml is no answer to it.
        if "--help" not in args and not extra.get("resilient_parsing"):
            from dancecli.storage.workspace import Workspace

            workspace = Workspace.locate(_workspace_flag(args))
            extra["default_map"] = self._defaults(workspace)
        return super().make_context(info_name, args, parent=parent, **extra)

    def get_params(self, ctx: Context) -> Any:  # type: ignore[override]  # as in make_context
        """Give the parameters, of which those that take no value name none in the help."""
        params = super().get_params(ctx)
        for option in params:
            if isinstance(option, TyperOption) and option.is_flag:
                option.metavar = ""
        return params

    def settings(self) -> list[TyperOption]:
        """The options that may stand in `dance.toml`."""
        options = (p for p in self.params if isinstance(p, TyperOption))
        return [p for p in options if p.name not in _NOT_SETTINGS]

    def _defaults(self, workspace: Workspace) -> dict[str, Any]:
        from dancecli.cli.loader import load
        from dancecli.cli.registry import COMMANDS

        settings = workspace.read_settings()
        owners = [name for name, entry in COMMANDS.items() if not entry.settings_of]
        _refuse_unknown(workspace.settings, "table", settings, owners)
        owner = COMMANDS[str(self.name)].settings_of or str(self.name)
        table = settings.get(owner, {})
        if not isinstance(table, dict):
            raise InputError.at(workspace.settings, None, f"{owner!r} is to be a table: [{owner}]")
        known = self.settings() if owner == self.name else load(owner).settings()
        options = {key_of(option): option for option in known}
        _refuse_unknown(workspace.settings, f"key in [{owner}]", table, options)
        for key, value in table.items():
            reason = _misfit(options[key], value)
            if reason:
                what = f"[{owner}] {key} = {value!r}: {reason}"
                raise InputError.at(workspace.settings, None, what, f"see dance {owner} --help")
        mine = {option.name for option in self.settings()}
        values = {
            str(options[key].name): _from_folder(workspace.root, options[key], value)
            for key, value in table.items()
        }
        return {name: value for name, value in values.items() if name in mine}


def _workspace_flag(args: Sequence[str]) -> Path | None:
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
    return max(option.opts, key=len).removeprefix("--")


def toml_of(option: TyperOption) -> str:
    default = option.default
    if default is None:
        return " []" if option.multiple else ""
    if isinstance(default, Path):
        default = str(default)
    return " " + json.dumps(default, ensure_ascii=False)
