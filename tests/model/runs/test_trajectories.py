"""`train --model idt` and `--model bag`: runs like all others, on the trajectories of moving squares."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.builders import Ran
from helpers.kept_workspace import furnish

from dancecli.core.errors import MissingDependencyError, ModelError, UsageError, WorkspaceError
from dancecli.core.hashing import sha256_file
from dancecli.core.progress import Progress, Reporter
from dancecli.core.records import Clip, Prediction, Trajectories
from dancecli.dataset.derived.trajectories import TrajectoriesSettings, trajectories
from dancecli.model.evaluation.ensemble import EnsembleSettings, ensemble
from dancecli.model.inference.predict import PredictSettings, predict
from dancecli.model.runs.trajectories import (
    PROTOCOL,
    TrajectoryModel,
    default_size,
    evaluate_trajectories,
    size_of,
    train_on_trajectories,
)
from dancecli.storage import tables
from dancecli.storage.runs import read_record
from dancecli.storage.workspace import Workspace
from dancecli.video.trajectories.estimate import VideoTrajectories

SETTINGS = TrajectoryModel(size=4)


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the first test to need them has tracked."""
    return tmp_path_factory.mktemp("tracked")


@pytest.fixture
def stage(corpus: Callable[..., Workspace], kept: Path) -> Workspace:
    """Twelve clips that were tracked: seven to train on, two of val, three of test."""
    return furnish(corpus(), kept, lambda made: trajectories(made, TrajectoriesSettings(workers=1)))


@pytest.mark.parametrize(("kind", "unit"), [("idt", "gaussians"), ("bag", "words")])
def test_a_model_of_trajectories_is_a_run_like_all_others(stage: Workspace, kind: str, unit: str) -> None:
    seen: list[Progress] = []
    result = train_on_trajectories(stage, replace(SETTINGS, kind=kind), Reporter(seen.append))
    record = read_record(stage, f"{kind}-small-1")
    assert result.record == record
    assert (record["status"], record["model"]["pretrain"], record["seed"]) == ("done", kind, 0)
    assert record["views"]["test"] == PROTOCOL
    assert record["trajectories"][unit] == 4
    assert record["results"]["val"]["n"] == 2
    assert record["results"]["test"] == {"n": 3, "top1": 3, "top5": 3}
    rows = tables.read(stage.run(result.name) / "predictions.parquet", Prediction)
    assert all(sum(row.scores) == pytest.approx(1) for row in rows)
    assert (seen[-1].done, seen[-1].total, seen[-1].text) == (5, 5, "scoring")


@pytest.mark.parametrize("kind", ["idt", "bag"])
def test_the_model_that_was_kept_gives_the_same_scores(stage: Workspace, kind: str) -> None:
    run = train_on_trajectories(stage, replace(SETTINGS, kind=kind)).name
    again = evaluate_trajectories(stage, run)
    assert again.name == f"{run}-eval-1"
    assert again.record["model"]["of_run"] == run
    rows = [tables.read(stage.run(name) / "predictions.parquet", Prediction) for name in (run, again.name)]
    assert [(row.clip_id, row.scores) for row in rows[0]] == [(row.clip_id, row.scores) for row in rows[1]]
    assert not evaluate_trajectories(stage, run).fresh
    # Both stand in an ensemble like any other run.
    fused = ensemble(stage, EnsembleSettings((run, again.name)))
    assert fused.record["results"] == again.record["results"]


@pytest.mark.parametrize("kind", ["idt", "bag"])
def test_a_clip_is_predicted_as_it_was_evaluated(stage: Workspace, kind: str) -> None:
    run = train_on_trajectories(stage, replace(SETTINGS, kind=kind)).name
    rows = tables.read(stage.run(run) / "predictions.parquet", Prediction)[:2]
    clips = tuple(stage.clip(row.clip_id) for row in rows)
    found = predict(stage, PredictSettings(clips, run=run, tracks_of=VideoTrajectories))
    for row, video in zip(rows, found.document["videos"], strict=True):
        assert video["scores"] == pytest.approx(row.scores, abs=1e-6)
    by_file = stage.run(run) / "trajectories.npz"
    other = predict(stage, PredictSettings(clips, checkpoint=by_file, tracks_of=VideoTrajectories))
    assert other.document["videos"][0]["scores"] == found.document["videos"][0]["scores"]
    with pytest.raises(UsageError, match="is a model of trajectories"):
        predict(stage, PredictSettings(clips, run=run))


@pytest.mark.parametrize("kind", ["idt", "bag"])
def test_clips_are_called_unknown_by_the_vectors_of_clips_that_were_held_out(
    stage: Workspace, kind: str
) -> None:
    import torch

    from dancecli.model.inference.calibration import calibrate
    from dancecli.model.networks.heads.unknown import ReducedDetector

    run = train_on_trajectories(stage, replace(SETTINGS, kind=kind)).name
    stored = torch.load(stage.run(run) / "unknown.pth", weights_only=True)
    assert len(stored["distances"]) == len(set(stored["groups"].tolist())) == 9
    content = (stage.run(run) / "unknown.pth").read_bytes()
    assert not any(row.clip_id.encode() in content for row in tables.read(stage.clips, Clip))
    rows = tables.read(stage.run(run) / "predictions.parquet", Prediction)
    val = sorted(row.clip_id for row in rows if row.subset == "val")
    settings = PredictSettings(
        tuple(stage.clip(name) for name in val), run=run, unknown=0.2, tracks_of=VideoTrajectories
    )
    found = predict(stage, settings).document
    # Those of val come last, in the order of the list of val.
    distances = [video["distance"] for video in found["videos"]]
    assert distances == pytest.approx(stored["distances"].tolist()[-2:], abs=1e-4)
    limit = found["calibration"]["unknown"]["farthest"]
    assert [video["unknown"] for video in found["videos"]] == [distance > limit for distance in distances]
    calibration = calibrate(stage, run, read_record(stage, run), None, 0.2)
    assert isinstance(calibration.detector, ReducedDetector)
    (stage.run(run) / "unknown.pth").unlink()
    with pytest.raises(WorkspaceError, match="it was trained without torch") as caught:
        calibrate(stage, run, read_record(stage, run), None, 0.2)
    assert "dance train --model idt" in caught.value.hint


def test_without_torch_a_run_says_what_it_cannot_be_used_for(
    stage: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    result = train_on_trajectories(stage, SETTINGS)
    assert "without torch, dance predict --unknown cannot use it" in result.notes
    assert not (stage.run(result.name) / "unknown.pth").exists()


def test_a_file_that_holds_no_model_is_named(stage: Workspace) -> None:
    import numpy as np

    run = train_on_trajectories(stage, SETTINGS).name
    path = stage.run(run) / "trajectories.npz"
    with np.load(path, allow_pickle=False) as stored:
        whole = {name: stored[name] for name in stored.files}
    content = path.read_bytes()
    assert not any(row.clip_id.encode() in content for row in tables.read(stage.clips, Clip))

    def refused() -> str:
        with pytest.raises(ModelError) as raised:
            evaluate_trajectories(stage, run)
        assert raised.value.message.startswith(f"{path}: ")
        return raised.value.message

    np.savez(path, **{**whole, "svm.weights": whole["svm.weights"][:, 1:]})
    assert "vectors of" in refused()
    np.savez(path, **{**whole, "hog.means": np.full_like(whole["hog.means"], np.nan)})
    assert "hog.means are not finite numbers" in refused()
    np.savez(path, **{name: array for name, array in whole.items() if name != "hof.weights"})
    assert "hof.weights" in refused()
    np.savez(path, **{**whole, "facts": np.array({"kind": "idt"}, dtype=object)})
    assert "allow_pickle" in refused()
    path.write_bytes(content[:1000])
    assert "holds no model of trajectories" in refused()
    path.unlink()
    assert "no such file" in refused()


def test_trajectories_of_another_way_are_refused(stage: Workspace) -> None:
    run = train_on_trajectories(stage, SETTINGS).name
    name = change(stage, 3, method="idt-1, tvl1 flow, up to 1,000")
    with pytest.raises(ModelError, match=f"the trajectories of clip {name} are 'idt-1, tvl1 flow"):
        evaluate_trajectories(stage, run)


def test_the_commands_take_a_run_on_trajectories(stage: Workspace, dance: Callable[..., Ran]) -> None:
    where = ("--workspace", str(stage.root))
    train_on_trajectories(stage, replace(SETTINGS, name="tracks"))
    ran = dance("evaluate", *where, "--run", "tracks")
    assert ran.code == 0, ran.err
    assert "dance report --run tracks-eval-1" in ran.out
    assert dance("report", *where, "--run", "tracks-eval-1").code == 0
    refused = dance("evaluate", *where, "--run", "tracks", "--num-clips", "3")
    assert (refused.code, "run 'tracks' sees whole clips" in refused.err) == (2, True)
    clip = tables.read(stage.clips, Clip)[0]
    labeled = dance("predict", str(stage.root / clip.path), *where, "--run", "tracks", "--json")
    assert labeled.code == 0, labeled.err
    assert labeled.json["checkpoint"]["run"] == "tracks"


def test_training_again_is_free_and_another_seed_is_not(stage: Workspace) -> None:
    first = train_on_trajectories(stage, SETTINGS)
    again = train_on_trajectories(stage, SETTINGS)
    assert (again.name, again.fresh) == (first.name, False)
    other = train_on_trajectories(stage, replace(SETTINGS, seed=1))
    assert (other.name, other.fresh) == ("idt-small-2", True)
    assert train_on_trajectories(stage, replace(SETTINGS, size=2), dry_run=True).name == "idt-small-3"
    assert not stage.run("idt-small-3").exists()
    with pytest.raises(WorkspaceError, match="'idt-small-1' exists already"):
        train_on_trajectories(stage, replace(SETTINGS, size=2, name="idt-small-1"))


def test_the_same_seed_gives_the_same_scores(stage: Workspace) -> None:
    scores = []
    for _ in range(2):
        name = train_on_trajectories(stage, SETTINGS).name
        rows = tables.read(stage.run(name) / "predictions.parquet", Prediction)
        scores.append([row.scores for row in rows])
        shutil.rmtree(stage.run(name))
    assert scores[0] == scores[1]


def change(workspace: Workspace, number: int, **facts: object) -> str:
    """Change the record of a clip's trajectories."""
    rows = tables.read(workspace.trajectories, Trajectories)
    rows[number] = replace(rows[number], **facts)
    tables.write(workspace.trajectories, Trajectories, rows)
    return rows[number].clip_id


def test_clips_without_trajectories_are_not_trained_on_and_are_evaluated(stage: Workspace) -> None:
    change(stage, 0, path="", reason="nothing moves")
    change(stage, 11, path="", reason="nothing moves")
    result = train_on_trajectories(stage, SETTINGS)
    assert result.notes == (
        "1 of 7 train clips have no trajectories and are left out",
        "1 of 3 test clips have no trajectories and are classified without any",
    )
    assert result.record["results"]["test"]["n"] == 3
    assert result.record["split"]["counts"] == {"train": 6, "val": 2, "test": 3}


def test_clips_that_were_not_tracked_or_are_others_now_are_an_error(stage: Workspace) -> None:
    name = change(stage, 3, of_sha256="0" * 64)
    with pytest.raises(ModelError, match=f"1 of 12 clips have no trajectories, {name} is the first"):
        train_on_trajectories(stage, SETTINGS)
    stage.trajectories.unlink()
    with pytest.raises(ModelError, match="12 of 12 clips"):
        train_on_trajectories(stage, SETTINGS)


def test_a_broken_file_is_named(stage: Workspace) -> None:
    row = tables.read(stage.trajectories, Trajectories)[1]
    (stage.root / row.path).write_bytes(b"broken")
    with pytest.raises(ModelError, match="holds no trajectories"):
        train_on_trajectories(stage, SETTINGS)


def test_augmented_clips_are_left_out_and_counted(stage: Workspace) -> None:
    clips = tables.read(stage.clips, Clip)
    source = stage.root / clips[0].path
    copy = f"{clips[0].clip_id}.hflip"
    target = stage.augmented(clips[0].clip_id, "hflip")
    target.parent.mkdir(parents=True)
    shutil.copyfile(source, target)
    path = target.relative_to(stage.root).as_posix()
    made = replace(clips[0], clip_id=copy, parent_id=clips[0].clip_id, path=path, sha256=sha256_file(target))
    tables.write(stage.clips, Clip, [*clips, made])
    with (stage.annotations("small") / "train.txt").open("a") as file:
        file.write(f"{path} 0\n")
    result = train_on_trajectories(stage, SETTINGS, dry_run=True)
    assert result.record["counts"]["train"] == 7
    assert "1 augmented clips are left out: trajectories are of original clips" in result.notes


def test_sizes_follow_the_clips_up_to_the_published_ones() -> None:
    assert [default_size("idt", clips) for clips in (1, 7, 64, 217, 5000)] == [2, 2, 16, 32, 256]
    assert [default_size("bag", clips) for clips in (1, 217, 5000)] == [4, 868, 4000]


@pytest.mark.parametrize(
    "change", ["words=4", "gaussians=1", "gaussians=x", "gaussians=²", "gaussians", "lr=1"]
)
def test_settings_that_are_none_are_refused(change: str) -> None:
    with pytest.raises(UsageError):
        size_of("idt", [change])
    assert size_of("idt", ["gaussians=64"]) == 64
    assert size_of("bag", [" words = 9"]) == 9
    assert size_of("idt", []) is None


def test_more_gaussians_than_trajectories_are_an_error(stage: Workspace) -> None:
    with pytest.raises(UsageError, match="are too few for gaussians=100000"):
        train_on_trajectories(stage, replace(SETTINGS, size=100_000))


def test_without_scikit_learn_the_line_that_brings_it_is_told(
    stage: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sklearn.svm", None)
    with pytest.raises(MissingDependencyError) as caught:
        train_on_trajectories(stage, SETTINGS)
    assert "dancecli[idt]" in caught.value.hint


def test_the_command_tracks_trains_and_reports(stage: Workspace, dance: Callable[..., Ran]) -> None:
    shutil.rmtree(stage.root / "trajectories")
    stage.trajectories.unlink()
    where = ("--workspace", str(stage.root))
    planned = dance("train", *where, "--model", "idt", "--dry-run")
    assert (planned.code, planned.out) == (0, "12 of 12 clips would be tracked, then idt trained\n")
    ran = dance(
        "train", *where, "--model", "idt", "--workers", "1", "--set", "gaussians=4", "--name", "tracks"
    )
    assert ran.code == 0, ran.err
    assert "12 clips: 12 tracked now, 0 with people left out of the camera's motion" in ran.out
    assert f"run tracks: {PROTOCOL}" in ran.out
    assert "dance report --run tracks" in ran.out
    again = dance("train", *where, "--model", "idt", "--set", "gaussians=4", "--json")
    assert again.json["name"] == "tracks"
    assert "run tracks is already complete" in again.err
    assert dance("report", *where, "--run", "tracks").code == 0
    page = (stage.report("tracks") / "index.html").read_text()
    assert "linear SVM, trained on 7 clips of split" in page
    assert json.loads(dance("board", *where, "--json").out)["leaderboards"][0]["runs"][0]["run"] == "tracks"


def test_what_would_fail_in_the_end_fails_before_clips_are_tracked(
    stage: Workspace, dance: Callable[..., Ran]
) -> None:
    stage.trajectories.unlink()
    where = ("train", "--workspace", str(stage.root), "--model", "idt")
    assert "run name '../x' cannot be used" in dance(*where, "--name", "../x").err
    (stage.annotations("small") / "val.txt").unlink()
    ran = dance(*where)
    assert (ran.code, "val.txt: no such list" in ran.err) == (1, True)
    assert not stage.trajectories.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--model", "idt", "--stream", "rgb"), "--stream is for --model i3d"),
        (("--model", "bag", "--epochs", "3"), "--epochs is for --model i3d"),
        (("--workers", "2"), "--workers is for --model idt and bag"),
        (("--model", "nix"), "--model 'nix' is not a model"),
    ],
)
def test_options_of_the_other_kind_are_refused(
    dance: Callable[..., Ran], options: tuple[str, ...], message: str
) -> None:
    ran = dance("train", *options)
    assert ran.code == 2
    assert message in ran.err
