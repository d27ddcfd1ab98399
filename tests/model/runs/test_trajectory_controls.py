"""`evaluate --control` of a run on trajectories, and what such a run has no answer to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.builders import Ran
from helpers.kept_workspace import furnish

from dancecli.core.errors import ModelError, WorkspaceError
from dancecli.core.records import Clip, ClipPose, Control, Prediction, SplitClip, Trajectories
from dancecli.dataset.derived.trajectories import TrajectoriesSettings, trajectories
from dancecli.model.runs.trajectories import TrajectoryModel, train_on_trajectories
from dancecli.model.runs.trajectory_controls import controlled_pictures, evaluate_trajectory_controls
from dancecli.storage import tables
from dancecli.storage.pose_files import COCO, Pose, pose_of, write_pose
from dancecli.storage.runs import RunFolder
from dancecli.storage.workspace import Workspace
from dancecli.video.trajectories.estimate import VideoTrajectories

EVERY = tuple(Control)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tracked")


@pytest.fixture
def stage(corpus: Callable[..., Workspace], kept: Path) -> Workspace:
    """Twelve tracked clips, and a run on them."""

    def make(made: Workspace) -> None:
        trajectories(made, TrajectoriesSettings(workers=1))
        train_on_trajectories(made, TrajectoryModel(size=4, name="tracks"))

    return furnish(corpus(), kept, make)


def evaluated_clips(workspace: Workspace) -> list[Clip]:
    """The records of the test clips."""
    subset = {row.clip_id: row.subset for row in tables.read(workspace.split("small"), SplitClip)}
    return [clip for clip in tables.read(workspace.clips, Clip) if subset[clip.clip_id] == "test"]


def store_poses(workspace: Workspace, listed: list[Clip]) -> None:
    """Store a body that fills most of the picture, in every third frame."""
    from dancecli.core.hashing import sha256_file

    rows = []
    for clip in listed:
        numbers = np.arange(0, 24, 3, dtype=np.int32)
        points = np.empty((1, len(numbers), 17, 2), np.float32)
        points[..., 0] = np.linspace(20, 68, 17)
        points[..., 1] = np.linspace(10, 62, 17)
        path = pose_of(workspace.root / clip.path)
        path.parent.mkdir(exist_ok=True, parents=True)
        with path.open("wb") as file:
            write_pose(file, Pose(COCO, points, np.ones(points.shape[:3], np.float32), numbers, 72, 88, 24))
        name = path.relative_to(workspace.root).as_posix()
        facts = (clip.sha256, "m", "e", 1, 8, 8, 1.0, 1.0)
        rows.append(ClipPose(clip.clip_id, name, sha256_file(path), path.stat().st_size, *facts))
    tables.write(workspace.poses, ClipPose, rows)


def scores(workspace: Workspace, control: Control | None = None) -> dict[str, tuple[float, ...]]:
    """Read the scores of the test clips, as they are or under a control."""
    folder = RunFolder(workspace.run("tracks"))
    rows = tables.read(folder.controlled(control) if control else folder.predictions, Prediction)
    return {row.clip_id: row.scores for row in rows if row.subset == "test"}


def look(workspace: Workspace, *controls: Control) -> tuple[Control, ...]:
    return evaluate_trajectory_controls(workspace, "tracks", controls, VideoTrajectories).computed


def test_a_run_on_trajectories_is_evaluated_under_controls_once(
    stage: Workspace, dance: Callable[..., Ran]
) -> None:
    clips = evaluated_clips(stage)
    with pytest.raises(ModelError, match="control person: 3 of 3 clips have no poses"):
        look(stage, Control.REVERSED, Control.PERSON)
    assert not RunFolder(stage.run("tracks")).controlled_folder.exists()
    store_poses(stage, clips)
    where = ("--workspace", str(stage.root))
    ran = dance("evaluate", *where, "--run", "tracks", "--control", ",".join(EVERY), "--json")
    assert ran.code == 0, ran.err
    assert "still: nothing moves in a still, so that all clips get the same answer" in ran.err
    assert {c["control"]: c["under"]["n"] for c in ran.json["controls"]} == dict.fromkeys(EVERY, 3)
    plain = scores(stage)
    for control in (Control.REVERSED, Control.SHUFFLED, Control.BACKGROUND):
        assert all(scores(stage, control)[clip] != pytest.approx(plain[clip], abs=1e-6) for clip in plain)
    # The body covers nearly all that moves: what is left is gray, and the way of the square.
    assert set(scores(stage, Control.PERSON)) == set(plain)
    still = list(scores(stage, Control.STILL).values())
    assert still[0] == still[1] == still[2] == scores(stage, Control.ONE_FRAME)[clips[0].clip_id]
    assert look(stage, *EVERY) == ()
    again = dance("evaluate", *where, "--run", "tracks", "--control", "still")
    assert "these controls were evaluated already" in again.err
    report = dance("report", *where, "--run", "tracks")
    assert report.code == 0, report.err
    assert "What it looks at" in (stage.report("tracks") / "index.html").read_text()


def test_nothing_moves_in_a_still(stage: Workspace) -> None:
    """The answer under `still` is given without tracking: tracking it finds nothing."""
    video = VideoTrajectories(stage.root / evaluated_clips(stage)[0].path, "idt-1, dis flow, up to 1,000")
    pictures = [picture for _, _, picture in video.frames()]
    assert len(video.describe(pictures)["shape"]) > 0
    assert len(video.describe([pictures[20]] * len(pictures))["shape"]) == 0


def test_pictures_are_ordered_anew_and_people_or_the_rest_taken_out(stage: Workspace) -> None:
    path = stage.root / evaluated_clips(stage)[0].path
    frames = [(float(i), np.full((72, 88), 10 * i, np.uint8)) for i in range(20)]

    def values(control: Control) -> list[int]:
        pictures, order = controlled_pictures(control, path, frames)
        assert [int(picture[0, 0]) for picture in pictures] == [10 * i for i in order]
        return order

    assert values(Control.REVERSED) == list(range(19, -1, -1))
    assert sorted(values(Control.SHUFFLED)) == list(range(20)) != values(Control.SHUFFLED)
    store_poses(stage, evaluated_clips(stage))
    person, order = controlled_pictures(Control.PERSON, path, frames)
    assert order == list(range(20))
    assert [int(picture[36, 44]) for picture in person] == [10 * i for i in range(20)]
    assert {int(picture[0, 0]) for picture in person} == {128}
    lit = [(0.0, np.where(np.arange(88) == 44, 255, 7).astype(np.uint8)[None].repeat(72, axis=0))]
    background, _ = controlled_pictures(Control.BACKGROUND, path, lit)
    assert background[0][36, 44] == 7
    assert background[0][0, 44] == 255


def test_other_trajectories_and_other_poses_are_refused(stage: Workspace) -> None:
    clips = evaluated_clips(stage)
    store_poses(stage, clips)
    trajectories(stage, TrajectoriesSettings(workers=1))
    pose_of(stage.root / clips[0].path).write_bytes(pose_of(stage.root / clips[1].path).read_bytes() + b" ")
    with pytest.raises(ModelError, match="has changed since the clip was tracked"):
        look(stage, Control.REVERSED)
    rows = tables.read(stage.trajectories, Trajectories)
    tables.write(stage.trajectories, Trajectories, [replace(rows[0], sha256="0" * 64), *rows[1:]])
    with pytest.raises(WorkspaceError, match="the trajectories have changed since run tracks"):
        look(stage, Control.REVERSED)


def test_what_a_run_on_trajectories_has_no_answer_to_is_said(
    stage: Workspace, dance: Callable[..., Ran]
) -> None:
    where = ("--workspace", str(stage.root))
    for command in (
        ("export", "--run", "tracks", "--format", "onnx"),
        ("export", "--run", "tracks"),
        ("features", "--run", "tracks"),
    ):
        ran = dance(*command, *where)
        assert ran.code == 1
        assert "run 'tracks' is a model of dense trajectories, and no network" in ran.err
        assert "trajectories.npz: numpy.load and dance predict --checkpoint read it" in " ".join(
            ran.err.split()
        )
    assert not (stage.root / "exports").exists()
