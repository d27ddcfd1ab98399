from __future__ import annotations

import json
import shutil

import pytest
from helpers.fake_run import make_run

from dancecli.model.evaluation.ensemble import EnsembleSettings, ensemble
from dancecli.report.report import ReportSettings, report
from dancecli.report.results.comparison import worth_of_members
from dancecli.report.results.run_results import read_run_results
from dancecli.report.statistics.significance import compare
from dancecli.storage.workspace import Workspace

LABELS = ("bounce", "slide", "turn", "wave")
SKILLS = {"rgb": 3.0, "flow": 2.0, "pose": 0.1}


@pytest.fixture
def fused(workspace: Workspace) -> Workspace:
    for name, skill in SKILLS.items():
        make_run(workspace.root, LABELS, test=80, val=20, name=name, salt=name, skill=skill)
    ensemble(workspace, EnsembleSettings(tuple(SKILLS), name="three", weighted=True))
    ensemble(workspace, EnsembleSettings(("rgb", "flow"), name="two"))
    return workspace


def test_each_member_is_tested_against_the_ensemble_without_it(fused: Workspace) -> None:
    results = read_run_results(fused, "three")
    rows = worth_of_members(fused, results, "test")
    assert [row.name for row in rows] == list(SKILLS)
    assert [row.weight for row in rows] == results.run["model"]["member_weights"]
    for row in rows:
        own = read_run_results(fused, row.name).subsets["test"]
        assert (row.alone.k, row.alone.n) == (int((own.scores.argmax(axis=1) == own.truth).sum()), 80)
        assert row.p >= row.paired.p
    # The best member is worth most, and the one that guesses least.
    gains = {row.name: row.paired.difference for row in rows}
    assert gains["rgb"] == max(gains.values()) > 0
    assert abs(gains["pose"]) <= 0.1


def test_without_one_of_two_the_other_is_left(fused: Workspace) -> None:
    (rgb, _) = worth_of_members(fused, read_run_results(fused, "two"), "test")
    whole, other = (read_run_results(fused, name).subsets["test"] for name in ("two", "flow"))
    assert (whole.scores != other.scores).any()
    before = (other.scores.argmax(axis=1) == other.truth)[None]
    after = (whole.scores.argmax(axis=1) == whole.truth)[None]
    assert rgb.paired == compare(before, after, whole.groups)


def test_other_runs_and_ensembles_of_lost_runs_have_no_members(fused: Workspace) -> None:
    assert worth_of_members(fused, read_run_results(fused, "rgb"), "test") == ()
    results = read_run_results(fused, "two")
    shutil.rmtree(fused.run("flow"))
    assert worth_of_members(fused, results, "test") == ()


def test_the_report_and_its_figures_name_the_members(fused: Workspace) -> None:
    made = report(fused, ReportSettings("three"))
    page = made.page.read_text(encoding="utf-8")
    assert 'id="members"' in page
    assert 'href="#members"' in page
    rows = json.loads((made.page.parent / "metrics.json").read_text())["subsets"]["test"]["members"]
    assert [row["run"] for row in rows] == list(SKILLS)
    assert {"weight", "alone", "adds", "low", "high", "p_adjusted"} < set(rows[0])
    plain = report(fused, ReportSettings("rgb"))
    assert 'id="members"' not in plain.page.read_text(encoding="utf-8")
