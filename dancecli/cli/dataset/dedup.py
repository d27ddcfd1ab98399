"""`dance dedup`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, reporting, table
from dancecli.cli.options import DryRunOption, EngineOption, JsonOption, WorkersOption, WorkspaceOption
from dancecli.core.errors import UsageError
from dancecli.core.text import agreeing, pluralize

if TYPE_CHECKING:
    from dancecli.dataset.similarity.fingerprint import AgainstResult

_SHOWN = 20


def command(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DIR]",
            help="With --against: a folder of videos to look through, instead of the workspace's clips.",
            show_default=False,
        ),
    ] = None,
    workspace_dir: WorkspaceOption = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Find what shows a clip of this fingerprint file (written by dance export --format "
            "fingerprint), instead of grouping.",
            show_default=False,
        ),
    ] = None,
    workers: WorkersOption = 0,
    engine: EngineOption = "local",
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Group near-duplicate clips, so that a split keeps them in one subset.

    Finds re-encoded, rescaled, mirrored, letterboxed and slightly shifted clips, and the same footage
    under several ids. Nothing is removed. Draws a contact sheet of the groups for you to check before
    splitting. Exits with 3 if a clip cannot be decoded, or with --against if a clip is found.

    Example: `dance dedup`, or `dance dedup DIR --against fingerprint.csv`
    """
    if against is not None:
        _find(folder, workspace_dir, against, workers, engine, dry_run=dry_run, json_output=json_output)
        return
    if folder is not None:
        raise UsageError("a folder is looked through with --against FILE", "dance import takes its videos in")
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
            f"{pluralize(result.num_clips, 'clip')} in {pluralize(result.num_groups, 'group')}; "
            f"{agreeing(len(result.near_duplicates), 'group', 'has')} "
            f"near-duplicates from several videos, {len(result.conflicts)} of them with several labels"
        )
        if result.shown:
            print_result(f"contact sheet of the {result.shown} largest: {workspace.group_sheet}")
    if result.num_pending:
        info(f"{agreeing(result.num_pending, 'clip', 'is')} not hashed yet (--dry-run)")
    if not result.changed:
        info("the same groups exist already; nothing changed")
    if result.unreadable:
        clip_id, why = next(iter(result.unreadable.items()))
        info(f"{pluralize(len(result.unreadable), 'clip')} could not be decoded, first {clip_id}: {why}")
        raise typer.Exit(3)


def _find(
    folder: Path | None,
    workspace_dir: Path | None,
    against: Path,
    workers: int,
    engine: str,
    *,
    dry_run: bool,
    json_output: bool,
) -> None:
    """Find what shows a clip of a fingerprint file."""
    from dancecli.dataset.similarity.fingerprint import folder_against, read_fingerprint, workspace_against
    from dancecli.sources.local import scan

    listed = read_fingerprint(against)
    with reporting("dedup") as reporter:
        if folder is None:
            workspace = open_workspace(workspace_dir, create=False)
            result = workspace_against(listed, workspace, workers, reporter, engine=engine, dry_run=dry_run)
        elif dry_run or engine != "local":
            raise UsageError("--dry-run and --engine are for the clips of a workspace, not for a folder")
        else:
            videos = (found.path for found in scan(folder))
            result = folder_against(listed, folder, videos, workers, reporter)
    _show(result, against, json_output=json_output)
    if result.matches or result.unreadable:
        raise typer.Exit(3)


def _show(result: AgainstResult, against: Path, *, json_output: bool) -> None:
    if json_output:
        print_json(asdict(result))
    else:
        if result.matches:
            rows = [(match.found, match.clip_id, f"{match.distance:.3f}") for match in result.matches]
            print_result(table(("found", "shows", "distance"), rows, align="left"))
        shown, found = ({getattr(match, name) for match in result.matches} for name in ("clip_id", "found"))
        print_result(
            f"{len(found)} of {result.num_compared} videos show {len(shown)} of the "
            f"{pluralize(result.num_listed, 'clip')} of {against.name}"
        )
    if result.num_flat:
        info(
            f"{pluralize(result.num_flat, 'clip')} of {against.name} "
            f"{'is' if result.num_flat == 1 else 'are'} of one tone: nothing can be compared with them"
        )
    if result.num_flat_compared:
        info(
            f"{agreeing(result.num_flat_compared, 'video', 'is')} of one tone: nothing can be compared with "
            f"{'it' if result.num_flat_compared == 1 else 'them'}"
        )
    if result.num_pending:
        info(f"{agreeing(result.num_pending, 'clip', 'is')} not hashed yet (--dry-run)")
    if result.unreadable:
        name, why = next(iter(result.unreadable.items()))
        info(f"{pluralize(len(result.unreadable), 'video')} could not be decoded, first {name}: {why}")
