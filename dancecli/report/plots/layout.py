"""Where everything of the page's charts stands. Pure: the template draws what is laid out here."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from dancecli.core.text import pluralize
from dancecli.report.statistics.calibration import Bin
from dancecli.report.statistics.intervals import Estimate, Proportion

WIDTH, HEIGHT = 380.0, 236.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 10.0, 10.0, 34.0
# A longer line is drawn as means of equal stretches: no screen shows more.
MOST_POINTS = 300
# Of a name in a chart.
_MOST_LETTERS = 28
# Of a line whose points are marked.
MOST_DOTS = 60

Points: TypeAlias = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        css: names its look.
        points: in the units of the chart's view box.
        marked: whether its points are.
        key: what it can be chosen by.
    """

    name: str
    css: str
    points: tuple[tuple[float, float], ...]
    marked: bool = False
    key: str = ""

    @property
    def path(self) -> str:
        """The line as SVG draws it."""
        return "M" + "L".join(f"{x} {y}" for x, y in self.points)

    @property
    def dots(self) -> tuple[tuple[float, float], ...]:
        """The points that are marked."""
        return self.points if self.marked else ()


@dataclass(frozen=True)
class Chart:
    """A line chart, laid out: positions in the units of its view box.

    Attributes:
        hover: how the script reads values off the lines, as JSON: of x and y each the values at the ends
            of the axis, where these are drawn, whether the scale is logarithmic, the factor and the unit
            of the values shown, and how many digits they have.
    """

    title: str
    note: str
    lines: tuple[Line, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    x_label: str
    y_label: str
    hover: str


@dataclass(frozen=True)
class Axis:
    """One axis of a chart.

    Attributes:
        label: what stands below or beside it; of a vertical one that has none, it is the chart's title.
        ticks: values, the ends of the axis first and last.
        share: the values are shares, shown as per cent.
        digits: of values that are read off.
    """

    label: str
    ticks: tuple[float, ...]
    share: bool = False
    log: bool = False
    digits: int = 3

    def text(self, value: float) -> str:
        """Write a tick."""
        return f"{100 * value:.0f} %" if self.share else f"{value:g}"


SHARE = Axis("", (0.0, 0.25, 0.5, 0.75, 1.0), share=True, digits=1)


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


def training_points(history: Iterable[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """Give what one line per run is drawn of: `train loss` as means of epochs, `val loss` and `val top1`."""
    rows = [row for row in history if isinstance(row.get("epoch"), int)]
    val = [row for row in rows if row.get("kind") == "val"]
    at = [float(row["epoch"]) for row in val]
    return {
        "train loss": _epoch_means([row for row in rows if row.get("kind") == "train"], "loss"),
        **{f"val {key}": _pick(at, val, key) for key in ("loss", "top1")},
    }


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
    log = title == "Learning rate" and min(ys) > 0 and max(ys) > 20 * min(ys)
    if title == "Accuracy":
        up = SHARE
    elif log:
        ends = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)))
        up = Axis("", tuple(10.0**e for e in range(ends[0], ends[1] + 1)), log=True)
    else:
        up = Axis("", tuple(nice_ticks(0, max(ys), 4)))
    shown = [(name, css, points, dots and len(points) <= MOST_DOTS, "") for name, css, points, dots in lines]
    return line_chart(title, shown, epochs(max(xs)), up, "log scale" if log else "")


def epochs(last: float) -> Axis:
    """Give an axis of epochs that ends with the last one; ticks are whole."""
    end = math.ceil(last)
    inner = [x for x in nice_ticks(0, end, 6) if x == int(x) and x < end]
    return Axis("epoch", (*inner, float(end)), digits=1)


def line_chart(
    title: str,
    lines: Sequence[tuple[str, str, Points, bool, str]],
    across: Axis,
    up: Axis,
    note: str = "",
) -> Chart:
    """Lay out a chart of lines.

    Args:
        title: what it shows.
        lines: name, look, points, whether the points are marked, and the key.
        across: the horizontal axis.
        up: the vertical axis.
        note: a few words beside the title.
    """
    x = _Scale(across.ticks[0], across.ticks[-1], LEFT, WIDTH - RIGHT, across.log)
    y = _Scale(up.ticks[0], up.ticks[-1], HEIGHT - BOTTOM, TOP, up.log)
    hover = {
        name: [s.low, s.high, s.start, s.end, int(s.log), 100 if axis.share else 1,
               "\u202f%" if axis.share else "", axis.digits]
        for name, s, axis in (("x", x, across), ("y", y, up))
    }  # fmt: skip
    return Chart(
        title=title,
        note=note,
        lines=tuple(
            Line(name, css, tuple((x(a), y(b)) for a, b in points), dots, key)
            for name, css, points, dots, key in lines
        ),
        x_ticks=tuple((x(v), across.text(v)) for v in _apart(across.ticks)),
        y_ticks=tuple((y(v), up.text(v)) for v in up.ticks),
        x_label=across.label,
        y_label=up.label or title,
        hover=json.dumps({**hover, "label": across.label}),
    )


def _apart(ticks: Sequence[float]) -> list[float]:
    """Leave out the last tick but one where it would touch the last."""
    if len(ticks) > 2 and ticks[-1] - ticks[-2] < 0.6 * (ticks[1] - ticks[0]):
        return [*ticks[:-2], ticks[-1]]
    return list(ticks)


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
                text=f"{pluralize(b.n, 'clip')}, mean confidence {b.confidence:.2f}, {b.hits} right "
                f"({span.rate:.2f})",
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


@dataclass(frozen=True)
class Spot:
    """One entry in the chart of accuracy against cost.

    Attributes:
        front: no other entry is both cheaper and more accurate.
        label: where its name is written: x, y and the end that is there, `start` or `end`; None where
            there is no room for it.
    """

    x: float
    y: float
    top: float
    bottom: float
    name: str
    front: bool
    text: str
    label: tuple[float, float, str] | None = None

    @property
    def short(self) -> str:
        """Its name as far as it is written."""
        return self.name[:_MOST_LETTERS]


@dataclass(frozen=True)
class CostChart:
    """Accuracy against one kind of cost, on a logarithmic scale; `steps` is the Pareto front as a path."""

    title: str
    label: str
    spots: tuple[Spot, ...]
    steps: tuple[tuple[float, float], ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]

    @property
    def path(self) -> str:
        """The Pareto front as SVG draws it."""
        return "M" + "L".join(f"{x} {y}" for x, y in self.steps) if self.steps else ""


def _labeled(spots: Sequence[Spot]) -> tuple[Spot, ...]:
    """Find each name a place beside its mark, where it covers no other name and no mark.

    Those of the front come first, and are written in any case.
    """
    taken = [(s.x - 5, s.y - 5, s.x + 5, s.y + 5) for s in spots]
    found: dict[int, Spot] = {}
    for i in sorted(range(len(spots)), key=lambda i: (not spots[i].front, spots[i].y)):
        spot = spots[i]
        sides = ("start", "end") if spot.x < (LEFT + WIDTH) / 2 else ("end", "start")
        places = [
            (spot.x + (8 if side == "start" else -8), spot.y + below, side)
            for below in (-6, 14)
            for side in sides
        ]
        free = [place for place in places if _fits(_box(place, spot.short), taken)]
        if free or spot.front:
            place = (free or places)[0]
            taken.append(_box(place, spot.short))
            spot = replace(spot, label=place)
        found[i] = spot
    return tuple(found[i] for i in range(len(spots)))


def _box(place: tuple[float, float, str], text: str) -> tuple[float, float, float, float]:
    """Give about what a text covers: left, top, right, bottom."""
    x, y, side = place
    width = 6.2 * len(text)
    left = x if side == "start" else x - width
    return left, y - 10, left + width, y + 3


def _fits(box: tuple[float, float, float, float], taken: Iterable[tuple[float, float, float, float]]) -> bool:
    left, top, right, bottom = box
    if left < LEFT or right > WIDTH or bottom > HEIGHT - BOTTOM:
        return False
    return not any(
        left < other[2] and other[0] < right and top < other[3] and other[1] < bottom for other in taken
    )


def cost_chart(
    title: str, label: str, entries: Sequence[tuple[str, float | None, Estimate]], *, less: bool = True
) -> CostChart | None:
    """Lay out accuracy against a cost; None where fewer than two entries have one, or all the same.

    Args:
        title: what it shows.
        label: of the cost.
        entries: name, cost and accuracy; those without a cost are left out.
        less: whether less of it is better, as of GFLOPs, or more, as of clips per second.
    """
    known = [(name, cost, e) for name, cost, e in entries if cost is not None and cost > 0]
    if len({cost for _, cost, _ in known}) < 2:
        return None
    low, high = (f(cost for _, cost, _ in known) for f in (min, max))
    x = _Scale(low / 1.3, high * 1.3, LEFT, WIDTH - RIGHT, True)
    ends = zoomed([e for _, _, e in known])
    ticks = [tick for tick in nice_ticks(*ends, 4) if tick <= 1]
    y = _Scale(ends[0], max(ends[1], ticks[-1]), HEIGHT - BOTTOM, TOP, False)

    def beaten(cost: float, rate: float) -> bool:
        def as_cheap(other: float) -> bool:
            return other <= cost if less else other >= cost

        return any(as_cheap(c) and e.rate >= rate and (c != cost or e.rate > rate) for _, c, e in known)

    spots: list[Spot] = []
    for name, cost, e in sorted(known, key=lambda k: (k[1], k[0])):
        at = x(cost)
        text = f"{name}: {100 * e.rate:.1f} % ({100 * e.low:.1f}-{100 * e.high:.1f}), {cost:g} {label}"
        spots.append(Spot(at, y(e.rate), y(e.high), y(e.low), name, not beaten(cost, e.rate), text))
    front = sorted(((s.x, s.y) for s in spots if s.front), reverse=not less)
    steps: list[tuple[float, float]] = []
    for at, rate in front:
        steps += [(at, steps[-1][1])] if steps else []
        steps.append((at, rate))
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    # Fewer than three marks do not show a scale.
    for steps_of in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
        marks = [m * 10.0**p for p in powers for m in steps_of if x.low <= m * 10.0**p <= x.high]
        if len(marks) > 2:
            break
    return CostChart(
        title,
        label,
        _labeled(spots),
        tuple(steps),
        tuple((x(v), f"{v:g}") for v in marks),
        tuple((y(v), f"{100 * v:.0f} %") for v in ticks),
    )
