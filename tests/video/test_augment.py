"""Copies: one run, and the right pictures in each."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import clip_workspace

from dancecli.core.augmentation import Op
from dancecli.video.augment import augment_args
from dancecli.video.decode import decode
from dancecli.video.ffmpeg import find_ffmpeg, run_ffmpeg

clip_files = clip_workspace.clip_files

HFLIP, VFLIP = (Op("hflip"),), (Op("vflip"),)


def luma(path: Path) -> Any:
    import av

    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="gray") for f in container.decode(video=0)]).astype(float)


def ssim(one: Path, two: Path) -> float:
    said = subprocess.run(
        [str(find_ffmpeg()), "-i", str(one), "-i", str(two), "-lavfi", "ssim", "-f", "null", "-"],
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    found = re.search(r"All:([\d.]+)", said)
    assert found
    return float(found[1])


def make(parent: Path, folder: Path, *chains: tuple[Op, ...]) -> list[Path]:
    wanted = [(ops, folder / f"{parent.stem}-{i}.mp4") for i, ops in enumerate(chains)]
    run_ffmpeg(augment_args(parent, wanted))
    return [path for _, path in wanted]


def one_color(path: Path, color: str) -> Path:
    picture = f"color=c={color}:size=128x128:rate=25"
    run_ffmpeg(["-f", "lavfi", "-i", picture, "-frames:v", "10", "-pix_fmt", "yuv420p", str(path)])
    return path


def test_all_copies_come_from_one_decode() -> None:
    args = augment_args(Path("/c/a.mp4"), [(HFLIP, Path("/t/h.mp4")), (VFLIP, Path("/t/v.mp4"))])
    assert args.count("-i") == 1
    assert "split=2" in args[args.index("-filter_complex") + 1]
    assert args.count("-map") == 2
    # Only filtered pictures are mapped: no sound.
    assert all(args[i + 1].startswith("[") for i, arg in enumerate(args) if arg == "-map")


def test_a_single_copy_needs_no_split() -> None:
    args = augment_args(Path("/c/a.mp4"), [(HFLIP, Path("/t/h.mp4"))])
    assert "split" not in args[args.index("-filter_complex") + 1]


def test_flips_turn_the_picture_and_keep_every_frame(clip_files: list[Path], tmp_path: Path) -> None:
    mirrored, upended, both = make(clip_files[1], tmp_path, HFLIP, VFLIP, (*HFLIP, *VFLIP))
    parent = luma(clip_files[1])
    for copy, turned in (
        (mirrored, parent[:, :, ::-1]),
        (upended, parent[:, ::-1]),
        (both, parent[:, ::-1, ::-1]),
    ):
        assert luma(copy).shape == parent.shape
        assert abs(luma(copy) - turned).mean() < 4
        assert abs(luma(copy) - parent).mean() > 10
        assert not decode(copy).has_audio


@pytest.mark.parametrize("flip", [HFLIP, VFLIP], ids=["hflip", "vflip"])
def test_a_flip_of_a_flip_is_its_parent(clip_files: list[Path], tmp_path: Path, flip: tuple[Op, ...]) -> None:
    for clip_file in clip_files[:3]:
        (once,) = make(clip_file, tmp_path, flip)
        (twice,) = make(once, tmp_path, flip)
        assert ssim(once, clip_file) < 0.9
        assert ssim(twice, clip_file) >= 0.97


def test_jitter_moves_brightness_and_color_by_what_it_says(tmp_path: Path) -> None:
    import av

    parent = one_color(tmp_path / "one.mp4", "0x806040")
    (copy,) = make(parent, tmp_path, (Op("jitter", (("brightness", 0.1), ("saturation", 0.5))),))

    def planes(path: Path) -> tuple[float, float, float]:
        with av.open(str(path)) as container:
            y, u, v = next(container.decode(video=0)).to_ndarray(format="yuv444p")
        return y.mean(), u.mean() - 128, v.mean() - 128

    before, after = planes(parent), planes(copy)
    assert after[0] - before[0] == pytest.approx(0.1 * 255, abs=3)
    assert after[1:] == pytest.approx([before[1] / 2, before[2] / 2], abs=1.5)


def test_noise_is_as_strong_as_it_says_and_stays_where_it_is(tmp_path: Path) -> None:
    parent = one_color(tmp_path / "one.mp4", "0x808080")
    noise = (Op("noise", (("sigma", 8), ("seed", 4))),)
    other = (Op("noise", (("sigma", 8), ("seed", 5))),)
    one, again, two = (luma(path) - luma(parent) for path in make(parent, tmp_path, noise, noise, other))
    assert one[0].std() == pytest.approx(8, rel=0.06)
    # Two patterns of this strength are 9 apart; one that moved would cost several times the bytes.
    assert abs(one[9] - one[0]).mean() < 4
    assert (one == again).all()
    assert np.corrcoef(one[0].ravel(), two[0].ravel())[0, 1] < 0.2
