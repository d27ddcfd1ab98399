"""The step behind `dance board`: the leaderboards of all runs."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dancecli.core.errors import DanceError, WorkspaceError
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import Subset
from dancecli.report.plots import layout
from dancecli.report.results.leaderboard import COLUMNS, Leaderboard, Row, rank
from dancecli.report.results.run_results import RunResults, read_run_results
from dancecli.report.statistics.significance import ALPHA
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace

SCHEMA = 1
NAME = "board"


@dataclass(frozen=True)
class BoardSettings:
    """Which runs to show.

    Attributes:
        split: those of this split; None for all.
        subset: the subset that they are evaluated on.
    """

    split: str | None = None
    subset: str = "test"


@dataclass(frozen=True)
class BoardResult:
    """What was written, and the runs left out with the reason."""

    page: Path
    leaderboards: tuple[Leaderboard, ...]
    left_out: tuple[tuple[str, str], ...]
    document: Mapping[str, Any]


def board(
    workspace: Workspace,
    settings: BoardSettings,
    reporter: Reporter = SILENT,
    *,
    dry_run: bool = False,
) -> BoardResult:
    """Rank all runs and write `reports/board/` with `index.html`, `board.csv`, `board.json`.

    Runs that differ by their seed alone are one entry. A run that is not finished, or whose files
    contradict each other, is left out and reported.

    Raises:
        WorkspaceError: there is no run that can be shown.
    """
    from dancecli.report.pages.templating import render

    found, left_out = _read_all(workspace, settings, reporter)
    if not found:
        why = f"; the first of {len(left_out)} left out: {left_out[0][1]}" if left_out else ""
        raise WorkspaceError(f"there is no run in {workspace.root} to show{why}", "make one: dance finetune")
    boards = rank(found, settings.subset)
    document = _document(boards, left_out, settings)
    folder = workspace.report(NAME)
    if not dry_run:
        with atomic_file(folder / "board.json") as file:
            file.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        with atomic_file(folder / "board.csv") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["test", "protocol", *(c.key for c in COLUMNS if c.key)])
            writer.writerows(
                [one.test, one.protocol, *values(row).values()] for one in boards for row in one.rows
            )
        text = render(
            "board.html",
            ("common.js", "board.js"),
            {"labels": []},
            boards=boards,
            columns=[c for c in COLUMNS if c.title and c.key not in {"low", "right", "model"}],
            left_out=left_out,
            subset=settings.subset,
            pasts=[
                layout.history([(r.name, r.finished, r.top1.estimate, r.top1.text) for r in one.rows])
                for one in boards
            ],
            scales=[layout.zoomed([r.top1.estimate for r in one.rows]) for one in boards],
            chart=layout,
            drawn=_drawn(workspace, boards),
        )
        with atomic_file(folder / "index.html") as file:
            file.write(text)
    return BoardResult(folder / "index.html", boards, tuple(left_out), document)


def values(row: Row) -> dict[str, Any]:
    """Give what the files hold of a row, by the columns' keys."""
    return {column.key: column.value(row) for column in COLUMNS if column.key}


def _drawn(workspace: Workspace, boards: Sequence[Leaderboard]) -> set[str]:
    """Name the runs and groups that have a page."""
    names = {name for one in boards for row in one.rows for name in (row.name, *row.runs)}
    # A row of seeds without a group has a name that is no file's.
    return {n for n in names if " " not in n and (workspace.report(n) / "index.html").exists()}


def _read_all(
    workspace: Workspace, settings: BoardSettings, reporter: Reporter
) -> tuple[list[RunResults], list[tuple[str, str]]]:
    names = sorted(workspace.runs())
    found: list[RunResults] = []
    left_out: list[tuple[str, str]] = []
    for done, name in enumerate(names, start=1):
        try:
            results = read_run_results(workspace, name)
        except DanceError as error:
            left_out.append((name, error.message))
        else:
            if settings.subset not in results.subsets:
                left_out.append((name, f"has no predictions for subset {settings.subset!r}"))
            elif settings.split in (None, results.run["split"]["name"]):
                found.append(results)
        reporter.progress(done, len(names), name)
    return found, left_out


def _document(
    boards: Sequence[Leaderboard], left_out: Sequence[tuple[str, str]], settings: BoardSettings
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "subset": str(Subset(settings.subset)),
        "alpha": ALPHA,
        "leaderboards": [
            {
                "test": one.test,
                "protocol": one.protocol,
                "clips": one.clips,
                "videos": one.videos,
                "classes": one.classes,
                "headline": one.headline,
                "runs": [values(row) for row in one.rows],
            }
            for one in boards
        ],
        "left_out": [{"run": run, "why": why} for run, why in left_out],
    }
