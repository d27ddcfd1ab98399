"""`dance dedup`."""

from __future__ import annotations

from dataclasses import asdict

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, progress, table
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

    Re-encoded, rescaled, mirrored, letterboxed and slightly shifted copies are found, and so are
    clips of one stage under several ids. Nothing is removed. Draws a contact sheet of the groups,
    to look at before splitting.

    Example: `dance dedup`
    """
    from dancecli.dataset.similarity.dedup import DedupSettings, dedup

    workspace = open_workspace(workspace_dir, create=False)
    with progress("dedup") as on_progress:
        result = dedup(workspace, DedupSettings(workers, dry_run, engine), on_progress)
    if json_output:
        print_json({**asdict(result), "sheet": str(workspace.group_sheet) if result.shown else None})
    else:
        if result.alike:
            rows = [
                (name, len(ids), ", ".join(result.conflicts.get(name, ())))
                for name, ids in list(result.alike.items())[:_SHOWN]
            ]
            print_result(table(("group", "clips", "labels, if several"), rows, align="left"))
        print_result(
            f"{result.num_clips} clips in {result.num_groups} groups; {len(result.alike)} groups hold clips "
            f"of several videos that look the same, {len(result.conflicts)} of them under several labels"
        )
        if result.shown:
            print_result(f"the {result.shown} largest to look at: {workspace.group_sheet}")
    if result.num_pending:
        info(f"{result.num_pending} clips have not been looked at yet (--dry-run)")
    if not result.changed:
        info("the same groups were there already; nothing changed")
    if result.unreadable:
        clip_id, why = next(iter(result.unreadable.items()))
        info(f"{len(result.unreadable)} clips could not be looked at, first {clip_id}: {why}")
        raise typer.Exit(3)
