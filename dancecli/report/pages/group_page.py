"""The page of several runs that differ by their seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dancecli.report.pages import run_page
from dancecli.report.pages.stills import stills_of
from dancecli.report.pages.templating import render
from dancecli.report.plots import curves, layout
from dancecli.report.results.run_results import RunResults, most_shared
from dancecli.report.results.seed_group import GroupSubset
from dancecli.report.results.slices import NOT_SLICED, Sliced
from dancecli.report.statistics.metrics import predicted
from dancecli.storage.workspace import Workspace

# A larger matrix is on the pages of the runs.
MOST_CLASSES = 40


def render_group(
    group: str,
    runs: Sequence[RunResults],
    subsets: Mapping[str, GroupSubset],
    left_out: Sequence[str],
    workspace: Workspace,
    sliced: Sliced = NOT_SLICED,
) -> str:
    """Draw the page.

    Args:
        group: the group's name.
        runs: its runs.
        subsets: the figures, the subset shown first first.
        left_out: runs that could not be read, with the reason.
        workspace: where the clips are.
        sliced: mean accuracy by slice, and at the levels of a hierarchy.
    """
    first = runs[0]
    data = clip_data(runs, subsets)
    shown = [row[0] for of in data["subsets"].values() for row in (*of["flips"][:24], *of["never"][:12])]
    data["stills"] = stills_of(workspace, shown, first.links)
    per_seed = {"Time", "Training"}
    facts = [(title, rows) for title, rows in run_page.facts(first) if title not in per_seed]
    training = [row for title, rows in run_page.facts(first) if title == "Training" for row in rows]
    facts.append(("Training", [row for row in training if row[0] != "seed"]))
    names = [str(e.run["name"]) for e in runs]
    shared = {key: most_shared([e.shared_groups[key] for e in runs]) for key in subsets}
    summaries = {key: list(zip(names, of.summaries, strict=True)) for key, of in subsets.items()}
    return render(
        "group.html",
        ("common.js", "group.js"),
        data,
        group=group,
        runs=[(e.run["name"], e.run.get("seed")) for e in runs],
        labels=first.labels,
        subsets=subsets,
        lead=run_page.lead(first),
        shared=shared,
        leaks={subset: run_page.leak_notice(first.run, count) for subset, count in shared.items()},
        folds="cross_validation" in first.run,
        left_out=left_out,
        chance=1 / len(first.labels),
        facts=facts,
        matrices={
            key: of.confusion if len(first.labels) <= MOST_CLASSES else () for key, of in subsets.items()
        },
        **run_page.slice_shown(sliced, list(subsets)),
        score_charts={key: curves.score_charts(own) for key, own in summaries.items()},
        calibration_charts={key: curves.calibration_chart(own) for key, own in summaries.items()},
        charts=curves.run_charts(list(zip(names, (e.history for e in runs), strict=True))),
        chart=layout,
        steps=run_page.next_steps(group),
        commands=[*run_page.commands(first, group)[:-1], f"dance report --run {group}"],
    )


def clip_data(runs: Sequence[RunResults], subsets: Mapping[str, GroupSubset]) -> dict[str, Any]:
    """Gather the clips that not every run got right, with each run's call and the mean scores."""
    return {
        "labels": runs[0].labels,
        "runs": [f"seed {e.run['seed']}" if e.run.get("seed") is not None else e.run["name"] for e in runs],
        "subsets": {key: _subset(runs, key, subset) for key, subset in subsets.items()},
        **run_page.watch_data(runs[0]),
    }


def _subset(runs: Sequence[RunResults], key: str, subset: GroupSubset) -> dict[str, list[Any]]:
    import numpy as np

    own = runs[0].subsets[key]
    chosen = {"flips": subset.flips, "never": subset.never}
    found: dict[str, list[Any]] = {}
    for name, places in chosen.items():
        truth = own.truth[places]
        calls = [predicted(e.subsets[key].scores[places], truth).tolist() for e in runs]
        means = np.mean([e.subsets[key].scores[places] for e in runs], axis=0)
        shown = run_page.shown_scores(means, truth) if places else []
        found[name] = [
            [
                own.clips[i],
                run_page.short_link(own.clips[i], runs[0].links),
                int(truth[at]),
                [c[at] for c in calls],
                shown[at],
            ]
            for at, i in enumerate(places)
        ]
    return found
