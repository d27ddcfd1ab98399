"""What every interval on a page promises, on 2,000 simulated test sets each: 95 times in 100."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from dancecli.report.results import leaderboard
from dancecli.report.statistics import bootstrap, intervals, metrics, significance

SETS = 2000
RESAMPLES = 300


@pytest.fixture(autouse=True)
def same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few resamples, drawn once for all test sets of a size."""

    @cache
    def kept(videos: int, name: str) -> tuple[Any, ...]:
        return tuple(drawn(videos, name, RESAMPLES))

    drawn = bootstrap.draws

    def draws(videos: int, name: str, _resamples: int) -> Iterator[Any]:
        yield from kept(videos, name)

    monkeypatch.setattr(bootstrap, "draws", draws)


@pytest.mark.parametrize(
    ("n", "least", "most"), [(950, 0.943, 0.957), (105, 0.935, 0.966), (58, 0.932, 0.979), (20, 0.924, 0.98)]
)
def test_wilson_at_every_rate(n: int, least: float, most: float) -> None:
    """Not simulated but counted: the chance of every k, at rates from 5 to 95 %."""
    rates = np.linspace(0.05, 0.95, 181)
    ends = np.array([intervals.wilson(k, n) for k in range(n + 1)])
    chances = scipy_stats.binom.pmf(np.arange(n + 1)[None], n, rates[:, None])
    inside = (ends[:, 0] <= rates[:, None]) & (rates[:, None] <= ends[:, 1])
    held = (chances * inside).sum(axis=1)
    assert least <= held.min() <= held.max() <= most
    assert 0.949 <= held.mean() <= 0.957


@pytest.mark.parametrize("clips", [950, 190, 57])
@pytest.mark.parametrize("counts_fixed", [False, True])
def test_recall_precision_and_f1_over_19_classes(clips: int, counts_fixed: bool) -> None:
    """Classes of 40 to 95 % recall, each losing clips to its two neighbors; the truth is the mean matrix.

    Where every test set has as many clips of each class, the called ones vary less than the interval
    of precision, and so of F1, has to allow for: these cover the truth more often then.
    """
    rng, classes = np.random.default_rng(11), 19
    rates = np.linspace(0.4, 0.95, classes)
    chances = np.diag(rates)
    for i, rate in enumerate(rates):
        chances[i, (i + 1) % classes] += 0.7 * (1 - rate)
        chances[i, (i + 2) % classes] += 0.3 * (1 - rate)
    true = [
        (of.recall.k / of.recall.n, of.precision.k / of.precision.n, of.f1.rate if of.f1 else 0.0)
        for of in metrics.class_scores((chances * 1_000_000).round().astype(np.int64))
    ]
    if counts_fixed:
        tables = np.stack([rng.multinomial(clips // classes, row, SETS) for row in chances], axis=1)
    else:
        tables = rng.multinomial(clips, chances.ravel() / classes, SETS).reshape(-1, classes, classes)
    held, asked = np.zeros(3), np.zeros(3)
    for table in tables:
        for of, truths in zip(metrics.class_scores(table), true, strict=True):
            for i, found in enumerate((of.recall.estimate, of.precision.estimate, of.f1)):
                if found is not None:
                    asked[i] += 1
                    held[i] += found.low <= truths[i] <= found.high
    shares = held / asked
    assert (shares >= 0.93).all()
    assert shares[0] <= 0.97
    assert (shares <= (0.99 if counts_fixed else 0.97)).all()


@pytest.mark.parametrize("truth", [0.05, 0.5, 0.7, 0.9, 0.95])
def test_accuracy_by_video(truth: float) -> None:
    """60 videos of 1 to 6 clips; half of the chance is the video's, half the clip's."""
    rng = np.random.default_rng(10)
    held = held_by_clip = 0
    for _ in range(SETS):
        sizes = rng.integers(1, 7, 60)
        ease = np.repeat(rng.beta(truth, 1 - truth, 60), sizes)  # correlation within a video 0.5
        right = rng.random(len(ease)) < ease
        found = intervals.proportion(right, names(sizes)).estimate
        assert found is not None
        held += found.low <= truth <= found.high
        low, high = intervals.wilson(int(right.sum()), len(right))
        held_by_clip += low <= truth <= high
    assert 0.93 <= held / SETS <= (0.97 if 0.05 < truth < 0.95 else 0.985)
    assert held_by_clip / SETS < 0.85


@pytest.mark.parametrize(
    ("videos", "most_clips", "first", "second"),
    [(58, 1, 0.5, 0.6), (100, 1, 0.7, 0.7), (60, 4, 0.8, 0.85), (60, 4, 0.7, 0.7)],
)
def test_the_difference_of_two_runs(videos: int, most_clips: int, first: float, second: float) -> None:
    """Clips of a video are alike, and so are the two models; of like models none is shown to be better."""
    rng = np.random.default_rng(4)
    held = alarms = 0
    for _ in range(SETS):
        sizes = rng.integers(1, most_clips + 1, videos)
        n = int(sizes.sum())
        luck = np.where(rng.random(n) < 0.5, np.repeat(rng.random(videos), sizes), rng.random(n))
        other = np.where(rng.random(n) < 0.5, np.repeat(rng.random(videos), sizes), rng.random(n))
        found = significance.compare_models(
            luck < first, np.where(rng.random(n) < 0.6, luck, other) < second, names(sizes)
        )
        held += found.low <= second - first <= found.high
        alarms += found.shown
    assert 0.93 <= held / SETS <= 0.97
    if first == second:
        assert alarms / SETS <= 0.05


def test_two_runs_that_are_hardly_told_apart_are_held_more_often_but_never_for_certain() -> None:
    same = np.arange(40) < 30
    found = significance.compare_models(same, same, [str(i) for i in range(40)])
    assert -0.09 < found.low < -0.05 < 0.05 < found.high < 0.09


@pytest.mark.parametrize(
    ("classes", "per_class", "per_video", "counts_fixed"),
    [(6, 10, 1, False), (6, 10, 2, False), (19, 10, 1, False), (6, 10, 2, True)],
)
def test_balanced_accuracy_and_macro_f1(
    classes: int, per_class: int, per_video: int, counts_fixed: bool
) -> None:
    """Each class loses to its neighbor what it wins from the other one: all true figures are 0.8."""
    rng, n = np.random.default_rng(7), classes * per_class
    groups = [str(i // per_video) for i in range(n)]
    held = np.zeros(2)
    for _ in range(SETS):
        of_videos = rng.integers(0, classes, n // per_video)
        truth = np.arange(n) // per_class if counts_fixed else np.repeat(of_videos, per_video)
        luck = np.repeat(rng.random(n // per_video), per_video)
        luck = np.where(rng.random(n) < 0.5, rng.random(n), luck)
        calls = np.where(luck < 0.8, truth, (truth + 1) % classes)
        found = bootstrap.intervals_of_class_means(truth, calls, classes, groups)
        held += [e.low <= 0.8 <= e.high for e in found]
    shares = held / SETS
    assert (shares >= 0.93).all(), shares
    assert (shares <= (0.985 if counts_fixed else 0.97)).all(), shares


def test_false_differences_in_a_family_of_five_runs() -> None:
    """Five equally good runs on clips of unlike ease: how often any of them is shown to be better."""
    rng = np.random.default_rng(0)
    groups = [str(i) for i in range(60)]
    alarms = 0
    for _ in range(SETS):
        ease = rng.beta(2, 1, 60)
        alarms += bool(
            leaderboard.significantly_better([rng.random((1, 60)) < ease for _ in range(5)], groups).any()
        )
    assert alarms / SETS < 0.05


def names(sizes: Any) -> list[str]:
    return [str(i) for i, size in enumerate(sizes.tolist()) for _ in range(size)]
