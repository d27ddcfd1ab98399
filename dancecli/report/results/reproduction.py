"""What the paper printed, evaluated by its own arithmetic and beside what came out here."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dancecli.core.errors import InputError
from dancecli.core.flow_format import PUBLISHED_METHOD
from dancecli.core.recipe import read_recipe
from dancecli.core.records import Subset
from dancecli.report.results.entries import hits, refuse_unlike
from dancecli.report.results.paper import Experiment, read_sources
from dancecli.report.results.run_results import RunResults, read_run_results
from dancecli.report.statistics.clusters import join_groups
from dancecli.report.statistics.grim import BatchMean, batch_means, check_reported, possible_sizes
from dancecli.report.statistics.intervals import Proportion, proportion
from dancecli.report.statistics.metrics import TOP
from dancecli.report.statistics.significance import Paired, compare_models, mcnemar
from dancecli.storage.runs import read_record
from dancecli.storage.workspace import Workspace

SCHEMA = 1
# Keys of a recipe that change nothing of what the paper describes.
_NOT_STATED = ("description", "workers", "view_seed")
PAPER_CLASSES = 19
# What `dance train` calls the inflated weights, and `pretrain` of its runs.
_INFLATED = "inflated from 2-D"
_TWO_STREAM = "two-stream"
# A figure of two decimals says little about its n beyond this: nearly any n can give it.
MOST_CLIPS = 2000


@dataclass(frozen=True)
class Ran:
    """One experiment under one protocol.

    Attributes:
        subset: the subset that is evaluated.
        top5: None where there are five classes or fewer.
        val: top-1 on the validation set; None where there is none.
        chosen: which epoch was evaluated, and by what it was chosen.
        members: the records of the runs whose scores it is the mean of.
    """

    results: RunResults
    subset: str
    top1: Proportion
    top5: Proportion | None
    val: Proportion | None
    chosen: str
    members: tuple[Mapping[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """The run's."""
        return str(self.results.run["name"])

    @property
    def records(self) -> list[Mapping[str, Any]]:
        """The records of what was trained."""
        return list(self.members) or [self.results.run]


@dataclass(frozen=True)
class Reproduced:
    """One experiment: as published and under our protocol, or why one of them was not run."""

    experiment: Experiment
    published: Ran | None = None
    ours: Ran | None = None
    why: str = ""


@dataclass(frozen=True)
class Choice:
    """Two experiments between which the paper chooses.

    Attributes:
        first, second: the older and the one that is said to be better.
        counts: right clips of each in the paper, and of how many; None if no counts give its figures.
        best_case: p of McNemar's exact test if every clip that can speak for the second does.
        published, ours: the comparison of the two runs on the subset that they are evaluated on.
        by_evaluation: the run that the paper's way chooses, the better one on the subset that evaluates.
        by_val: the run that the validation set chooses.
        start: initial weights here that are not the paper's; empty if they are.
    """

    first: str
    second: str
    counts: tuple[int, int, int] | None
    best_case: float | None
    published: Paired | None
    ours: Paired | None
    by_evaluation: Ran | None
    by_val: Ran | None
    start: str = ""


def read_ran(workspace: Workspace, run: str, subset: str = Subset.TEST) -> Ran:
    """Read a run that is done.

    Args:
        workspace: where it is.
        run: its name.
        subset: the subset that it is evaluated by.

    Raises:
        DanceError: it is not there, has no such subset, or its files contradict each other.
    """
    results = read_run_results(workspace, run)
    if subset not in results.subsets:
        raise InputError(
            f"run {run!r} has no predictions for subset {subset!r}", "its split has no such clips"
        )
    evaluated, val = results.subsets[subset], results.subsets.get(Subset.VAL)
    names = (results.run.get("model") or {}).get("members") or []
    members: list[Mapping[str, Any]] = [read_record(workspace, name) for name in names]
    way = "the best on val" if val else "the last"
    if subset == Subset.VAL:
        way += ", which is this subset"
    return Ran(
        results=results,
        subset=subset,
        top1=proportion(hits(evaluated), evaluated.groups),
        top5=proportion(hits(evaluated, TOP), evaluated.groups) if len(results.labels) > TOP else None,
        val=proportion(hits(val), val.groups) if val else None,
        chosen=f"{' and '.join(_epoch(one) for one in (members or [results.run]))}, {way}",
        members=tuple(members),
    )


def _epoch(record: Mapping[str, Any]) -> str:
    epochs = (record.get("optim") or {}).get("epochs")
    return f"epoch {(record.get('checkpoint') or {}).get('epoch', epochs)} of {epochs}"


def printed(figure: str, clips: int) -> Proportion | None:
    """Give the count that a printed figure stands for; None if there is none, or the n is not known."""
    if not clips:
        return None
    counts = check_reported(figure, clips).counts
    return Proportion(counts[0], clips) if counts else None


def arithmetic(one: Experiment) -> list[str]:
    """State what in an experiment's figures is not consistent, a sentence each."""
    figures = [figure for figure in (one.top1, one.top5, *one.also) if figure]
    found = [_no_count(figure, one.clips) for figure in figures if one.clips]
    if len(figures) > 1:
        sizes = possible_sizes(figures, MOST_CLIPS)
        both = f"{', '.join(figures[:-1])} and {figures[-1]} %"
        if not sizes:
            found.append(f"No set of up to {MOST_CLIPS:,} clips gives {both} together.")
        elif one.clips and one.clips not in sizes:
            found.append(f"No set of fewer than {sizes[0]:,} clips gives {both} together.")
        elif not one.clips and sizes[0] > 1:
            found.append(f"{both} exist together for no set of fewer than {sizes[0]:,} clips.")
    return [sentence for sentence in found if sentence] + _stated(one, figures)


def _unevenness(of: BatchMean) -> tuple[int, float]:
    return of.full, abs(of.right_in_full / (of.full * of.batch) - of.right_in_last / of.last)


def _no_count(figure: str, clips: int) -> str:
    """State that a figure is no count of clips, and what else it could be; empty if it is one."""
    checked = check_reported(figure, clips)
    if checked.counts:
        return ""
    near = checked.nearest
    text = (
        f"{figure} % is no count of {clips:,} clips: the nearest, {near.k} of {near.n}, "
        f"is {100 * near.k / near.n:.2f} %."
    )
    found = batch_means(figure, clips)
    if not found:
        return f"{text} Nor is it a mean over batches of up to 64."
    # The fewest batches, and of those the most even ones: the plainest example.
    best = min(found, key=_unevenness)
    sizes = ", ".join(str(one.batch) for one in found)
    full = f"{best.full} batches of {best.batch}" if best.full > 1 else f"a batch of {best.batch}"
    return (
        f"{text} A mean over batches of unequal size could be, with batches of {sizes}: for example "
        f"{best.right_in_full} right in {full} and {best.right_in_last} in a last one of {best.last}."
    )


def _stated(one: Experiment, figures: Sequence[str]) -> list[str]:
    """Hold the figures against the subset that the text describes: a share of the subset."""
    if not one.size or not one.clips:
        return []
    share = int(one.ratios.split("/")[-1])
    exact = one.size * share / 100
    sizes = sorted({math.floor(exact), math.ceil(exact)})
    if one.clips in sizes:
        return []
    fitting = [figure for figure in figures if any(check_reported(figure, n).counts for n in sizes)]
    none = "none of its figures is a count" if not fitting else f"{', '.join(fitting)} alone is a count"
    said = " or ".join(map(str, sizes))
    return [f"{share} % of {one.size:,} clips is {said}, of which {none}; {one.clips} clips fit better."]


def start_differs(experiment: Experiment, ran: Ran) -> str:
    """Name the initial weights of a run where they are not those of the paper; empty if they are.

    The paper fine-tunes Kinetics networks, and inflates ImageNet weights for two streams.
    """
    names = [(record.get("weights") or {}).get("name") for record in ran.records]
    if not all(names):
        return "random initial weights"
    if experiment.pretrain == _TWO_STREAM and not all(_INFLATED in str(name) for name in names):
        return f"initial weights {' and '.join(dict.fromkeys(map(str, names)))}"
    return ""


def deviations(one: Reproduced) -> list[str]:
    """List in what the runs of an experiment differ from the paper's, a phrase each."""
    ran = one.published or one.ours
    return list(dict.fromkeys(_deviations(one.experiment, ran))) if ran else []


def _deviations(experiment: Experiment, ran: Ran) -> Iterator[str]:
    if start := start_differs(experiment, ran):
        whose = "inflated ImageNet" if experiment.pretrain == _TWO_STREAM else "pre-trained"
        yield f"{start} instead of {whose} weights"
    asked = asdict(read_recipe(experiment.recipe).with_set(experiment.changes))
    for record in ran.records:
        model = (record.get("model") or {}).get("pretrain")
        if experiment.pretrain not in (_TWO_STREAM, model):
            yield f"model {model} instead of {experiment.pretrain}"
        flow = (record.get("model") or {}).get("flow")
        if flow and flow != PUBLISHED_METHOD:
            yield f"optical flow by {flow} instead of {PUBLISHED_METHOD}, the method of I3D's authors"
        found = record.get("recipe")
        made = found if isinstance(found, dict) else {}
        for key, value in asked.items():
            was = tuple(made[key]) if isinstance(made.get(key), list) else made.get(key)
            if key in made and key not in _NOT_STATED and was != value:
                yield _difference(key, was, value)
    if len(ran.results.labels) != PAPER_CLASSES:
        yield f"{len(ran.results.labels)} classes instead of {PAPER_CLASSES}"
    clips = sum(ran.results.train_counts) + sum(len(part.clips) for part in ran.results.subsets.values())
    if experiment.size and clips != experiment.size:
        yield f"{clips:,} clips instead of {experiment.size:,}"


def _difference(key: str, was: Any, asked: Any) -> str:
    if key == "views":
        views = "1 view" if was == 1 else f"{was} views"
        return f"{views} of each training clip, drawn once, instead of a new one in every epoch"
    theirs = "the model's own" if asked is None else asked
    return f"{key} {was} instead of {theirs}"


def choices(found: Sequence[Reproduced]) -> list[Choice]:
    """Evaluate each pair of which the paper says that the second is better."""
    by_name = {one.experiment.name: one for one in found}
    return [
        _choice(by_name[second.experiment.against], second)
        for second in found
        if second.experiment.against in by_name
    ]


def _choice(first: Reproduced, second: Reproduced) -> Choice:
    a, b = (printed(one.experiment.top1, one.experiment.clips) for one in (first, second))
    counts = (a.k, b.k, a.n) if a and b and a.n == b.n else None
    return Choice(
        first=first.experiment.title,
        second=second.experiment.title,
        counts=counts,
        best_case=mcnemar(*sorted((0, abs(counts[1] - counts[0])))) if counts else None,
        published=_paired(first.published, second.published),
        ours=_paired(first.ours, second.ours),
        by_evaluation=_better(first.published, second.published, by_val=False),
        by_val=_better(first.ours, second.ours, by_val=True),
        start=next((start for one in (first, second) if (start := _start(one))), ""),
    )


def _start(one: Reproduced) -> str:
    ran = one.published or one.ours
    return start_differs(one.experiment, ran) if ran else ""


def _paired(first: Ran | None, second: Ran | None) -> Paired | None:
    if first is None or second is None:
        return None
    refuse_unlike(first.results, second.results, first.subset)
    one, other = (ran.results.subsets[ran.subset] for ran in (first, second))
    groups = join_groups(one.groups, other.groups)
    return compare_models(hits(one), hits(other), groups)


def _better(first: Ran | None, second: Ran | None, *, by_val: bool) -> Ran | None:
    """Give the run with more clips right; the older one keeps its place in a tie."""
    if first is None or second is None:
        return None
    evaluated = [ran.val if by_val else ran.top1 for ran in (first, second)]
    if evaluated[0] is None or evaluated[1] is None:
        return None
    return second if evaluated[1].k > evaluated[0].k else first


def document(found: Sequence[Reproduced], quick: bool) -> dict[str, Any]:
    """Lay out what `reproduction.json` holds."""
    return {
        "schema": SCHEMA,
        "quick": quick,
        "experiments": [
            {
                "name": one.experiment.name,
                "paper": {
                    **{key: getattr(one.experiment, key) for key in ("title", "subset", "size", "ratios")},
                    "clips": one.experiment.clips or None,
                    "top1": _printed(one.experiment.top1, one.experiment.clips),
                    "top5": _printed(one.experiment.top5, one.experiment.clips),
                    "inconsistent": arithmetic(one.experiment),
                    "remarks": list(one.experiment.remarks),
                },
                "as_published": _ran(one.published),
                "ours": _ran(one.ours),
                "not_run": one.why or None,
                "recipe": [asdict(value) for value in read_sources(one.experiment.recipe)],
                "deviations": deviations(one),
            }
            for one in found
        ],
        "choices": [
            {
                "first": c.first,
                "second": c.second,
                "paper": {"counts": c.counts, "best_case_p": c.best_case},
                "as_published": _chosen(c.by_evaluation, c.published),
                "ours": _chosen(c.by_val, c.ours),
            }
            for c in choices(found)
        ],
    }


def _chosen(ran: Ran | None, paired: Paired | None) -> dict[str, Any] | None:
    return {"chosen": ran.name, **_pair(paired)} if ran else None


def _printed(figure: str, clips: int) -> dict[str, Any] | None:
    if not figure:
        return None
    found = printed(figure, clips)
    return {"printed": figure, **(_share(found) if found else {"k": None, "n": clips or None})}


def _share(of: Proportion) -> dict[str, Any]:
    return {"k": of.k, "n": of.n, **(asdict(of.estimate) if of.estimate else {})}


def _ran(ran: Ran | None) -> dict[str, Any] | None:
    if ran is None:
        return None
    split = ran.results.run["split"]
    return {
        "run": ran.name,
        "subset": ran.subset,
        "top1": _share(ran.top1),
        "top5": _share(ran.top5) if ran.top5 else None,
        "val": _share(ran.val) if ran.val else None,
        "chosen": ran.chosen,
        "split": split["name"],
        "split_hash": split["hash"],
        "test_hash": split.get("test_hash"),
        "protocol": ran.results.predictions.get("view.protocol"),
        "videos_also_in_training": ran.results.shared_groups[ran.subset],
    }


def _pair(paired: Paired | None) -> dict[str, Any]:
    return asdict(paired) | {"difference": paired.difference, "shown": paired.shown} if paired else {}


def page_of(workspace: Workspace) -> Path:
    """Where the page lies."""
    return workspace.report("reproduction") / "index.html"
