"""The page of a comparison."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dancecli.core.text import percent
from dancecli.report.pages.run_page import short_link, shown_scores, watch_data
from dancecli.report.pages.stills import stills_of
from dancecli.report.pages.templating import render
from dancecli.report.plots import curves, layout
from dancecli.report.plots.layout import zoomed
from dancecli.report.results.comparison import CellChange, Comparison
from dancecli.report.results.entries import Entry, hits, protocols_of
from dancecli.report.results.run_results import SubsetScores
from dancecli.report.statistics.calibration import Calibration, calibration, verdict_of_runs
from dancecli.report.statistics.metrics import predicted
from dancecli.report.statistics.significance import ALPHA, Accuracy, Paired
from dancecli.storage.runs import ignores_seed
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    from dancecli.report.statistics.metrics import Floats


# A larger matrix is listed alone.
MOST_CLASSES = 40
SHOWN_CELLS = 20


def render_comparison(
    workspace: Workspace,
    name: str,
    first: Entry,
    second: Entry,
    comparison: Comparison,
    verdict: str,
    subset: str,
) -> str:
    """Draw the page.

    Args:
        workspace: where the clips are.
        name: the comparison's name.
        first: the first run or method.
        second: the second, evaluated on the same clips.
        comparison: of the two.
        verdict: that in a sentence.
        subset: the subset that both are evaluated on.
    """
    paired, data = comparison.paired, clip_data(first, second, subset)
    shown = [row[0] for rows in data["clips"].values() for row in rows[:24]]
    data["stills"] = stills_of(workspace, shown, first.first.links)
    reach = max(0.05, abs(paired.low), abs(paired.high), abs(paired.difference))
    return render(
        "compare.html",
        ("common.js", "compare.js"),
        data,
        name=name,
        names=(first.name, second.name),
        subset=subset,
        labels=first.first.labels,
        c=comparison,
        splits=sorted({run.run["split"]["name"] for entry in (first, second) for run in entry.runs}),
        weak=(
            weak_points(first, [(c.index, c.first) for c in comparison.classes], subset),
            weak_points(second, [(c.index, c.second) for c in comparison.classes], subset),
        ),
        matrix=_matrix(comparison, len(first.first.labels)),
        shown_cells=SHOWN_CELLS,
        charts=training_charts(first, second),
        chart=layout,
        paired=paired,
        methods=max(paired.seeds) > 1,
        folds=all("cross_validation" in run.run for entry in (first, second) for run in entry.runs),
        discordant=paired.first + paired.second,
        reach=min(1.0, 1.15 * reach),
        differing=[first.first.labels[c.index] for c in comparison.classes if c.p < ALPHA],
        scale=zoomed([comparison.first.estimate, comparison.second.estimate]),
        verdict=verdict,
        protocols=protocols_of(first, second),
        test_hash=str(first.first.run["split"].get("test_hash") or ""),
        chance=1 / len(first.first.labels),
        steps=[next_step(first.name, second.name, paired, seedless=_any_ignores_seed(first, second))],
    )


def next_step(first: str, second: str, paired: Paired, *, seedless: bool = False) -> tuple[str, str]:
    """Say what to do next after a comparison, with its command.

    Args:
        first: the name of a run or method.
        second: the name of the other.
        paired: the comparison.
        seedless: whether another seed would give the same of either.
    """
    if paired.shown and (seedless or max(paired.seeds) > 1):
        better = second if paired.difference > 0 else first
        return f"see what {better} still gets wrong:", shlex.join(["dance", "report", "--run", better])
    if seedless:
        return (
            "cross-validation tests every clip, and can tell a smaller difference from chance:",
            "dance split --folds 10",
        )
    if max(paired.seeds) > 1:
        return "more seeds of both can tell a smaller difference from chance:", "dance finetune --seeds 5"
    why = (
        "another seed may give another result"
        if paired.shown
        else "several seeds can tell a smaller difference from chance"
    )
    return f"{why}, so train both with several:", "dance finetune --seeds 3"


def _any_ignores_seed(first: Entry, second: Entry) -> bool:
    return any(ignores_seed(entry.first.run) for entry in (first, second))


def weak_points(entry: Entry, recalls: Sequence[tuple[int, Accuracy]], subset: str) -> list[str]:
    """Say what the accuracy of an entry hides: its worst class, and how far its confidence is off.

    Args:
        entry: a run, or several.
        recalls: index and recall of each class that occurs.
        subset: the subset that it is evaluated on.
    """
    index, lowest = min(recalls, key=lambda one: (one[1].estimate.rate, -one[1].n, one[0]))
    rate = percent(lowest.estimate.rate)
    found = [_calibration(run.subsets[subset]) for run in entry.runs]
    error = sum(one.ece for one in found) / len(found)
    return [
        f"Lowest recall: {entry.first.labels[index]}, {rate}\u202f% ({lowest.text})",
        f"Calibration error: {percent(error)}\u202f%, {verdict_of_runs(found).lower()}",
    ]


def _calibration(of: SubsetScores) -> Calibration:
    return calibration(of.scores.max(axis=1), hits(of), of.groups)


def training_charts(first: Entry, second: Entry) -> tuple[layout.Chart, ...]:
    """Lay out the training of all runs of both."""
    return curves.run_charts([(run.run["name"], run.history) for e in (first, second) for run in e.runs])


def _matrix(comparison: Comparison, classes: int) -> list[list[CellChange | None]]:
    """Lay the changed cells out as a matrix; empty where there are too many classes for a table."""
    if classes > MOST_CLASSES:
        return []
    rows: list[list[CellChange | None]] = [[None] * classes for _ in range(classes)]
    for cell in comparison.cells:
        rows[cell.true][cell.called] = cell
    return rows


def clip_data(first: Entry, second: Entry, subset: str) -> dict[str, Any]:
    """Gather the clips that one gets right more often than the other, the largest gap in score first."""
    import numpy as np

    ours = first.first.subsets[subset]
    a, b = (entry.flags(subset).mean(axis=0, dtype=float) for entry in (first, second))
    places = np.flatnonzero(a != b).tolist()
    truth = ours.truth[places]
    tables: list[Floats] = [
        np.mean([run.subsets[subset].scores[places] for run in entry.runs], axis=0)
        for entry in (first, second)
    ]
    calls = [predicted(table, truth).tolist() for table in tables]
    shown = [shown_scores(table, truth) for table in tables]
    rows: dict[str, list[tuple[float, list[Any]]]] = {"first": [], "second": []}
    for at, i in enumerate(places):
        clip, true = ours.clips[i], int(truth[at])
        gap = abs(float(tables[0][at, true] - tables[1][at, true]))
        evaluated = [*(c[at] for c in calls), *(s[at] for s in shown)]
        rows["first" if a[i] > b[i] else "second"].append(
            (gap, [clip, short_link(clip, first.first.links), true, *evaluated])
        )
    return {
        "labels": first.first.labels,
        "names": [first.name, second.name],
        "clips": {
            key: [row for _, row in sorted(found, key=lambda r: (-r[0], r[1][0]))]
            for key, found in rows.items()
        },
        **watch_data(first.first),
    }
