"""The step behind `dance board`: the leaderboards of all runs."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from dancecli.core.errors import DanceError, InputError, WorkspaceError
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import Subset
from dancecli.report.figures import write_board_figures
from dancecli.report.plots import layout
from dancecli.report.results.leaderboard import COLUMNS, Column, Leaderboard, Row, probe_tables, rank
from dancecli.report.results.run_results import RunResults, read_run_results
from dancecli.report.results.summaries import summarize
from dancecli.report.statistics.significance import ALPHA
from dancecli.report.submissions import Added, add_submissions, read_submissions
from dancecli.storage.files import atomic_file
from dancecli.storage.lockfile import read_lock
from dancecli.storage.removals import refuse_still_here
from dancecli.storage.workspace import Workspace, checked_name

SCHEMA = 1
NAME = "board"


@dataclass(frozen=True)
class BoardSettings:
    """Which runs to show.

    Attributes:
        split: those of this split, submissions by its lock; None for all.
        subset: the subset that they are evaluated on.
        add: submissions to check and add first: files of `dance submit`, or folders of them.
        figures: whether to draw the charts for a paper too, into `figures/`.
        site: a folder for a leaderboard that can be published: with a page per run, and the submissions.
    """

    split: str | None = None
    subset: str = "test"
    add: tuple[Path, ...] = ()
    site: Path | None = None
    figures: bool = False


@dataclass(frozen=True)
class BoardResult:
    """What was written, and the runs left out with the reason.

    Attributes:
        added: what became of the submissions that were given.
    """

    page: Path
    leaderboards: tuple[Leaderboard, ...]
    left_out: tuple[tuple[str, str], ...]
    document: Mapping[str, Any]
    added: Added = field(default_factory=Added)


def board(
    workspace: Workspace,
    settings: BoardSettings,
    reporter: Reporter = SILENT,
    *,
    dry_run: bool = False,
) -> BoardResult:
    """Rank all runs and submissions, and write `index.html`, `board.csv` and `board.json`.

    A site that is there already loses the pages of what is on the board no more, as after a take-down.

    They are written to `reports/board/`, or to the folder of the site. Runs that differ by their seed
    alone are one entry. A run that is not finished, or whose files contradict each other, is left out
    and reported. The same runs and submissions give the same bytes.

    Raises:
        WorkspaceError: there is no run that can be shown, no split to hold submissions against, or clips of
            `removed.csv` would be named on a site.
        InputError: a submission's path does not exist, or the site's folder has another's page.
    """
    earlier = _earlier_runs(settings.site) if settings.site else set()
    if settings.site:
        # One after the other, and only if anything was removed: the lock of another split may be damaged.
        locks = map(read_lock, map(workspace.split_lock, workspace.split_locks()))
        refuse_still_here(workspace, chain.from_iterable(locks))
    added = Added()
    if settings.add:
        added = add_submissions(workspace, settings.add, reporter, dry_run=dry_run)
    every, left_out = _read_all(workspace, settings, reporter, added.accepted if dry_run else {})
    found = [one for one in every if settings.split in (None, one.run["split"]["name"])]
    if every and not found:
        _check_split(workspace, settings, every, emptied=bool(earlier))
    # A site whose last submission was removed is emptied, too.
    if not found and not earlier:
        for file, reason in added.refused:
            reporter.message(f"refused: {file}: {reason}")
        reasons = [why for _, why in (*added.refused, *left_out)]
        why = f"; the first of {len(reasons)} left out: {reasons[0]}" if reasons else ""
        # The host of a leaderboard has a lock file, and no clips to train on.
        hint = "make one: dance finetune"
        if not workspace.splits():
            hint = "correct the submissions" if added.refused else "add submissions: dance board --add FILE"
        raise WorkspaceError(f"there is no run in {workspace.root} to show{why}", hint)
    boards = rank(found, settings.subset)
    document = _document(boards, left_out, settings)
    folder = settings.site or workspace.report(NAME)
    if not dry_run:
        if settings.site:
            _remove_pages(settings.site, earlier - {str(results.run["name"]) for results in found})
            _write_pages(workspace, settings.site, found, settings.subset, reporter)
        drawn = _drawn(folder if settings.site else folder.parent, boards)
        if settings.figures:
            write_board_figures(folder / "figures", boards, [cost_charts(one) for one in boards])
        _write(folder, boards, left_out, settings, document, drawn)
    return BoardResult(folder / "index.html", boards, tuple(left_out), document, added)


def _write(
    folder: Path,
    boards: Sequence[Leaderboard],
    left_out: Sequence[tuple[str, str]],
    settings: BoardSettings,
    document: Mapping[str, Any],
    drawn: set[str],
) -> None:
    from dancecli.report.pages.templating import render

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
        probes=probe_tables(boards),
        columns=[shown_columns(one) for one in boards],
        left_out=left_out,
        subset=settings.subset,
        pasts=[
            layout.history([(r.name, r.finished, r.top1.estimate, r.top1.text) for r in one.rows])
            for one in boards
        ],
        costs=[cost_charts(one) for one in boards],
        scales=[layout.zoomed([r.top1.estimate for r in one.rows]) for one in boards],
        chart=layout,
        drawn=drawn,
        # Pages of runs lie beside the board's folder, those of a site in it.
        beside="" if settings.site else "../",
        site=bool(settings.site),
    )
    with atomic_file(folder / "index.html") as file:
        file.write(text)


def _earlier_runs(site: Path) -> set[str]:
    """Name the runs that the board of a site has as it is.

    Raises:
        InputError: its `board.json` is not one, or a page is there without it.
    """
    path = site / "board.json"
    if not path.exists():
        if (page := site / "index.html").exists():
            raise InputError.at(page, None, "is no board of dance", "give another folder, such as a new one")
        return set()
    try:
        boards = json.loads(path.read_text(encoding="utf-8"))["leaderboards"]
        names = [name for one in boards for row in one["runs"] for name in row["runs"].split()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError.at(path, None, f"is no board of dance ({error!r})", "give another folder") from None
    return {checked_name(name, "run") for name in names}


def _remove_pages(site: Path, runs: Iterable[str]) -> None:
    for name in runs:
        for file in ("index.html", "submission.zip"):
            (site / name / file).unlink(missing_ok=True)
        # What somebody else put there stays.
        with suppress(OSError):
            (site / name).rmdir()


def _write_pages(
    workspace: Workspace, site: Path, found: Sequence[RunResults], subset: str, reporter: Reporter
) -> None:
    """Write the page of every run, and copies of the submissions, so that a reader can check them again."""
    from dancecli.report.pages.run_page import render_run

    for done, results in enumerate(found, start=1):
        name = str(results.run["name"])
        # The clips are not part of the site.
        text = render_run(name, replace(results, links={}), summarize(results), subset, alone=True)
        with atomic_file(site / name / "index.html") as file:
            file.write(text)
        if results.run.get("submitted"):
            with atomic_file(site / name / "submission.zip", "wb") as file:
                file.write(workspace.submission(name).read_bytes())
        reporter.progress(done, len(found), name)


def cost_charts(board: Leaderboard) -> list[layout.CostChart]:
    """Lay out accuracy against GFLOPs, parameters and speed, as far as two entries have them."""
    kinds: tuple[tuple[str, str, Callable[[Row], float | None], bool], ...] = (
        ("Accuracy against GFLOPs", "GFLOPs per view", lambda r: r.gflops, True),
        ("Accuracy against parameters", "million parameters", lambda r: (r.params or 0) / 1e6, True),
        ("Accuracy against speed", "clips per second", lambda r: r.speed, False),
    )
    found = [
        layout.cost_chart(title, label, [(r.name, cost(r), r.top1.estimate) for r in board.rows], less=less)
        for title, label, cost, less in kinds
    ]
    return [chart for chart in found if chart]


def shown_columns(board: Leaderboard) -> list[Column]:
    """Choose the columns of the page's table: those in which any entry has something."""
    # The run's column has the model too, that of top-1 its count and interval.
    columns = [c for c in COLUMNS if c.title and c.key not in {"low", "right", "model"}]
    return [c for c in columns if any(c.text(row) for row in board.rows)]


def values(row: Row) -> dict[str, Any]:
    """Give what the files hold of a row, by the columns' keys."""
    return {column.key: column.value(row) for column in COLUMNS if column.key}


def _drawn(pages: Path, boards: Sequence[Leaderboard]) -> set[str]:
    """Name the runs and groups that have a page."""
    names = {name for one in boards for row in one.rows for name in (row.name, *row.runs)}
    # A row of seeds without a group has a name that is no file's.
    return {n for n in names if " " not in n and (pages / n / "index.html").exists()}


def _check_split(
    workspace: Workspace, settings: BoardSettings, every: Sequence[RunResults], *, emptied: bool
) -> None:
    """Refuse a split of which there is no run, unless it is one whose site is to be emptied."""
    if not (emptied and settings.split in (*workspace.splits(), *workspace.split_locks())):
        known = ", ".join(sorted({one.run["split"]["name"] for one in every}))
        raise WorkspaceError(f"no run in {workspace.root} is of split {settings.split!r}", f"known: {known}")


def _read_all(
    workspace: Workspace, settings: BoardSettings, reporter: Reporter, would_add: Mapping[str, Path]
) -> tuple[list[RunResults], list[tuple[str, str]]]:
    names = sorted(folder.name for folder in workspace.run_folders())
    read: list[RunResults] = []
    left_out: list[tuple[str, str]] = []
    for done, name in enumerate(names, start=1):
        try:
            read.append(read_run_results(workspace, name))
        except DanceError as error:
            left_out.append((name, error.message))
        reporter.progress(done, len(names), name)
    submitted, refused = read_submissions(workspace, would_add, settings.split)
    left_out += refused
    found = []
    for results in (*read, *submitted):
        if settings.subset not in results.subsets:
            left_out.append((results.run["name"], f"has no predictions for subset {settings.subset!r}"))
        else:
            found.append(results)
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
                "splits": list(one.splits),
                "protocol": one.protocol,
                "clips": one.clips,
                "removed": one.removed,
                "videos": one.videos,
                "classes": one.classes,
                "headline": one.headline,
                "runs": [values(row) for row in one.rows],
            }
            for one in boards
        ],
        "probes": [
            {
                "test": one.test,
                "views": one.views,
                "backbones": [
                    {
                        "model": model,
                        "probes": {
                            probe: {"run": row.name, "top1": row.top1.estimate.rate, "n": row.top1.n}
                            for probe, row in zip(one.probes, rows, strict=True)
                            if row
                        },
                    }
                    for model, rows in one.rows
                ],
            }
            for one in probe_tables(boards)
        ],
        "left_out": [{"run": run, "why": why} for run, why in left_out],
    }
