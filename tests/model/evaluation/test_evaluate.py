from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from dancecli.core.errors import ModelError, WorkspaceError
from dancecli.core.progress import Reporter
from dancecli.core.records import Clip, Prediction, SplitClip
from dancecli.model.dataloading.split_data import load_split
from dancecli.model.evaluation.ensemble import EnsembleSettings, ensemble
from dancecli.model.evaluation.evaluate import EvaluateSettings, evaluate, find_overlap
from dancecli.model.runs.finetune import FinetuneSettings, finetune
from dancecli.report.results.run_results import read_run_results
from dancecli.storage import tables


@pytest.fixture
def workspace(corpus, tiny_recipe, tiny_model):
    workspace = corpus()
    settings = FinetuneSettings(
        pretrain=str(tiny_model), weights="none", freeze="4", recipe=str(tiny_recipe), epochs=1, name="run"
    )
    finetune(workspace, settings)
    return workspace


def scores(workspace, run, part="test"):
    rows = tables.read(workspace.run(run) / "predictions.parquet", Prediction)
    return {row.clip_id: row.scores for row in rows if row.subset == part}


def test_a_run_is_evaluated_again_as_a_run_of_its_own(workspace, corpus):
    same = evaluate(workspace, EvaluateSettings())
    assert same.name == "run-eval-1"
    assert same.record["model"]["of_run"] == "run"
    trained = json.loads((workspace.run("run") / "run.json").read_text())
    assert (same.record["seed"], same.record["optim"]) == (trained["seed"], trained["optim"])
    assert same.record["optim"]["epochs"] > 0
    for part in ("val", "test"):
        before, now = scores(workspace, "run", part), scores(workspace, same.name, part)
        assert before.keys() == now.keys()
        assert all(now[clip] == pytest.approx(before[clip], abs=1e-4) for clip in before)
    wide = evaluate(workspace, EvaluateSettings(run="run", num_clips=2, num_crops=3))
    assert wide.record["views"]["test"] == "8x1 frames, 2 clips x 3 crops 64, short side 64"
    assert scores(workspace, wide.name) != scores(workspace, same.name)
    # Said already: nothing runs, and the last run made is not the one that trained.
    assert not evaluate(workspace, EvaluateSettings(num_clips=2, num_crops=3)).fresh
    fused = ensemble(workspace, EnsembleSettings(("run", wide.name)))
    assert " + " in fused.record["views"]["test"]


def test_an_evaluation_is_of_its_validation_clips(workspace):
    path = workspace.annotations("small") / "val.txt"
    one, other = path.read_text().splitlines(True)
    for listed, count in ((one, 1), (other, 1), (one + other, 2)):
        path.write_text(listed)
        result = evaluate(workspace, EvaluateSettings(run="run"))
        assert (result.fresh, result.record["results"]["val"]["n"]) == (True, count)
    assert not evaluate(workspace, EvaluateSettings(run="run")).fresh


def test_several_processes_give_the_scores_of_one(workspace):
    progress = []
    wide = EvaluateSettings(run="run", num_clips=2, processes=2)
    evaluate(
        workspace, replace(wide, name="two"), Reporter(lambda now: progress.append((now.done, now.text)))
    )
    shared = {part: scores(workspace, "two", part) for part in ("val", "test")}
    # An evaluation that is there already would be given again.
    shutil.rmtree(workspace.run("two"))
    assert evaluate(workspace, replace(wide, name="one", processes=1)).fresh
    for part, found in shared.items():
        alone = scores(workspace, "one", part)
        assert alone.keys() == found.keys()
        assert all(found[clip] == pytest.approx(alone[clip], abs=1e-5) for clip in alone)
    assert {(2, "evaluating · val"), (3, "evaluating · test")} <= set(progress)


def test_clips_of_another_split_that_the_run_was_trained_on_are_counted(workspace, corpus):
    corpus(val=0, test=8, name="other")
    said = []
    record = evaluate(
        workspace, EvaluateSettings(run="run", split="other"), Reporter(on_message=said.append)
    ).record
    assert record["evaluated"]["overlap"] == {
        "val": {"clips": 0, "n": 0, "videos": 0},
        "test": {"clips": 5, "n": 8, "videos": 5},
    }
    assert any(
        "5 of 8 test clips are from videos that run run was trained on or chose its epoch by" in line
        for line in said
    )
    found = read_run_results(workspace, record["name"])
    assert found.shared_groups == {"test": 5}
    # What it was trained on are the clips of its own split.
    assert record["evaluated"]["trained"]["split"] == "small"
    assert found.train_counts == (3, 2, 2)
    assert record["split"]["name"] == "other"
    # Under other groups it is the source videos that tell.
    trained = json.loads((workspace.run("run") / "run.json").read_text())
    path = workspace.split("other")
    meta, rows = tables.read_meta(path), tables.read(path, SplitClip)
    tables.write(path, SplitClip, [replace(row, group=f"group of {row.clip_id}") for row in rows], meta)
    overlap = find_overlap(workspace, trained, load_split(workspace, "other"))
    assert overlap["test"] == {"clips": 5, "n": 8, "videos": 5}
    # And under other source videos, the groups.
    tables.write(path, SplitClip, rows, meta)
    clips = tables.read(workspace.clips, Clip)
    tables.write(workspace.clips, Clip, [replace(clip, video_id=f"of {clip.clip_id}") for clip in clips])
    overlap = find_overlap(workspace, trained, load_split(workspace, "other"))
    assert overlap["test"] == {"clips": 5, "n": 8, "videos": 5}
    tables.write(workspace.clips, Clip, clips)
    assert (record["results"]["val"], record["results"]["test"]["n"]) == (None, 8)
    corpus(val=1, test=1)  # the split of the run is another now
    said.clear()
    evaluate(
        workspace,
        EvaluateSettings(run="run", split="other", name="blind"),
        reporter=Reporter(on_message=said.append),
    )
    assert any("it is unknown" in line for line in said)
    # What is not known is not taken for none, nor by an ensemble.
    fused = ensemble(workspace, EnsembleSettings((record["name"], "blind")))
    for name in ("blind", fused.name):
        found = read_run_results(workspace, name)
        assert (found.shared_groups, found.train_counts) == ({"test": None}, (0, 0, 0))


def test_what_cannot_be_evaluated_is_refused(workspace, corpus):
    corpus(name="strange")
    path = workspace.run("run") / "run.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "labels": ["bouncing", "turning", "sliding"]}))
    with pytest.raises(ModelError, match="class 1 of run 'run' is 'turning', that of split 'strange'"):
        evaluate(workspace, EvaluateSettings(split="strange"))
    path.write_text(json.dumps({**record, "labels": ["bouncing"]}))
    with pytest.raises(ModelError, match="has 1 labels, split 'strange' has 3"):
        evaluate(workspace, EvaluateSettings(split="strange"))
    with pytest.raises(WorkspaceError, match="no run 'other'"):
        evaluate(workspace, EvaluateSettings(run="other"))


def test_the_command_takes_runs_as_they_are_named(workspace, dance, tmp_path):
    where = ("--workspace", str(workspace.root))
    first = dance("evaluate", *where, "--num-crops", "3", "--name", "wide", "--json")
    assert first.code == 0, first.err
    assert first.json["model"]["of_run"] == "run"
    fused = dance("evaluate", *where, "--ensemble", "run", "wide")
    assert fused.code == 0, fused.err
    assert "ensemble-small-1" in fused.out
    for args, said in (
        (("run", "wide"), "2 runs are named"),
        (("--baseline", "kinetics600"), "unknown baseline 'kinetics600'"),
        (("--baseline", "kinetics400", "--run", "run"), "not run 'run'"),
        (("--ensemble", "run"), "at least two runs, not 1"),
    ):
        refused = dance("evaluate", *where, *args)
        assert refused.code == 2
        assert said in refused.err
