"""The step behind `dance board`: all runs, side by side where they were evaluated alike."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import DanceError, WorkspaceError
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import Subset
from dancecli.report.plots import layout
from dancecli.report.results.leaderboard import Leaderboard, Row, rank
from dancecli.report.results.run_results import RunResults, read_run_results
from dancecli.report.statistics.significance import ALPHA
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    pass

SCHEMA = 1
NAME = "board"
COLUMNS = (
    "test", "protocol", "rank", "rank_last", "run", "model", "right", "n", "top1", "low", "high", "top5",
    "params", "trainable", "gflops_view", "gflops_from", "clips_per_s", "clips_per_s_of", "seconds", "seed",
    "kind", "leaked_videos", "finished",
)  # fmt: skip


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
    """Set all runs side by side and write `reports/board/` with `index.html`, `board.csv`, `board.json`.

    A run that is not finished, or whose files contradict each other, is left out and said.

    Raises:
        WorkspaceError: there is no run that can be shown.
    """
    from dancecli.report.pages.templating import render

    found, left_out = _read_all(workspace, settings, reporter)
    if not found:
        why = f"; the first of {len(left_out)} left out: {left_out[0][1]}" if left_out else ""
        raise WorkspaceError(f"there is no run in {workspace.root} to show{why}", "make one: dance finetune")
    leaderboards = rank(found, settings.subset)
    document = _document(leaderboards, left_out, settings)
    folder = workspace.report(NAME)
    if not dry_run:
        with atomic_file(folder / "board.json") as file:
            file.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        with atomic_file(folder / "board.csv") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(
                _flat(leaderboard, row) for leaderboard in leaderboards for row in leaderboard.rows
            )
        text = render(
            "board.html",
            ("common.js", "board.js"),
            {"labels": []},
            leaderboards=leaderboards,
            left_out=left_out,
            subset=settings.subset,
            pasts=[layout.history([(r.run, r.finished, r.top1) for r in s.rows]) for s in leaderboards],
            chart=layout,
            drawn={e.run["name"] for e in found if (workspace.report(e.run["name"]) / "index.html").exists()},
        )
        with atomic_file(folder / "index.html") as file:
            file.write(text)
    return BoardResult(folder / "index.html", leaderboards, tuple(left_out), document)


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


def _flat(of: Leaderboard, row: Row) -> dict[str, Any]:
    e, top5 = row.top1.estimate, row.top5.estimate if row.top5 else None
    figures = (f"{v:.6f}" for v in (e.rate, e.low, e.high)) if e else ("", "", "")
    top1, low, high = figures
    return dict(
        zip(
            COLUMNS,
            (of.test, of.protocol, row.first_rank, row.last_rank, row.run, row.model, row.top1.k,
             row.top1.n, top1, low, high, f"{top5.rate:.6f}" if top5 else "", row.params, row.trainable,
             row.gflops, row.gflops_from, row.speed, row.speed_of, row.seconds, row.seed, row.kind,
             row.leaked, row.finished),
            strict=True,
        )
    )  # fmt: skip


def _document(
    leaderboards: Sequence[Leaderboard], left_out: Sequence[tuple[str, str]], settings: BoardSettings
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "subset": str(Subset(settings.subset)),
        "alpha": ALPHA,
        "leaderboards": [
            {
                "test": s.test,
                "protocol": s.protocol,
                "clips": s.clips,
                "classes": s.classes,
                "runs": [
                    {k: v for k, v in _flat(s, row).items() if k not in {"test", "protocol"}}
                    for row in s.rows
                ],
                "seeds": [asdict(seeds) for seeds in s.seeds],
            }
            for s in leaderboards
        ],
        "left_out": [{"run": run, "why": why} for run, why in left_out],
    }
