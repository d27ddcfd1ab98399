"""Controls take away what they say, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dancecli.cli.models.evaluate import command
from dancecli.core.errors import ModelError, UsageError, WorkspaceError
from dancecli.core.recipe import read_recipe
from dancecli.core.records import Clip, ClipPose, Control, Prediction
from dancecli.dataset.split.annotations import annotate
from dancecli.model.dataloading.controls import STILLS, controlled, only, person_boxes, without
from dancecli.model.dataloading.pipelines import test_pipeline as evaluation_pipeline
from dancecli.model.evaluation.controls import ControlSettings, evaluate_controls
from dancecli.model.networks.base import model_base
from dancecli.model.networks.zoo import find_entry
from dancecli.model.runs.finetune import FinetuneSettings, finetune
from dancecli.storage import tables
from dancecli.storage.pose_files import COCO, Pose, pose_of, write_pose
from dancecli.storage.runs import RunFolder


def store_poses(workspace, *, without=()):
    """Store a body around the way of a bouncing square, in every third frame."""
    rows = []
    for clip in tables.read(workspace.clips, Clip):
        if clip.clip_id in without:
            rows.append(ClipPose(clip.clip_id, "", "", 0, clip.sha256, "m", "e", 0, 0, 0, 0.0, 0.0, "nobody"))
            continue
        numbers = np.arange(0, 24, 3, dtype=np.int32)
        points = np.empty((1, len(numbers), 17, 2), np.float32)
        points[..., 0] = np.linspace(30, 42, 17) + numbers[None, :, None] / 12
        points[..., 1] = np.linspace(14, 58, 17)
        scores = np.ones(points.shape[:3], np.float32)
        path = pose_of(workspace.root / clip.path)
        path.parent.mkdir(exist_ok=True, parents=True)
        with path.open("wb") as file:
            write_pose(file, Pose(COCO, points, scores, numbers, 72, 88, 24))
        rows.append(
            ClipPose(clip.clip_id, f"pose/{path.name}", "f" * 64, 9, clip.sha256, "m", "e", 1, 8, 8, 1.0, 1.0)
        )
    tables.write(workspace.poses, ClipPose, rows)


@pytest.fixture
def seen(corpus, tiny_model, tiny_recipe):
    """Give what a network sees of a clip: frames [views, height, width, 3]."""
    import dancecli.model.dataloading.datasets  # noqa: F401 - registers the steps
    from dancecli.model.networks.mmaction import TRANSFORMS, init_default_scope

    init_default_scope("mmaction")
    workspace = corpus()
    base = model_base(find_entry(str(tiny_model)))
    steps = evaluation_pipeline(base, read_recipe(str(tiny_recipe)))
    bouncing, _, turning = (str(workspace.root / c.path) for c in tables.read(workspace.clips, Clip)[:3])

    def look(control=None, part=0, clip=bouncing):
        results = {"filename": clip, "label": 0, "start_index": 0, "modality": "RGB"}
        for step in controlled(steps, control, part) if control else steps:
            results = TRANSFORMS.build(dict(step))(results)
        found = results["inputs"].numpy()
        return found[0].transpose(1, 2, 3, 0).astype(int)

    look.workspace, look.bouncing, look.turning = workspace, Path(bouncing), turning
    return look


def test_frames_are_reversed_shuffled_and_stilled(seen):
    def look(control=None, part=0):
        return seen(control, part, seen.turning)

    plain = look()
    assert all(np.abs(plain[i] - plain[j]).max() > 60 for i in range(8) for j in range(i))
    assert (look(Control.REVERSED) == plain[::-1]).all()
    mixed = look(Control.SHUFFLED)
    places = [int(np.abs(plain - frame).sum(axis=(1, 2, 3)).argmin()) for frame in mixed]
    assert sorted(places) == list(range(8)) != places
    assert (look(Control.SHUFFLED) == mixed).all()
    for part in range(STILLS):
        assert (look(Control.STILL, part) == plain[2 * part + 1]).all()
    # Eight frames in a row from the middle of 24 are 8 to 15, and the middle one is 12.
    assert (look(Control.ONE_FRAME) == plain[4]).all()


def test_people_or_the_rest_are_taken_out_by_their_poses(seen):
    with pytest.raises(ModelError, match=r"holds no poses"):
        seen(Control.PERSON)
    store_poses(seen.workspace)
    plain, background, person = seen(), seen(Control.BACKGROUND), seen(Control.PERSON)
    # The square is far brighter than its ground, and within the box.
    assert plain.max() > 240
    assert background.max() < 140
    assert np.abs(background[:, :5] - plain[:, :5]).max() == 0
    assert (person[:, :5] == 128).all()
    assert person.max() == plain.max()


def test_boxes_hold_all_joints_with_a_margin_and_stay_in_the_picture(seen):
    store_poses(seen.workspace)
    boxes, numbers = person_boxes(seen.bouncing, (144, 176))
    assert numbers.tolist() == list(range(0, 24, 3))
    # A picture twice as large as that of the poses; the box is 44 pixels high, with 15 % of that around it.
    assert boxes[0].tolist() == pytest.approx([46.8, 14.8, 97.2, 129.2], abs=0.1)
    assert boxes[-1].tolist() == pytest.approx([50.3, 14.8, 100.7, 129.2], abs=0.1)


def test_a_filled_box_continues_what_is_beside_it():
    picture = np.repeat(np.arange(10, dtype=np.uint8)[None, :, None], 4, axis=0).repeat(3, axis=2) * 10
    filled = without(picture, np.array([3.0, 1.0, 7.0, 3.0]))
    assert filled[1, :, 0].tolist() == [0, 10, 20, 20, 10, 80, 70, 70, 80, 90]
    assert (filled[0] == picture[0]).all()
    one_side = without(picture, np.array([0.0, 0.0, 7.0, 4.0]))
    assert one_side[0, :, 0].tolist() == [70, 70, 80, 90, 90, 80, 70, 70, 80, 90]
    other = without(picture, np.array([8.0, 0.0, 10.0, 4.0]))
    assert other[0, :, 0].tolist() == [*range(0, 80, 10), 70, 60]
    assert (without(picture, np.array([0.0, 0.0, 10.0, 4.0])) == 128).all()
    kept = only(picture, np.array([6.0, 0.0, 8.0, 4.0]))
    assert kept[0, :, 0].tolist() == [128] * 6 + [60, 70] + [128] * 2


@pytest.fixture
def workspace(corpus, tiny_recipe, tiny_model):
    workspace = corpus()
    settings = FinetuneSettings(
        pretrain=str(tiny_model), weights="none", freeze="4", recipe=str(tiny_recipe), epochs=1, name="run"
    )
    finetune(workspace, settings)
    return workspace


def test_a_run_is_evaluated_under_controls_once(workspace, corpus, dance):
    every = (Control.STILL, Control.REVERSED, Control.BACKGROUND)
    with pytest.raises(ModelError, match="control background: 3 of 3 clips have no poses") as caught:
        evaluate_controls(workspace, ControlSettings("run", every))
    assert caught.value.hint == "run dance pose"
    folder = RunFolder(workspace.run("run"))
    assert not folder.controlled_folder.exists()
    tested = sorted(
        row.clip_id for row in tables.read(folder.predictions, Prediction) if row.subset == "test"
    )
    store_poses(workspace, without=tested[:1])
    where = ("--workspace", str(workspace.root))
    done = dance("evaluate", *where, "--run", "run", "--control", "still,reversed,background", "--json")
    assert done.code == 0, done.err
    assert "background: 1 test clip without poses left out" in done.err
    still, reverse, background = done.json["controls"]
    assert [still["under"]["n"], reverse["under"]["n"], background["under"]["n"]] == [3, 3, 2]
    rows = tables.read(folder.controlled(Control.STILL), Prediction)
    assert sorted(row.clip_id for row in rows) == tested
    assert all(sum(row.scores) == pytest.approx(1) for row in rows)
    plain = {row.clip_id: row.scores for row in tables.read(folder.predictions, Prediction)}
    assert any(row.scores != pytest.approx(plain[row.clip_id], abs=1e-6) for row in rows)
    record = json.loads(folder.record.read_text())
    assert record["results"]["test"]["n"] == 3

    assert evaluate_controls(workspace, ControlSettings("run", every)).computed == ()
    store_poses(workspace)
    assert evaluate_controls(workspace, ControlSettings(None, every)).computed == (Control.BACKGROUND,)
    _lose_a_clip(workspace, tested[0], every)
    corpus(val=1, test=1)
    with pytest.raises(WorkspaceError, match="split 'small' has changed"):
        evaluate_controls(workspace, ControlSettings("run", every))


def _lose_a_clip(workspace, clip_id, controls):
    """Without one of the test clips nothing is computed, and once it is back all goes on."""
    path = workspace.clip(clip_id)
    kept = path.rename(workspace.root / "kept.mp4")
    evaluated = RunFolder(workspace.run("run")).controlled(Control.SHUFFLED)
    settings = ControlSettings("run", (*controls, Control.SHUFFLED))
    with pytest.raises(WorkspaceError, match="file is missing") as caught:
        evaluate_controls(workspace, settings)
    assert caught.value.hint.startswith("bring it back")
    annotate(workspace, "small")
    told = r"other test clips \(2\) than run run was evaluated on \(3\)"
    with pytest.raises(WorkspaceError, match=told) as caught:
        evaluate_controls(workspace, settings)
    assert "dance annotate --split small" in caught.value.hint
    assert not evaluated.exists()
    kept.rename(path)
    annotate(workspace, "small")
    assert evaluate_controls(workspace, settings).computed == (Control.SHUFFLED,)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"control": "motion"}, "unknown control 'motion'"),
        ({"control": "still", "num_clips": 2}, "on its own test clips and views"),
        ({"control": "still", "ensemble": True, "runs": ["a", "b"]}, "on its own test clips and views"),
    ],
)
def test_what_cannot_be_controlled_is_refused(corpus, more, said):
    with pytest.raises(UsageError, match=said):
        command(workspace_dir=corpus().root, **more)
