"""`dance dedup`."""

from __future__ import annotations

from dataclasses import asdict

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, reporting, table
from dancecli.cli.options import DryRunOption, EngineOption, JsonOption, WorkersOption, WorkspaceOption

_SHOWN = 20


def command(
    workspace_dir: WorkspaceOption = None,
    workers: WorkersOption = 0,
    engine: EngineOption = "local",
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Group near-duplicate clips, so that a split keeps them in one subset.

    Finds re-encoded, rescaled, mirrored, letterboxed and slightly shifted clips, and the same footage
    under several ids. Nothing is removed. Draws a contact sheet of the groups for you to check before
    splitting. Exits with 3 if a clip cannot be decoded.

    Example: `dance dedup`
    """
    from dancecli.dataset.similarity.dedup import DedupSettings, dedup

    workspace = open_workspace(workspace_dir, create=False)
    with reporting("dedup") as reporter:
        result = dedup(workspace, DedupSettings(workers, dry_run, engine), reporter)
    if json_output:
        print_json({**asdict(result), "sheet": str(workspace.group_sheet) if result.shown else None})
    else:
        if result.near_duplicates:
            rows = [
                (name, len(ids), ", ".join(result.conflicts.get(name, ())))
                for name, ids in list(result.near_duplicates.items())[:_SHOWN]
            ]
            print_result(table(("group", "clips", "labels, if several"), rows, align="left"))
        print_result(
            f"{result.num_clips} clips in {result.num_groups} groups; {len(result.near_duplicates)} groups "
            f"have near-duplicates from several videos, {len(result.conflicts)} of them with several labels"
        )
        if result.shown:
            print_result(f"contact sheet of the {result.shown} largest: {workspace.group_sheet}")
    if result.num_pending:
        info(f"{result.num_pending} clips are not hashed yet (--dry-run)")
    if not result.changed:
        info("the same groups exist already; nothing changed")
    if result.unreadable:
        clip_id, why = next(iter(result.unreadable.items()))
        info(f"{len(result.unreadable)} clips could not be decoded, first {clip_id}: {why}")
        raise typer.Exit(3)
