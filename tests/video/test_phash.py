"""The pictures that are hashed: one every quarter of a second, wherever the file's clock begins."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.odd_media import ffmpeg

from dancecli.video.phash import hash_clip


@pytest.mark.parametrize(
    ("name", "options"),
    [("late.ts", ("-output_ts_offset", 3600)), ("plain.ts", ()), ("clockless.h264", ())],
)
def test_hashes_do_not_depend_on_where_the_clock_begins(tmp_path: Path, name: str, options: tuple) -> None:
    film, other = tmp_path / "film.mp4", tmp_path / name
    ffmpeg("-f", "lavfi", "-i", "testsrc2=s=160x120:d=3:r=25", "-bf", 0, film)
    ffmpeg("-i", film, "-c", "copy", *options, other)
    assert len(hash_clip(film).frames) == 12 * 8
    assert hash_clip(other) == hash_clip(film)
