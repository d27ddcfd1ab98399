"""`dance corrections`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, table
from dancecli.cli.options import DryRunOption, JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from dancecli.storage.corrections import Correction

_SHOWN = 20


def command(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE...",
            help="Lists to import: a CSV with clip_id and the columns to correct (label, exclude, "
            "second_label, confirmed, group, note), or an export of Label Studio (JSON) or CVAT (XML).",
            show_default=False,
        ),
    ] = None,
    workspace_dir: WorkspaceOption = None,
    take_back: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLIP",
            help="Take all corrections of this clip back. May be repeated.",
            show_default=False,
        ),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="List the whole history, with corrections that were taken back.")
    ] = False,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """List the corrections of labels, import them from other tools, or take them back.

    Corrections are rows of labels.csv; clips and tables stay as they are. dance split applies the
    corrections in force, so run it again after a change. Exits with 3 if a row of a list is refused.

    Example: `dance corrections labelstudio.json --dry-run`
    """
    from dancecli.dataset.corrections import import_corrections, take_corrections_back
    from dancecli.storage.corrections import latest, read_corrections

    workspace = open_workspace(workspace_dir, create=False)
    if files and take_back:
        raise typer.BadParameter("a list to import and --take-back exclude each other")
    if files:
        imported = import_corrections(workspace, files, dry_run=dry_run)
        if json_output:
            print_json(asdict(imported))
        else:
            _show(imported.rows)
        for where, name, reason in imported.refused:
            info(f"refused: {where}: {name or 'no name'}: {reason}")
        verb = "would be added" if dry_run else "added"
        counts = f"{imported.unchanged} in force already, {len(imported.refused)} refused"
        info(f"{len(imported.rows)} {verb}, {counts}")
        if imported.refused:
            raise typer.Exit(3)
        return
    rows = read_corrections(workspace)
    if take_back:
        rows = take_corrections_back(workspace, take_back, dry_run=dry_run)
        info(f"{len(rows)} {'would be ' if dry_run else ''}taken back")
    elif not every:
        rows = latest(rows)
    if json_output:
        print_json([asdict(row) for row in rows])
    elif rows:
        _show(rows)
    else:
        info("no corrections")


def _show(rows: tuple[Correction, ...] | list[Correction]) -> None:
    shown = [(r.clip_id, r.field, r.old, r.new, r.who, r.when_utc[:16], r.why) for r in rows[-_SHOWN:]]
    if shown:
        print_result(table(("clip", "field", "old", "new", "who", "when", "why"), shown, align="left"))
    if len(rows) > len(shown):
        print_result(f"and {len(rows) - len(shown)} before these: dance corrections --json")
