"""What a run was trained on, of the clips that it is evaluated on: so many, none, or unknown."""

from __future__ import annotations

import json

import pytest
from helpers.fake_run import make_run

from dancecli.model.evaluation.ensemble import EnsembleSettings, ensemble
from dancecli.report.board import BoardSettings, board
from dancecli.report.report import ReportSettings, report
from dancecli.report.results.run_results import read_run_results
from dancecli.report.results.submission import read_submission
from dancecli.report.submit import SubmitSettings, submit
from dancecli.storage.workspace import Workspace

LABELS = ("bounce", "slide", "turn", "wave")
Overlap = dict[str, dict[str, int]] | None


def overlap_of(videos: int) -> Overlap:
    return {
        "val": {"clips": 1, "n": 5, "videos": 1},
        "test": {"clips": videos + 1, "n": 12, "videos": videos},
    }


def evaluated(workspace: Workspace, name: str, *overlap: Overlap) -> None:
    """Make a run as `dance evaluate` does; without an overlap one that was trained."""
    make_run(workspace.root, LABELS, test=12, val=5, name=name, salt=name)
    path = workspace.run(name) / "run.json"
    record = json.loads(path.read_text())
    for one in overlap:
        record["evaluated"] = {"run": "before", "overlap": one}
    path.write_text(json.dumps(record))


def leaks(workspace: Workspace) -> dict[str, int | None]:
    return {
        row.name: row.leaked for one in board(workspace, BoardSettings()).leaderboards for row in one.rows
    }


def test_an_ensemble_leaks_what_its_members_leak(workspace: Workspace) -> None:
    evaluated(workspace, "little", overlap_of(2))
    evaluated(workspace, "much", overlap_of(7))
    evaluated(workspace, "trained")
    ensemble(workspace, EnsembleSettings(("little", "much", "trained"), name="three"))
    ensemble(workspace, EnsembleSettings(("little", "trained"), name="two"))
    ensemble(workspace, EnsembleSettings(("two", "trained"), name="nested"))
    wanted = {"little": 2, "much": 7, "trained": 0, "three": 7, "two": 2, "nested": 2}
    assert {name: read_run_results(workspace, name).shared_groups["test"] for name in wanted} == wanted
    assert leaks(workspace) == wanted
    made = report(workspace, ReportSettings(run="three"))
    for file in ("index.html", "model-card.md"):
        text = (made.page.parent / file).read_text()
        assert "7 source videos of this subset are also in the training set" in text
        assert "none of which is in the training set" not in text


def test_a_submitted_ensemble_says_what_its_members_leak(workspace: Workspace) -> None:
    evaluated(workspace, "leaking", overlap_of(3))
    evaluated(workspace, "trained")
    ensemble(workspace, EnsembleSettings(("leaking", "trained"), name="both"))
    file = submit(workspace, SubmitSettings("both", name="ours", out=workspace.root / "ours.zip"))[0].file
    assert read_submission(file).results.shared_groups["test"] == 3


@pytest.mark.parametrize("alone", [True, False])
def test_what_is_not_known_is_not_none(workspace: Workspace, alone: bool) -> None:
    evaluated(workspace, "blind", None)
    evaluated(workspace, "leaking", overlap_of(3))
    ensemble(workspace, EnsembleSettings(("blind", "leaking"), name="both"))
    name = "blind" if alone else "both"
    assert read_run_results(workspace, name).shared_groups == {"val": None, "test": None}
    assert leaks(workspace)[name] is None
    found = board(workspace, BoardSettings())
    told = {row["run"]: row for one in found.document["leaderboards"] for row in one["runs"]}
    assert told[name]["leaked_videos"] is None
    assert '<b class="bad">unknown</b>' in found.page.read_text()
    made = report(workspace, ReportSettings(run=name))
    assert made.document["subsets"]["test"]["videos_also_in_training"] is None
    for file in ("index.html", "model-card.md"):
        text = (made.page.parent / file).read_text()
        assert "It is unknown whether source videos of this subset are also in the training set" in text
        assert "none of which is in the training set" not in text
