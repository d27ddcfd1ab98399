"""The poses of videos that are no clips of a workspace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers import pose_networks

from dancecli.core.errors import MediaError
from dancecli.storage.pose_files import BLAZEPOSE
from dancecli.video.ffmpeg import run_ffmpeg
from dancecli.video.pose.estimate import poses_of_video
from dancecli.video.pose.weights import PoseWeights

networks = pose_networks.networks


def test_a_film_that_a_phone_stored_sideways_is_seen_upright(networks: PoseWeights, tmp_path: Path) -> None:
    upright, sideways, turned = (tmp_path / f"{name}.mp4" for name in ("upright", "sideways", "turned"))
    pose_networks.write_person_clip(upright, [100])
    run_ffmpeg(["-i", str(upright), "-vf", "transpose=clock", "-threads", "1", str(sideways)])
    run_ffmpeg(["-display_rotation", "90", "-i", str(sideways), "-c", "copy", str(turned)])
    (pose, fps), (other, _) = (poses_of_video(path, networks, 1) for path in (upright, turned))
    assert (fps, pose.total_frames, pose.frame_index[1]) == (25.0, 30, 2)
    assert (pose.height, pose.width) == (other.height, other.width) == (256, 560)
    nose = BLAZEPOSE.index("nose")
    assert np.abs(pose.keypoints[0, :, nose] - other.keypoints[0, :, nose]).max() < 8


def test_a_video_without_people_and_what_is_no_video_are_named(networks: PoseWeights, tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.mp4", tmp_path / "text.mp4"
    run_ffmpeg(["-f", "lavfi", "-i", "testsrc2=size=128x96:rate=25:duration=1", str(empty)])
    text.write_text("no video")
    with pytest.raises(MediaError, match=r"empty\.mp4: no poses were found: nobody was found in it"):
        poses_of_video(empty, networks, 1)
    with pytest.raises(MediaError, match=r"text\.mp4: no poses were found: "):
        poses_of_video(text, networks, 1)
    with pytest.raises(MediaError, match="not in folders of frames"):
        poses_of_video(tmp_path, networks, 1)
