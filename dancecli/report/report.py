"""The step behind `dance report`: a run's files in, a folder for readers out."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dancecli.core.errors import InputError, WorkspaceError
from dancecli.core.progress import OnProgress, Progress, no_progress
from dancecli.report.pages.run_page import model_card, render
from dancecli.report.plots.confusion_matrix import draw_confusion
from dancecli.report.plots.gradcam import HeatPicture, read_heat
from dancecli.report.results.metrics_json import document
from dancecli.report.results.run_results import Evidence, read_evidence
from dancecli.report.results.seed_group import (
    check_part,
    group_document,
    headline_of,
    members,
    read_group,
    summarize_group,
)
from dancecli.report.statistics import metrics
from dancecli.report.statistics.bootstrap import intervals_of_class_means
from dancecli.report.statistics.intervals import Proportion
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace


@dataclass(frozen=True)
class ReportSettings:
    """What to report on.

    Attributes:
        run: the run, or a group of runs that differ by their seed; None for the run made last.
        name: the report's name; None for the run's.
        part: the part that the headline, the table and the picture are of.
    """

    run: str | None = None
    name: str | None = None
    part: str = "test"


@dataclass(frozen=True)
class ReportResult:
    """What was written.

    Attributes:
        page: the page's path.
        headline: the figures of the part in one line.
        document: what `metrics.json` holds.
    """

    name: str
    run: str
    page: Path
    headline: str
    document: Mapping[str, Any]


def report(
    workspace: Workspace,
    settings: ReportSettings,
    on_progress: OnProgress = no_progress,
    *,
    dry_run: bool = False,
) -> ReportResult:
    """Write `reports/<name>/`: the page, `metrics.json`, `model-card.md`, `confusion.csv`, `.png`, `.pdf`.

    The same run gives the same bytes. With `dry_run` everything is read and checked, nothing written.

    Raises:
        WorkspaceError: there is no such run, or it is not ended.
        InputError: the part has no predictions, or the run's files contradict each other.
    """
    run = settings.run or _last_run(workspace)
    name = settings.name or run
    if not (workspace.run(run) / "run.json").exists() and (names := members(workspace, run)):
        return _report_group(workspace, run, names, settings, on_progress, dry_run=dry_run)
    evidence = read_evidence(workspace, run)
    folder = workspace.report(name)
    if settings.part not in evidence.parts:
        there = " and ".join(evidence.parts) or "none"
        raise InputError(
            f"run {run!r} has no predictions for part {settings.part!r}", f"it has them for: {there}"
        )
    summaries = summarize(evidence)
    found = document(name, evidence, summaries, settings.part)
    heat = read_heat(workspace, evidence)
    if not dry_run:
        _write(folder, name, evidence, summaries, settings.part, found, heat, on_progress)
    on_progress(Progress(3, 3))
    return ReportResult(name, run, folder / "index.html", headline(summaries[settings.part]), found)


def _report_group(
    workspace: Workspace,
    group: str,
    names: Sequence[str],
    settings: ReportSettings,
    on_progress: OnProgress,
    *,
    dry_run: bool,
) -> ReportResult:
    """Report on runs that differ by their seed, and on each of them."""
    from dancecli.report.pages.group_page import render_group

    name = settings.name or group
    folder = workspace.report(name)
    runs, left_out = read_group(workspace, group, names, settings.part)
    check_part(runs, settings.part)
    summaries = [summarize(evidence) for evidence in runs]
    order = [settings.part, *(part for part in runs[0].parts if part != settings.part)]
    parts = {part: summarize_group(runs, summaries, part) for part in order}
    found = group_document(group, runs, parts, left_out)
    for done, evidence in enumerate(runs if not dry_run else ()):
        on_progress(Progress(done, len(runs), str(evidence.run["name"])))
        report(workspace, ReportSettings(str(evidence.run["name"]), part=settings.part))
    if not dry_run:
        with atomic_file(folder / "metrics.json") as file:
            file.write(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
        with atomic_file(folder / "index.html") as file:
            file.write(render_group(group, runs, parts, left_out))
    on_progress(Progress(len(runs), len(runs)))
    line = headline_of(len(runs), parts[settings.part])
    return ReportResult(name, group, folder / "index.html", line, found)


def _write(
    folder: Path,
    name: str,
    evidence: Evidence,
    summaries: Mapping[str, metrics.Summary],
    part: str,
    found: Mapping[str, Any],
    heat: Mapping[str, Sequence[HeatPicture]],
    on_progress: OnProgress,
) -> None:
    chosen = summaries[part]
    on_progress(Progress(1, 3, "drawing"))
    with atomic_file(folder / "metrics.json") as file:
        file.write(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    with atomic_file(folder / "confusion.csv") as file:
        rows = zip(evidence.labels, chosen.confusion, strict=True)
        csv.writer(file, lineterminator="\n").writerows(
            [["true \\ predicted", *evidence.labels], *([label, *row] for label, row in rows)]
        )
    draw_confusion(folder, chosen.confusion, evidence.labels)
    with atomic_file(folder / "model-card.md") as file:
        file.write(model_card(name, evidence, summaries, part))
    on_progress(Progress(2, 3, "writing the page"))
    # The page comes last: where it is, all that belongs to it is there too.
    with atomic_file(folder / "index.html") as file:
        file.write(render(name, evidence, summaries, part, heat))


def summarize(evidence: Evidence) -> dict[str, metrics.Summary]:
    """Work out the figures of every part that has clips."""
    trained = evidence.train_counts
    found = {}
    for name, part in evidence.parts.items():
        counts = trained if any(trained) else [int((part.truth == i).sum()) for i in range(len(trained))]
        majority = max(range(len(counts)), key=lambda i: counts[i])
        summary = metrics.summarize(part.scores, part.truth, majority, part.groups)
        calls = metrics.predicted(part.scores, part.truth)
        balanced, f1 = intervals_of_class_means(part.truth, calls, summary.classes, part.groups)
        found[name] = replace(summary, balanced_by_video=balanced, macro_f1_by_video=f1)
    return found


def headline(summary: metrics.Summary) -> str:
    """Say top-1 and top-5 in one line: k/n, rate, 95 % interval, and what guessing gives."""
    shown = [("top-1", summary.top1, summary.chance1)]
    if summary.top5 is not None:
        shown.append(("top-5", summary.top5, summary.chance5))
    return "  ".join(_figure(name, of, chance) for name, of, chance in shown)


def _figure(name: str, of: Proportion, chance: float) -> str:
    if (e := of.estimate) is None:
        return f"{name} 0/0"
    return (
        f"{name} {of.k}/{of.n} = {100 * e.rate:.1f} % "
        f"({100 * e.low:.1f}-{100 * e.high:.1f}, chance {100 * chance:.1f})"
    )


def _last_run(workspace: Workspace) -> str:
    runs = workspace.runs()
    if not runs:
        raise WorkspaceError(
            f"there is no run in {workspace.root} to report on", "make one first: dance finetune"
        )
    return runs[-1]
