"""Results of several runs that differ by their seed: mean, and between-seed variance."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import InputError
from dancecli.core.text import pluralize
from dancecli.report.results.entries import Entry
from dancecli.report.results.metrics_json import as_json, sliced_json
from dancecli.report.results.run_results import RunResults
from dancecli.report.results.slices import NOT_SLICED, Sliced
from dancecli.report.statistics.calibration import verdict_of_runs
from dancecli.report.statistics.intervals import Estimate, Proportion
from dancecli.report.statistics.metrics import Summary
from dancecli.report.statistics.significance import method_interval
from dancecli.storage.runs import ignores_seed

if TYPE_CHECKING:
    from dancecli.report.statistics.metrics import Ints

SCHEMA = 1
SAME_FOR_ALL_SEEDS = (
    "the runs are identical: a solved head does not depend on the seed; --epochs N trains heads that do"
)
_SAME = "the runs have identical predictions"


@dataclass(frozen=True)
class Spread:
    """A figure over several runs, all between 0 and 1.

    Attributes:
        sd: sample standard deviation; None of a single run.
        low, high: the lowest and the highest.
    """

    mean: float
    sd: float | None
    low: float
    high: float


@dataclass(frozen=True)
class ClassSpread:
    """One class: its clips, and its figures over the runs; None where there is none in some run."""

    index: int
    support: int
    recall: Spread
    precision: Spread | None
    f1: Spread | None
    ap: Spread | None


@dataclass(frozen=True)
class GroupSubset:
    """All figures of one subset.

    Attributes:
        summaries: of each run.
        interval: of the mean accuracy of the method, over other seeds and other source videos; of identical
            runs over other source videos alone.
        identical: that the runs have the same predictions, and why if it is known; empty if they differ.
        gap: mean confidence less accuracy.
        hits: for each clip how many runs got it right.
    """

    n: int
    videos: int
    summaries: tuple[Summary, ...]
    top1: Spread
    top5: Spread | None
    balanced_accuracy: Spread
    macro_f1: Spread
    ece: Spread
    gap: Spread
    interval: Estimate
    identical: str
    classes: tuple[ClassSpread, ...]
    hits: Ints

    @property
    def calibration_verdict(self) -> str:
        """What the tests of the runs say, and of how many."""
        return verdict_of_runs([s.calibration for s in self.summaries if s.calibration])

    @property
    def confusion(self) -> tuple[tuple[float, ...], ...]:
        """The mean of the runs' confusion matrices: one row per true class, a column a predicted one."""
        tables = [summary.confusion for summary in self.summaries]
        return tuple(
            tuple(sum(cells) / len(tables) for cells in zip(*rows, strict=True))
            for rows in zip(*tables, strict=True)
        )

    def clips_hit(self, times: Callable[[int], bool]) -> list[int]:
        """List the clips that so many runs got right, the most disputed first."""
        half = len(self.summaries) / 2
        found = [i for i, hits in enumerate(self.hits.tolist()) if times(hits)]
        return sorted(found, key=lambda i: (abs(int(self.hits[i]) - half), i))

    @property
    def flips(self) -> list[int]:
        """The clips that some runs got right and some did not."""
        return self.clips_hit(lambda hits: 0 < hits < len(self.summaries))

    @property
    def never(self) -> list[int]:
        """The clips that no run got right."""
        return self.clips_hit(lambda hits: hits == 0)


def summarize_group(
    group: Sequence[RunResults], summaries: Sequence[Mapping[str, Summary]], subset: str
) -> GroupSubset:
    """Work out the figures of one subset over the runs.

    Args:
        group: the runs, evaluated on the same clips.
        summaries: of each run, its subsets' figures.
        subset: which.
    """
    entry = Entry("", tuple(group))
    flags, groups = entry.flags(subset), entry.groups(subset)
    own = tuple(found[subset] for found in summaries)
    identical = _identical(group, subset)
    return GroupSubset(
        n=own[0].n,
        videos=len(set(groups)),
        summaries=own,
        top1=spread([s.top1.k / s.n for s in own]),
        top5=spread([s.top5.k / s.n for s in own if s.top5]) if own[0].top5 else None,
        balanced_accuracy=spread([s.balanced_accuracy or 0.0 for s in own]),
        macro_f1=spread([s.macro_f1 or 0.0 for s in own]),
        ece=spread([s.calibration.ece if s.calibration else math.nan for s in own]),
        gap=spread([s.calibration.gap if s.calibration else math.nan for s in own]),
        interval=method_interval(flags, groups) if not identical else _interval(own[0].top1),
        identical=identical,
        classes=tuple(_class(i, own) for i, c in enumerate(own[0].per_class) if c.support),
        hits=flags.sum(axis=0),
    )


def _identical(group: Sequence[RunResults], subset: str) -> str:
    import numpy as np

    first, *others = (run.subsets[subset].scores for run in group)
    if not all(np.array_equal(first, scores) for scores in others):
        return ""
    return SAME_FOR_ALL_SEEDS if all(ignores_seed(run.run) for run in group) else _SAME


def _interval(top1: Proportion) -> Estimate:
    assert top1.estimate is not None  # noqa: S101 - for the type checker; a subset has clips
    return top1.estimate


def _class(index: int, summaries: Sequence[Summary]) -> ClassSpread:
    own = [summary.per_class[index] for summary in summaries]
    curves = [{c.index: c.ap for c in summary.curves}.get(index) for summary in summaries]
    return ClassSpread(
        index,
        own[0].support,
        spread([c.recall.k / c.recall.n for c in own]),
        _rates([c.precision.estimate for c in own]),
        _rates([c.f1 for c in own]),
        _known(curves),
    )


def _rates(found: Sequence[Estimate | None]) -> Spread | None:
    return _known([e.rate if e else None for e in found])


def _known(values: Sequence[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    return spread(known) if len(known) == len(values) else None


def spread(values: Sequence[float]) -> Spread:
    """Give mean, sample standard deviation and ends of at least one value."""
    sd = stdev(values) if len(values) > 1 else None
    return Spread(mean(values), sd, min(values), max(values))


def group_document(
    group: str,
    runs: Sequence[RunResults],
    subsets: Mapping[str, GroupSubset],
    left_out: Sequence[str],
    sliced: Sliced = NOT_SLICED,
) -> dict[str, Any]:
    """Lay out what `metrics.json` of a group holds; arguments as of `render_group`."""
    labels = runs[0].labels
    return {
        "schema": SCHEMA,
        "group": group,
        "runs": [{"run": e.run["name"], "seed": e.run.get("seed")} for e in runs],
        "left_out": list(left_out),
        "labels": list(labels),
        **{key: runs[0].run.get(key) for key in ("model", "weights", "split", "views", "optim", "versions")},
        "subsets": {
            key: {
                "n": subset.n,
                "videos": subset.videos,
                **{
                    name: _rounded(getattr(subset, name))
                    for name in ("top1", "top5", "balanced_accuracy", "macro_f1", "ece", "gap")
                },
                "method_interval": [round(end, 12) for end in (subset.interval.low, subset.interval.high)],
                "per_class": [
                    {
                        "label": labels[c.index],
                        "n": c.support,
                        **{name: _rounded(getattr(c, name)) for name in ("recall", "precision", "f1", "ap")},
                    }
                    for c in subset.classes
                ],
                "clips_that_flip": len(subset.flips),
                "clips_never_right": len(subset.never),
                **sliced_json(sliced, key),
                "runs": {
                    e.run["name"]: as_json(summary, labels)
                    for e, summary in zip(runs, subset.summaries, strict=True)
                },
            }
            for key, subset in subsets.items()
        },
    }


def _rounded(found: Spread | None) -> dict[str, float | None] | None:
    if found is None:
        return None
    return {key: None if value is None else round(value, 12) for key, value in asdict(found).items()}


def headline_of(runs: int, subset: GroupSubset) -> str:
    """Say a group's figures in a line."""
    top1 = subset.top1
    if subset.identical:
        return (
            f"top-1 of {runs} seeds: {100 * top1.mean:.1f} % (95 % interval over videos "
            f"{100 * subset.interval.low:.1f}-{100 * subset.interval.high:.1f}), of "
            f"{pluralize(subset.n, 'clip')}; {subset.identical}"
        )
    return (
        f"top-1 over {runs} seeds: mean {100 * top1.mean:.1f} % (95 % interval over seeds and videos "
        f"{100 * subset.interval.low:.1f}-{100 * subset.interval.high:.1f}), sd {100 * (top1.sd or 0):.1f}, "
        f"{100 * top1.low:.1f}-{100 * top1.high:.1f}, of {pluralize(subset.n, 'clip')}; "
        f"{pluralize(len(subset.flips), 'clip')} correct with some seeds and wrong with others"
    )


def check_subset(runs: Sequence[RunResults], subset: str) -> None:
    """Refuse a subset that the runs have no predictions for.

    Raises:
        InputError: they have none.
    """
    there = " and ".join(runs[0].subsets) or "none"
    if subset not in runs[0].subsets:
        raise InputError(
            f"these runs have no predictions for subset {subset!r}", f"they have them for: {there}"
        )
