from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dancecli.model.dataloading.clip_decoder import (
    ClipDecode,
    ClipInit,
    FastClipReader,
    SequentialReader,
    UnsupportedLayoutError,
)
from dancecli.model.networks.mmaction import TRANSFORMS
from dancecli.video.ffmpeg import run_ffmpeg, trim_args
from dancecli.video.source import probe


@pytest.fixture(scope="module")
def source_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film with B-frames, as a site has it."""
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    picture = ["-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25,noise=alls=9:allf=t", "-t", "5"]
    run_ffmpeg([*picture, "-c:v", "libx264", "-bf", "2", "-pix_fmt", "yuv420p", str(path)])
    return path


@pytest.fixture(scope="module")
def clip(source_video: Path) -> Path:
    path = source_video.with_name("clip.mp4")
    run_ffmpeg(trim_args(source_video, probe(source_video), 500, 4500, path))
    return path


def by_decord(path: Path, numbers: np.ndarray) -> list[np.ndarray]:
    steps = [TRANSFORMS.build({"type": name}) for name in ("DecordInit", "DecordDecode")]
    opened = steps[0]({"filename": str(path)})
    return list(steps[1](opened | {"frame_inds": numbers})["imgs"])


@pytest.mark.parametrize("first", [0, 1, 31, 32, 33, 36])
def test_frames_of_our_clips_are_those_of_decord(clip: Path, first: int) -> None:
    numbers = np.arange(first, 100, 2)
    plain = FastClipReader(str(clip))
    assert plain.total_frames == 100
    assert plain.fps == 25
    assert all(
        (ours == theirs).all()
        for ours, theirs in zip(plain.frames(numbers), by_decord(clip, numbers), strict=True)
    )


def test_a_frame_may_be_wanted_twice_and_out_of_order(clip: Path) -> None:
    numbers = np.array([40, 7, 7, 99])
    found = FastClipReader(str(clip)).frames(numbers)
    assert all((a == b).all() for a, b in zip(found, by_decord(clip, numbers), strict=True))


def test_a_film_with_b_frames_is_left_to_decord(source_video: Path) -> None:
    with pytest.raises(UnsupportedLayoutError):
        FastClipReader(str(source_video))
    numbers = np.arange(3, 120, 3)
    opened = ClipInit()({"filename": str(source_video)})
    assert opened["total_frames"] == 125
    found = ClipDecode()(opened | {"frame_inds": numbers})
    assert all((a == b).all() for a, b in zip(found["imgs"], by_decord(source_video, numbers), strict=True))
    assert found["img_shape"] == (120, 160)


def test_a_clip_whose_times_do_not_fit_is_left_to_decord(clip: Path, tmp_path: Path) -> None:
    late = tmp_path / "late.mp4"
    run_ffmpeg(["-itsoffset", "0.3", "-i", str(clip), "-c", "copy", str(late)])
    jumping = tmp_path / "jumping.mp4"
    run_ffmpeg(
        ["-i", str(clip), "-vf", "select='not(eq(n,50))'", "-fps_mode", "vfr", "-bf", "0", str(jumping)]
    )
    for path in (late, jumping):
        numbers = np.arange(40, 60)
        found = ClipDecode()(ClipInit()({"filename": str(path)}) | {"frame_inds": numbers})
        assert all((a == b).all() for a, b in zip(found["imgs"], by_decord(path, numbers), strict=True))


def test_a_broken_clip_is_told_as_by_decord(clip: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clip.read_bytes()[:2000])
    with pytest.raises(RuntimeError):
        ClipInit()({"filename": str(cut)})


@pytest.mark.parametrize("kind", ["b-frames", "late", "turned", "webm"])
def test_without_decord_all_files_are_read_with_the_same_bytes(
    source_video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    path, copied = tmp_path / "video.mp4", ["-i", str(source_video), "-c", "copy"]
    if kind == "webm":
        path = tmp_path / "video.webm"
        run_ffmpeg(["-i", str(source_video), "-c:v", "libvpx", "-b:v", "1M", str(path)])
    elif kind == "turned":
        run_ffmpeg(["-display_rotation", "90", *copied, str(path)])
    else:
        run_ffmpeg([*(["-itsoffset", "0.3"] if kind == "late" else []), *copied, str(path)])
    numbers = np.array([3, 40, 7, 124])
    theirs = by_decord(path, numbers)
    monkeypatch.setattr("dancecli.model.dataloading.clip_decoder._has_decord", lambda: False)
    opened = ClipInit()({"filename": str(path)})
    assert isinstance(opened["video_reader"], SequentialReader)
    assert (opened["total_frames"], opened["avg_fps"]) == (125, 25)
    found = ClipDecode()(opened | {"frame_inds": numbers})
    assert all((a == b).all() for a, b in zip(found["imgs"], theirs, strict=True))
    assert found["img_shape"] == theirs[0].shape[:2]


def test_without_decord_a_clip_whose_times_do_not_fit_is_read_from_its_start(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumping, numbers = tmp_path / "jumping.mp4", np.arange(40, 60)
    run_ffmpeg(
        ["-i", str(clip), "-vf", "select='not(eq(n,50))'", "-fps_mode", "vfr", "-bf", "0", str(jumping)]
    )
    theirs = by_decord(jumping, numbers)
    monkeypatch.setattr("dancecli.model.dataloading.clip_decoder._has_decord", lambda: False)
    found = ClipDecode()(ClipInit()({"filename": str(jumping)}) | {"frame_inds": numbers})
    assert all((a == b).all() for a, b in zip(found["imgs"], theirs, strict=True))


def test_without_decord_a_broken_clip_is_told_the_same(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dancecli.model.dataloading.clip_decoder._has_decord", lambda: False)
    (tmp_path / "cut.mp4").write_bytes(clip.read_bytes()[:2000])
    with pytest.raises(RuntimeError):
        ClipInit()({"filename": str(tmp_path / "cut.mp4")})
