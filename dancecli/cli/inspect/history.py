"""`dance history`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, table
from dancecli.cli.options import DryRunOption, JsonOption, WorkspaceOption
from dancecli.core.text import shown, without_dots

if TYPE_CHECKING:
    from dancecli.dataset.fetch.history import ClipHistory
    from dancecli.storage.workspace import Workspace


def command(
    clip: Annotated[
        str | None,
        typer.Argument(
            metavar="[CLIP]",
            help="Id of a clip or a video; or a file that was imported or left out, by its path or name.",
        ),
    ] = None,
    workspace_dir: WorkspaceOption = None,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Show the download history of a clip, and why clips are missing.

    Without a clip, shows how many clips of each class are available, as a table and a plot
    (reports/survival).

    Example: `dance history -0L4z8D2eGs_43000_53000`
    """
    workspace = open_workspace(workspace_dir, create=False)
    if clip is None:
        _by_class(workspace, dry_run=dry_run, json_output=json_output)
        return
    from dancecli.core.errors import InputError
    from dancecli.dataset.fetch.history import clip_history
    from dancecli.dataset.left_out import find_left_out

    clip = shown(without_dots(Path(clip)))
    left_out = find_left_out(workspace, clip)
    try:
        histories = clip_history(workspace, clip)
    except InputError:
        if not left_out:
            raise
        histories = []
    if json_output:
        print_json([*(asdict(history) for history in histories), *(asdict(row) for row in left_out)])
        return
    for history in histories:
        _show(history)
    for row in left_out:
        when = row.time_utc[:19].replace("T", " ")
        print_result(f"{row.path}: left out of the import at {when} UTC: {row.reason}, {row.text}")


def _show(history: ClipHistory) -> None:
    segment = history.segment
    requested = (
        f"{segment.label}, {segment.dataset} {segment.official_split}".rstrip() if segment else "in no list"
    )
    there = "on disk" if history.there else "not on disk"
    print_result(f"{history.clip_id}: {there} ({requested})")
    if history.original_path:
        print_result(f"  made from {history.original_path}")
    for row in history.attempts:
        when = row.time_utc[:19].replace("T", " ")
        size = f", {row.num_bytes:,} bytes" if row.num_bytes else ""
        print_result(
            f"  {when} UTC, attempt {row.attempt} at {row.source}: {row.outcome}, {row.reason}{size}"
        )
        if row.text:
            print_result(f"    {row.text}")
    if not history.attempts:
        print_result("  never tried")


def _by_class(workspace: Workspace, *, dry_run: bool, json_output: bool) -> None:
    from dancecli.report.plots.availability import OUTCOMES, survival, write_survival

    rows = survival(workspace)
    if json_output:
        print_json([{"label": row.label or "all", "asked": row.num_asked, **row.counts} for row in rows])
    else:
        shown = [name for name in OUTCOMES if rows[-1].counts[name]]
        columns = ("class", "requested", *shown, "available, 95 %")
        lines = [
            (
                row.label or "all",
                row.num_asked,
                *(row.counts[name] for name in shown),
                f"{100 * row.interval[0]:.0f}-{100 * row.interval[1]:.0f} %" if row.num_settled else "",
            )
            for row in rows
        ]
        print_result(table(columns, lines))
    if not dry_run:
        info(f"picture: {write_survival(workspace, rows)}")
