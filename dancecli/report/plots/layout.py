"""Where everything of the page's charts stands. Pure: the template draws what is laid out here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from dancecli.report.statistics.calibration import Bin
from dancecli.report.statistics.intervals import Estimate, Proportion

WIDTH, HEIGHT = 380.0, 236.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 10.0, 10.0, 34.0
# A longer line is drawn as means of equal stretches: no screen shows more.
MOST_POINTS = 300

Points: TypeAlias = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """One line of a chart, in the chart's own units; `css` names its look."""

    name: str
    css: str
    path: str
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Chart:
    """A line chart, laid out: positions in the units of its view box."""

    title: str
    note: str
    lines: tuple[Line, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class Whisker:
    """One bin of the calibration plot: a point, its interval, and a bar for its clips."""

    x: float
    y: float
    top: float
    bottom: float
    radius: float
    bar_x: float
    bar_y: float
    bar_height: float
    text: str


def training_charts(history: Iterable[Mapping[str, Any]], top5: bool) -> tuple[Chart, ...]:
    """Lay out loss, accuracy and learning rate over the epochs.

    Args:
        history: the rows of `metrics.jsonl`.
        top5: whether validation top-5 is worth a line.
    """
    rows = [row for row in history if isinstance(row.get("epoch"), int)]
    train = [row for row in rows if row.get("kind") == "train"]
    val = [row for row in rows if row.get("kind") == "val"]
    at = _places(train)
    means = {key: _epoch_means(train, key) for key in ("loss", "top1")}
    lines = {
        "Loss": [
            ("each step", "raw", _pick(at, train, "loss"), False),
            ("training, mean of an epoch", "train", means["loss"], True),
            ("validation", "val", _pick([row["epoch"] for row in val], val, "loss"), True),
        ],
        "Accuracy": [
            ("training, mean of an epoch", "train", means["top1"], True),
            ("validation top-1", "val", _pick([row["epoch"] for row in val], val, "top1"), True),
            *(
                [("validation top-5", "val5", _pick([row["epoch"] for row in val], val, "top5"), True)]
                if top5
                else []
            ),
        ],
        "Learning rate": [("learning rate", "train", _pick(at, train, "lr"), False)],
    }
    return tuple(chart for title, group in lines.items() if (chart := _chart(title, group)) is not None)


def _places(train: Sequence[Mapping[str, Any]]) -> list[float]:
    """Spread the steps of an epoch evenly over it: epoch 1 reaches from 0 to 1."""
    total: dict[int, int] = {}
    for row in train:
        total[row["epoch"]] = total.get(row["epoch"], 0) + 1
    seen: dict[int, int] = {}
    places = []
    for row in train:
        epoch = row["epoch"]
        seen[epoch] = seen.get(epoch, 0) + 1
        places.append(epoch - 1 + seen[epoch] / total[epoch])
    return places


def _epoch_means(rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    groups: dict[int, list[float]] = {}
    for row in rows:
        if _is_number(row.get(key)):
            groups.setdefault(row["epoch"], []).append(float(row[key]))
    # A mean over an epoch belongs to its middle, a validation to its end.
    return [(epoch - 0.5, sum(v) / len(v)) for epoch, v in sorted(groups.items())]


def _pick(xs: Sequence[float], rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    pairs = zip(xs, rows, strict=True)
    return [(float(x), float(row[key])) for x, row in pairs if _is_number(row.get(key))]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _chart(title: str, lines: Sequence[tuple[str, str, Points, bool]]) -> Chart | None:
    lines = [(name, css, thinned(points), dots) for name, css, points, dots in lines if points]
    if not lines:
        return None
    xs = [x for _, _, points, _ in lines for x, _ in points]
    ys = [y for _, _, points, _ in lines for _, y in points]
    share = title == "Accuracy"
    log = title == "Learning rate" and min(ys) > 0 and max(ys) > 20 * min(ys)
    last = math.ceil(max(xs))
    x_steps = [x for x in nice_ticks(0, last, 6) if x == int(x) and x <= last]
    if share:
        y_steps = [0.0, 0.25, 0.5, 0.75, 1.0]
    elif log:
        y_steps = [
            10.0**e for e in range(math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys))) + 1)
        ]
    else:
        y_steps = nice_ticks(0, max(ys), 4)
    across = _Scale(0, last, LEFT, WIDTH - RIGHT, False)
    up = _Scale(y_steps[0], y_steps[-1], HEIGHT - BOTTOM, TOP, log)
    return Chart(
        title=title,
        note="log scale" if log else "",
        lines=tuple(
            Line(
                name,
                css,
                "M" + "L".join(f"{across(x)} {up(y)}" for x, y in points),
                tuple((across(x), up(y)) for x, y in points) if dots and len(points) <= 60 else (),
            )
            for name, css, points, dots in lines
        ),
        x_ticks=tuple((across(x), f"{x:g}") for x in x_steps),
        y_ticks=tuple((up(y), f"{100 * y:.0f} %" if share else f"{y:g}") for y in y_steps),
    )


@dataclass(frozen=True)
class _Scale:
    """A map from values to positions, rounded so that the page is short and its bytes are stable."""

    low: float
    high: float
    start: float
    end: float
    log: bool

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        share = (value - low) / (high - low) if high > low else 0.5
        return round(self.start + share * (self.end - self.start), 2)


def nice_ticks(low: float, high: float, about: int) -> list[float]:
    """Give about so many round numbers from `low` up to the first that is not below `high`."""
    span = (high - low) or 1.0
    rough = span / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    count = math.ceil((span - step * 1e-9) / step)
    return [round(low + i * step, 12) for i in range(count + 1)]


def thinned(points: Points) -> list[tuple[float, float]]:
    """Draw a long line as the means of at most 300 equal stretches."""
    if len(points) <= MOST_POINTS:
        return list(points)
    size = math.ceil(len(points) / MOST_POINTS)
    stretches = [points[i : i + size] for i in range(0, len(points), size)]
    return [(s[-1][0], sum(y for _, y in s) / len(s)) for s in stretches]


def calibration_whiskers(bins: Sequence[Bin], side: float, bar_top: float, bar: float) -> tuple[Whisker, ...]:
    """Lay out the calibration plot in a square of `side`, with a histogram of height `bar` below it."""
    most = max((b.n for b in bins), default=0)
    found = []
    for b in bins:
        span = Proportion(b.hits, b.n).estimate
        if span is None:
            continue
        height = max(1.0, round(bar * b.n / most, 2))
        found.append(
            Whisker(
                x=round(side * b.confidence, 2),
                y=round(side * (1 - span.rate), 2),
                top=round(side * (1 - span.high), 2),
                bottom=round(side * (1 - span.low), 2),
                radius=round(3 + 4 * math.sqrt(b.n / most), 2),
                bar_x=round(side * b.low, 2),
                bar_y=round(bar_top + bar - height, 2),
                bar_height=height,
                text=f"{b.n} clips, mean confidence {b.confidence:.2f}, {b.hits} right ({span.rate:.2f})",
            )
        )
    return tuple(found)


@dataclass(frozen=True)
class Past:
    """One entry in the history of a leaderboard: where it is drawn, its interval, and its day."""

    x: float
    y: float
    top: float
    bottom: float
    day: str
    text: str


def history(entries: Sequence[tuple[str, str, Estimate, str]]) -> tuple[Past, ...]:
    """Lay out the entries of a leaderboard in the order in which they finished, evenly apart.

    Args:
        entries: name, when it finished (ISO 8601), accuracy, its count; those without a time are left out.
    """
    known = sorted((when, name, e, count) for name, when, e, count in entries if when)
    span, low, days = WIDTH - LEFT - RIGHT, HEIGHT - BOTTOM, ""
    found = []
    for i, (when, name, e, count) in enumerate(known):
        up = _Scale(0, 1, low, TOP, False)
        x = round(LEFT + span * (i + 0.5) / len(known), 2)
        text = f"{name}, {when[:10]}: {count}, {100 * e.rate:.1f} %"
        found.append(
            Past(x, up(e.rate), up(e.high), up(e.low), when[5:10] if when[:10] != days else "", text)
        )
        days = when[:10]
    return tuple(found)


def zoomed(estimates: Sequence[Estimate]) -> tuple[float, float]:
    """Give the ends of one scale, in steps of 5 points, on which all intervals can be told apart."""
    low = math.floor(20 * min(e.low for e in estimates)) / 20
    high = math.ceil(20 * max(e.high for e in estimates)) / 20
    return max(0.0, low), min(1.0, max(high, low + 0.05))
