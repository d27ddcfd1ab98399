"""What the statistics of the pages promise, on simulated test sets: coverage, false alarms, power.

    python -m benchmarks.simulations [NAME...] [--studies N]

Each line is one setting: what it is, what is measured, and its share in per cent with the standard error
of the simulation. Names: tune, method, power, video, folds, calibration, slices.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from scipy import stats

from dancecli.core.hashing import assign_folds
from dancecli.report.statistics import calibration, intervals, selection, significance, slices

Line = tuple[str, str, float, int]


def tune(studies: int) -> Iterator[Line]:
    """Equally good trials on clips of different ease: how often some trial is called worse than the best."""
    for trials, clips in product((20, 50), (60, 190)):
        rng, groups, alarms = np.random.default_rng(trials + clips), [str(i) for i in range(clips)], 0
        for _ in range(studies):
            flags = rng.random((trials, clips)) < rng.beta(2, 1, clips)
            best = int(flags.sum(axis=1).argmax())
            alarms += min(selection.compare_with_best(flags, best, groups)) < significance.ALPHA
        yield f"{trials} equal trials, {clips} clips", "some trial called worse", alarms / studies, studies


def runs_of(rng: np.random.Generator, rate: float, sd: float, runs: int, ease: np.ndarray) -> np.ndarray:
    """Draw runs of a method: each its own rate, and all alike in which clips are easy; runs x clips."""
    rates = np.clip(rate + sd * rng.normal(size=runs), 0.02, 0.98)
    level = stats.norm.ppf(rates) * math.sqrt(1.64)
    flags: np.ndarray = rng.random((runs, len(ease))) < stats.norm.cdf(level[:, None] + 0.8 * ease)
    return flags


def method(studies: int) -> Iterator[Line]:
    """The interval of a method over seeds and videos: how often it covers the rate over all seeds."""
    for sd, runs in product((0.01, 0.03, 0.05), (3, 5)):
        rng, held = np.random.default_rng(runs), 0
        groups = [str(i // 2) for i in range(400)]
        for _ in range(studies):
            ease = np.repeat(rng.normal(size=200), 2)
            found = significance.method_interval(runs_of(rng, 0.75, sd, runs, ease), groups)
            held += found.low <= 0.75 <= found.high
        yield f"{runs} seeds, deviation {100 * sd:.0f} points, 400 clips", "coverage", held / studies, studies


def power(studies: int) -> Iterator[Line]:
    """A true gain of 10 points on 400 clips, at a seed deviation of 1.5 points; and equal methods."""
    groups = [str(i) for i in range(400)]
    for gain, runs in product((0.1, 0.0), (1, 3, 5)):
        rng, found = np.random.default_rng(3), 0
        for _ in range(studies):
            ease = rng.normal(size=400)
            first, second = (runs_of(rng, rate, 0.015, runs, ease) for rate in (0.6, 0.6 + gain))
            found += significance.compare(first, second, groups).shown
        what = "gain found" if gain else "false alarm"
        yield f"{runs} seeds each, true gain {100 * gain:.0f} points", what, found / studies, studies


def video(studies: int) -> Iterator[Line]:
    """Accuracy by video, 1 to 6 clips per video with a correlation of 0.3 within one."""
    for videos, truth in product((60, 200), (0.05, 0.1, 0.5, 0.9, 0.95)):
        rng, held = np.random.default_rng(10), 0
        for _ in range(studies):
            sizes = rng.integers(1, 7, videos)
            scale = 1 / 0.3 - 1
            ease = np.repeat(rng.beta(truth * scale, (1 - truth) * scale, videos), sizes)
            right = rng.random(len(ease)) < ease
            names = np.repeat(np.arange(videos), sizes).astype(str).tolist()
            found = intervals.proportion(right, names).estimate
            assert found is not None
            held += found.low <= truth <= found.high
        yield f"{videos} videos, accuracy {100 * truth:.0f} %", "coverage", held / studies, studies


_CLASSES, _WIDTH = 6, 8


def _clips_of_groups(
    rng: np.random.Generator, means: np.ndarray, groups: int, offset: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw clips of groups of one to four: class mean, offset of the group, noise."""
    sizes = rng.integers(1, 5, groups)
    group = np.repeat(np.arange(groups), sizes)
    label = np.repeat(np.arange(groups) % _CLASSES, sizes)
    shift = np.repeat(rng.normal(size=(groups, _WIDTH)) * offset, sizes, axis=0)
    return means[label] + shift + rng.normal(size=(len(label), _WIDTH)), label, group


def _calls(x: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Classify by ridge regression on the classes, as a stand-in for any stable classifier."""
    wide, new_wide = (np.column_stack([of, np.ones(len(of))]) for of in (x, new))
    model = np.linalg.solve(wide.T @ wide + np.eye(_WIDTH + 1), wide.T @ np.eye(_CLASSES)[y])
    found: np.ndarray = (new_wide @ model).argmax(1)
    return found


def fold_coverage(groups: int, folds: int, distance: float, offset: float, studies: int) -> float:
    """Give the share of data sets whose interval of the pooled folds holds the models' mean accuracy.

    Args:
        groups: of clips, in six classes in turn.
        folds: of the cross-validation.
        distance: deviation of the class means, in that of the clips.
        offset: deviation of the groups.
        studies: number of data sets.
    """
    held = 0
    for number in range(studies):
        rng = np.random.default_rng(number)
        means = rng.normal(size=(_CLASSES, _WIDTH)) * distance
        x, y, group = _clips_of_groups(rng, means, groups, offset)
        new_x, new_y, _ = _clips_of_groups(rng, means, 1500, offset)
        names = [str(g) for g in group]
        fold = np.array(assign_folds(y.tolist(), names, folds, seed=number))
        hits, truth = np.zeros(len(y), bool), 0.0
        for k in range(folds):
            calls = _calls(x[fold != k], y[fold != k], np.concatenate([x[fold == k], new_x]))
            tested = int((fold == k).sum())
            hits[fold == k] = calls[:tested] == y[fold == k]
            truth += float((calls[tested:] == new_y).mean()) / folds
        found = intervals.proportion(hits, names).estimate
        assert found is not None
        held += found.low <= truth <= found.high
    return held / studies


def cross_validated(studies: int) -> Iterator[Line]:
    """Pooled folds: with each class in each fold, and with fewer groups a class than folds."""
    for groups, folds in ((20, 3), (36, 6), (60, 10), (121, 10), (200, 10), (20, 10), (36, 10)):
        for distance, offset in ((1.6, 0.5), (1.0, 0.5), (0.9, 0.9), (0.6, 0.5)):
            share = fold_coverage(groups, folds, distance, offset, studies)
            setting = f"{groups} groups, {folds} folds, classes {distance:g} apart, groups {offset:g}"
            yield setting, "coverage", share, studies


def calibrated(studies: int) -> Iterator[Line]:
    """Models that are calibrated, and, in a fifth of the studies, models that are 10 points too confident."""
    for (clips, per), excess in product(((58, 1), (190, 1), (190, 4)), (0.0, 0.1)):
        rng, found, videos = np.random.default_rng(6), 0, -(-clips // per)
        groups = [str(i // per) for i in range(clips)]
        done = studies // 5 if excess else studies
        for _ in range(done):
            confidence = np.repeat(0.2 + 0.8 * rng.beta(3, 1.2, videos), per)[:clips]
            confidence = np.clip(confidence + 0.03 * (per > 1) * rng.normal(size=clips), 0.1, 1)
            luck = np.repeat(rng.random(videos), per)[:clips]
            right = luck < np.clip(confidence - excess, 0, 1)
            found += calibration.calibration(confidence, right, groups).p < significance.ALPHA
        what = "miscalibration found" if excess else "false alarm"
        setting = f"{clips} clips, {per} per video, {100 * excess:.0f} points too confident"
        yield setting, what, found / done, done


def sliced(studies: int) -> Iterator[Line]:
    """Four attributes that do not matter: how often some slice is called different."""
    for clips, per in ((60, 1), (190, 1), (190, 4)):
        rng, alarms, of = np.random.default_rng(clips + per), 0, np.arange(clips) // per
        videos = int(of.max()) + 1
        for _ in range(studies):
            right = rng.random(clips) < ((rng.random(videos) < 0.7) * 0.9 + 0.05)[of]
            names = {f"a{k}": rng.integers(0, k, videos)[of].astype(str).tolist() for k in (2, 5, 6, 12)}
            found = slices.slice_accuracy(right[None], np.zeros(clips, int), of.astype(str).tolist(), names)
            alarms += min(s.p for s in found) < significance.ALPHA
        yield (
            f"{clips} clips, {per} per video, 25 slices",
            "some slice called different",
            alarms / studies,
            studies,
        )


# Name: the simulation, and how many studies by default.
ALL: dict[str, tuple[Callable[[int], Iterator[Line]], int]] = {
    "tune": (tune, 2000),
    "method": (method, 2000),
    "power": (power, 1000),
    "video": (video, 2000),
    "folds": (cross_validated, 1500),
    "calibration": (calibrated, 5000),
    "slices": (sliced, 1000),
}


def main() -> None:
    """Run the simulations that are named, or all, and print a table of Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", choices=[*ALL, []], metavar="NAME")
    parser.add_argument("--studies", type=int, help="studies per setting, in place of each one's own number")
    given = parser.parse_args()
    print("| what | setting | measured | % | standard error | studies |\n|---|---|---|---:|---:|---:|")
    for name in given.names or ALL:
        run, studies = ALL[name]
        for setting, what, share, n in run(given.studies or studies):
            error = math.sqrt(max(share * (1 - share), 1 / n) / n)
            print(
                f"| {name} | {setting} | {what} | {100 * share:.1f} | {100 * error:.1f} | {n:,} |", flush=True
            )


if __name__ == "__main__":
    main()
