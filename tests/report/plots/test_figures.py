"""Figures for papers: every chart of a page, in both forms, the same bytes each time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from helpers.builders import Ran
from helpers.fake_run import make_run

from dancecli.report.board import BoardSettings, board
from dancecli.report.plots.confusion_matrix import draw_confusion
from dancecli.report.plots.layout import cost_chart
from dancecli.report.report import ReportSettings, report
from dancecli.report.statistics.intervals import Estimate
from dancecli.storage.workspace import Workspace

LABELS = ("wave", "spin", "bounce", "step & touch", "robot", "$kick_ball$")
COLUMN_POINTS = 3.25 * 72


def sizes(folder: Path) -> dict[str, float]:
    """The width in points of each SVG figure; each has its PDF."""
    found = {}
    for path in folder.glob("*.svg"):
        assert path.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
        width = ElementTree.parse(path).getroot().get("width") or ""
        found[path.stem] = float(width.removesuffix("pt"))
    return found


def test_every_chart_of_a_report_is_a_figure_of_a_column(workspace: Workspace) -> None:
    make_run(workspace.root, LABELS, test=60, val=12, name="run-1")
    folder = report(workspace, ReportSettings("run-1", figures=True)).page.parent / "figures"
    found = sizes(folder)
    assert set(found) == {
        "confusion", "loss", "accuracy", "learning-rate", "top-k-accuracy", "accuracy-at-coverage",
        "precision-recall", "roc", "calibration", "recall",
    }  # fmt: skip
    assert list(found.values()) == pytest.approx([COLUMN_POINTS] * len(found))
    before = {path: path.read_bytes() for path in folder.iterdir()}
    report(workspace, ReportSettings("run-1", figures=True))
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_group_and_a_comparison_have_their_charts_too(
    workspace: Workspace, dance: Callable[..., Ran]
) -> None:
    for seed, name in enumerate(("run-1", "run-2")):
        make_run(workspace.root, LABELS, test=60, val=12, name=name, salt=name, skill=1.5)
        path = workspace.run(name) / "run.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"group": "both", "seed": seed}))
    training = {"validation-top-1", "training-loss", "validation-loss"}
    folder = report(workspace, ReportSettings("both", figures=True)).page.parent / "figures"
    found = sizes(folder)
    assert set(found) == training | {"confusion", "top-k-accuracy", "accuracy-at-coverage", "calibration"}
    assert dance("compare", "run-1", "run-2", "--figures").code == 0
    found |= (other := sizes(workspace.report("run-1-vs-run-2") / "figures"))
    assert set(other) == training | {"accuracy", "recall", "confusion-change"}
    assert list(found.values()) == pytest.approx([COLUMN_POINTS] * len(found))


def test_a_matrix_of_more_classes_is_as_wide_as_a_page_or_a_picture(tmp_path: Path) -> None:
    for size, inches in ((8, 3.25), (19, 6.875), (60, 3.25)):
        counts = [[100 if i == j else (i + j) % 3 for j in range(size)] for i in range(size)]
        draw_confusion(tmp_path, counts, [f"class {i}" for i in range(size)])
        assert sizes(tmp_path) == {"confusion": pytest.approx(inches * 72)}


def test_a_leaderboard_has_its_forest_and_its_costs(workspace: Workspace, dance: Callable[..., Ran]) -> None:
    for name, gflops, skill in (("cheap-1", 5.0, 1.5), ("dear-1", 50.0, 4.0), ("bad-1", 60.0, 1.0)):
        make_run(workspace.root, LABELS, test=60, name=name, salt=name, skill=skill)
        path = workspace.run(name) / "run.json"
        record = json.loads(path.read_text())
        path.write_text(json.dumps(record | {"model": record["model"] | {"gflops_view": gflops}}))
    assert dance("board", "--figures").code == 0
    assert set(sizes(workspace.report("board") / "figures")) == {"leaderboard", "accuracy-against-gflops"}
    page = board(workspace, BoardSettings()).page.read_text()
    assert page.count('<figure class="chart cost">') == 1


def test_the_front_is_of_those_that_no_other_beats_in_both() -> None:
    def entry(name: str, cost: float | None, rate: float) -> tuple[str, float | None, Estimate]:
        return name, cost, Estimate(rate, rate - 0.05, rate + 0.05)

    entries = [
        entry("a", 1, 0.5),
        entry("b", 2, 0.4),
        entry("c", 4, 0.8),
        entry("d", 4, 0.7),
        entry("e", None, 0.9),
    ]
    found = cost_chart("t", "GFLOPs", entries)
    assert found
    assert {spot.name: spot.front for spot in found.spots} == {"a": True, "b": False, "c": True, "d": False}
    assert len(found.steps) == 3
    # Of speed more is better.
    fast = cost_chart("t", "clips/s", entries, less=False)
    assert fast
    assert {spot.name for spot in fast.spots if spot.front} == {"c"}
    assert cost_chart("t", "GFLOPs", [entry("a", 1, 0.5), entry("b", 1, 0.4)]) is None
    assert cost_chart("t", "GFLOPs", [entry("a", 1, 0.5)]) is None


def test_every_mark_has_its_name_where_there_is_room() -> None:
    def entry(name: str, cost: float, rate: float) -> tuple[str, float | None, Estimate]:
        return name, cost, Estimate(rate, rate - 0.05, rate + 0.05)

    found = cost_chart(
        "t", "GFLOPs", [entry("cheap", 1, 0.5), entry("dear", 4, 0.8), entry("beaten", 4, 0.6)]
    )
    assert found
    assert all(spot.label for spot in found.spots)
    heap = [entry(f"a run with a long name {i}", 2 + i / 100, 0.5 - i / 1000) for i in range(12)]
    crowded = cost_chart("t", "GFLOPs", [*heap, entry("best", 1, 0.9)])
    assert crowded
    named = {spot.name for spot in crowded.spots if spot.label}
    assert {spot.name for spot in crowded.spots if spot.front} <= named
    places = [spot.label for spot in crowded.spots if spot.label]
    assert len(places) < len(heap)
    assert len(set(places)) == len(places)
