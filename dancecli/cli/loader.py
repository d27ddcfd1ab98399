"""Commands are imported when they run: what makes `dance --help` fast."""

from __future__ import annotations

import importlib
import keyword

import typer
from typer.core import TyperCommand, TyperGroup

from dancecli.cli.config_file import SettingsCommand, key_of, toml_of
from dancecli.cli.registry import COMMANDS, PANELS


class LazyGroup(TyperGroup):
    """A group that shows every command from the table and loads only the one that runs."""

    def __init__(self, **attrs: object) -> None:
        super().__init__(**attrs)  # type: ignore[arg-type]
        for name, entry in COMMANDS.items():
            self.add_command(TyperCommand(name, help=entry.summary, rich_help_panel=PANELS[entry.panel]))

    def resolve_command(self, ctx, args):  # type: ignore[no-untyped-def]  # noqa: D102
        name, _, rest = super().resolve_command(ctx, args)
        return name, load(name) if name else None, rest


def load(name: str) -> SettingsCommand:
    """Import a command's module and build the command from its function `command`."""
    # A module cannot be called `import`.
    stem = f"{name}_" if keyword.iskeyword(name) else name
    module = importlib.import_module(f"dancecli.cli.{COMMANDS[name].panel}.{stem}")
    single = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    single.command(name, cls=SettingsCommand)(module.command)
    loaded = typer.main.get_command(single)
    assert isinstance(loaded, SettingsCommand)  # noqa: S101 - for the type checker; cls says so
    return loaded


def default_settings() -> str:
    """Write the text of a fresh `dance.toml`: every flag of every command, commented out."""
    from dancecli.storage.workspace import WORKSPACE_VERSION

    lines = [
        "# Defaults of this workspace: a table a command, a key a flag. What is typed wins.",
        "# Take the # away to set one; those without a value are not set. See dance COMMAND --help.",
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
