from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.builders import Ran, fill, make_clip

from dancecli.core.records import Clip, ClipPose
from dancecli.dataset.derived.pose_import import fitted, import_poses
from dancecli.sources.pose_formats import ForeignPose
from dancecli.storage import tables
from dancecli.storage.pose_files import read_pose
from dancecli.storage.workspace import Workspace

LABELS = ("tap dancing",)


@pytest.fixture
def stage(workspace: Workspace) -> tuple[Workspace, list[Clip]]:
    """A workspace of three clips of 250 frames."""
    made = [make_clip(i) for i in (0, 3, 6)]
    fill(workspace, made, LABELS)
    return workspace, made


def foreign(frames: int = 250, x: float = 10, **facts: Any) -> ForeignPose:
    points = np.full((1, frames, 17, 2), x, np.float32)
    points[:, :, :, 0] += np.arange(frames)[None, :, None]
    return ForeignPose("any", "MMAction2", points, np.full(points.shape[:3], 0.5, np.float32), **facts)


def mmaction(path: Path, names: list[str], frames: int = 250) -> Path:
    one = foreign(frames)
    entries = [
        {
            "frame_dir": name,
            "img_shape": (256, 340),
            "total_frames": frames,
            "keypoint": one.keypoints.astype(np.float16),
            "keypoint_score": one.scores.astype(np.float16),
        }
        for name in names
    ]
    path.write_bytes(pickle.dumps({"split": {}, "annotations": entries}))
    return path


def test_poses_are_imported_for_the_clips_they_name(
    stage: tuple[Workspace, list[Clip]], tmp_path: Path
) -> None:
    workspace, (one, two, _) = stage
    source = mmaction(tmp_path / "poses.pkl", [one.clip_id, two.video_id, "stranger"])
    result = import_poses(workspace, source)
    assert result.imported == (("MMAction2", 2),)
    assert result.refused == (("poses.pkl: stranger", "names no clip of this workspace"),)
    assert (result.without, result.resampled) == (1, 0)
    first, _ = tables.read(workspace.poses, ClipPose)
    assert (first.clip_id, first.method, first.engine) == (one.clip_id, "imported, MMAction2", "poses.pkl")
    assert (first.people, first.frames, first.found_frames) == (1, 250, 250)
    stored = read_pose(workspace.root / first.path)
    assert stored.keypoints[0, 3, 0].tolist() == [13, 10]


def test_a_dry_run_writes_nothing(stage: tuple[Workspace, list[Clip]], tmp_path: Path) -> None:
    workspace, (one, *_) = stage
    result = import_poses(workspace, mmaction(tmp_path / "a.pkl", [one.clip_id]), dry_run=True)
    assert result.imported == (("MMAction2", 1),)
    assert not workspace.poses.exists()
    assert not (workspace.root / "pose").exists()


def test_a_broken_file_is_a_refusal_and_others_are_imported(
    stage: tuple[Workspace, list[Clip]], tmp_path: Path
) -> None:
    workspace, (one, *_) = stage
    mmaction(tmp_path / "b.pkl", [one.clip_id])
    (tmp_path / "a.json").write_text("{")
    result = import_poses(workspace, tmp_path)
    assert result.imported == (("MMAction2", 1),)
    assert [name for name, _ in result.refused] == ["a.json: a.json"]


def test_pixels_are_scaled_to_the_clip() -> None:
    clip = make_clip(0, source_width=1360, source_height=1024)
    stated = fitted(foreign(size=(680, 512)), clip)
    assert stated.keypoints[0, 10, 0].tolist() == [10, 5]
    own = fitted(foreign(), clip)
    assert own.keypoints[0, 10, 0].tolist() == [20, 10]
    of_source = fitted(foreign(x=600), clip)
    assert of_source.keypoints[0, 0, 0].tolist() == [150, 150]
    assert (own.width, own.height, own.total_frames) == (340, 256, 250)


def test_frames_are_placed_by_number_by_time_or_evenly() -> None:
    clip = replace(make_clip(0), start_ms=0)
    assert fitted(foreign(251), clip).frame_index.tolist() == list(range(250))
    evenly = fitted(foreign(125), clip).frame_index
    assert evenly.tolist() == list(range(0, 250, 2))
    timed = fitted(foreign(300, fps=60), clip).frame_index
    assert (len(timed), timed[-1]) == (126, 125)
    # The second ten seconds of a recording of twenty.
    later = fitted(foreign(1200, fps=60), replace(clip, start_ms=10_000, end_ms=20_000))
    assert len(later.frame_index) == 250
    assert later.keypoints[0, 0, 0, 0] == pytest.approx((10 + 600) * 1, abs=1)


def coco(path: Path, frames: int, **facts: Any) -> Path:
    """A file named by the recording, in which the first joint moves a pixel a frame."""
    joints = [[[100 + number, 50, 1]] * 17 for number in range(frames)]
    content = {
        "images": [{"id": n, "file_name": f"{n:06d}.jpg"} for n in range(frames)],
        "annotations": [
            {"image_id": n, "keypoints": [float(v) for joint in found for v in joint]}
            for n, found in enumerate(joints)
        ],
    }
    path.write_text(json.dumps(content | facts))
    return path


def cut_from(video: str, starts_s: list[int], source_fps: float) -> list[Clip]:
    """Clips of ten seconds, 250 frames, 3,000 pixels wide."""
    return [
        make_clip(
            0, clip_id=f"{video}_{1000 * s}_{1000 * s + 10_000}", video_id=video, start_ms=1000 * s,
            end_ms=1000 * s + 10_000, source_fps=source_fps, width=3000, path=f"clips/{s}.mp4",
        )
        for s in starts_s
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("starts_s", "source_fps", "facts"),
    [
        ([0, 10, 30], 25.0, {}),
        ([30], 25.0, {}),
        ([0, 10, 30], 0.0, {"info": {"fps": 25}}),
        ([30], 0.0, {"fps": 25.0}),
    ],
)
def test_of_the_poses_of_a_recording_each_clip_gets_its_own_part(
    workspace: Workspace, tmp_path: Path, starts_s: list[int], source_fps: float, facts: dict[str, Any]
) -> None:
    clips = cut_from("Gala", starts_s, source_fps)
    fill(workspace, clips, LABELS)
    result = import_poses(workspace, coco(tmp_path / "Gala.json", 1000, **facts))
    assert (result.imported, result.refused) == ((("COCO-17 JSON", len(clips)),), ())
    for row, start_s in zip(tables.read(workspace.poses, ClipPose), starts_s, strict=True):
        pose = read_pose(workspace.root / row.path)
        assert pose.frame_index.tolist() == list(range(250))
        assert pose.keypoints[0, [0, 249], 0, 0].tolist() == pytest.approx(
            [100 + 25 * start_s, 349 + 25 * start_s], abs=1
        )


@pytest.mark.parametrize(("starts_s", "frames"), [([0, 10], 1000), ([30], 1000), ([10, 20], 250)])
def test_poses_of_a_recording_of_unknown_rate_are_refused(
    workspace: Workspace, tmp_path: Path, starts_s: list[int], frames: int
) -> None:
    clips = cut_from("Gala", starts_s, 0.0)
    fill(workspace, clips, LABELS)
    result = import_poses(workspace, coco(tmp_path / "Gala.json", frames))
    assert (result.imported, len(result.refused)) == ((), len(clips))
    name, reason = result.refused[0]
    assert name == "Gala.json: Gala"
    assert f"not of {clips[0].clip_id} alone" in reason
    assert "give the file fps, or name the poses of each clip by its id" in reason
    named = coco(tmp_path / f"{clips[-1].clip_id}.json", frames)
    assert import_poses(workspace, named).refused == ()


@pytest.mark.parametrize(
    ("start_s", "frames", "source_fps"), [(0, 500, 0.0), (0, 125, 25.0), (30, 500, 50.0), (30, 250, 25.0)]
)
def test_poses_of_a_clip_that_is_all_of_its_file_are_spread(
    workspace: Workspace, tmp_path: Path, start_s: int, frames: int, source_fps: float
) -> None:
    fill(workspace, cut_from("Gala", [start_s], source_fps), LABELS)
    result = import_poses(workspace, coco(tmp_path / "Gala.json", frames))
    assert (result.imported, result.refused) == ((("COCO-17 JSON", 1),), ())
    (row,) = tables.read(workspace.poses, ClipPose)
    assert read_pose(workspace.root / row.path).frame_index[-1] >= 247


def test_aist_cameras_go_to_their_own_clips(workspace: Workspace, tmp_path: Path) -> None:
    clips = [
        make_clip(3 * i, original_path=f"gBR_sBM_c0{i + 1}_d04_mBR0_ch01.mp4", fps_num=60, num_frames=600)
        for i in range(2)
    ]
    fill(workspace, clips, LABELS)
    cameras = np.zeros((9, 600, 17, 3))
    cameras[..., 2] = 0.9
    cameras[..., 0] = 192 * np.arange(1, 10)[:, None, None]
    name = tmp_path / "gBR_sBM_cAll_d04_mBR0_ch01.pkl"
    name.write_bytes(pickle.dumps({"keypoints2d": cameras}))
    assert import_poses(workspace, name).imported == (("AIST++", 2),)
    made = [read_pose(workspace.root / row.path) for row in tables.read(workspace.poses, ClipPose)]
    places = [pose.keypoints[0, 0, 0, 0] for pose in made]
    assert places == pytest.approx([34, 68], abs=0.1)


def test_imported_poses_are_not_replaced_by_estimates_or_lost(
    stage: tuple[Workspace, list[Clip]], tmp_path: Path
) -> None:
    workspace, (one, two, _) = stage
    import_poses(workspace, mmaction(tmp_path / "a.pkl", [one.clip_id]))
    import_poses(workspace, mmaction(tmp_path / "b.pkl", [two.clip_id]))
    assert [row.engine for row in tables.read(workspace.poses, ClipPose)] == ["a.pkl", "b.pkl"]


def test_the_command_counts_and_exits_with_3(
    stage: tuple[Workspace, list[Clip]], dance: Callable[..., Ran], tmp_path: Path
) -> None:
    _, (one, *_) = stage
    path = mmaction(tmp_path / "a.pkl", [one.clip_id], frames=125)
    ran = dance("pose", "--from", str(path))
    assert ran.code == 0
    assert "clips that got poses: 1 from MMAction2 · clips without poses: 2" in ran.out
    assert "poses with another number of frames, spread over the clip: 1" in ran.out
    bad = dance("pose", "--from", str(mmaction(tmp_path / "b.pkl", ["x"])), "--json")
    assert bad.code == 3
    assert json.loads(bad.out)["refused"] == [["b.pkl: x", "names no clip of this workspace"]]
