"""A comparison the other way round is the same comparison."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dancecli.core.errors import InputError
from dancecli.report.results.comparison import Comparison, compare_entries, verdict_of
from dancecli.report.results.entries import Entry
from dancecli.report.results.leaderboard import rank
from dancecli.report.results.run_results import RunResults, SubsetScores


def run(name: str, flags: np.ndarray, truth: np.ndarray, groups: tuple[str, ...], seed: int) -> RunResults:
    """A run of three classes that is right where the flags say so."""
    calls = np.where(flags, truth, (truth + 1) % 3)
    clips = tuple(f"c{i:03d}" for i in range(len(truth)))
    return RunResults(
        run={"name": name, "split": {"name": "s", "hash": "h"}, "seed": seed, "status": "done"},
        labels=("a", "b", "c"),
        subsets={"test": SubsetScores(clips, groups, truth, 0.1 + 0.7 * np.eye(3)[calls])},
        train_counts=(1, 1, 1),
        shared_groups={"test": 0},
        files={"test": clips},
        history=(),
        config="",
        links={},
        predictions={"view.protocol": "one"},
    )


def pair(rng: np.random.Generator) -> tuple[Entry, Entry]:
    """Two entries of one to four runs, made on splits that group the same clips differently."""
    n = int(rng.integers(2, 60))
    truth, ease = rng.integers(0, 3, n), rng.random(n)
    entries = []
    for name in ("one", "two"):
        groups = tuple(f"v{g}" for g in rng.integers(0, rng.integers(1, n + 1), n))
        count, skill = int(rng.choice([1, 1, 3, 4])), float(rng.uniform(-0.2, 0.2))
        runs = tuple(run(f"{name}-{s}", rng.random(n) < ease + skill, truth, groups, s) for s in range(count))
        entries.append(Entry(name, runs))
    return entries[0], entries[1]


def mirrored(found: Comparison) -> Comparison:
    p = found.paired
    turned = dataclasses.replace(
        p, first=p.second, second=p.first, low=-p.high, high=-p.low, seeds=p.seeds[::-1]
    )
    classes = tuple(
        dataclasses.replace(
            c, first=c.second, second=c.first, only_first=c.only_second, only_second=c.only_first
        )
        for c in found.classes
    )
    made = tuple((what, other, one) for what, one, other in found.made)
    return dataclasses.replace(
        found, paired=turned, first=found.second, second=found.first, classes=classes, made=made
    )


def test_a_b_is_b_a_for_a_thousand_pairs() -> None:
    rng = np.random.default_rng(1)
    shown = 0
    for _ in range(1000):
        one, two = pair(rng)
        found, turned = compare_entries(one, two, "test"), compare_entries(two, one, "test")
        expected = mirrored(turned)
        assert verdict_of("one", "two", found.paired) == verdict_of("two", "one", turned.paired)
        assert found.paired.videos == turned.paired.videos
        assert (found.paired.p, found.paired.low, found.paired.high, found.paired.first) == pytest.approx(
            (expected.paired.p, expected.paired.low, expected.paired.high, expected.paired.first), abs=1e-9
        )
        assert [c.p for c in found.classes] == pytest.approx([c.p for c in expected.classes], abs=1e-9)
        assert found.first == expected.first
        shown += found.paired.shown
    assert 50 < shown < 950


def test_a_leaderboard_does_not_depend_on_the_names_of_the_runs() -> None:
    rng = np.random.default_rng(2)
    for _ in range(30):
        one, two = pair(rng)
        first, second = one.first, two.first
        told = {}
        for names in (("a", "z"), ("z", "a")):
            runs = [
                dataclasses.replace(r, run={**r.run, "name": n, "model": {"pretrain": n}})
                for r, n in zip((first, second), names, strict=True)
            ]
            (board,) = rank(sorted(runs, key=lambda r: r.run["name"]), "test")
            told[names] = {r.name: (r.first_rank, r.last_rank, r.top1.estimate) for r in board.rows}
        assert told["a", "z"]["a"] == told["z", "a"]["z"]
        assert told["a", "z"]["z"] == told["z", "a"]["a"]


def test_a_group_is_not_compared_with_its_own_run() -> None:
    one, _ = pair(np.random.default_rng(3))
    with pytest.raises(InputError, match="is in both"):
        compare_entries(one, Entry("again", one.runs[:1]), "test")
