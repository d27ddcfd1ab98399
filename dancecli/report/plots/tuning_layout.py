"""Where everything of a study's charts stands, for page and picture alike. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dancecli.report.plots.layout import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, nice_ticks
from dancecli.report.statistics.intervals import Estimate

# Values of a category are spread so far that points beside each other can be distinguished.
_SPREAD = 0.22
_PLACES = 7


@dataclass(frozen=True)
class Point:
    """A trial in a chart: its place in the view box, its interval, and what it is.

    Attributes:
        kind: `chosen`, `tied`, `worse`, `pruned` or `baseline`.
    """

    x: float
    y: float
    top: float
    bottom: float
    kind: str
    text: str


@dataclass(frozen=True)
class Panel:
    """One chart of top-1 accuracy against something.

    Attributes:
        best: a path along the best so far; empty where the axis is no course of time.
    """

    title: str
    note: str
    points: tuple[Point, ...]
    best: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Dot:
    """A trial that is to be drawn.

    Attributes:
        order: how many were tried before it.
        params: the point of the space.
        rate: top-1 with its interval.
    """

    order: int
    params: dict[str, Any]
    rate: Estimate
    kind: str
    text: str


def study_panels(dots: Sequence[Dot], space: dict[str, dict[str, Any]]) -> tuple[Panel, ...]:
    """Lay out the history of a study, and top-1 against each key that was searched.

    Args:
        dots: the trials with a result, in the order in which they were tried.
        space: of the study, one table per key.
    """
    if not dots:
        return ()
    y_steps = _shares(min(dot.rate.low for dot in dots), max(dot.rate.high for dot in dots))

    def up(value: float) -> float:
        share = (value - y_steps[0]) / (y_steps[-1] - y_steps[0])
        return round(HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP), 2)

    y_ticks = tuple((up(y), f"{100 * y:.0f} %") for y in y_steps)

    def panel(title: str, note: str, across: Callable[[Dot], float], ticks: Any, best: str = "") -> Panel:
        points = tuple(
            Point(across(d), up(d.rate.rate), up(d.rate.high), up(d.rate.low), d.kind, d.text) for d in dots
        )
        # What matters most is drawn last.
        ranks = ("pruned", "worse", "tied", "baseline", "chosen")
        points = tuple(sorted(points, key=lambda p: ranks.index(p.kind)))
        return Panel(title, note, points, best, ticks, y_ticks)

    last = max([1, *(dot.order for dot in dots)])

    def in_turn(dot: Dot) -> float:
        return _place(dot.order / last)

    steps = [x for x in nice_ticks(0, last, 6) if x == int(x) and x <= last]
    ticks = tuple((_place(x / last), f"{x:g}") for x in steps)
    history = panel("Trials in turn", "", in_turn, ticks, _course(dots, in_turn, up))
    return (history, *(panel(key, *_axis(key, entry, dots)) for key, entry in space.items()))


def _shares(low: float, high: float) -> list[float]:
    """Give round shares from below `low` to above `high`, within 0 to 1."""
    step = next(step for step in (5, 10, 20) if 100 * (high - low) <= 5 * step or step == 20)
    first, last = math.floor(100 * low / step), math.ceil(100 * high / step)
    return [i * step / 100 for i in range(first, max(first + 1, last) + 1)]


def _course(dots: Sequence[Dot], across: Callable[[Dot], float], up: Callable[[float], float]) -> str:
    """Draw the best so far as steps."""
    words, best = "", -1.0
    for dot in dots:
        rate = dot.rate.rate if dot.kind != "pruned" else -1.0
        if rate > best and best < 0:
            words = f"M{across(dot)} {up(rate)}"
        elif rate > best:
            words += f"H{across(dot)}V{up(rate)}"
        best = max(best, rate)
    return f"{words}H{WIDTH - RIGHT}" if words else ""


def _axis(
    key: str, entry: dict[str, Any], dots: Sequence[Dot]
) -> tuple[str, Callable[[Dot], float], tuple[tuple[float, str], ...]]:
    if "choices" in entry:
        names, seen = [str(value) for value in entry["choices"]], dict.fromkeys(map(str, entry["choices"]), 0)
        places = {}
        for dot in dots:
            name = str(dot.params[key])
            shift = (seen[name] % _PLACES) / (_PLACES - 1) * 2 - 1
            places[dot.order] = _place((names.index(name) + 0.5 + _SPREAD * shift) / len(names))
            seen[name] += 1
        ticks = tuple((_place((i + 0.5) / len(names)), name[:14]) for i, name in enumerate(names))
        return "", lambda dot: places[dot.order], ticks
    low, high, log = float(entry["low"]), float(entry["high"]), bool(entry.get("log"))

    def share(value: float) -> float:
        if log:
            return math.log(value / low) / math.log(high / low)
        return (value - low) / (high - low)

    if log:
        first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
        steps = [10.0**e for e in range(first, last + 1)]
        steps = steps if len(steps) > 1 else [low, high]
    else:
        steps = [x for x in nice_ticks(low, high, 5) if x <= high * (1 + 1e-9)]
    return (
        "log scale" if log else "",
        lambda dot: _place(share(float(dot.params[key]))),
        tuple((_place(share(x)), f"{x:g}") for x in steps),
    )


def _place(share: float) -> float:
    return round(LEFT + share * (WIDTH - RIGHT - LEFT), 2)
