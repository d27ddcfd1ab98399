"""`dance corrections`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, reporting, table
from dancecli.cli.options import DryRunOption, JsonOption, WorkspaceOption

if TYPE_CHECKING:
    from dancecli.storage.corrections import Correction
    from dancecli.storage.workspace import Workspace

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
    recut: Annotated[
        bool,
        typer.Option(
            "--recut",
            help="Cut the clips again whose start or end was corrected: from the source video where fetch "
            "kept it, else from the clip. The earlier clip is excluded.",
        ),
    ] = False,
    every: Annotated[
        bool, typer.Option("--all", help="List the whole history, with corrections that were taken back.")
    ] = False,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """List the corrections of labels, import them from other tools, take them back, or cut clips again.

    Corrections are rows of labels.csv; clips and tables stay as they are. dance split applies the
    corrections in force, so run it again after a change, under a new --name if a run was trained on the
    split. Exits with 3 if a row of a list is refused.

    Example: `dance corrections labelstudio.json --dry-run`
    """
    workspace = open_workspace(workspace_dir, create=False)
    if sum(map(bool, (files, take_back, recut))) > 1:
        raise typer.BadParameter("a list to import, --take-back and --recut exclude each other")
    if files:
        _import(workspace, files, dry_run=dry_run, json_output=json_output)
    elif recut:
        _recut(workspace, dry_run=dry_run, json_output=json_output)
    else:
        _list(workspace, take_back or [], every=every, dry_run=dry_run, json_output=json_output)


def _import(workspace: Workspace, files: list[Path], *, dry_run: bool, json_output: bool) -> None:
    from dancecli.dataset.corrections import import_corrections

    imported = import_corrections(workspace, files, dry_run=dry_run)
    if json_output:
        print_json(asdict(imported))
    else:
        _show(imported.rows)
    for where, name, reason in imported.refused:
        info(f"refused: {where}: {name or 'no name'}: {reason}")
    verb = "would be added" if dry_run else "added"
    counts = f"{imported.unchanged} in force already, {len(imported.refused)} refused"
    if imported.superseded:
        counts += f", {imported.superseded} changed or taken back in their own list"
    info(f"{len(imported.rows)} {verb}, {counts}")
    if imported.refused:
        raise typer.Exit(3)


def _list(
    workspace: Workspace, take_back: list[str], *, every: bool, dry_run: bool, json_output: bool
) -> None:
    from dancecli.core.text import pluralize
    from dancecli.dataset.corrections import take_corrections_back
    from dancecli.dataset.ingest.recut import waiting
    from dancecli.storage.corrections import current, latest, read_corrections

    found = read_corrections(workspace)
    if take_back:
        rows = take_corrections_back(workspace, take_back, dry_run=dry_run)
        info(f"{len(rows)} {'would be ' if dry_run else ''}taken back")
    else:
        rows = found if every else latest(found)
    if json_output:
        print_json([asdict(row) for row in rows])
    elif rows:
        _show(rows)
    else:
        info("no corrections")
    left = waiting(current(found))
    if left and not take_back:
        info(f"{pluralize(len(left), 'clip')} to be cut again: dance corrections --recut")


def _recut(workspace: Workspace, *, dry_run: bool, json_output: bool) -> None:
    from dancecli.core.text import pluralize
    from dancecli.dataset.ingest.recut import recut

    with reporting("cut again") as reporter:
        result = recut(workspace, dry_run=dry_run, reporter=reporter)
    if json_output:
        print_json(asdict(result))
    elif result.made:
        print_result(table(("clip", "cut again as"), list(result.made.items()), align="left"))
    for clip_id, why in result.refused.items():
        info(f"not cut: {clip_id}: {why}")
    info(f"{pluralize(len(result.made), 'clip')} {'would be ' if dry_run else ''}cut again")
    if result.refused:
        raise typer.Exit(3)


def _show(rows: tuple[Correction, ...] | list[Correction]) -> None:
    shown = [(r.clip_id, r.field, r.old, r.new, r.who, r.when_utc[:16], r.why) for r in rows[-_SHOWN:]]
    if shown:
        print_result(table(("clip", "field", "old", "new", "who", "when", "why"), shown, align="left"))
    if len(rows) > len(shown):
        print_result(f"and {len(rows) - len(shown)} before these: dance corrections --json")
