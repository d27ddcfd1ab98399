from __future__ import annotations

import json
import math

import pytest
from helpers.fake_run import make_run

from dancecli.core.errors import ModelError, UsageError, WorkspaceError
from dancecli.core.records import Prediction
from dancecli.model.evaluation.ensemble import EnsembleSettings, ensemble, weights_of_val
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace

LABELS = ("bounce", "slide", "turn", "wave")


@pytest.fixture
def two_runs(workspace: Workspace) -> Workspace:
    for i, name in enumerate(("rgb", "flow")):
        make_run(workspace.root, LABELS, test=12, val=5, name=name, salt=name, skill=1.0 + i)
    return workspace


def scores(workspace: Workspace, run: str) -> dict[str, tuple[float, ...]]:
    rows = tables.read(workspace.run(run) / "predictions.parquet", Prediction)
    return {row.clip_id: row.scores for row in rows}


def change(workspace: Workspace, run: str, **changes: object) -> None:
    path = workspace.run(run) / "run.json"
    record = json.loads(path.read_text())
    for key, value in changes.items():
        record[key] = {**record[key], **value} if isinstance(value, dict) else value
    path.write_text(json.dumps(record))


def test_scores_are_the_members_mean_and_the_record_names_its_evidence(two_runs):
    result = ensemble(two_runs, EnsembleSettings(("rgb", "flow")))
    record = json.loads((two_runs.run("ensemble-demo-1") / "run.json").read_text())
    assert result.name == record["name"] == "ensemble-demo-1"
    assert (record["model"]["pretrain"], record["model"]["members"]) == ("ensemble", ["rgb", "flow"])
    assert [m["pretrain"] for m in record["members"]] == ["inception"] * 2
    rgb, flow, fused = (scores(two_runs, run) for run in ("rgb", "flow", result.name))
    assert fused.keys() == rgb.keys()
    for clip, found in fused.items():
        assert found == pytest.approx([(a + b) / 2 for a, b in zip(rgb[clip], flow[clip], strict=True)])
    hits = sum(row.index(max(row)) == i % 4 for i, row in enumerate(list(fused.values())[-12:]))
    assert record["results"]["test"] == {"n": 12, "top1": hits, "top5": 12}
    assert record["results"]["val"]["n"] == 5
    assert record["views"]["test"] == "32x2 frames, 1 clip x 1 center crop 224"
    meta = tables.read_meta(two_runs.run(result.name) / "predictions.parquet")
    assert meta["test.hash"] == record["split"]["test_hash"]


def test_the_same_ensemble_is_made_once(two_runs):
    named = EnsembleSettings(("rgb", "flow"), name="both")
    assert ensemble(two_runs, named).fresh
    assert not ensemble(two_runs, named).fresh
    assert ensemble(two_runs, EnsembleSettings(("rgb", "flow"))).name == "both"
    assert ensemble(two_runs, EnsembleSettings(("flow", "rgb"))).name == "ensemble-demo-1"
    with pytest.raises(WorkspaceError, match="run 'rgb' exists already"):
        ensemble(two_runs, EnsembleSettings(("rgb", "flow"), name="rgb"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": ["bounce", "slide", "wave", "turn"]}, "class 2 is 'turn' in one and 'wave' in the other"),
        ({"labels": ["bounce"]}, "4 and 1 classes"),
        ({"split": {"test_hash": "ab" * 32}}, "different test clips"),
        ({"split": {"hash": "cd" * 32}}, "not their split"),
    ],
)
def test_runs_that_were_not_evaluated_alike_are_refused(two_runs, changes, said):
    change(two_runs, "flow", **changes)
    with pytest.raises(ModelError, match=said) as caught:
        ensemble(two_runs, EnsembleSettings(("rgb", "flow")))
    assert "'rgb' and 'flow'" in caught.value.message
    assert two_runs.runs() == ["rgb", "flow"]


def test_an_ensemble_needs_two_runs_that_are_done(two_runs):
    with pytest.raises(UsageError, match="at least two runs, not 1"):
        ensemble(two_runs, EnsembleSettings(("rgb",)))
    with pytest.raises(UsageError, match="'rgb' is named twice"):
        ensemble(two_runs, EnsembleSettings(("rgb", "flow", "rgb")))
    with pytest.raises(WorkspaceError, match="no run 'rbg'"):
        ensemble(two_runs, EnsembleSettings(("rgb", "rbg")))
    change(two_runs, "flow", status="failed")
    with pytest.raises(WorkspaceError, match="'flow' is not complete"):
        ensemble(two_runs, EnsembleSettings(("rgb", "flow")))


def test_what_one_run_has_no_scores_for_is_left_out_and_said(two_runs):
    path = two_runs.run("flow") / "predictions.parquet"
    rows, meta = tables.read(path, Prediction), tables.read_meta(path)
    kept = {key: value for key, value in meta.items() if not key.startswith("dance.")}
    tables.write(path, Prediction, [row for row in rows if row.subset == "test"], kept)
    change(two_runs, "flow", views={"test": "64x1 frames, 1 clip x 1 center crop 224"})
    result = ensemble(two_runs, EnsembleSettings(("rgb", "flow")))
    assert result.record["results"]["val"] is None
    assert "val subset" in result.notes[0]
    assert result.record["views"]["test"].count(" + ") == 1
    tables.write(path, Prediction, [row for row in rows if row.subset == "test"][1:], kept)
    with pytest.raises(ModelError, match="scores of different clips"):
        ensemble(two_runs, EnsembleSettings(("rgb", "flow")))


def test_weights_are_those_under_which_val_is_most_likely(two_runs):
    result = ensemble(two_runs, EnsembleSettings(("rgb", "flow"), weighted=True))
    weights = result.record["model"]["member_weights"]
    assert sum(weights) == pytest.approx(1, abs=1e-3)
    # The second run is the more skilled one.
    assert weights[1] > weights[0] > 0
    assert [member["weight"] for member in result.record["members"]] == weights
    assert result.record["model"]["title"].startswith("weighted mean of the scores of rgb (0.")
    rgb, flow, fused = (scores(two_runs, run) for run in ("rgb", "flow", result.name))
    for clip, found in fused.items():
        pairs = zip(rgb[clip], flow[clip], strict=True)
        assert found == pytest.approx([weights[0] * a + weights[1] * b for a, b in pairs], abs=1e-3)
    # The plain mean is another ensemble.
    assert ensemble(two_runs, EnsembleSettings(("rgb", "flow"))).name != result.name


def test_the_weights_of_a_mixture_are_at_the_maximum():
    rows = [[0.9, 0.2], [0.8, 0.1], [0.1, 0.7], [0.9, 0.3], [0.6, 0.5]] * 40
    found = weights_of_val(rows)

    def loss(first: float) -> float:
        # One clip of prior for each member.
        return -sum(math.log(first * a + (1 - first) * b) for a, b in rows) - math.log(first * (1 - first))

    best = min((i / 1000 for i in range(1, 1000)), key=loss)
    assert found[0] == pytest.approx(best, abs=2e-3)
    assert weights_of_val([[0.5, 0.5, 0.5]]) == [0.3333] * 3
    assert min(weights_of_val([[1.0, 0.0]] * 3)) > 0.1


def test_runs_without_val_cannot_be_weighed(workspace):
    for name in ("a", "b"):
        make_run(workspace.root, LABELS, test=12, name=name, salt=name)
    with pytest.raises(ModelError, match="the runs cannot be weighed"):
        ensemble(workspace, EnsembleSettings(("a", "b"), weighted=True))
