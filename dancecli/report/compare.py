"""The step behind `dance compare`: two runs or methods on the same clips, or a refusal that says why."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dancecli.core.errors import InputError
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.text import pluralize
from dancecli.report.figures import write_comparison_figures
from dancecli.report.pages.compare_page import render_comparison, training_charts
from dancecli.report.results.comparison import Comparison, compare_entries, verdict_of
from dancecli.report.results.entries import Entry, by_labels_in_force, protocols_of, read_entry
from dancecli.report.results.leaderboard import probe_protocol
from dancecli.report.statistics.protocols import comparable
from dancecli.report.statistics.significance import ALPHA, Accuracy
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace

SCHEMA = 1


@dataclass(frozen=True)
class CompareSettings:
    """What to compare.

    Attributes:
        first, second: two runs, or groups of runs that differ by their seed.
        name: the comparison's name; None for `<first>-vs-<second>`.
        subset: the subset that both are evaluated on.
        figures: whether to draw every chart for a paper too, into `figures/`.
        across_views: compare runs that saw different views of the clips, which the verdict then says.
    """

    first: str
    second: str
    name: str | None = None
    subset: str = "test"
    figures: bool = False
    across_views: bool = False


@dataclass(frozen=True)
class CompareResult:
    """What was written, and the verdict in a line."""

    name: str
    first: str
    second: str
    page: Path
    comparison: Comparison
    verdict: str
    document: Mapping[str, Any]


def compare(
    workspace: Workspace,
    settings: CompareSettings,
    reporter: Reporter = SILENT,
    *,
    dry_run: bool = False,
) -> CompareResult:
    """Compare two runs or groups of seeds and write `reports/<name>/` with `index.html` and `compare.json`.

    Raises:
        WorkspaceError: there is no such run, or it is not finished.
        InputError: the runs were not evaluated on the same clips under comparable protocols.
    """
    if settings.first == settings.second:
        raise InputError(f"run {settings.first!r} is given twice", "name two runs or groups")
    (first, missing), (second, others) = (
        read_entry(workspace, name, settings.subset) for name in (settings.first, settings.second)
    )
    for why in (*missing, *others):
        reporter.message(f"left out: {why}")
    if note := first.first.removal_note(settings.subset):
        reporter.message(f"{settings.subset}: {note}")
    first, second, relabeled = by_labels_in_force(workspace, first, second, settings.subset)
    if relabeled:
        number = pluralize(relabeled, "clip")
        reporter.message(f"{number} had other labels in the two: both are scored by the labels in force")
    reporter.progress(1, 3, "comparing")
    comparison = compare_entries(first, second, settings.subset, across_views=settings.across_views)
    name = settings.name or f"{settings.first}-vs-{settings.second}"
    folder = workspace.report(name)
    verdict = verdict_of(settings.first, settings.second, comparison.paired)
    probes = [probe_protocol(entry.first.run) for entry in (first, second)]
    if probes[0] != probes[1]:
        verdict += f" (their probes follow different protocols: {probes[0]} and {probes[1]})"
    protocols = protocols_of(first, second)
    if len(protocols) > 1 and not comparable(*protocols):
        verdict += " (of models and what they saw: their views differ)"
    document = _document(settings, first, comparison, verdict, protocols) | {"relabeled": relabeled}
    if not dry_run:
        reporter.progress(2, 3, "writing the page")
        with atomic_file(folder / "compare.json") as file:
            file.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        if settings.figures:
            charts = training_charts(first, second)
            write_comparison_figures(folder / "figures", first, second, comparison, charts)
        with atomic_file(folder / "index.html") as file:
            page = render_comparison(workspace, name, first, second, comparison, verdict, settings.subset)
            file.write(page)
    reporter.progress(3, 3)
    return CompareResult(
        name, settings.first, settings.second, folder / "index.html", comparison, verdict, document
    )


def _document(
    settings: CompareSettings, entry: Entry, found: Comparison, verdict: str, protocols: Sequence[str]
) -> dict[str, Any]:
    paired, results = found.paired, entry.first

    def accuracy(of: Accuracy) -> dict[str, Any]:
        return {"k": of.k, "n": of.n, "runs": of.runs, **asdict(of.estimate)}

    return {
        "schema": SCHEMA,
        "subset": settings.subset,
        "test_hash": results.run["split"].get("test_hash"),
        **({"removed": removed} if (removed := results.removed.get(settings.subset, 0)) else {}),
        "protocol": "; ".join(protocols),
        "verdict": verdict,
        "note": paired.disputed,
        "significant": paired.shown,
        "alpha": ALPHA,
        "first": {"run": settings.first, "top1": accuracy(found.first)},
        "second": {"run": settings.second, "top1": accuracy(found.second)},
        "difference": {"rate": paired.difference, "low": paired.low, "high": paired.high},
        "paired": asdict(paired),
        "wins_needed": found.needed,
        "classes": [
            {
                "label": results.labels[c.index],
                "first": accuracy(c.first),
                "second": accuracy(c.second),
                "only_first": c.only_first,
                "only_second": c.only_second,
                "p_holm": c.p,
            }
            for c in found.classes
        ],
        "confusion_changes": [
            {
                "true": results.labels[c.true],
                "predicted": results.labels[c.called],
                "first": round(c.first, 6),
                "second": round(c.second, 6),
                "n": c.n,
            }
            for c in found.cells
        ],
        "differences": [
            {"what": what, "first": first, "second": second} for what, first, second in found.made
        ],
    }
