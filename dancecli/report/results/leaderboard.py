"""The places of runs that were evaluated alike: what is shown to be better, and what is a tie."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dancecli.report.results.comparison import right
from dancecli.report.results.run_results import RunResults
from dancecli.report.statistics.intervals import Proportion
from dancecli.report.statistics.metrics import true_ranks
from dancecli.report.statistics.significance import ALPHA, differences_by_video, holm, permutation_test

if TYPE_CHECKING:
    from dancecli.report.statistics.significance import Flags


# What two runs share if they differ by their seed alone.
RECIPE = ("labels", "model", "weights", "split", "views", "optim", "cache", "recipe")


@dataclass(frozen=True)
class Row:
    """One run.

    Attributes:
        first_rank, last_rank: its places, counting only differences that are shown: 1 to 3 means
            that no run is known to be better, and that of the three tied ones it may be any.
        top5: None where there are five classes or fewer.
        gflops: 10^9 multiply-adds a view; of an ensemble, of all its members.
        gflops_from: how that is known.
        speed: clips a second, decoded and viewed.
        speed_of: what that took in.
        seconds: of everything that the run did; None if it recorded none.
        kind: empty for a trained run; `ensemble of N runs`, or that nothing was trained.
        group: of runs that differ by their seed; empty if it is of none.
        leaked: source videos of the subset that the run was trained on too.
    """

    run: str
    model: str
    top1: Proportion
    top5: Proportion | None
    first_rank: int
    last_rank: int
    params: int | None
    trainable: int | None
    gflops: float | None
    gflops_from: str
    speed: float | None
    speed_of: str
    seconds: float | None
    seed: int | None
    kind: str
    group: str
    leaked: int
    finished: str


@dataclass(frozen=True)
class Seeds:
    """Runs that differ by their seed alone: their mean top-1 and the ends of its spread."""

    runs: tuple[str, ...]
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Leaderboard:
    """Runs that were evaluated on the same clips under the same protocol, the most accurate first."""

    test: str
    protocol: str
    clips: int
    classes: int
    rows: tuple[Row, ...]
    seeds: tuple[Seeds, ...]


def rank(found: Sequence[RunResults], subset: str) -> tuple[Leaderboard, ...]:
    """Put runs that were evaluated alike into one leaderboard each, the largest first."""
    groups: dict[tuple[object, ...], list[RunResults]] = {}
    for results in found:
        protocol = results.predictions.get("view.protocol", "")
        key = (results.labels, results.subsets[subset].clips, results.files[subset], protocol)
        groups.setdefault(key, []).append(results)
    leaderboards = [_leaderboard(group, subset) for group in groups.values()]
    return tuple(sorted(leaderboards, key=lambda s: (-len(s.rows), s.test, s.protocol)))


def _leaderboard(group: Sequence[RunResults], subset: str) -> Leaderboard:
    one = group[0]
    flags = [right(results.subsets[subset]) for results in group]
    better = significantly_better(flags, one.subsets[subset].groups)
    rows = []
    for i, results in enumerate(group):
        above, below = (better[:, i].sum(), better[i].sum())
        rows.append(_row(results, subset, 1 + int(above), len(group) - int(below)))
    return Leaderboard(
        test=str(one.run["split"].get("test_hash") or one.run["split"]["hash"]),
        protocol=one.predictions.get("view.protocol", ""),
        clips=len(one.subsets[subset].clips),
        classes=len(one.labels),
        rows=tuple(sorted(_with_members(rows, group), key=lambda r: (-r.top1.k, r.run))),
        seeds=_seeds(group, flags),
    )


def significantly_better(flags: Sequence[Flags], groups: Sequence[str]) -> Any:
    """Say which of several models is shown to be better than which.

    Every pair is tested by source video, and the p-values are adjusted for the number of pairs.

    Args:
        flags: for each model and clip whether it was right.
        groups: for each clip its source video.

    Returns:
        models x models truths: the row's model is better than the column's.
    """
    import numpy as np

    pairs = list(itertools.combinations(range(len(flags)), 2))
    gains = [differences_by_video(flags[i], flags[j], groups)[0] for i, j in pairs]
    adjusted = holm([permutation_test(g.tolist()) for g in gains])
    better = np.zeros((len(flags), len(flags)), dtype=bool)
    for (i, j), gain, p in zip(pairs, gains, adjusted, strict=True):
        if p < ALPHA:
            winner, loser = (j, i) if gain.sum() > 0 else (i, j)
            better[winner, loser] = True
    return better


def _row(results: RunResults, subset: str, first_rank: int, last_rank: int) -> Row:
    run, scores = results.run, results.subsets[subset]
    ranks = true_ranks(scores.scores, scores.truth)
    model, seconds, speed = (run.get(key) or {} for key in ("model", "seconds", "speed"))
    spent = [s for s in seconds.values() if isinstance(s, int | float)]
    n = len(scores.clips)
    return Row(
        run=run["name"],
        model=str(model.get("pretrain") or model.get("backbone") or ""),
        top1=Proportion(int((ranks == 1).sum()), n),
        top5=Proportion(int((ranks <= 5).sum()), n) if len(results.labels) > 5 else None,
        first_rank=first_rank,
        last_rank=last_rank,
        params=model.get("params_total"),
        trainable=model.get("params_trainable"),
        gflops=_number(model.get("gflops_view")),
        gflops_from=str(model.get("gflops_from") or ""),
        speed=_number(speed.get("clips_per_s")),
        speed_of=str(speed.get("of") or ""),
        seconds=sum(spent) if spent else None,
        seed=run.get("seed"),
        kind=_kind(model),
        group=str(run.get("group") or ""),
        leaked=results.shared_groups[subset],
        finished=str(run.get("finished_utc") or ""),
    )


def _kind(model: Mapping[str, Any]) -> str:
    members = model.get("members")
    if isinstance(members, list):
        return f"ensemble of {len(members)} runs"
    pretrain = str(model.get("pretrain", ""))
    return f"{pretrain}, not trained" if pretrain.endswith("-baseline") else ""


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _with_members(rows: Sequence[Row], group: Sequence[RunResults]) -> list[Row]:
    """Give an ensemble the cost of its members, where all of them are known here."""
    cost = {row.run: row.gflops for row in rows}
    found = []
    for row, results in zip(rows, group, strict=True):
        names = (results.run.get("model") or {}).get("members")
        costs = [cost.get(name) for name in names] if isinstance(names, list) else []
        known = [c for c in costs if c is not None]
        if row.gflops is None and known and len(known) == len(costs):
            told = f"the sum of its {len(known)} members"
            found.append(replace(row, gflops=round(sum(known), 2), gflops_from=told))
        else:
            found.append(row)
    return found


def _seeds(group: Sequence[RunResults], flags: Sequence[Flags]) -> tuple[Seeds, ...]:
    families: dict[str, list[tuple[str, float, Any]]] = {}
    for results, right_ones in zip(group, flags, strict=True):
        key = json.dumps({name: results.run.get(name) for name in RECIPE}, sort_keys=True)
        found = (results.run["name"], float(right_ones.mean()), results.run.get("seed"))
        families.setdefault(key, []).append(found)
    return tuple(
        Seeds(tuple(name for name, _, _ in runs), sum(rates) / len(rates), min(rates), max(rates))
        for runs in families.values()
        if len({seed for _, _, seed in runs}) > 1 and (rates := [rate for _, rate, _ in runs])
    )
