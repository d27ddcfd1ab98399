"""A phone's film, which is stored on its side: what is made of it is upright as the film itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.odd_media import ffmpeg
from PIL import Image

from dancecli.app.explore.overlays import _frame_pair
from dancecli.report.pages.stills import still
from dancecli.storage.pose_files import COCO, Pose
from dancecli.video.contact_sheet import middle_frame
from dancecli.video.optical_flow import gray_frames
from dancecli.video.phash import hash_clip
from dancecli.video.pose.drawing import drawn_frames


def flow_picture(path: Path) -> np.ndarray:
    return next(iter(gray_frames(path, 50, 25)))


def picture_under_a_skeleton(path: Path) -> np.ndarray:
    points, scores = np.zeros((1, 1, 17, 2), np.float32), np.zeros((1, 1, 17), np.float32)
    nobody = Pose(COCO, points, scores, np.zeros(1, np.int32), 320, 180, 50)
    return next(drawn_frames(path, nobody, [0]))


def still_picture(path: Path) -> np.ndarray:
    uri = still(path, 0.0)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


@pytest.fixture
def phone(tmp_path: Path) -> SimpleNamespace:
    """The same film twice: as a phone stores it, and as a player shows it."""
    held, shown = tmp_path / "held.mp4", tmp_path / "shown.mp4"
    flat = tmp_path / "flat.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=320x180:d=2:r=25", "-c:v", "libx264", "-qp", 1, flat)
    ffmpeg("-display_rotation", 90, "-i", flat, "-c", "copy", held)
    ffmpeg("-i", held, "-c:v", "libx264", "-qp", 1, shown)  # ffmpeg turns the pictures themselves
    return SimpleNamespace(held=held, shown=shown)


@pytest.mark.parametrize(
    "picture_of",
    [
        lambda path: np.asarray(middle_frame(path)),
        flow_picture,
        picture_under_a_skeleton,
        still_picture,
        lambda path: _frame_pair(path, 3)[0],
    ],
    ids=["contact sheet", "flow", "skeletons", "still of a page", "overlay"],
)
def test_pictures_are_upright(phone: SimpleNamespace, picture_of: Callable[[Path], np.ndarray]) -> None:
    ours, theirs = picture_of(phone.held), picture_of(phone.shown)
    assert ours.shape == theirs.shape
    # A still is a JPEG; pictures that lie on their side are 60 apart and more.
    assert abs(ours.astype(int) - theirs).mean() < 5


def bits_apart(one: bytes, other: bytes) -> float:
    assert len(one) == len(other)
    return float(np.unpackbits(np.frombuffer(one, np.uint8) ^ np.frombuffer(other, np.uint8)).mean())


def test_the_hashes_are_those_of_the_upright_film(phone: SimpleNamespace) -> None:
    one, other = hash_clip(phone.held), hash_clip(phone.shown)
    assert bits_apart(one.frames, other.frames) < 0.05
    assert bits_apart(one.mean, other.mean) < 0.05
