"""The page of the paper's experiments, run again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dancecli.core.records import Subset
from dancecli.core.text import pluralize, points
from dancecli.report.pages.templating import render
from dancecli.report.results.paper import read_sources
from dancecli.report.results.reproduction import (
    PAPER_CLASSES,
    Choice,
    Ran,
    Reproduced,
    arithmetic,
    choices,
    deviations,
    document,
    page_of,
    printed,
    start_differs,
)
from dancecli.report.results.run_results import leak_text
from dancecli.report.statistics.significance import ALPHA
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace


@dataclass(frozen=True)
class Line:
    """One line of the table: whose figures they are, and the figures."""

    whose: str
    note: str
    top1: Any
    top5: Any
    printed: tuple[str, str] = ("", "")
    run: str = ""


def write_reproduction(
    workspace: Workspace, found: Sequence[Reproduced], commands: Sequence[Sequence[str]], *, quick: str
) -> tuple[Path, dict[str, Any]]:
    """Write `reports/reproduction/` with `index.html` and `reproduction.json`; give the page and its data.

    Args:
        workspace: where the runs are.
        found: the experiments, with what came out.
        commands: what makes the runs, without the program's name.
        quick: what of it was made smaller, on the demo's dancers; empty if nothing was.
    """
    page, told = page_of(workspace), document(found, bool(quick))
    with atomic_file(page.with_name("reproduction.json")) as file:
        file.write(json.dumps(told, indent=2, ensure_ascii=False) + "\n")
    with atomic_file(page) as file:
        file.write(render_reproduction(found, commands, quick=quick))
    return page, told


def render_reproduction(found: Sequence[Reproduced], commands: Sequence[Sequence[str]], *, quick: str) -> str:
    """Draw the page; arguments as of `write_reproduction`."""
    runs = {ran.name: ran for one in found for ran in (one.published, one.ours) if ran}
    classes = len(next(iter(runs.values())).results.labels) if runs else PAPER_CLASSES
    return render(
        "reproduction.html",
        ("common.js",),
        {"labels": []},
        headline=headline(found),
        found=[(one, lines(one), arithmetic(one.experiment)) for one in found],
        recipes={one.experiment.recipe: read_sources(one.experiment.recipe) for one in found},
        deviations={one.experiment.name: deviations(one) for one in found},
        choices=choices(found),
        views=list(dict.fromkeys(ran.results.predictions["view.protocol"] for ran in runs.values())),
        runs=[(ran, _subsets(ran), _seconds(ran)) for ran in runs.values()],
        leak_text=leak_text,
        claims=claims_of(found),
        impossible=impossible(found),
        what_ran=what_ran(found),
        differs=list(dict.fromkeys(sentence for one in found for sentence in deviations(one))),
        num_one_run=sum(one.experiment.subset == Subset.VAL for one in found),
        quick=quick,
        steps=_steps(found, quick=bool(quick)),
        classes=classes,
        chance=1 / classes,
        paper_chance=1 / PAPER_CLASSES,
        commands=[shlex.join(["dance", *command]) for command in commands],
    )


def _steps(found: Sequence[Reproduced], *, quick: bool) -> list[tuple[str, str]]:
    """List what to do next: purposes with their commands."""
    if quick:
        return [("the same on the clips of Kinetics-700, once dance fetch has them:", "dance reproduce")]
    left = sum(bool(one.why) for one in found)
    return [(f"run the {pluralize(left, 'experiment')} still missing:", "dance reproduce")] if left else []


def headline(found: Sequence[Reproduced]) -> str:
    """State how many of the paper's claims hold here, and how many of its figures cannot be."""
    held = choices(found)
    tested = [c for c in held if c.ours and not c.start]
    shown = sum(c.ours is not None and c.ours.shown and c.ours.difference > 0 for c in tested)
    odd = len(impossible(found))
    claims = f"{shown} of {pluralize(len(held), 'claim')} of the paper {_verb(shown, 'holds', 'hold')} here"
    if not tested:
        claims = "No claim of the paper is tested yet"
    elif len(tested) < len(held):
        claims += f", {len(held) - len(tested)} not tested yet"
    figures = f"{pluralize(odd, 'figure')} {_verb(odd, 'is', 'are')} no count of clips"
    return f"{claims}; {figures}" if odd else claims


def _verb(count: int, singular: str, plural: str) -> str:
    return singular if count == 1 else plural


@dataclass(frozen=True)
class Claim:
    """That one experiment is better than another: what the paper says, and what became of it here.

    Attributes:
        better, worse: titles of the experiments.
        verdict: whether it holds here, in a few words.
        evidence: what that rests on.
    """

    better: str
    worse: str
    verdict: str
    evidence: str


def claims_of(found: Sequence[Reproduced]) -> list[Claim]:
    """Say of each claim of the paper whether it holds here."""
    return [Claim(c.second, c.first, _verdict(c), _evidence(c)) for c in choices(found)]


def _verdict(c: Choice) -> str:
    if c.ours is None:
        return "not tested yet"
    if c.start:
        return f"not tested, as the runs start from {c.start}"
    if not c.ours.shown:
        return "not shown here"
    return "holds here" if c.ours.difference > 0 else "the reverse holds here"


def _evidence(c: Choice) -> str:
    parts = []
    if c.ours:
        ends = f"{points(c.ours.low)} to {points(c.ours.high)}"
        parts.append(
            f"here {points(c.ours.difference)} points (95\u202f% interval {ends}), p = {c.ours.p:.3g}"
        )
    if c.counts:
        first, second, n = c.counts
        weak = ", in the best case not significant either" if (c.best_case or 0.0) >= ALPHA else ""
        parts.append(f"in the paper {second} against {first} of {n} clips{weak}")
    else:
        parts.append("in the paper without a number of clips")
    return "; ".join(parts)


def impossible(found: Sequence[Reproduced]) -> list[str]:
    """List the figures of the paper that are no count of its clips, a sentence each."""
    return [
        f"{figure}\u202f% {which} of “{one.experiment.title}”: "
        f"no count of {one.experiment.clips} clips gives it"
        for one in found
        for which, figure in (("top-1", one.experiment.top1), ("top-5", one.experiment.top5))
        if figure and one.experiment.clips and not printed(figure, one.experiment.clips)
    ]


def what_ran(found: Sequence[Reproduced]) -> str:
    """Say which of the experiments were run, on what, and why the others were not."""
    done = [one for one in found if one.published or one.ours]
    missing = [one for one in found if one not in done]
    runs = {ran.name: ran for one in done for ran in (one.published, one.ours) if ran}
    text = f"{len(done)} of {pluralize(len(found), 'experiment')}"
    if runs:
        clips = sorted({f"{sum(_counts(ran).values()):,}" for ran in runs.values()}, key=len)
        text += f", by {pluralize(len(runs), 'run')} on {' and '.join(clips)} clips"
    if missing:
        reasons = "; ".join(dict.fromkeys(one.why for one in missing if one.why))
        names = " and ".join(f"“{one.experiment.title}”" for one in missing)
        text += f". Not run: {names}" + (f" ({reasons})" if reasons else "")
    return f"{text}."


def lines(one: Reproduced) -> list[Line]:
    """Lay out an experiment's lines: the paper's, as published, ours."""
    experiment = one.experiment
    paper = Line(
        "The paper",
        f"{experiment.clips:,} clips (inferred), {experiment.subset} set"
        if experiment.clips
        else f"{experiment.subset} set, its n is not given",
        printed(experiment.top1, experiment.clips),
        printed(experiment.top5, experiment.clips) if experiment.top5 else None,
        (experiment.top1, experiment.top5),
    )
    named = (("Here, as published", one.published), ("Here, our protocol", one.ours))
    return [
        paper,
        *(
            Line(_whose(whose, one, ran), _note(ran), ran.top1, ran.top5, run=ran.name)
            for whose, ran in named
            if ran
        ),
    ]


def _whose(whose: str, one: Reproduced, ran: Ran) -> str:
    """Call no run the paper's that starts from other weights."""
    start = start_differs(one.experiment, ran)
    return f"{whose} but for {start}" if start else whose


def _note(ran: Ran) -> str:
    """Say what was evaluated, and of a fused run what each stream reaches alone."""
    found = [f"{ran.subset} set", ran.chosen]
    for one in ran.members:
        result = (one.get("results") or {}).get(ran.subset)
        if result:
            stream = str(one["name"]).removeprefix(f"{ran.name}-")
            found.append(f"{stream} alone {result['top1']}/{result['n']}")
    return ", ".join(found)


def _subsets(ran: Ran) -> str:
    """Count the clips of the run's subsets."""
    return ", ".join(f"{n} {name}" for name, n in _counts(ran).items())


def _counts(ran: Ran) -> dict[str, int]:
    counts = {"train": sum(ran.results.train_counts)}
    return counts | {name: len(subset.clips) for name, subset in ran.results.subsets.items()}


def _seconds(ran: Ran) -> float:
    spent = [s for run in (ran.results.run, *ran.members) for s in (run.get("seconds") or {}).values()]
    return sum(s for s in spent if isinstance(s, int | float))
