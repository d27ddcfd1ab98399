"""`dance board`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dancecli.cli.console import info, open_workspace, print_json, print_result, reporting, table
from dancecli.cli.options import (
    CsvOption,
    DryRunOption,
    FiguresOption,
    JsonOption,
    LatexOption,
    MarkdownOption,
    WorkspaceOption,
    table_format,
)
from dancecli.core.records import Subset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from dancecli.report.board import BoardResult
    from dancecli.report.results.leaderboard import Row
    from dancecli.report.results.progress import State
    from dancecli.storage.workspace import Workspace

_WATCH_S = 2.0


def command(
    workspace_dir: WorkspaceOption = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Show runs on this split only; submissions belong to the split whose lock they agree with. "
            "[default: all]",
            show_default=False,
        ),
    ] = None,
    subset: Annotated[Subset, typer.Option(help="Subset on which the runs are compared.")] = Subset.TEST,
    add: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE|DIR",
            help="Check a submission of dance submit, or all in a folder, and add it; can be repeated.",
            show_default=False,
        ),
    ] = None,
    site: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write the leaderboard there as a static site: with a page per run, and the submissions.",
            show_default=False,
        ),
    ] = None,
    figures: FiguresOption = False,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="Follow the progress of all runs and studies instead."),
    ] = False,
    tensorboard: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write TensorBoard event files of all runs and studies there instead.",
            show_default=False,
        ),
    ] = None,
    wandb: Annotated[
        str | None,
        typer.Option(
            metavar="PROJECT",
            help="Write finished runs to a Weights & Biases project instead, as WANDB_MODE says.",
            show_default=False,
        ),
    ] = None,
    mlflow: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="Write finished runs to an MLflow server or store instead.",
            show_default=False,
        ),
    ] = None,
    latex: LatexOption = False,
    markdown: MarkdownOption = False,
    as_csv: CsvOption = False,
    dry_run: DryRunOption = False,
    json_output: JsonOption = False,
) -> None:
    """Show a leaderboard of all runs, with statistical ties.

    Runs are ranked in one table where they were evaluated on the same clips under one view protocol;
    runs that differ by their seed alone are one entry. Writes a page, board.csv and board.json.
    Submissions are added after a check: their figures are computed again, and their clips, labels,
    groups and files must be those of a split of this workspace, for which its lock file suffices. Exits
    with 3 if one is refused.

    Example: `dance board`
    """
    from dancecli.report.board import BoardSettings, board
    from dancecli.report.results.leaderboard import COLUMNS, probe_tables

    form = table_format(latex=latex, markdown=markdown, csv=as_csv)
    workspace = open_workspace(workspace_dir, create=False)
    if watch or tensorboard:
        _watch(workspace, tensorboard, shown=watch)
        return
    if wandb or mlflow:
        _track(workspace, wandb, mlflow)
        return
    with reporting("board") as reporter:
        settings = BoardSettings(split, subset.value, tuple(add or ()), site, figures)
        result = board(workspace, settings, reporter, dry_run=dry_run)
    if form:
        from dancecli.report.results.paper_tables import TableFormat, board_table, write_table

        for one in result.leaderboards:
            print_result(write_table(board_table(one), TableFormat(form)).rstrip())
    elif json_output:
        refused = [{"file": file, "why": why} for file, why in result.added.refused]
        taken = {"added": list(result.added.accepted), "kept": list(result.added.kept)}
        added = {**taken, "refused": refused}
        print_json({"page": str(result.page), **result.document, **(added if add else {})})
    else:
        shown = [column for column in COLUMNS if column.title and column.terminal]
        for one in result.leaderboards:
            print_result(f"{one.headline}: {one.extent}, test set {one.test[:12]}, {one.protocol}")
            print_result(table([c.title for c in shown], [[c.text(r) for c in shown] for r in one.rows]))
        for found in probe_tables(result.leaderboards):
            print_result(f"each backbone under each probe: test set {found.test[:12]}, {found.views}")
            rows = [(model, *(_under(row) for row in rows)) for model, rows in found.rows]
            print_result(table(("backbone", *found.probes), rows))
        print_result(f"{result.page}{' (not written)' if dry_run else ''}")
    _tell(result, dry_run=dry_run)
    if result.added.refused:
        raise typer.Exit(3)


def _tell(result: BoardResult, *, dry_run: bool) -> None:
    """Say what is not on the leaderboard, and what became of the submissions that were given."""
    if not result.leaderboards:
        info("no run is left: the leaderboard is empty")
    for run, why in result.left_out:
        info(f"left out: {run}: {why}")
    for name in result.added.accepted:
        info(f"added: {name}{' (not written)' if dry_run else ''}")
    for name in result.added.kept:
        info(f"there already: {name}")
    for file, why in result.added.refused:
        info(f"refused: {file}: {why}")


def _under(row: Row | None) -> str:
    """Give the accuracy of a backbone under one probe."""
    return "" if row is None else f"{row.top1.text}  {100 * row.top1.estimate.rate:.1f} %"


def _track(workspace: Workspace, project: str | None, uri: str | None) -> None:
    """Write finished runs to experiment trackers."""
    from dancecli.report.trackers import log_mlflow, log_wandb

    with reporting("board") as reporter:
        for name, place, log in (("wandb", project, log_wandb), ("mlflow", uri, log_mlflow)):
            if place:
                print_result(f"{name}: {len(log(workspace, place, reporter))} new runs in {place}")


def _watch(workspace: Workspace, tensorboard: Path | None, *, shown: bool) -> None:
    """Follow runs and studies until none is at work, on the terminal, in event files, or both."""
    from contextlib import nullcontext

    from rich.console import Console
    from rich.live import Live

    from dancecli.report.results.progress import states, study_states
    from dancecli.storage.runs import RUNNING

    def at_work() -> bool:
        statuses = [s.status for s in states(workspace)] + [s.status for s in study_states(workspace)]
        return RUNNING in statuses

    def follow() -> None:
        if tensorboard:
            from dancecli.report.tensorboard import write_events

            write_events(workspace, tensorboard)

    follow()
    if tensorboard:
        info(f"tensorboard --logdir {tensorboard}")
    # A terminal is drawn over; elsewhere one table at the end says it all.
    with (
        Live(_state_of(workspace), console=Console(), refresh_per_second=2)
        if shown
        else nullcontext() as live
    ):
        while at_work():
            time.sleep(_WATCH_S)
            follow()
            if live:
                live.update(_state_of(workspace))
        follow()


def _state_of(workspace: Workspace) -> RenderableType:
    """Lay out how far runs and studies are."""
    from rich.console import Group

    from dancecli.report.results.progress import states, study_states

    tables = [_runs_table(states(workspace))]
    if studies := study_states(workspace):
        rows = [
            (s.study, s.status, f"{s.done + s.pruned + s.failed}/{s.wanted}", s.pruned, s.failed,
             _figure(s.best), "" if s.best_trial is None else s.best_trial)
            for s in studies
        ]  # fmt: skip
        tables.append(table(("study", "status", "trials", "pruned", "failed", "best val %", "trial"), rows))
    return Group(*tables)


def _runs_table(found: Sequence[State]) -> RenderableType:
    rows = [
        (s.run, s.status, f"{s.epoch}/{s.epochs}" if s.epochs else s.epoch, _figure(s.loss, 1, 3),
         _figure(s.train_top1), _figure(s.val_top1), _figure(s.best_val_top1))
        for s in found
    ]  # fmt: skip
    return table(("run", "status", "epoch", "loss", "train %", "val %", "best val %"), rows)


def _figure(value: float | None, scale: float = 100, digits: int = 1) -> str:
    return "" if value is None else f"{scale * value:.{digits}f}"
