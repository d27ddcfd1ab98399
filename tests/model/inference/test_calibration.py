"""Sets of styles and unknown clips in `dance predict`, by the validation clips of a run."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from dancecli.core.errors import UsageError, WorkspaceError
from dancecli.core.records import Prediction, SplitClip, Subset
from dancecli.core.statistics.calibration import set_threshold, tempered
from dancecli.model.dataloading.split_data import load_split
from dancecli.model.inference.calibration import calibrate
from dancecli.model.inference.predict import PredictSettings, predict
from dancecli.model.networks.heads.unknown import (
    FARTHEST,
    Detector,
    detector_of_state,
    fit_detector,
    fit_neighbors,
    fit_reduced_detector,
)
from dancecli.model.runs.finetune import FinetuneSettings, finetune
from dancecli.storage import tables


@pytest.fixture
def workspace(corpus, tiny_recipe, tiny_model):
    text = tiny_recipe.read_text()
    tiny_recipe.write_text("".join(line for line in text.splitlines(True) if not line.startswith("views")))
    workspace = corpus(val=5, test=2)
    finetune(
        workspace,
        FinetuneSettings(
            pretrain=str(tiny_model),
            weights="none",
            freeze="4",
            recipe=str(tiny_recipe),
            name="run",
            head="knn",
        ),
    )
    return workspace


def record_of(workspace, run="run"):
    return json.loads((workspace.run(run) / "run.json").read_text())


def test_a_clip_gets_its_set_its_distance_and_a_row(workspace, tmp_path):
    val = [
        r for r in tables.read(workspace.run("run") / "predictions.parquet", Prediction) if r.subset == "val"
    ]
    group = {row.clip_id: row.group for row in tables.read(workspace.split("small"), SplitClip)}
    groups = [group[row.clip_id] for row in val]
    assert len(set(groups)) == 5
    least = set_threshold([row.scores for row in val], [row.label_index for row in val], groups, 0.8)
    stored = torch.load(workspace.run("run") / "unknown.pth", weights_only=True)
    assert len(stored["distances"]) == len(set(stored["groups"].tolist())) == 9
    ids = [example.clip_id for example in load_split(workspace, "small").examples[Subset.VAL]]
    distance_of = dict(zip(ids, stored["distances"].tolist()[-5:], strict=True))
    content = (workspace.run("run") / "unknown.pth").read_bytes()
    assert not any(clip_id.encode() in content for clip_id in group), "a removed clip is not named in it"
    clips = tuple(workspace.clip(row.clip_id) for row in val)
    document = predict(workspace, PredictSettings(clips, run="run", sets=0.8, unknown=0.2)).document
    assert document["calibration"]["sets"] == {
        "level": 0.8, "least_probability": pytest.approx(least), "clips": 5, "groups": 5,
    }  # fmt: skip
    # Of nine groups of one clip each, the eighth of ten places. One training clip has no other of its class.
    farthest = sorted(stored["distances"].tolist())[7]
    assert document["calibration"]["unknown"] == {
        "rate": 0.2, "farthest": pytest.approx(farthest), "clips": 9, "groups": 9,
    }  # fmt: skip
    covered = 0
    for row, video in zip(val, document["videos"], strict=True):
        distance = distance_of[row.clip_id]
        expected = [document["labels"][i] for i, p in enumerate(row.scores) if p >= least]
        assert sorted(video["set"]) == sorted(expected)
        covered += document["labels"][row.label_index] in video["set"]
        # The clip goes through the whole network here, and was read from the cache there.
        assert video["distance"] == pytest.approx(distance, abs=1e-4)
        # Rounded to six digits in the file.
        assert video["unknown"] == (video["distance"] > farthest + 1e-6)
    assert covered >= 4
    plain = predict(workspace, PredictSettings(clips, run="run")).document["videos"][0]
    assert "set" not in plain
    assert "unknown" not in plain


def test_a_long_video_has_a_set_per_window_and_segment(workspace, tmp_path, write_film):
    film = tmp_path / "long.mkv"
    write_film(film, 1, 5, frames=12 * 7)
    result = predict(workspace, PredictSettings((film,), run="run", sets=0.8, unknown=0.2))
    video = result.document["videos"][0]
    for part in (video, *video["windows"], *video["segments"]):
        assert isinstance(part["set"], list)
        assert isinstance(part["unknown"], bool)
    table = next(file for file in result.timelines if file.suffix == ".csv")
    rows = list(csv.DictReader(table.open()))
    assert list(rows[0]) == ["start_s", "end_s", "label", "probability", "set", "unknown", "recording"]
    assert rows[0]["set"] == "; ".join(video["segments"][0]["set"])


def test_too_small_a_val_is_said_with_what_would_be_enough(workspace):
    record = record_of(workspace)
    larger = "dance split --ratios 60/20/20, then dance finetune --set validation=held-out"
    for level, rate, count, needed, possible, advice in (
        (0.9, None, 5, 9, "with 5 groups at most --sets 0.83", larger),
        (0.95, None, 5, 19, "with 5 groups at most --sets 0.83", larger),
        (None, 0.05, 9, 19, "with 9 groups at least --unknown 0.1", "train on more source videos"),
    ):
        said = rf"has {count} groups \(source videos\) .* needs {needed}"
        with pytest.raises(WorkspaceError, match=said) as error:
            calibrate(workspace, "run", record, level, rate)
        assert possible in error.value.hint
        assert advice in error.value.hint
    # What is said to be possible is.
    assert calibrate(workspace, "run", record, 0.83, None).level == 0.83
    assert calibrate(workspace, "run", record, None, 0.1).rate == 0.1
    with pytest.raises(UsageError, match="--sets 1 is not between 0 and 1"):
        calibrate(workspace, "run", record, 1.0, None)
    with pytest.raises(WorkspaceError, match="a checkpoint alone has no validation clips"):
        calibrate(workspace, None, {}, 0.8, None)
    with pytest.raises(WorkspaceError, match="split 'small' has changed since run 'run'"):
        calibrate(workspace, "run", {**record, "split": {**record["split"], "hash": "other"}}, 0.8, None)
    (workspace.run("run") / "unknown.pth").unlink()
    with pytest.raises(WorkspaceError, match="has no distances by which unknown clips are told"):
        calibrate(workspace, "run", record, None, 0.2)


def test_a_run_without_validation_clips_is_told_both_steps(workspace):
    path = workspace.run("run") / "predictions.parquet"
    kept = [row for row in tables.read(path, Prediction) if row.subset != Subset.VAL]
    tables.write(path, Prediction, kept, tables.read_meta(path))
    with pytest.raises(WorkspaceError, match="kept no validation clips apart") as error:
        calibrate(workspace, "run", record_of(workspace), 0.9, None)
    assert "dance split --ratios 60/20/20, then dance finetune --set validation=held-out" in error.value.hint
    assert "needs 9 groups" in error.value.hint


def test_distances_of_an_earlier_version_are_said_to_be_so(workspace):
    file = workspace.run("run") / "unknown.pth"
    stored = torch.load(file, weights_only=True)
    for key in ("detector", "distances", "groups"):
        torch.save({name: value for name, value in stored.items() if name != key}, file)
        with pytest.raises(WorkspaceError, match=r"^run 'run' has distances of another version$") as caught:
            calibrate(workspace, "run", record_of(workspace), None, 0.2)
        assert caught.value.hint == "train again"
    del stored["detector"]["principal"]
    torch.save(stored, file)
    with pytest.raises(WorkspaceError, match="has distances of another version"):
        calibrate(workspace, "run", record_of(workspace), None, 0.2)


def test_the_temperature_of_a_run_is_applied(workspace):
    clip = workspace.clip("vid00_0_2000")
    plain = predict(workspace, PredictSettings((clip,), run="run")).document["videos"][0]["scores"]
    path = workspace.run("run") / "run.json"
    path.write_text(json.dumps({**record_of(workspace), "calibration": {"temperature": 2.0}}))
    soft = predict(workspace, PredictSettings((clip,), run="run")).document
    assert soft["calibration"]["temperature"] == 2.0
    assert soft["videos"][0]["scores"] == pytest.approx(tempered(plain, 2.0), abs=1e-4)


@pytest.mark.parametrize(("clips", "width"), [(60, 100), (200, 20)])
def test_the_distance_tells_a_class_apart_that_was_not_trained_on(clips, width):
    rng = np.random.default_rng(0)
    means = rng.normal(0, 1, (6, width))
    # What most differs between clips has nothing to do with their class.
    nuisance = rng.normal(0, 1.5, (2, width))

    def draw(label, n):
        clutter = rng.normal(0, 1, (n, 2)) @ nuisance + rng.normal(0, 0.3, (n, width))
        return torch.from_numpy(means[label] + clutter)

    labels = torch.arange(clips) % 5
    detector = fit_detector(torch.cat([draw(int(label), 1) for label in labels]), labels)
    known = torch.cat([draw(label, 40) for label in range(5)])
    unknown = draw(5, 200)
    limit = detector.distance(known).quantile(0.95)
    assert (detector.distance(unknown) > limit).double().mean() > 0.8
    # Without whitening the clutter hides the classes.
    plain = replace(
        detector,
        basis=torch.zeros(width, 1).double(),
        variance=torch.ones(1).double(),
        ridge=1.0,
        means=_means(known, detector.center),
        weight=0.0,
    )
    assert (plain.distance(unknown) > plain.distance(known).quantile(0.95)).double().mean() < 0.5
    # What lies outside the directions of the training clips counts too, half as much as the cosine.
    train = torch.cat([draw(int(label), 1) for label in labels])
    fitted = fit_detector(train, labels)
    centered = (train - train.mean(0)).numpy()
    basis = np.linalg.svd(centered, full_matrices=False)[2][: min(64, clips // 2, width // 2)]
    left = np.linalg.norm(centered - centered @ basis.T @ basis, axis=1)
    cosines = 1 - fit_detector(train, labels, residual=0.0).distance(train).numpy()
    expected = 1 - cosines + left * 0.5 * cosines.mean() / left.mean()
    assert np.allclose(fitted.distance(train).numpy(), expected, atol=1e-6)
    again = Detector.of_state(detector.state)
    assert torch.allclose(again.distance(unknown), detector.distance(unknown), atol=1e-5)


def test_long_vectors_are_told_apart_in_the_directions_of_the_training_clips():
    rng = np.random.default_rng(0)
    means = rng.normal(0, 0.25, (6, 3000))

    def draw(label, n):
        found = means[label] + rng.normal(0, 0.5, (n, 3000))
        return torch.from_numpy(found / np.linalg.norm(found, axis=1, keepdims=True)).float()

    labels = torch.arange(60) % 5
    train = torch.cat([draw(int(label), 1) for label in labels])
    detector = fit_reduced_detector(train, labels)
    known, unknown = torch.cat([draw(label, 40) for label in range(5)]), draw(5, 200)
    limit = detector.distance(known).quantile(0.95)
    assert (detector.distance(unknown) > limit).double().mean() > 0.9
    assert torch.allclose(detector.directions @ detector.directions.T, torch.eye(59), atol=1e-4)
    again = detector_of_state(detector.state)
    assert torch.allclose(again.distance(unknown), detector.distance(unknown), atol=1e-5)
    # Twice the same clips have no more directions.
    assert fit_reduced_detector(train.repeat(2, 1), labels.repeat(2)).directions.shape == (59, 3000)


def test_the_distance_of_few_measures_is_that_from_the_third_neighbor():
    rng = np.random.default_rng(0)
    labels = torch.arange(40) % 2
    # Classes far apart, and a measure in which no clips differ.
    train = torch.from_numpy(rng.normal(3, [1, 5, 0.1], (40, 3))) + 50.0 * labels[:, None]
    train = torch.cat([train, torch.full((40, 1), 7.0)], 1)
    detector = fit_neighbors(train, labels)
    new = torch.from_numpy(rng.normal(3, [1, 5, 0.1], (6, 3)))
    new = torch.cat([new, torch.full((6, 1), 7.0)], 1)
    inside = torch.cat([train[labels == k] - train[labels == k].mean(0) for k in (0, 1)])
    spread = inside.std(0, correction=0)
    spread[3] = torch.inf

    def scaled(rows):
        return ((rows - train.mean(0)) / spread).clamp(-10, 10)

    def unit(rows):
        off = scaled(rows) - scaled(train).mean(0)
        return off / off.norm(dim=1, keepdim=True)

    third = [sorted(torch.linalg.norm(unit(train) - row, dim=1).tolist())[2] for row in unit(new)]
    assert detector.distance(new).tolist() == pytest.approx(third)
    # Where training clips do not differ, others may.
    assert torch.equal(detector.distance(new + torch.tensor([0, 0, 0, 1e-4])), detector.distance(new))
    # One measure that is far out does not hide the others.
    assert (detector.distance(new + torch.tensor([0, 0, 1e9, 0])) < FARTHEST).all()
    assert detector.distance(torch.full((1, 4), torch.nan)).tolist() == [FARTHEST]
    with_gaps = torch.cat([train, torch.full((2, 4), torch.nan)])
    same = fit_neighbors(with_gaps, torch.cat([labels, torch.tensor([0, 5])]))
    assert torch.equal(same.distance(new), detector.distance(new))
    again = detector_of_state(detector.state)
    assert torch.equal(again.distance(new), detector.distance(new))
    assert fit_neighbors(train[:2], labels[:2]).distance(train[:2]).shape == (2,)


def test_measures_in_which_clips_hardly_differ_together_tell_nothing():
    rng = np.random.default_rng(1)
    # 60 measures of 40 movements: each of the last 20 says what one of the first does, but for a little.
    moves = torch.from_numpy(rng.normal(size=(300, 40)))
    noise = 0.01 * torch.from_numpy(rng.normal(size=(300, 20)))
    detector = fit_neighbors(torch.cat([moves, moves[:, :20] + noise], 1), torch.arange(300) % 3)
    assert detector.directions.shape == (60, 40)
    new = torch.from_numpy(rng.normal(size=(5, 40)))
    without, otherwise = (torch.cat([new, new[:, :20] + shift], 1) for shift in (0.0, 0.02))
    assert torch.allclose(detector.distance(without), detector.distance(otherwise), atol=0.02)
    apart = torch.cat([new[:, :20] + 1, new[:, 20:], new[:, :20] + 1], 1)
    assert not torch.allclose(detector.distance(without), detector.distance(apart), atol=0.02)


def _means(known, center):
    return torch.nn.functional.normalize((known - center).view(5, 40, -1).mean(1), dim=1)
