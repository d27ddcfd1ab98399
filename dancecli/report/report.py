"""The step behind `dance report`: a run's files in, a folder for readers out."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from dancecli.core.errors import InputError, UsageError, WorkspaceError
from dancecli.core.progress import SILENT, Reporter
from dancecli.report.bundle import write_bundle
from dancecli.report.controls import read_controls
from dancecli.report.figures import write_group_figures, write_report_figures
from dancecli.report.pages.run_page import model_card, render_run
from dancecli.report.plots.gradcam import read_gradcam
from dancecli.report.references import references
from dancecli.report.results.attributes import read_attributes
from dancecli.report.results.comparison import worth_of_members
from dancecli.report.results.entries import Entry, read_group
from dancecli.report.results.metrics_json import document
from dancecli.report.results.run_results import RunResults, read_run_results
from dancecli.report.results.seed_group import (
    check_subset,
    group_document,
    headline_of,
    summarize_group,
)
from dancecli.report.results.slices import read_hierarchy, slice_entry
from dancecli.report.results.summaries import summarize
from dancecli.report.statistics import metrics
from dancecli.report.statistics.intervals import Proportion
from dancecli.report.statistics.slices import Slice, worst_slices
from dancecli.storage.files import atomic_file
from dancecli.storage.runs import runs_of_group
from dancecli.storage.workspace import Workspace


@dataclass(frozen=True)
class ReportSettings:
    """What to report on.

    Attributes:
        run: the run, or a group of runs that differ by their seed; None for the latest run.
        name: the report's name; None for the run's.
        subset: the subset that the headline, the table and the picture are of.
        attributes: CSV files with further attributes of clips or videos, to slice by.
        hierarchy: a CSV file that says what each class belongs to.
        figures: whether to draw every chart for a paper too, into `figures/`.
        bundle: a folder or a zip file for the report with its clips, see `bundle`.
    """

    run: str | None = None
    name: str | None = None
    subset: str = "test"
    attributes: tuple[Path, ...] = ()
    hierarchy: Path | None = None
    bundle: Path | None = None
    figures: bool = False


@dataclass(frozen=True)
class ReportResult:
    """What was written.

    Attributes:
        page: the page's path.
        headline: the figures of the subset in one line.
        document: what `metrics.json` holds.
        worst: the slices of the subset that are significantly worse than the rest, a phrase each.
    """

    name: str
    run: str
    page: Path
    headline: str
    document: Mapping[str, Any]
    worst: tuple[str, ...] = ()


def report(
    workspace: Workspace,
    settings: ReportSettings,
    reporter: Reporter = SILENT,
    *,
    dry_run: bool = False,
) -> ReportResult:
    """Write `reports/<name>/`: the page, `metrics.json`, `model-card.md`, `references.bib`, `confusion.csv`.

    The same run gives the same bytes. With `dry_run` everything is read and checked, nothing written.

    Raises:
        UsageError: a bundle of a group is asked for.
        WorkspaceError: there is no such run, or it is not finished.
        InputError: the subset has no predictions, or the run's files contradict each other.
    """
    run = settings.run or _last_run(workspace)
    name = settings.name or run
    if not (workspace.run(run) / "run.json").exists() and (names := runs_of_group(workspace, run)):
        return _report_group(workspace, run, names, settings, reporter, dry_run=dry_run)
    results = read_run_results(workspace, run)
    folder = workspace.report(name)
    if settings.subset not in results.subsets:
        there = " and ".join(results.subsets) or "none"
        raise InputError(
            f"run {run!r} has no predictions for subset {settings.subset!r}", f"it has them for: {there}"
        )
    summaries = summarize(results)
    levels = read_hierarchy(settings.hierarchy, results.labels) if settings.hierarchy else ()
    attributes = read_attributes(workspace, settings.attributes)
    sliced = slice_entry(Entry(run, (results,)), attributes, levels)
    worth = {key: worth_of_members(workspace, results, key) for key in results.subsets}
    controls = read_controls(workspace, results)
    found = document(name, results, summaries, settings.subset, sliced, worth, controls)
    for note in filter(None, [*sliced.notes, results.corrections]):
        reporter.message(note)
    draw = partial(
        render_run,
        name,
        summaries=summaries,
        subset=settings.subset,
        heat=read_gradcam(workspace, results),
        sliced=sliced,
        worth=worth,
        controls=controls,
    )
    if not dry_run:
        _write(workspace, name, results, summaries, settings.subset, found, draw, reporter)
        with atomic_file(folder / "references.bib") as file:
            file.write(references(results.run, attributes.values.get("dataset", {}).values()))
        if settings.figures:
            chosen = summaries[settings.subset]
            write_report_figures(folder / "figures", results, chosen, sliced, settings.subset, controls)
    reporter.progress(3, 3)
    if settings.bundle:
        write_bundle(workspace, settings.bundle, results, folder, draw, reporter, dry_run=dry_run)
    worst = tuple(_phrase(s) for s in worst_slices(sliced.slices[settings.subset]))
    note = results.removal_note(settings.subset)
    line = headline(summaries[settings.subset]) + (f"  ({note})" if note else "")
    return ReportResult(name, run, folder / "index.html", line, found, worst)


def _phrase(of: Slice) -> str:
    own, rest = of.top1.estimate, of.rest.estimate
    return (
        f"{of.attribute} {of.value}: {of.top1.text} = {100 * own.rate:.1f} % "
        f"({100 * own.low:.1f}-{100 * own.high:.1f}), the rest {100 * rest.rate:.1f} % (adjusted "
        f"p {of.p:.2g})"
    )


def _report_group(
    workspace: Workspace,
    group: str,
    names: Sequence[str],
    settings: ReportSettings,
    reporter: Reporter,
    *,
    dry_run: bool,
) -> ReportResult:
    """Report on runs that differ by their seed, and on each of them."""
    from dancecli.report.pages.group_page import render_group

    if settings.bundle:
        raise UsageError(f"{group} is a group of runs, and a bundle holds one", "name a run with --run")
    name = settings.name or group
    folder = workspace.report(name)
    runs, left_out = read_group(workspace, group, names, settings.subset)
    check_subset(runs, settings.subset)
    summaries = [summarize(results) for results in runs]
    order = [settings.subset, *(subset for subset in runs[0].subsets if subset != settings.subset)]
    subsets = {subset: summarize_group(runs, summaries, subset) for subset in order}
    levels = read_hierarchy(settings.hierarchy, runs[0].labels) if settings.hierarchy else ()
    attributes = read_attributes(workspace, settings.attributes)
    sliced = slice_entry(Entry(group, tuple(runs)), attributes, levels)
    found = group_document(group, runs, subsets, left_out, sliced)
    for done, results in enumerate(runs if not dry_run else ()):
        reporter.progress(done, len(runs), str(results.run["name"]))
        report(workspace, replace(settings, run=str(results.run["name"]), name=None))
    if not dry_run:
        with atomic_file(folder / "metrics.json") as file:
            file.write(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
        if settings.figures:
            chosen = subsets[settings.subset]
            write_group_figures(folder / "figures", runs, chosen, sliced, settings.subset)
        with atomic_file(folder / "index.html") as file:
            file.write(render_group(group, runs, subsets, left_out, workspace, sliced))
    reporter.progress(len(runs), len(runs))
    line = headline_of(len(runs), subsets[settings.subset])
    worst = tuple(_phrase(s) for s in worst_slices(sliced.slices[settings.subset]))
    return ReportResult(name, group, folder / "index.html", line, found, worst)


def _write(
    workspace: Workspace,
    name: str,
    results: RunResults,
    summaries: Mapping[str, metrics.Summary],
    subset: str,
    found: Mapping[str, Any],
    draw: Callable[..., str],
    reporter: Reporter,
) -> None:
    chosen, folder = summaries[subset], workspace.report(name)
    reporter.progress(1, 3, "writing the figures")
    with atomic_file(folder / "metrics.json") as file:
        file.write(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    with atomic_file(folder / "confusion.csv") as file:
        rows = zip(results.labels, chosen.confusion, strict=True)
        csv.writer(file, lineterminator="\n").writerows(
            [["true \\ predicted", *results.labels], *([label, *row] for label, row in rows)]
        )
    with atomic_file(folder / "model-card.md") as file:
        file.write(model_card(name, results, summaries, subset))
    reporter.progress(2, 3, "writing the page")
    # The page comes last: where it is, all that belongs to it is there too.
    with atomic_file(folder / "index.html") as file:
        file.write(draw(results=results, workspace=workspace))


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
