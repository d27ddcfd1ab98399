"""The step that computes trajectories: what it stores, what it does again, and what it does not."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import clip_workspace

from dancecli.core.errors import InputError, UsageError, WorkspaceError
from dancecli.core.hashing import sha256_file
from dancecli.core.progress import Progress, Reporter
from dancecli.core.records import Clip, ClipPose, Trajectories
from dancecli.core.video_files import clip_path
from dancecli.dataset.derived.pose_worker import commit_pose
from dancecli.dataset.derived.trajectories import TrajectoriesSettings, trajectories
from dancecli.dataset.quality.verify import verify
from dancecli.dataset.upkeep.clean import CleanSettings, Kind, clean
from dancecli.dataset.upkeep.remove import remove
from dancecli.storage import tables
from dancecli.storage.pose_files import COCO, Pose
from dancecli.storage.trajectory_files import WIDTHS, read_trajectories
from dancecli.storage.workspace import Workspace
from dancecli.video.ffmpeg import run_ffmpeg
from dancecli.video.trajectories.estimate import MOST_STORED, draw

clip_files = clip_workspace.clip_files
SETTINGS = TrajectoriesSettings(workers=1)
METHOD = "idt-1, dis flow, up to 1,000"


@pytest.fixture(scope="session")
def moving_files(tmp_path_factory: pytest.TempPathFactory, clip_files: list[Path]) -> list[Path]:
    """A clip whose picture is a still, and two with many small things that move."""
    folder = tmp_path_factory.mktemp("moving")
    sources = [
        "mandelbrot=size=128x96:rate=25:start_scale=2:end_scale=2",
        "life=size=64x48:mold=10:rate=25:ratio=0.1:seed=3,gblur=1,scale=128:96",
    ]
    made = []
    for i, source in enumerate(sources):
        path = folder / f"{i}.mp4"
        length = ["-frames:v", "20", "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p"]
        run_ffmpeg(["-f", "lavfi", "-i", source, *length, "-threads", "1", str(path)])
        made.append(path)
    return [*made, clip_files[4]]


@pytest.fixture
def stage(workspace: Workspace, moving_files: list[Path]) -> Workspace:
    clip_workspace.populate(workspace, moving_files)
    return workspace


def clips(workspace: Workspace) -> list[Clip]:
    return tables.read(workspace.clips, Clip)


def rows(workspace: Workspace) -> list[Trajectories]:
    return tables.read(workspace.trajectories, Trajectories)


def file_of(workspace: Workspace, clip: Clip) -> Path:
    return workspace.root / clip_path("trajectories", f"{clip.clip_id}.npz")


def give_pose(workspace: Workspace, clip: Clip, left: float) -> None:
    joints = np.full((1, 1, 17, 2), left, np.float32)
    pose = Pose(COCO, joints, np.ones((1, 1, 17), np.float32), np.zeros(1, np.int32), 96, 128, 20)
    row = commit_pose(workspace.root, clip, pose, method="imported, COCO", engine="x.json")
    tables.write(workspace.poses, ClipPose, [row])


def test_trajectories_are_recorded_with_their_facts(stage: Workspace) -> None:
    seen: list[Progress] = []
    result = trajectories(stage, SETTINGS, Reporter(seen.append))
    still, moving, _ = clips(stage)
    reason = "nothing moves for 15 frames beyond the camera's motion"
    assert (result.method, result.num_clips, result.made) == (METHOD, 3, 3)
    assert result.failed == ((still.clip_id, reason),)
    assert seen[-1] == Progress(61, 61, "2 made, 1 without result")
    without, row, other = rows(stage)
    assert (without.path, without.stored, without.reason) == ("", 0, reason)
    path = file_of(stage, moving)
    assert (row.path, row.sha256, row.num_bytes, row.of_sha256) == (
        *(path.relative_to(stage.root).as_posix(), sha256_file(path), path.stat().st_size),
        moving.sha256,
    )
    stored = read_trajectories(path)
    assert 0 < row.stored <= row.found
    assert {len(values) for values in stored.values()} == {row.stored}
    assert result.stored == row.stored + other.stored
    assert result.num_bytes == row.num_bytes + other.num_bytes


def test_the_same_clip_gives_the_same_file(stage: Workspace) -> None:
    trajectories(stage, SETTINGS)
    before = [row.sha256 for row in rows(stage)]
    shutil.rmtree(stage.root / "trajectories")
    assert trajectories(stage, SETTINGS).made == 2
    assert [row.sha256 for row in rows(stage)] == before


def test_running_again_is_free(stage: Workspace) -> None:
    trajectories(stage, SETTINGS)
    files = sorted((stage.root / "trajectories").rglob("*.npz"))
    stamps = [path.stat().st_mtime_ns for path in files]
    again = trajectories(stage, SETTINGS)
    assert (again.made, len(again.failed)) == (0, 1)
    assert [path.stat().st_mtime_ns for path in files] == stamps
    assert trajectories(stage, replace(SETTINGS, flow="farneback", dry_run=True)).made == 3


def test_what_is_lost_cut_or_of_another_file_is_done_again(
    stage: Workspace, moving_files: list[Path]
) -> None:
    trajectories(stage, SETTINGS)
    still, lost, cut = clips(stage)
    file_of(stage, lost).unlink()
    os.truncate(file_of(stage, cut), 100)
    assert trajectories(stage, SETTINGS).made == 2
    # The clip that moved is another one now, in which nothing moves.
    shutil.copyfile(stage.root / still.path, stage.root / lost.path)
    facts = {"num_bytes": still.num_bytes, "sha256": still.sha256}
    tables.write(stage.clips, Clip, [replace(c, **facts) if c == lost else c for c in clips(stage)])
    assert len(trajectories(stage, SETTINGS).failed) == 2
    assert not file_of(stage, lost).exists()


def test_other_poses_are_taken_into_account(stage: Workspace) -> None:
    _, moving, _ = clips(stage)
    assert trajectories(stage, SETTINGS).with_poses == 0
    for left in (40.0, 80.0):
        give_pose(stage, moving, left)
        again = trajectories(stage, SETTINGS)
        assert (again.made, again.with_poses) == (1, 1)
        assert trajectories(stage, SETTINGS).made == 0
    (stage.root / clip_path("pose", f"{moving.clip_id}.npz")).unlink()
    assert trajectories(stage, replace(SETTINGS, dry_run=True)).made == 1


def test_a_clip_that_is_gone_is_a_row_and_is_tried_again(stage: Workspace) -> None:
    _, gone, _ = clips(stage)
    content = (stage.root / gone.path).read_bytes()
    (stage.root / gone.path).unlink()
    result = trajectories(stage, SETTINGS)
    assert dict(result.failed)[gone.clip_id].endswith("is missing or was changed since it was committed")
    (stage.root / gone.path).write_bytes(content)
    assert trajectories(stage, SETTINGS).made == 1


def test_errors_are_one_sentence(stage: Workspace) -> None:
    with pytest.raises(WorkspaceError, match="no split 'nix'"):
        trajectories(stage, replace(SETTINGS, split="nix"))
    with pytest.raises(UsageError, match="'nix' is not a flow method"):
        trajectories(stage, replace(SETTINGS, flow="nix"))
    stage.clips.unlink()
    with pytest.raises(WorkspaceError, match="no clips to track points in"):
        trajectories(stage, SETTINGS)


def test_verify_remove_and_clean_cover_trajectories(stage: Workspace) -> None:
    trajectories(stage, SETTINGS)
    _, one, two = clips(stage)
    assert verify(stage).num_trajectories == 2
    file_of(stage, two).write_bytes(b"changed")
    assert verify(stage).changed == (f"{two.clip_id}.trajectories",)
    removed = remove(stage, [one.clip_id], "a request")
    assert file_of(stage, one).relative_to(stage.root).as_posix() in removed.files
    assert not file_of(stage, one).exists()
    assert one.clip_id not in {row.clip_id for row in rows(stage)}
    assert one.clip_id not in (stage.root / "manifests" / "trajectories.jsonl").read_text()
    orphan = file_of(stage, one)
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"left")
    found = clean(stage, CleanSettings(kinds=(Kind.ORPHANS,)))
    assert [item.path for item in found.items] == [orphan.relative_to(stage.root).as_posix()]


def test_a_sample_is_bounded_and_depends_on_the_name_alone() -> None:
    drawn = draw("CLIP", 5000, MOST_STORED)
    assert len(drawn) == MOST_STORED
    assert (np.diff(drawn) > 0).all()
    assert (draw("CLIP", 5000, MOST_STORED) == drawn).all()
    assert (draw("OTHER", 5000, MOST_STORED) != drawn).any()
    # About as many of each part of the clip.
    assert np.histogram(drawn, 5, (0, 5000))[0].min() > 160
    assert draw("CLIP", 3, MOST_STORED).tolist() == [0, 1, 2]


@pytest.mark.parametrize("fault", ["missing", "text", "width", "nan", "lacking"])
def test_a_file_that_holds_no_trajectories_is_refused(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "x.npz"
    rows = {name: np.zeros((2, width)) for name, width in WIDTHS.items()}
    if fault == "width":
        rows["hof"] = np.zeros((2, 96))
    if fault == "nan":
        rows["hog"][1, 3] = np.nan
    if fault == "lacking":
        del rows["mbhy"]
    if fault == "text":
        path.write_text("no archive")
    elif fault != "missing":
        np.savez(path, **rows)
    with pytest.raises(InputError) as caught:
        read_trajectories(path)
    assert str(path) in caught.value.message
