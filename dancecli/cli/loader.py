"""Import commands only when they run, which keeps `dance --help` fast."""

from __future__ import annotations

import importlib
import keyword
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

from dancecli.cli.config_file import key_of, read_defaults, toml_of, workspace_flag
from dancecli.cli.dashed_ids import ids_last
from dancecli.cli.registry import COMMANDS, PANELS
from dancecli.core.text import shown

if TYPE_CHECKING:
    from types import ModuleType

    from typer import Context

    from dancecli.storage.workspace import Workspace

# These control a single call; a default from a file would be surprising.
_NOT_SETTINGS = {"workspace_dir", "help", "dry_run", "json_output", "resume", "diff", "site"}


def without_metavars(params: Any) -> Any:
    """Remove the metavar of every flag, which takes no value."""
    for option in params:
        if isinstance(option, TyperOption) and option.is_flag:
            option.metavar = ""
    return params


HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}


class SettingsCommand(TyperCommand):
    """A command that reads its defaults from the workspace's `dance.toml`.

    Attributes:
        optional_values: the value of a flag that is given without one, by flag.
    """

    optional_values: dict[str, str] = {}  # noqa: RUF012 - set per command by `load`

    def make_context(  # type: ignore[override]  # the context's class is private to typer
        self, info_name: str | None, args: list[str], parent: Context | None = None, **extra: Any
    ) -> Any:
        """Read the command's table of `dance.toml` before the options are parsed."""
        options = [p for p in self.params if isinstance(p, TyperOption)]
        args = ids_last(with_optional_values(args, self.optional_values), options)
        # Shell completion parses resiliently: an error in dance.toml must not be printed there.
        if not {"--help", "-h"} & set(args) and not extra.get("resilient_parsing"):
            from dancecli.storage.workspace import Workspace

            workspace = Workspace.locate(workspace_flag(args, options))
            extra["default_map"] = self.defaults(workspace)
        return super().make_context(info_name, args, parent=parent, **extra)

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:  # type: ignore[override]  # as there
        """Parse the command line; who names a run by its place learns the option for it."""
        ctx.allow_extra_args = True
        rest = super().parse_args(ctx, args)
        if rest and not ctx.resilient_parsing:
            takes_run = any("--run" in param.opts for param in self.params)
            guess = f" Did you mean --run {shown(rest[0])}?" if takes_run else ""
            ctx.fail(f"Got unexpected extra argument(s) ({shown(' '.join(rest))}).{guess}")
        return rest

    def get_params(self, ctx: Context) -> Any:  # type: ignore[override]  # as in make_context
        """Return the parameters; flags without a value show none in the help."""
        return without_metavars(super().get_params(ctx))

    def settings(self) -> list[TyperOption]:
        """Return the options that `dance.toml` may set."""
        options = (p for p in self.params if isinstance(p, TyperOption))
        return [p for p in options if p.name not in _NOT_SETTINGS]

    def defaults(self, workspace: Workspace) -> dict[str, Any]:
        """Read the command's table of `dance.toml`, by the name of the parameter."""
        name = str(self.name)
        owner = COMMANDS[name].settings_of or name
        known = self.settings() if owner == name else load(owner).settings()
        values = read_defaults(workspace, owner, known, [n for n, e in COMMANDS.items() if not e.settings_of])
        mine = {option.name for option in self.settings()}
        return {key: value for key, value in values.items() if key in mine}


class LazyGroup(TyperGroup):
    """A group that lists every command from the registry and imports only the one that runs."""

    def __init__(self, **attrs: object) -> None:
        super().__init__(**attrs)  # type: ignore[arg-type]
        for name, entry in COMMANDS.items():
            self.add_command(TyperCommand(name, help=entry.summary, rich_help_panel=PANELS[entry.panel]))

    def get_params(self, ctx: Context) -> Any:  # type: ignore[override]  # as in SettingsCommand
        """Return the parameters; flags without a value show none in the help."""
        return without_metavars(super().get_params(ctx))

    def resolve_command(self, ctx, args):  # type: ignore[no-untyped-def]  # noqa: D102
        # What people type first is an option here.
        if args and args[0] in ("help", "version"):
            ctx.fail(f"No such command {args[0]!r}. Did you mean 'dance --{args[0]}'?")
        name, _, rest = super().resolve_command(ctx, args)
        return name, load(name) if name else None, rest


def module_of(name: str) -> ModuleType:
    """Import the module of a command."""
    # A module cannot be named `import`.
    stem = f"{name}_" if keyword.iskeyword(name) else name
    return importlib.import_module(f"dancecli.cli.{COMMANDS[name].panel}.{stem}")


def load(name: str) -> SettingsCommand:
    """Import a command's module and build the command from its `command` function."""
    module = module_of(name)
    single = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    single.command(name, cls=SettingsCommand, context_settings=HELP_OPTIONS)(module.command)
    loaded = typer.main.get_command(single)
    assert isinstance(loaded, SettingsCommand)  # noqa: S101 - for the type checker; cls says so
    loaded.optional_values = getattr(module, "OPTIONAL_VALUES", {})
    return loaded


def with_optional_values(args: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """Return the arguments with a value for each flag that is given without one; typer has no such flags."""
    found: list[str] = []
    for i, arg in enumerate(args):
        found.append(arg)
        if arg in values and (i + 1 == len(args) or args[i + 1].startswith("-")):
            found.append(values[arg])
    return found


def default_settings() -> str:
    """Generate a new `dance.toml`: every option of every command, commented out."""
    from dancecli.storage.workspace import WORKSPACE_VERSION

    lines = [
        "# Defaults of this workspace: one table per command, one key per option. Command-line options "
        "override them.",
        "# Uncomment a line to set it; options without a value are unset. See dance COMMAND --help.",
        f"version = {WORKSPACE_VERSION}",
    ]
    for name, entry in COMMANDS.items():
        if entry.settings_of:
            continue
        options = load(name).settings()
        lines += ["", f"[{name}]"] if options else []
        for option in options:
            lines.append(f"# {key_of(option)} ={toml_of(option)}")
    return "\n".join(lines) + "\n"
