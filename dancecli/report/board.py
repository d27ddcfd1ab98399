"""The step behind `dance board`: all runs, side by side where they were judged alike."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import DanceError, WorkspaceError
from dancecli.core.progress import OnProgress, Progress, no_progress
from dancecli.core.records import Subset
from dancecli.report.plots import layout
from dancecli.report.results.leaderboard import Row, Standing, rank
from dancecli.report.results.run_results import Evidence, read_evidence
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
        part: the part that they are judged on.
    """

    split: str | None = None
    part: str = "test"


@dataclass(frozen=True)
class BoardResult:
    """What was written, and the runs left out with the reason."""

    page: Path
    standings: tuple[Standing, ...]
    left_out: tuple[tuple[str, str], ...]
    document: Mapping[str, Any]


def board(
    workspace: Workspace,
    settings: BoardSettings,
    on_progress: OnProgress = no_progress,
    *,
    dry_run: bool = False,
) -> BoardResult:
    """Set all runs side by side and write `reports/board/` with `index.html`, `board.csv`, `board.json`.

    A run that is not ended, or whose files contradict each other, is left out and said.

    Raises:
        WorkspaceError: there is no run that can be shown.
    """
    from dancecli.report.pages.templating import draw

    found, left_out = _read_all(workspace, settings, on_progress)
    if not found:
        why = f"; the first of {len(left_out)} left out: {left_out[0][1]}" if left_out else ""
        raise WorkspaceError(f"there is no run in {workspace.root} to show{why}", "make one: dance finetune")
    standings = rank(found, settings.part)
    document = _document(standings, left_out, settings)
    folder = workspace.report(NAME)
    if not dry_run:
        with atomic_file(folder / "board.json") as file:
            file.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        with atomic_file(folder / "board.csv") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(_flat(standing, row) for standing in standings for row in standing.rows)
        text = draw(
            "board.html",
            ("common.js", "board.js"),
            {"labels": []},
            standings=standings,
            left_out=left_out,
            part=settings.part,
            pasts=[layout.history([(r.run, r.finished, r.top1) for r in s.rows]) for s in standings],
            chart=layout,
            drawn={e.run["name"] for e in found if (workspace.report(e.run["name"]) / "index.html").exists()},
        )
        with atomic_file(folder / "index.html") as file:
            file.write(text)
    return BoardResult(folder / "index.html", standings, tuple(left_out), document)


def _read_all(
    workspace: Workspace, settings: BoardSettings, on_progress: OnProgress
) -> tuple[list[Evidence], list[tuple[str, str]]]:
    names = sorted(workspace.runs())
    found: list[Evidence] = []
    left_out: list[tuple[str, str]] = []
    for done, name in enumerate(names, start=1):
        try:
            evidence = read_evidence(workspace, name)
        except DanceError as error:
            left_out.append((name, error.message))
        else:
            if settings.part not in evidence.parts:
                left_out.append((name, f"has no predictions for part {settings.part!r}"))
            elif settings.split in (None, evidence.run["split"]["name"]):
                found.append(evidence)
        on_progress(Progress(done, len(names), name))
    return found, left_out


def _flat(standing: Standing, row: Row) -> dict[str, Any]:
    e, top5 = row.top1.estimate, row.top5.estimate if row.top5 else None
    figures = (f"{v:.6f}" for v in (e.rate, e.low, e.high)) if e else ("", "", "")
    top1, low, high = figures
    return dict(
        zip(
            COLUMNS,
            (standing.test, standing.protocol, row.first_rank, row.last_rank, row.run, row.model, row.top1.k,
             row.top1.n, top1, low, high, f"{top5.rate:.6f}" if top5 else "", row.params, row.trainable,
             row.gflops, row.gflops_from, row.speed, row.speed_of, row.seconds, row.seed, row.kind,
             row.leaked, row.finished),
            strict=True,
        )
    )  # fmt: skip


def _document(
    standings: Sequence[Standing], left_out: Sequence[tuple[str, str]], settings: BoardSettings
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "part": str(Subset(settings.part)),
        "alpha": ALPHA,
        "standings": [
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
            for s in standings
        ],
        "left_out": [{"run": run, "why": why} for run, why in left_out],
    }
