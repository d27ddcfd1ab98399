"""BlazePose's networks, where `make setup` brought them, and clips of people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.cbook import get_sample_data
from PIL import Image

from dancecli.core.errors import MissingDependencyError
from dancecli.video.ffmpeg import run_ffmpeg
from dancecli.video.pose.weights import PoseWeights, find_weights


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> PoseWeights:
    """The networks, out of the wheel that lies in the environment."""
    try:
        return find_weights(cache=tmp_path_factory.mktemp("networks"))
    except MissingDependencyError:
        pytest.skip("the wheel of mediapipe 0.10.21 is not here: make setup downloads it")


def write_person_clip(path: Path, lefts: Sequence[int], num_frames: int = 30) -> None:
    """Write a clip, 25 fps, 560x256, of portraits that move a pixel a frame to the right, before gray.

    The portrait (Grace Hopper, public domain) is a sample picture that Matplotlib brings.

    Args:
        path: the clip.
        lefts: where the left edge of each portrait starts.
        num_frames: frames of the clip.
    """
    with Image.open(get_sample_data("grace_hopper.jpg", asfileobj=False)) as image:
        portrait = np.asarray(image.convert("RGB").resize((188, 220)))
    frames = []
    for i in range(num_frames):
        picture = np.full((256, 560, 3), 128, np.uint8)
        for left in lefts:
            picture[36:, left + i : left + i + 188] = portrait
        frames.append(picture)
    raw = path.with_suffix(".raw")
    raw.write_bytes(b"".join(frame.tobytes() for frame in frames))
    size = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "560x256", "-r", "25", "-i", str(raw)]
    run_ffmpeg([*size, "-c:v", "libx264", "-pix_fmt", "yuv420p", "-threads", "1", str(path)])
    raw.unlink()
