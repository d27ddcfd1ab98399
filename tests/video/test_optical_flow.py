"""Flow is what moved, by every method, and comes back from its file as it was computed."""

from __future__ import annotations

import sys
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.numbered_video import make_video
from sklearn.datasets import load_sample_image

from dancecli.core.errors import MediaError, MissingDependencyError
from dancecli.core.flow_format import BOUND_PX, FlowMethod, to_field, to_plane
from dancecli.model.dataloading.flow import read_fields
from dancecli.video import optical_flow
from dancecli.video.decode import decode
from dancecli.video.optical_flow import StoredFlow, estimator, frames_at_25, gray_frames, write_flow

MOVED = (2.0, -1.5)


@pytest.fixture(scope="module")
def street() -> np.ndarray:
    """A photograph, gray, 192x128: a building, with texture nearly everywhere."""
    photograph = cv2.cvtColor(load_sample_image("china.jpg"), cv2.COLOR_RGB2GRAY)
    return cv2.resize(photograph[150:406, 60:444], (192, 128), interpolation=cv2.INTER_AREA)


def moved(picture: np.ndarray, x: float, y: float) -> np.ndarray:
    height, width = picture.shape
    shift = np.float32([[1, 0, x], [0, 1, y]])
    return cv2.warpAffine(
        picture, shift, (width, height), flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT
    )


def result_of(work: Generator[int, None, Any]) -> tuple[int, Any]:
    """Run it to its end; give the sum of what it told, and what it returned."""
    told = 0
    while True:
        try:
            told += next(work)
        except StopIteration as end:
            return told, end.value


def written(clip: Path, target: Path) -> StoredFlow:
    facts = decode(clip)
    told, stored = result_of(write_flow(clip, facts.num_frames, facts.fps, FlowMethod.DIS, target))
    assert told == stored.frames
    return stored


@pytest.mark.parametrize("method", FlowMethod)
def test_a_picture_that_is_moved_has_that_flow(method: FlowMethod, street: np.ndarray) -> None:
    field = estimator(method)(street, moved(street, *MOVED))
    inner = field[16:-16, 16:-16].reshape(-1, 2)
    np.testing.assert_allclose(np.median(inner, axis=0), MOVED, atol=0.1)


def test_what_is_stored_comes_back(tmp_path: Path, street: np.ndarray) -> None:
    fields = [np.tile(np.float32(MOVED), (*street.shape, 1))]
    fields += [estimator(FlowMethod.DIS)(street, moved(street, i, 4 - i)) for i in range(8)]
    result_of(
        optical_flow._encode(iter(fields), FlowMethod.DIS, optical_flow._QUANTIZERS[0], tmp_path / "f.mp4")
    )
    found = np.array(read_fields(tmp_path / "f.mp4", range(len(fields)))) / 2  # of a short side of 128
    errors = np.abs(found - np.array(fields).clip(-10, 10)).mean(axis=(1, 2, 3))
    assert errors.max() <= 0.05
    assert errors[0] <= 0.015


def test_flow_of_noise_is_stored_in_finer_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(0)
    noise = [chance.normal(0, 3, (64, 80, 2)).astype(np.float32) for _ in range(3)]
    monkeypatch.setattr(optical_flow, "gray_frames", lambda *_: iter(range(4)))
    monkeypatch.setattr(optical_flow, "estimator", lambda _: lambda one, _: noise[one])
    tried = []
    monkeypatch.setattr(
        optical_flow, "_x264", lambda q, plain=optical_flow._x264: tried.append(q) or plain(q)
    )
    _, stored = result_of(write_flow(Path("x.mp4"), 4, Fraction(25), FlowMethod.DIS, tmp_path / "f.mp4"))
    assert len(tried) == 2
    assert stored.error_px <= 0.05


def test_codes_are_exact_at_zero_and_bounded() -> None:
    field = np.array([[[0.0, -0.0]], [[500.0, -500.0]], [[20.0, 0.02]]], np.float32)
    back = to_field(to_plane(field))
    assert back.shape == field.shape
    np.testing.assert_array_equal(back[0], 0)
    np.testing.assert_allclose(back[1], [[BOUND_PX, -BOUND_PX]])
    assert np.abs(back - field.clip(-20, 20)).max() <= 20 / 511 / 2 + 1e-6


@pytest.mark.parametrize(
    ("fps", "expected"),
    [
        (Fraction(25), [0, 1, 2, 3, 4, 5]),
        (Fraction(50), [0, 2, 4]),
        (Fraction(12), [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]),
        (Fraction(30), [0, 1, 2, 4, 5]),
        (Fraction(30000, 1001), [0, 1, 2, 4, 5]),
    ],
)
def test_other_rates_are_sampled_at_25(fps: Fraction, expected: list[int]) -> None:
    assert frames_at_25(6, fps) == expected


def test_frames_are_those_nearest_in_time_and_no_larger_than_needed(tmp_path: Path) -> None:
    source_video = make_video(tmp_path / "film.mp4", 0.4, fps=50, size=(320, 640), audio=False)
    frames = list(gray_frames(source_video, 20, Fraction(50)))
    assert [frame.shape for frame in frames] == [(512, 256)] * 10
    # Each says its number in blocks, the lowest bit first: 0, 2, 4...
    found = [(frame[30, 30] > 127, frame[30, 90] > 127) for frame in frames]
    assert found == [(False, i % 2 == 1) for i in range(10)]
    with pytest.raises(MediaError, match="ends before its frame 21 of 30"):
        list(gray_frames(source_video, 30, Fraction(50)))


def test_a_film_goes_from_clip_to_fields(tmp_path: Path) -> None:
    odd = ("-c:v", "libx264", "-pix_fmt", "yuv444p")
    source_video = make_video(tmp_path / "film.mp4", 1, fps=30, size=(99, 67), codec=odd, audio=False)
    stored = written(source_video, tmp_path / "film.dis.mp4")
    assert (stored.frames, stored.width, stored.height) == (24, 99, 67)
    assert stored.error_px <= 0.05
    again = written(source_video, tmp_path / "again.dis.mp4")
    assert again == stored
    assert (tmp_path / "again.dis.mp4").read_bytes() == (tmp_path / "film.dis.mp4").read_bytes()


def test_a_clip_that_cannot_have_flow_is_told(tmp_path: Path) -> None:
    source_video = make_video(tmp_path / "film.mp4", 0.04, size=(64, 48), audio=False)
    with pytest.raises(MediaError, match="one frame"):
        written(source_video, tmp_path / "f.mp4")
    tiny = make_video(tmp_path / "tiny.mp4", 1, size=(8, 8), audio=False)
    with pytest.raises(MediaError, match=r"dis flow of tiny.mp4 failed"):
        written(tiny, tmp_path / "f.mp4")
    long = make_video(tmp_path / "long.mp4", 1, size=(64, 48), audio=False)
    long.write_bytes(long.read_bytes()[:2000])
    with pytest.raises(MediaError, match=r"long.mp4"):
        result_of(write_flow(long, 25, Fraction(25), FlowMethod.DIS, tmp_path / "f.mp4"))


def test_a_full_disk_is_no_fault_of_the_clip(tmp_path: Path) -> None:
    source_video = make_video(tmp_path / "film.mp4", 1, size=(64, 48), audio=False)
    full = tmp_path / "full.mp4"
    full.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        written(source_video, full)


def test_no_opencv_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "optflow")
    with pytest.raises(MissingDependencyError, match="this OpenCV has no TV-L1") as caught:
        estimator(FlowMethod.TVL1)
    assert "opencv-contrib-python" in caught.value.hint
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingDependencyError, match="OpenCV, which computes flow"):
        estimator(FlowMethod.DIS)
