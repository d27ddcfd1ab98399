"""The page of a learning curve: accuracy by training clips, and what the next hundred would bring."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dancecli.core.text import pluralize
from dancecli.report.pages.templating import render
from dancecli.report.plots import layout
from dancecli.report.statistics.intervals import Estimate, proportion
from dancecli.report.statistics.learning import Forecast, forecast
from dancecli.report.statistics.significance import method_interval
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace

SCHEMA = 1
MORE = 100
# Beyond twice the clips of now, a fitted curve says nothing.
_REACH = 2.0


@dataclass(frozen=True)
class CurveRow:
    """One size of a learning curve: clips per class (0 for all), training clips, draws, mean accuracy."""

    per_class: int
    clips: float
    draws: int
    estimate: Estimate

    @property
    def size(self) -> str:
        """The size in words."""
        return str(self.per_class or "all")


@dataclass(frozen=True)
class LearningReport:
    """What was written: the page, its figures, and the document of `learning-curve.json`."""

    page: Path
    rows: tuple[CurveRow, ...]
    forecasts: tuple[Forecast, ...]
    document: Mapping[str, Any]

    @property
    def advice(self) -> str:
        """What the next hundred clips would bring, in a sentence."""
        return advice_of(self.rows, self.forecasts)


def write_learning_curve(
    workspace: Workspace,
    name: str,
    sizes: Sequence[tuple[int, float, Sequence[Sequence[bool]]]],
    groups: Sequence[str],
    facts: Mapping[str, Any],
) -> LearningReport:
    """Write `reports/<name>/index.html` and `learning-curve.json`.

    Args:
        workspace: gets the report.
        name: of the report.
        sizes: by size: clips per class (0 for all), training clips, and for each draw the hits of the
            tested clips; two or more.
        groups: source video of each tested clip.
        facts: what was trained and tested.
    """
    import numpy as np

    hits = [np.array(draws, dtype=bool) for _, _, draws in sizes]
    clips = [count for _, count, _ in sizes]
    rows = tuple(
        CurveRow(per_class, count, len(flags), _estimate(flags, groups))
        for (per_class, count, _), flags in zip(sizes, hits, strict=True)
    )
    last = clips[-1]
    more = [last + MORE] if last + MORE <= _REACH * last else [_REACH * last]
    found = forecast(clips, hits, groups, more)
    folder = workspace.report(name)
    document = {
        "schema": SCHEMA,
        "report": name,
        **facts,
        "tested": {"clips": len(groups), "videos": len(set(groups))},
        "points": [
            {
                "per_class": row.per_class or "all",
                "clips": row.clips,
                "draws": row.draws,
                "k": flags.sum(1).tolist(),
                "top1": _rounded(row.estimate),
            }
            for row, flags in zip(rows, hits, strict=True)
        ],
        "forecast": [
            {
                "clips": one.clips,
                "top1": round(one.rate, 6),
                "gain": {"rate": round(one.gain, 6), "low": round(one.low, 6), "high": round(one.high, 6)},
            }
            for one in found
        ],
        "page": str(folder / "index.html"),
    }
    with atomic_file(folder / "learning-curve.json") as file:
        file.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    with atomic_file(folder / "index.html") as file:
        file.write(
            render(
                "learning.html",
                ("common.js",),
                {},
                name=name,
                facts=facts,
                rows=rows,
                forecasts=found,
                advice=advice_of(rows, found),
                steps=[next_step(rows, found)],
                tested=document["tested"],
                chart=layout,
                curve=_chart(rows, found),
            )
        )
    return LearningReport(folder / "index.html", rows, found, document)


def advice_of(rows: Sequence[CurveRow], forecasts: Sequence[Forecast]) -> str:
    """Say in a sentence what more clips would bring."""
    one, last = forecasts[0], rows[-1].clips
    if rows[-1].estimate.rate == 1:
        return (
            f"all tested clips are right with {pluralize(round(last), 'training clip')}, so this test "
            "cannot show what more would bring"
        )
    more = round(one.clips - last)
    return (
        f"{more} more training clips ({last:.0f} to {one.clips:.0f}) would bring about "
        f"{100 * one.gain:.1f} points (95 % interval {100 * one.low:.1f} to {100 * one.high:.1f}), "
        "if errors go on to fall as a power of the number of clips"
    )


def next_step(rows: Sequence[CurveRow], forecasts: Sequence[Forecast]) -> tuple[str, str]:
    """Say what to do next after a learning curve, with its command."""
    if rows[-1].estimate.rate == 1:
        return "nothing is left to gain on these test clips, so get more, to test by too:", "dance fetch"
    if forecasts[0].low > 0:
        return "more clips make it better, so get some:", "dance fetch"
    return "it is not certain that more clips make it better, so try other settings:", "dance tune"


def _estimate(flags: Any, groups: Sequence[str]) -> Estimate:
    if len(flags) > 1:
        return method_interval(flags, groups)
    found = proportion(flags[0], groups).estimate
    assert found is not None  # noqa: S101 - for the type checker; there are clips
    return found


def _chart(rows: Sequence[CurveRow], forecasts: Sequence[Forecast]) -> layout.Chart:
    """Lay out the curve, the ends of its intervals, and the forecast."""
    x = [row.clips for row in rows]
    lines: list[tuple[str, str, layout.Points, bool, str]] = [
        ("top-1", "train", [(row.clips, row.estimate.rate) for row in rows], True, ""),
        ("95 % interval, low", "raw", [(row.clips, row.estimate.low) for row in rows], False, ""),
        ("95 % interval, high", "raw", [(row.clips, row.estimate.high) for row in rows], False, ""),
    ]
    ahead = [(x[-1], rows[-1].estimate.rate), *((one.clips, one.rate) for one in forecasts)]
    lines.append(("forecast", "run1", ahead, True, ""))
    end = max(point[0] for point in ahead)
    inner = [tick for tick in layout.nice_ticks(0, end, 5) if 0 < tick < end]
    across = layout.Axis("training clips", (0.0, *inner, end), digits=0)
    across = replace(across, ticks=tuple(float(round(tick)) for tick in across.ticks))
    return layout.line_chart("Accuracy by training clips", lines, across, layout.SHARE)


def _rounded(found: Estimate) -> dict[str, float]:
    return {"rate": round(found.rate, 12), "low": round(found.low, 12), "high": round(found.high, 12)}
