from __future__ import annotations

from contextlib import ExitStack

import pytest
from helpers.fake_run import make_run

from dancecli.core.errors import WorkspaceError
from dancecli.model.evaluation import ensemble as fusing
from dancecli.model.evaluation.ensemble import EnsembleSettings, ensemble
from dancecli.model.evaluation.scored_runs import new_run
from dancecli.storage.workspace import Workspace

LABELS = ("bounce", "slide", "turn", "wave")
ONE, OTHER = ("rgb", "flow"), ("flow", "rgb")


@pytest.fixture
def two_runs(workspace: Workspace) -> Workspace:
    for name in ONE:
        make_run(workspace.root, LABELS, test=8, name=name, salt=name)
    return workspace


def meanwhile(monkeypatch: pytest.MonkeyPatch, work: object) -> None:
    """Let another evaluation run from start to end while one computes its scores."""
    compute = fusing._fused

    def computing(*given):
        monkeypatch.setattr(fusing, "_fused", compute)
        work()
        return compute(*given)

    monkeypatch.setattr(fusing, "_fused", computing)


def test_of_two_evaluations_at_once_both_are_kept(two_runs, monkeypatch):
    others = []
    meanwhile(monkeypatch, lambda: others.append(ensemble(two_runs, EnsembleSettings(OTHER))))
    mine = ensemble(two_runs, EnsembleSettings(ONE))
    for result, members in ((mine, ONE), (others[0], OTHER)):
        assert fusing.rec.read_record(two_runs, result.name)["model"]["members"] == list(members)
    assert {mine.name, others[0].name} == {"ensemble-demo-1", "ensemble-demo-2"}


def test_a_name_that_another_evaluation_was_given_is_refused(two_runs, monkeypatch):
    def work() -> None:
        with pytest.raises(WorkspaceError, match="another 'run-both' is at work"):
            ensemble(two_runs, EnsembleSettings(OTHER, name="both"))

    meanwhile(monkeypatch, work)
    assert ensemble(two_runs, EnsembleSettings(ONE, name="both")).name == "both"
    with pytest.raises(WorkspaceError, match="run 'both' exists already"):
        ensemble(two_runs, EnsembleSettings(OTHER, name="both"))


def test_a_run_that_is_finished_between_the_look_and_the_lock_keeps_its_name(workspace, monkeypatch):
    lock = Workspace.lock

    def late(self: Workspace, what: str):
        workspace.run("x-1").mkdir(parents=True, exist_ok=True)
        return lock(self, what)

    monkeypatch.setattr(Workspace, "lock", late)
    with new_run(workspace, None, "x") as name:
        assert name == "x-2"


def test_the_name_is_free_again_when_an_evaluation_fails(workspace):
    with pytest.raises(KeyboardInterrupt), new_run(workspace, None, "x"):
        raise KeyboardInterrupt
    with new_run(workspace, None, "x") as name:
        assert name == "x-1"


def test_what_a_killed_evaluation_left_is_no_run(workspace):
    workspace.run("x-1").mkdir(parents=True)
    (workspace.run("x-1") / "predictions.parquet").write_bytes(b"PAR1")
    with ExitStack() as held:
        assert held.enter_context(new_run(workspace, None, "x")) == "x-2"
        assert held.enter_context(new_run(workspace, "x-1", "y")) == "x-1"


def test_looking_for_a_name_holds_nothing(workspace):
    with new_run(workspace, None, "x", dry_run=True) as one, new_run(workspace, None, "x") as other:
        assert one == other == "x-1"
    with new_run(workspace, None, "x", dry_run=True):
        pass
    assert not workspace.run("x-1").exists()
