"""Damaged videos of ten formats: each is a row, none is a traceback, and good neighbors are imported.

Thirty files in the suite; `DANCE_FUZZ=1000 pytest tests/video/test_fuzz.py` makes as many as it says.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.builders import Ran
from helpers.numbered_video import make_video, numbers

from dancecli.core.errors import MediaError
from dancecli.core.records import Clip
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace
from dancecli.video.contact_sheet import Cell, write_sheet
from dancecli.video.decode import decode_foreign
from dancecli.video.phash import hash_clip
from dancecli.video.source import probe

COUNT = int(os.environ.get("DANCE_FUZZ", "30"))
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "10", "-pix_fmt", "yuv420p")
FORMATS = {
    "h264.mp4": (*X264, "-movflags", "+faststart"),
    "hevc.mp4": ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:keyint=10"),
    "prores.mov": ("-c:v", "prores_ks", "-c:a", "pcm_s16le"),
    "h264.mkv": (*X264, "-c:a", "libmp3lame"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "10"),
    "mpeg4.avi": ("-c:v", "mpeg4", "-q:v", "3", "-g", "10", "-c:a", "libmp3lame"),
    "h264.ts": X264,
    "mpeg2.mpg": ("-c:v", "mpeg2video", "-q:v", "3", "-g", "10", "-c:a", "mp2"),
    "flv1.flv": ("-c:v", "flv1", "-q:v", "3", "-g", "10", "-c:a", "libmp3lame"),
    "wmv2.wmv": ("-c:v", "wmv2", "-q:v", "3", "-g", "10", "-c:a", "wmav2"),
}


def damaged(content: bytes, seed: int) -> bytes:
    """Flip bits, cut, blank, exchange two stretches, or repeat one: by the seed alone."""
    chance = random.Random(seed)
    found = bytearray(content)
    kind = chance.choice(("flips", "header flips", "cut", "blank", "exchange", "repeat", "drop"))
    if kind in ("flips", "header flips"):
        end = len(found) if kind == "flips" else min(len(found), 2000)
        for _ in range(chance.choice((1, 4, 30, 200))):
            found[chance.randrange(end)] ^= 1 << chance.randrange(8)
        return bytes(found)
    size = chance.randrange(1, max(2, len(found) // 3))
    one, two = sorted(chance.randrange(len(found) - size + 1) for _ in "ab")
    if kind == "cut":
        return bytes(found[: chance.randrange(len(found))])
    if kind == "blank":
        found[one : one + size] = bytes(size)
    elif kind == "drop":
        del found[one : one + size]
    elif kind == "repeat":
        found[two:two] = found[one : one + size]
    else:
        boxes = _atoms(content)
        if len(boxes) > 1:
            chance.shuffle(boxes)
            return b"".join(boxes)
        found = bytearray(content[two:] + content[one:two] + content[:one])
    return bytes(found)


def _atoms(content: bytes) -> list[bytes]:
    """Cut an MP4 into its outermost boxes; anything else stays in one piece."""
    boxes, at = [], 0
    if content[4:8] != b"ftyp":
        return [content]
    while at + 8 <= len(content):
        size = int.from_bytes(content[at : at + 4])
        if size < 8:
            break
        boxes.append(content[at : at + size])
        at += size
    return boxes


@pytest.fixture(scope="module")
def source_videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("films")
    return {
        name: make_video(folder / name, 1, size=(96, 64), codec=codec).read_bytes()
        for name, codec in FORMATS.items()
    }


@pytest.fixture(scope="module")
def folder(source_videos: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fuzz") / "in"
    for label in ("tango", "waltz"):
        (root / label).mkdir(parents=True)
    for seed in range(COUNT):
        name = list(source_videos)[seed % len(source_videos)]
        stem, suffix = name.split(".")
        content = damaged(source_videos[name], seed)
        # Equal bytes are one clip, and the first of its two labels counts.
        content += b"" if content != source_videos[name] else b"\0"
        (root / "tango" / f"damaged-{seed:04d}-{stem}.{suffix}").write_bytes(content)
    for name, content in source_videos.items():
        (root / "waltz" / f"whole-{name}").write_bytes(content)
    return root


def test_nothing_but_a_media_error_is_raised(folder: Path, tmp_path: Path) -> None:
    files = sorted(folder.rglob("*.*"))
    for path in files:
        for use in (probe, lambda p: probe(p, measure=True), decode_foreign, hash_clip):
            try:
                use(path)
            except MediaError as error:
                assert "\n" not in error.message
    write_sheet(tmp_path / "sheet.png", [[Cell(path, path.name) for path in files]])


def test_every_damaged_file_is_a_row_and_whole_ones_are_clips(
    folder: Path, workspace: Workspace, dance: Callable[..., Ran]
) -> None:
    ran = dance("import", str(folder), "--layout", "plain", "--json", timeout_s=7200)
    assert ran.code in (0, 3), ran.err
    assert "Traceback" not in ran.err
    given = sum(1 for path in folder.rglob("*.*"))
    assert ran.json["given"] == given
    assert given == sum(ran.json["clips"].values()) + sum(ran.json["left_out"].values())
    clips = tables.read(workspace.clips, Clip)
    whole = [clip for clip in clips if clip.label == "waltz"]
    assert len(whole) == len(FORMATS)
    for clip in whole:
        shown = numbers(workspace.root / clip.path)
        assert len(set(shown) & set(range(25))) >= 24, clip.original_path
        assert clip.damaged_frames == 0
    for command in (("dedup",), ("stats",)):
        assert dance(*command, timeout_s=7200).code == 0
    write_sheet(
        workspace.root / "sheet.png", [[Cell(workspace.root / clip.path, clip.clip_id) for clip in clips]]
    )


def test_damage_depends_on_the_seed_alone(source_videos: dict[str, bytes]) -> None:
    content = source_videos["h264.mp4"]
    assert damaged(content, 7) == damaged(content, 7)
    assert len({damaged(content, seed) for seed in range(40)}) > 35
