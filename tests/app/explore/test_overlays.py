"""What is drawn over a clip: stored poses, and flow that is stored or computed."""

from __future__ import annotations

import io
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from helpers import clip_workspace
from helpers.drawn_poses import drawn_pose, store_poses
from PIL import Image

from dancecli.app.explore.overlays import flow_overlay, pose_overlay
from dancecli.core.errors import MediaError, WorkspaceError
from dancecli.core.flow_format import FlowMethod, flow_of
from dancecli.core.records import Clip, ClipPose, Flow
from dancecli.demo.renderer import VideoSpec
from dancecli.storage import tables
from dancecli.storage.pose_files import COCO
from dancecli.storage.workspace import Workspace
from dancecli.video.ffmpeg import run_ffmpeg
from dancecli.video.optical_flow import write_flow

clip_files, populated = clip_workspace.clip_files, clip_workspace.populated


def moving(path: Path, dx: int, frames: int = 6, rate: int = 25) -> Path:
    """A picture that moves by `dx` pixels a frame to the right; of 128 x 96 pixels."""
    noise = np.random.default_rng(0).integers(0, 256, (12, 60), np.uint8)
    wide = np.array(Image.fromarray(noise).resize((600, 96), Image.Resampling.BICUBIC))
    for i in range(frames):
        Image.fromarray(wide[:, 200 - dx * i : 328 - dx * i]).save(path.parent / f"{i}.png")
    run_ffmpeg(
        [
            "-framerate",
            str(rate),
            "-i",
            str(path.parent / "%d.png"),
            "-pix_fmt",
            "yuv420p",
            "-qp",
            "4",
            str(path),
        ]
    )
    return path


def drawn(content: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(content)))


def test_poses_are_given_in_the_clip_s_frames(populated: Workspace) -> None:
    clip = tables.read(populated.clips, Clip)[0]
    pose = drawn_pose(VideoSpec("one", "salsa dancing", 1.0, width=128, height=96))
    hidden = replace(pose, scores=pose.scores.copy())
    hidden.scores[0, 1, COCO.index("nose")] = 0.2
    store_poses(populated, {clip.clip_id: hidden})
    found = pose_overlay(populated, clip.clip_id, clip.sha256)
    assert (found["width"], found["height"], found["frames"]) == (128, 96, pose.frame_index.tolist())
    assert found["people"][0][1][0] is None
    assert found["people"][0][0][0] == pytest.approx(10 * pose.keypoints[0, 0, 0], abs=1)
    sides = {(COCO[one], COCO[two]): side for one, two, side in found["bones"]}
    assert sides["left_elbow", "left_wrist"] == "left"
    assert sides["left_hip", "right_hip"] == "middle"


def test_poses_that_are_not_of_this_file_are_refused(populated: Workspace) -> None:
    one, two, three = tables.read(populated.clips, Clip)[:3]
    with pytest.raises(WorkspaceError, match="no poses are stored"):
        pose_overlay(populated, one.clip_id, one.sha256)
    store_poses(populated, {one.clip_id: drawn_pose(VideoSpec("one", "salsa dancing", 1.0))})
    rows = tables.read(populated.poses, ClipPose)
    nobody = replace(rows[0], clip_id=two.clip_id, path="", reason="nobody was found", of_sha256=two.sha256)
    tables.write(populated.poses, ClipPose, [*rows, nobody])
    with pytest.raises(WorkspaceError, match="earlier file"):
        pose_overlay(populated, one.clip_id, "another")
    with pytest.raises(WorkspaceError, match="nobody was found"):
        pose_overlay(populated, two.clip_id, two.sha256)
    with pytest.raises(WorkspaceError, match="no poses are stored"):
        pose_overlay(populated, three.clip_id, three.sha256)


@pytest.mark.parametrize("frame", [0, 2, 5])
def test_flow_shows_the_direction_and_the_distance(workspace: Workspace, tmp_path: Path, frame: int) -> None:
    right = drawn(flow_overlay(workspace, moving(tmp_path / "r.mp4", 3), "c", "s", frame))[24:72, 32:96]
    left = drawn(flow_overlay(workspace, moving(tmp_path / "l.mp4", -3), "c", "s", frame))[24:72, 32:96]
    slow = drawn(flow_overlay(workspace, moving(tmp_path / "s.mp4", 1), "c", "s", frame))[24:72, 32:96]
    assert np.median(right[..., 0]) > 200
    assert np.median(right[..., 2]) < 60, "to the right is red"
    assert np.median(left[..., 0]) < 60
    assert np.median(left[..., 1:3]) > 200, "to the left is cyan"
    assert 40 < np.median(slow[..., 3]) < np.median(right[..., 3])


def test_stored_flow_is_used_while_it_is_of_the_file(workspace: Workspace, tmp_path: Path) -> None:
    # Half as fast as flow is stored: three pixels a frame are 1.5 of a stored field.
    clip = moving(tmp_path / "c.mp4", 3, frames=8, rate=50)
    stored = flow_of(workspace.clip("c"), "dis")
    stored.parent.mkdir(parents=True)
    for _ in write_flow(moving(tmp_path / "l.mp4", -3), 6, Fraction(25), FlowMethod.DIS, stored):
        pass
    path = stored.relative_to(workspace.root).as_posix()
    row = Flow("c", "dis", path, "", 1, "s", 5, 128, 96, 1.0, 25, 20, 0.0, "")
    tables.write(workspace.flows, Flow, [row])
    used = drawn(flow_overlay(workspace, clip, "c", "s", 2))[24:72, 32:96]
    assert np.median(used[..., 1:3]) > 200, "the stored flow is to the left"
    computed = drawn(flow_overlay(workspace, clip, "c", "other", 2))[24:72, 32:96]
    assert np.median(computed[..., 0]) > 200, "flow of an earlier file is not shown"
    assert np.median(used[..., 3]) < np.median(computed[..., 3]), "per frame of the clip"
    (workspace.root / path).write_bytes(b"broken")
    assert np.median(drawn(flow_overlay(workspace, clip, "c", "s", 2))[24:72, 32:96, 0]) > 200


def test_a_clip_of_one_frame_has_no_flow(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no two frames"):
        flow_overlay(workspace, moving(tmp_path / "one.mp4", 1, frames=1), "c", "s", 0)


def test_a_manifest_is_read_once_until_it_changes(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = moving(tmp_path / "c.mp4", 3)
    row = Flow("c", "dis", "flow/c.mkv", "", 1, "s", 5, 128, 96, 1.0, 25, 20, 0.0, "")
    tables.write(workspace.flows, Flow, [row])
    reads, read_table = [], tables.read_table

    def counted(path: Path, *given: object) -> object:
        reads.append(path)
        return read_table(path, *given)

    monkeypatch.setattr(tables, "read_table", counted)
    for frame in range(3):
        flow_overlay(workspace, clip, "c", "s", frame)
    assert reads == [workspace.flows]
    tables.write(workspace.flows, Flow, [row, replace(row, clip_id="d")])
    flow_overlay(workspace, clip, "c", "s", 0)
    assert len(reads) == 2
