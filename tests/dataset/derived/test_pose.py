from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import clip_workspace, pose_networks
from helpers.builders import Ran

from dancecli.core.errors import ModelError, WorkspaceError
from dancecli.core.hashing import sha256_file
from dancecli.core.progress import Progress, Reporter
from dancecli.core.records import Clip, ClipPose
from dancecli.core.video_files import clip_path
from dancecli.dataset.derived.pose import PoseSettings, pose
from dancecli.dataset.derived.pose_preview import preview
from dancecli.dataset.quality.verify import verify
from dancecli.dataset.upkeep.remove import remove
from dancecli.storage import tables
from dancecli.storage.pose_files import BLAZEPOSE, read_pose
from dancecli.storage.workspace import Workspace
from dancecli.video.decode import decode
from dancecli.video.pose.weights import PoseWeights

networks = pose_networks.networks

NUM_FRAMES = 30
# Portraits in a clip, by its number; nobody is in the first, which is `clip_workspace`'s.
SCENES = {1: [100], 2: [20, 320]}


@pytest.fixture(scope="session")
def person_files(tmp_path_factory: pytest.TempPathFactory, clip_files: list[Path]) -> list[Path]:
    folder = tmp_path_factory.mktemp("people")
    made = [clip_files[0]]
    for number, lefts in SCENES.items():
        made.append(folder / f"{number}.mp4")
        pose_networks.write_person_clip(made[-1], lefts, NUM_FRAMES)
    return made


clip_files = clip_workspace.clip_files


@pytest.fixture
def stage(
    workspace: Workspace, person_files: list[Path], networks: PoseWeights, monkeypatch: pytest.MonkeyPatch
) -> Workspace:
    """A workspace of three clips: nobody, one person, two people."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(workspace.root.parent / "cache"))
    kept = workspace.root.parent / "cache" / "dancecli" / "weights"
    shutil.copytree(networks.landmarks.parent, kept)
    clip_workspace.populate(workspace, person_files)
    return workspace


SETTINGS = PoseSettings(workers=1)


def clips(workspace: Workspace) -> list[Clip]:
    return tables.read(workspace.clips, Clip)


def rows(workspace: Workspace) -> list[ClipPose]:
    return tables.read(workspace.poses, ClipPose)


def test_poses_are_recorded_with_their_facts(stage: Workspace) -> None:
    seen: list[Progress] = []
    result = pose(stage, SETTINGS, Reporter(seen.append))
    nobody, one, two = clips(stage)
    assert (result.num_clips, result.made, result.has_detector) == (3, 2, True)
    assert result.failed == ((nobody.clip_id, "nobody was found in it"),)
    assert (result.people, result.num_frames) == (((1, 1), (2, 1)), 30)
    assert seen[-1] == Progress(40, 40, "2 made, 1 without result")
    without, first, second = rows(stage)
    assert (without.path, without.reason) == ("", "nobody was found in it")
    assert (first.people, first.frames, second.people) == (1, 15, 2)
    for clip, row in ((one, first), (two, second)):
        path = stage.root / row.path
        assert row.path == clip_path("pose", f"{clip.clip_id}.npz")
        assert (row.sha256, row.num_bytes, row.of_sha256) == (
            *(sha256_file(path), path.stat().st_size),
            clip.sha256,
        )
        assert row.method == "blazepose-full-1, detector, up to 2 people"
        assert row.engine.startswith("litert-")
        assert row.agreement > 0.7
    stored = read_pose(stage.root / first.path)
    assert stored.frame_index.tolist() == list(range(0, NUM_FRAMES, 2))
    # The picture moves a pixel a frame.
    nose = stored.keypoints[0, :, BLAZEPOSE.index("nose"), 0]
    assert nose[-1] - nose[0] == pytest.approx(28, abs=4)


def test_running_again_is_free_and_another_number_of_people_is_not(stage: Workspace) -> None:
    pose(stage, SETTINGS)
    stamps = {path.name: path.stat().st_mtime_ns for path in (stage.root / "pose").rglob("*.npz")}
    again = pose(stage, SETTINGS)
    assert (again.made, len(again.failed), again.num_frames) == (0, 1, 30)
    assert stamps == {path.name: path.stat().st_mtime_ns for path in (stage.root / "pose").rglob("*.npz")}
    assert pose(stage, replace(SETTINGS, people=1, dry_run=True)).made == 3
    alone = pose(stage, replace(SETTINGS, people=1))
    assert (alone.made, alone.people) == (2, ((1, 2),))


def test_a_changed_clip_a_lost_file_and_a_cut_one_are_done_again(
    stage: Workspace, person_files: list[Path]
) -> None:
    pose(stage, SETTINGS)
    _, lost, cut = clips(stage)
    (stage.root / clip_path("pose", f"{lost.clip_id}.npz")).unlink()
    os.truncate(stage.root / clip_path("pose", f"{cut.clip_id}.npz"), 100)
    assert pose(stage, SETTINGS).made == 2
    shutil.copyfile(person_files[2], stage.root / lost.path)
    facts = {"num_bytes": person_files[2].stat().st_size, "sha256": sha256_file(person_files[2])}
    tables.write(stage.clips, Clip, [replace(c, **facts) if c == lost else c for c in clips(stage)])
    assert pose(stage, SETTINGS).people == ((2, 2),)


def test_poses_of_before_are_deleted_when_nobody_is_found(stage: Workspace, person_files: list[Path]) -> None:
    pose(stage, SETTINGS)
    _, emptied, _ = clips(stage)
    path = stage.root / clip_path("pose", f"{emptied.clip_id}.npz")
    assert path.exists()
    shutil.copyfile(person_files[0], stage.root / emptied.path)
    facts = {
        "num_frames": decode(person_files[0]).num_frames,
        "num_bytes": person_files[0].stat().st_size,
        "sha256": sha256_file(person_files[0]),
    }
    changed = [replace(clip, **facts) if clip == emptied else clip for clip in clips(stage)]
    tables.write(stage.clips, Clip, changed)
    assert len(pose(stage, SETTINGS).failed) == 2
    assert not path.exists()


def test_a_clip_that_is_gone_is_a_row_and_is_tried_again(stage: Workspace) -> None:
    _, gone, _ = clips(stage)
    content = (stage.root / gone.path).read_bytes()
    (stage.root / gone.path).unlink()
    result = pose(stage, SETTINGS)
    assert result.made == 1
    assert dict(result.failed)[gone.clip_id].endswith("is missing or was changed since it was committed")
    (stage.root / gone.path).write_bytes(content)
    assert pose(stage, SETTINGS).made == 1


def test_augmented_clips_are_left_out(stage: Workspace) -> None:
    parent = clips(stage)[1]
    copy = replace(parent, clip_id=f"{parent.clip_id}.hflip", parent_id=parent.clip_id, op="hflip")
    tables.write(stage.clips, Clip, [*clips(stage), copy])
    assert pose(stage, replace(SETTINGS, dry_run=True)).num_clips == 3


def test_errors_are_one_sentence(stage: Workspace, tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="no split 'nix'"):
        pose(stage, replace(SETTINGS, split="nix"))
    (tmp_path / "other.tflite").write_bytes(b"TFL3")
    with pytest.raises(ModelError, match="not the reviewed weights"):
        pose(stage, replace(SETTINGS, weights=tmp_path / "other.tflite"))
    stage.clips.unlink()
    with pytest.raises(WorkspaceError, match="no clips to find poses in"):
        pose(stage, SETTINGS)


def test_verify_and_remove_cover_poses(stage: Workspace) -> None:
    pose(stage, SETTINGS)
    _, one, two = clips(stage)
    assert verify(stage).num_poses == 2
    (stage.root / clip_path("pose", f"{two.clip_id}.npz")).write_bytes(b"changed")
    assert verify(stage).changed == (f"{two.clip_id}.pose",)
    removed = remove(stage, [one.clip_id], "a request")
    path = clip_path("pose", f"{one.clip_id}.npz")
    assert path in removed.files
    assert not (stage.root / path).exists()
    assert one.clip_id not in {row.clip_id for row in rows(stage)}
    assert one.clip_id not in (stage.root / "manifests" / "pose.jsonl").read_text()


def test_the_preview_is_a_sheet_and_a_clip(stage: Workspace) -> None:
    drawn = preview(stage, SETTINGS)
    assert drawn.sheet.read_bytes()[:4] == b"\x89PNG"
    assert drawn.clip is not None
    facts = decode(drawn.clip)
    assert (facts.num_frames, facts.width, facts.height) == (15, 560, 256)
    assert [reason for _, reason in drawn.without] == ["nobody was found in it"]
    assert not stage.poses.exists()


def test_the_command_prints_totals_and_exits_with_3(stage: Workspace, dance: Callable[..., Ran]) -> None:
    ran = dance("pose", "--workers", "1")
    assert ran.code == 3
    assert "poses of 3 clips: 2 found now · litert-" in ran.out
    assert "clips by people: 1 person in 1, 2 people in 1 · main dancer in 100.0% of 30 frames" in ran.out
    assert "nobody was found in it" in ran.err
    document = json.loads(dance("pose", "--json").out)
    assert (document["made"], len(document["failed"])) == (0, 1)
