"""Leaderboards: entries that were evaluated alike, what is significantly better, and what is a tie."""

from __future__ import annotations

import itertools
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dancecli.core.recipe import FREEZE_STAGES, FULL, TRAINED
from dancecli.core.text import duration, gap, percent, pluralize, size
from dancecli.report.results.entries import Entry
from dancecli.report.results.run_results import RunResults, leak_text, most_shared
from dancecli.report.statistics.clusters import join_groups
from dancecli.report.statistics.metrics import TOP
from dancecli.report.statistics.protocols import comparable_sets
from dancecli.report.statistics.significance import (
    ALPHA,
    Accuracy,
    Paired,
    accuracy,
    compare_methods,
    compare_models,
    holm,
    seed_variance,
)
from dancecli.storage.removals import removal_note

if TYPE_CHECKING:
    from dancecli.report.statistics.significance import Flags

# What two runs share if they differ by their seed alone.
RECIPE = ("labels", "model", "weights", "split", "views", "optim", "cache", "recipe")


@dataclass(frozen=True)
class Row:
    """One run, or several that differ by their seed.

    Attributes:
        name: of the run, or of the group of runs.
        runs: the runs, by their names.
        first_rank, last_rank: counting only significant differences: 1 to 3 means that no entry is
            known to be better, and that of the three tied ones it may be any.
        top5: None where there are five classes or fewer.
        params, trainable: parameters; of an ensemble the sum over its members.
        gflops: 10^9 multiply-adds per view; of an ensemble, of all its members.
        gflops_from: how that is known.
        speed: clips per second, decoding included.
        speed_of: what that covers.
        seconds: of everything that the runs did, of an ensemble its members too; None if not recorded.
        seeds: their seeds, as text.
        probe: what was fitted to the frozen backbone: the protocol if it is a published one, else the head;
            `trained` for a run that was trained by epochs, empty for one that was not trained.
        kind: empty for a trained run; `ensemble of N runs`, or that nothing was trained.
        leaked: source videos of the subset that it was trained on too; None if that is not known.
        submitted: whether others submitted it, see `submission`: what it cost is what they say.
    """

    name: str
    runs: tuple[str, ...]
    model: str
    top1: Accuracy
    top5: Accuracy | None
    first_rank: int
    last_rank: int
    params: int | None
    trainable: int | None
    gflops: float | None
    gflops_from: str
    speed: float | None
    speed_of: str
    seconds: float | None
    seeds: str
    probe: str
    kind: str
    leaked: int | None
    finished: str
    submitted: bool

    @property
    def rank(self) -> str:
        """The ranks that it may have, as `1` or `1-3`."""
        ends = dict.fromkeys((self.first_rank, self.last_rank))
        return "-".join(map(str, ends))


@dataclass(frozen=True)
class Column:
    """One column of the leaderboard, wherever it is shown.

    Attributes:
        key: its name in CSV and JSON; empty if it is shown to people alone.
        title: its heading on the page and the terminal; empty if it is in the files alone.
        value: what the files hold.
        text: what people read.
        terminal: whether it is shown on the terminal too.
        look: on the page: `text`, `number`, `rank`, `run`, `accuracy` (with its interval drawn), `leak`.
        note: what is shown when pointing at it.
    """

    key: str
    title: str
    value: Callable[[Row], Any]
    text: Callable[[Row], str]
    terminal: bool = True
    look: str = "text"
    note: Callable[[Row], str] = lambda _: ""


def _interval(row: Row) -> str:
    return f"{percent(row.top1.estimate.low)}-{percent(row.top1.estimate.high)}"


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _file(key: str, value: Callable[[Row], Any]) -> Column:
    """A column that the files alone have."""
    return Column(key, "", value, lambda _: "")


COLUMNS = (
    Column("run", "run", lambda r: r.name, lambda r: r.name, look="run"),
    Column("rank", "rank", lambda r: r.first_rank, lambda r: r.rank, look="rank"),
    _file("rank_last", lambda r: r.last_rank),
    _file("runs", lambda r: " ".join(r.runs)),
    _file("seeds", lambda r: r.seeds),
    Column("model", "model", lambda r: r.model, lambda r: r.kind or r.model, terminal=False),
    _file("kind", lambda r: r.kind),
    Column("probe", "probe", lambda r: r.probe, lambda r: r.probe),
    Column("right", "right", lambda r: r.top1.k, lambda r: r.top1.text),
    _file("n", lambda r: r.top1.n),
    Column(
        "top1",
        "top-1",
        lambda r: _round(r.top1.estimate.rate),
        lambda r: f"{percent(r.top1.estimate.rate)} %",
        look="accuracy",
    ),
    Column("low", "95 %", lambda r: _round(r.top1.estimate.low), _interval),
    _file("high", lambda r: _round(r.top1.estimate.high)),
    Column(
        "top5",
        "top-5",
        lambda r: _round(r.top5.estimate.rate) if r.top5 else None,
        lambda r: f"{percent(r.top5.estimate.rate)} %" if r.top5 else "",
        look="number",
        note=lambda r: (
            f"{r.top5.text}, 95 % interval {percent(r.top5.estimate.low)}"
            f"\u2013{percent(r.top5.estimate.high)}"
            if r.top5
            else ""
        ),
    ),
    Column(
        "params", "params", lambda r: r.params, lambda r: size(r.params) if r.params else "", look="number"
    ),
    Column(
        "trainable",
        "trained",
        lambda r: r.trainable,
        lambda r: "" if r.trainable is None else size(r.trainable),
        terminal=False,
        look="number",
    ),
    Column(
        "gflops_view",
        "GFLOPs",
        lambda r: r.gflops,
        lambda r: f"{r.gflops:.1f}" if r.gflops else "",
        look="number",
        note=lambda r: r.gflops_from,
    ),
    _file("gflops_from", lambda r: r.gflops_from),
    Column(
        "clips_per_s",
        "clips/s",
        lambda r: r.speed,
        lambda r: f"{r.speed:.1f}" if r.speed else "",
        look="number",
        note=lambda r: r.speed_of,
    ),
    _file("clips_per_s_of", lambda r: r.speed_of),
    Column(
        "seconds", "time", lambda r: r.seconds, lambda r: duration(r.seconds), terminal=False, look="number"
    ),
    Column(
        "leaked_videos",
        "leak",
        lambda r: r.leaked,
        lambda r: leak_text(r.leaked),
        look="leak",
    ),
    Column("finished", "finished", lambda r: r.finished, lambda r: r.finished[:10], terminal=False),
    _file("submitted", lambda r: r.submitted),
)


@dataclass(frozen=True)
class Leaderboard:
    """Entries that were evaluated on the same clips under comparable protocols, the most accurate first.

    Attributes:
        test: hash of the subset.
        splits: the splits that it is the subset of: more than one where they have it in common.
        removed: clips of the subset that were removed on request, and count for nobody.
        missing: clips of the subset that its lock names, and that were not here.
        protocol: of the views all of them, joined by `; `, and that of the probe if it is a published one.
        views: the protocols of the views alone.
    """

    test: str
    splits: tuple[str, ...]
    protocol: str
    clips: int
    removed: int
    missing: int
    videos: int
    classes: int
    rows: tuple[Row, ...]
    views: str

    @property
    def extent(self) -> str:
        """How many clips it is about: `20 clips`, or `17 of 20 clips, 3 removed by request`."""
        if not self.removed:
            return pluralize(self.clips, "clip")
        return removal_note(self.clips, self.removed, self.missing)

    @property
    def headline(self) -> str:
        """Who leads, and with whom it is tied, in a sentence."""
        best, others = self.rows[0], self.rows[1:]
        tied = [row.name for row in others if row.first_rank == 1]
        if not others:
            return f"{best.name} is alone"
        if best.last_rank == 1:
            return f"{best.name} leads"
        every = "all " if len(tied) == len(others) else ""
        named = ", ".join(tied) if len(tied) <= 3 else f"{every}{len(tied)} others"
        return f"{best.name} leads, tied with {named}"

    @property
    def lead(self) -> str:
        """How accurate the first is, and how far the second is behind it."""
        best = self.rows[0]
        e = best.top1.estimate
        first = (
            f"{best.name} classifies {percent(e.rate)} % correctly ({percent(e.low)}\u2013{percent(e.high)})"
        )
        if len(self.rows) == 1:
            return f"{first}. There is nothing to compare it with yet."
        second = self.rows[1]
        behind = second.top1.estimate.rate
        worth = "not a significant difference" if second.first_rank == 1 else "a significant difference"
        return f"{first}, {second.name} {percent(behind)} %: {gap(e.rate, behind)}, {worth}."

    @property
    def steps(self) -> list[tuple[str, str]]:
        """What to do next: purposes with their commands."""
        if len(self.rows) == 1:
            return [("train something to compare it with:", "dance finetune")]
        if any(row.submitted for row in self.rows[:2]):
            return []
        names = [row.name for row in self.rows[:2]]
        return [("see where the first two differ:", shlex.join(["dance", "compare", *names]))]


def entries_of(found: Sequence[RunResults]) -> list[Entry]:
    """Take runs that differ by their seed alone as one entry, named by their group if they have one."""
    entries = []
    for runs in _families(found):
        by_seed = {run.run.get("seed"): run for run in runs}
        several = len(by_seed) > 1 and len(by_seed) == len(runs) and None not in by_seed
        entries += [_entry(runs)] if several else [Entry(run.run["name"], (run,)) for run in runs]
    return entries


def _families(found: Sequence[RunResults]) -> list[list[RunResults]]:
    """Group runs by all that they share if they differ by their seed alone."""
    alike: dict[str, list[RunResults]] = {}
    for results in found:
        alike.setdefault(_recipe_key(results.run), []).append(results)
    return list(alike.values())


def _recipe_key(run: Mapping[str, Any]) -> str:
    """Write out what runs share if they differ by their seed alone."""
    found = {name: run.get(name) for name in RECIPE}
    if trained := (run.get("evaluated") or {}).get("trained"):
        # Each seed is another run to evaluate; what these were trained on, and how, they share.
        found["model"] = {key: value for key, value in (run.get("model") or {}).items() if key != "of_run"}
        found["trained"] = trained
    return json.dumps(found, sort_keys=True)


def _entry(runs: Sequence[RunResults]) -> Entry:
    ordered = tuple(sorted(runs, key=lambda r: (r.run["seed"], r.run["name"])))
    groups = {str(run.run.get("group") or "") for run in ordered}
    named = groups.pop() if len(groups) == 1 else ""
    return Entry(named or f"{ordered[0].run['name']} and {len(ordered) - 1} more seeds", ordered)


def rank(found: Sequence[RunResults], subset: str) -> tuple[Leaderboard, ...]:
    """Put entries that were evaluated alike into one leaderboard each, the largest first.

    An entry that is alike with several that are not alike with each other is in several.
    """
    same: dict[tuple[object, ...], list[RunResults]] = {}
    for results in found:
        key = (
            results.labels,
            results.subsets[subset].clips,
            results.files[subset],
            probe_protocol(results.run),
        )
        same.setdefault(key, []).append(results)
    boards = [
        _leaderboard(entries_of([run for run in runs if _protocol(run) in protocols]), protocols, subset)
        for runs in same.values()
        for protocols in comparable_sets(map(_protocol, runs))
    ]
    return tuple(sorted(boards, key=lambda s: (-len(s.rows), s.test, s.protocol)))


def _protocol(results: RunResults) -> str:
    return results.predictions.get("view.protocol", "")


def _leaderboard(entries: Sequence[Entry], protocols: Sequence[str], subset: str) -> Leaderboard:
    one = entries[0].first
    views, fitted = "; ".join(protocols), probe_protocol(one.run)
    groups = join_groups(*(entry.groups(subset) for entry in entries))
    flags = [entry.flags(subset) for entry in entries]
    better = significantly_better(flags, groups)
    rows = []
    for i, entry in enumerate(entries):
        above, below = int(better[:, i].sum()), int(better[i].sum())
        top5 = accuracy(entry.flags(subset, TOP), groups) if len(one.labels) > TOP else None
        top1 = accuracy(flags[i], groups)
        assert top1  # noqa: S101 - for the type checker; a subset has clips
        rows.append(_row(entry, subset, top1, top5, (1 + above, len(entries) - below)))
    return Leaderboard(
        test=str(one.run["split"].get("test_hash") or one.run["split"]["hash"]),
        splits=tuple(sorted({run.run["split"]["name"] for entry in entries for run in entry.runs})),
        protocol=views if fitted == FULL else f"{views}, probe protocol {fitted}",
        clips=len(one.subsets[subset].clips),
        removed=max(run.removed.get(subset, 0) for entry in entries for run in entry.runs),
        missing=max(run.missing.get(subset, 0) for entry in entries for run in entry.runs),
        videos=len(set(groups)),
        classes=len(one.labels),
        rows=tuple(
            sorted(_with_members(rows, entries), key=lambda r: (-r.top1.estimate.rate, r.first_rank, r.name))
        ),
        views=views,
    )


def significantly_better(flags: Sequence[Flags], groups: Sequence[str]) -> Any:
    """Tell which of several entries is significantly better than which.

    Every pair is tested by source video, and over seeds where one of the two has several (the variance
    between seeds is pooled over all entries); the p-values are adjusted for the number of pairs.

    Args:
        flags: for each entry runs x clips.
        groups: one source video per clip.

    Returns:
        entries x entries truths: the row's entry is better than the column's.
    """
    import numpy as np

    seeds = seed_variance(flags, groups)
    pairs = list(itertools.combinations(range(len(flags)), 2))

    def test(i: int, j: int) -> Paired:
        if len(flags[i]) == len(flags[j]) == 1:
            return compare_models(flags[i][0], flags[j][0], groups)
        return compare_methods(flags[i], flags[j], groups, seeds)

    tested = [test(i, j) for i, j in pairs]
    better = np.zeros((len(flags), len(flags)), dtype=bool)
    for (i, j), found, p in zip(pairs, tested, holm([t.p for t in tested]), strict=True):
        if p < ALPHA and found.difference != 0:
            winner, loser = (j, i) if found.difference > 0 else (i, j)
            better[winner, loser] = True
    return better


def _row(entry: Entry, subset: str, top1: Accuracy, top5: Accuracy | None, ranks: tuple[int, int]) -> Row:
    runs = [results.run for results in entry.runs]
    model, speed = (runs[0].get(key) or {} for key in ("model", "speed"))
    spent = [s for run in runs for s in (run.get("seconds") or {}).values() if isinstance(s, int | float)]
    seeds = [run["seed"] for run in runs if run.get("seed") is not None]
    return Row(
        name=entry.name,
        runs=tuple(run["name"] for run in runs),
        model=str(model.get("pretrain") or model.get("backbone") or ""),
        top1=top1,
        top5=top5,
        first_rank=ranks[0],
        last_rank=ranks[1],
        params=model.get("params_total"),
        trainable=model.get("params_trainable"),
        gflops=_number(model.get("gflops_view")),
        gflops_from=str(model.get("gflops_from") or ""),
        speed=_number(speed.get("clips_per_s")),
        speed_of=str(speed.get("of") or ""),
        seconds=sum(spent) if spent else None,
        seeds=", ".join(map(str, seeds)),
        probe="" if _kind(runs[0]) else probe_of(runs[0]),
        kind=_kind(runs[0]),
        leaked=most_shared([results.shared_groups[subset] for results in entry.runs]),
        finished=max(str(run.get("finished_utc") or "") for run in runs),
        submitted=any(run.get("submitted") is True for run in runs),
    )


def probe_protocol(run: Mapping[str, Any]) -> str:
    """Name the protocol by which the head of a run was fitted: `full` for one that was trained by epochs."""
    probe = run.get("probe")
    return str(probe.get("protocol", FULL)) if isinstance(probe, Mapping) else FULL


def probe_of(run: Mapping[str, Any]) -> str:
    """Name what was fitted to the backbone of a run; see `Row.probe`."""
    probe, protocol = run.get("probe"), probe_protocol(run)
    if not isinstance(probe, Mapping):
        # Heads were solved before their probes had a name; training of a part may start from one, too.
        solved = (run.get("head") or {}).get("init") == "solved"
        frozen = (run.get("model") or {}).get("frozen_stages") in (None, max(FREEZE_STAGES.values()))
        return "linear" if solved and frozen else TRAINED
    return protocol if protocol != FULL else str(probe.get("head", ""))


@dataclass(frozen=True)
class ProbeTable:
    """The same backbones under several probes, on the same clips and views.

    Attributes:
        test, views: what they were evaluated on.
        probes: names of the probes.
        rows: for each backbone the best entry of each probe; None where there is none.
    """

    test: str
    views: str
    probes: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Row | None, ...]], ...]


def probe_tables(boards: Sequence[Leaderboard]) -> tuple[ProbeTable, ...]:
    """Put each backbone that has two probes or more into one row, over the boards of the same clips."""
    alike: dict[tuple[str, str], list[Row]] = {}
    for board in boards:
        alike.setdefault((board.test, board.views), []).extend(row for row in board.rows if row.probe)
    tables = []
    for (test, views), rows in alike.items():
        best: dict[str, dict[str, Row]] = {}
        for row in sorted(rows, key=lambda r: -r.top1.estimate.rate):
            best.setdefault(row.model, {}).setdefault(row.probe, row)
        several = {model: found for model, found in best.items() if len(found) > 1}
        probes = tuple(sorted({probe for found in several.values() for probe in found}))
        if several:
            lines = [
                (model, tuple(several[model].get(probe) for probe in probes)) for model in sorted(several)
            ]
            tables.append(ProbeTable(test, views, probes, tuple(lines)))
    return tuple(tables)


def _kind(run: Mapping[str, Any]) -> str:
    """Say what an entry is that was not trained, see `Row.kind`."""
    model = run.get("model") or {}
    members = model.get("members")
    if isinstance(members, list):
        return f"ensemble of {len(members)} runs"
    # Some probes, such as the nearest neighbors, are fitted without a parameter.
    untrained = model.get("params_trainable") == 0 and not run.get("probe")
    return f"{model.get('pretrain', 'model')}, not trained" if run.get("baseline") or untrained else ""


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _with_members(rows: Sequence[Row], entries: Sequence[Entry]) -> list[Row]:
    """Give an ensemble the cost of its members, where all of them are known here; else no time at all.

    What an ensemble itself takes is the time of adding scores, which says nothing of its cost.
    """
    cost = {run: row for row in rows for run in row.runs}
    found = []
    for row, entry in zip(rows, entries, strict=True):
        names = (entry.first.run.get("model") or {}).get("members")
        if not isinstance(names, list):
            found.append(row)
            continue
        parts = [cost[name] for name in names if name in cost]
        whole = len(parts) == len(names)
        seconds = [part.seconds / len(part.runs) for part in parts if part.seconds is not None]
        gflops = [part.gflops for part in parts if part.gflops is not None]
        one = replace(row, seconds=sum(seconds) if whole and len(seconds) == len(names) else None)
        if one.gflops is None and whole and len(gflops) == len(names):
            told = f"the sum of its {len(names)} members"
            one = replace(one, gflops=round(sum(gflops), 2), gflops_from=told)
        found.append(one)
    return found
