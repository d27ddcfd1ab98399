"""Workspaces whose clips are real: small, short, and each another picture."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from helpers.builders import fill, make_clip

from dancecli.core.hashing import sha256_file
from dancecli.core.records import Clip, SplitClip
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace
from dancecli.video.decode import decode
from dancecli.video.ffmpeg import run_ffmpeg

LABELS = ("zumba", "tap dancing")
# Clip i is of video i, and of this part.
PARTS = ("train", "train", "train", "val", "test")
FPS = 25


@pytest.fixture(scope="session")
def clip_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One clip a part of `PARTS`, 20 to 24 frames, 128x96, with sound."""
    folder = tmp_path_factory.mktemp("shots")
    made = []
    for i in range(len(PARTS)):
        path = folder / f"{i}.mp4"
        picture = f"testsrc2=size=128x96:rate={FPS},hue=h={60 * i},scroll=h=0.0{i}"
        sound = f"sine=frequency={300 + 50 * i}"
        inputs = ["-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound]
        length = ["-frames:v", str(20 + i), "-t", str((20 + i) / FPS)]
        codecs = ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-c:a", "aac"]
        run_ffmpeg([*inputs, *length, *codecs, "-threads", "1", str(path)])
        made.append(path)
    return made


def populate(workspace: Workspace, clip_files: list[Path]) -> list[Clip]:
    """Fill a workspace with up to five shots as clips, and a split `full` of them."""
    clips = []
    for i, clip_file in enumerate(clip_files):
        facts = decode(clip_file)
        clips.append(
            make_clip(
                3 * i,
                LABELS[i % 2],
                num_frames=facts.num_frames,
                width=facts.width,
                height=facts.height,
                num_bytes=clip_file.stat().st_size,
                sha256=sha256_file(clip_file),
            )
        )
    fill(workspace, clips, LABELS)
    for clip, clip_file in zip(clips, clip_files, strict=True):
        shutil.copyfile(clip_file, workspace.root / clip.path)
    parts = [
        SplitClip(c.clip_id, part, c.video_id, c.label, c.sha256)
        for c, part in zip(clips, PARTS, strict=False)
    ]
    counts = {name: PARTS.count(name) for name in ("train", "val", "test")}
    meta = {
        "split.name": "full",
        "split.hash": "0" * 64,
        "split.seed": "0",
        "split.ratios": "60/20/20",
        "split.labels": json.dumps(LABELS),
        "split.counts": json.dumps(counts),
    }
    tables.write(workspace.split("full"), SplitClip, parts, meta)
    return clips


@pytest.fixture
def populated(workspace: Workspace, clip_files: list[Path]) -> Workspace:
    """A workspace with three training clips, one of validation and one of test."""
    populate(workspace, clip_files)
    return workspace
