"""The page of a comparison."""

from __future__ import annotations

from typing import Any

from dancecli.report.pages.run_page import short_link, shown_scores
from dancecli.report.pages.templating import render
from dancecli.report.results.comparison import Comparison, right
from dancecli.report.results.run_results import RunResults
from dancecli.report.statistics.metrics import predicted


def render_comparison(
    name: str, first: RunResults, second: RunResults, comparison: Comparison, verdict: str, subset: str
) -> str:
    """Draw the page.

    Args:
        name: the comparison's name.
        first: the first run.
        second: the second run, evaluated on the same clips.
        comparison: how they stand to each other.
        verdict: that in a sentence.
        subset: the subset that both are evaluated on.
    """
    paired = comparison.paired
    reach = max(0.05, abs(paired.low), abs(paired.high), abs(paired.difference))
    return render(
        "compare.html",
        ("common.js", "compare.js"),
        clip_data(first, second, subset),
        name=name,
        names=(first.run["name"], second.run["name"]),
        subset=subset,
        labels=first.labels,
        c=comparison,
        paired=paired,
        discordant=paired.first + paired.second,
        reach=min(1.0, 1.15 * reach),
        verdict=verdict,
        protocol=first.predictions.get("view.protocol", ""),
        test_hash=str(first.run["split"].get("test_hash") or ""),
        chance=1 / len(first.labels),
    )


def clip_data(first: RunResults, second: RunResults, subset: str) -> dict[str, Any]:
    """Gather the clips that one run alone got right, those that it is surest of first."""
    ours, theirs = first.subsets[subset], second.subsets[subset]
    a, b = right(ours), right(theirs)
    places = [i for i in range(len(a)) if a[i] != b[i]]
    truth = ours.truth[places]
    tables = [p.scores[places] for p in (ours, theirs)]
    calls = [predicted(table, truth).tolist() for table in tables]
    shown = [shown_scores(table, truth) for table in tables]
    rows: dict[str, list[tuple[float, list[Any]]]] = {"first": [], "second": []}
    for at, i in enumerate(places):
        clip, true = ours.clips[i], int(truth[at])
        gap = abs(float(tables[0][at, true] - tables[1][at, true]))
        evaluated = [*(c[at] for c in calls), *(s[at] for s in shown)]
        rows["first" if a[i] else "second"].append(
            (gap, [clip, short_link(clip, first.links), true, *evaluated])
        )
    return {
        "labels": first.labels,
        "names": [first.run["name"], second.run["name"]],
        "clips": {
            key: [row for _, row in sorted(found, key=lambda r: (-r[0], r[1][0]))]
            for key, found in rows.items()
        },
    }
