"""A small workspace that can be trained on: real clips, a split, its lists."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.fake_hub import fake_hub, on_fake_hub
from helpers.hub_models import hub_folder, saved_models

from dancecli.core.records import Clip, SplitClip
from dancecli.core.video_files import clip_path
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace

__all__ = ["fake_hub", "hub_folder", "on_fake_hub", "saved_models"]

LABELS = ("bouncing", "sliding", "turning")
Corpus = Callable[..., Workspace]


def write_clip(path: Path, kind: int, number: int, *, side: int = 72, frames: int = 24) -> None:
    """A square that moves the way its class does, on a background of its own."""
    import av
    import numpy as np

    rng = np.random.default_rng(number)
    ground = rng.integers(0, 120, 3, dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=12)
        stream.width, stream.height, stream.pix_fmt = side + 16, side, "yuv420p"
        for t in range(frames):
            image = np.empty((side, side + 16, 3), np.uint8)
            image[:] = ground
            phase = 2 * np.pi * t / frames * 2
            x = side // 2 + int(20 * np.sin(phase)) if kind != 0 else side // 2
            y = side // 2 + int(20 * np.cos(phase)) if kind != 1 else side // 2
            image[y - 8 : y + 8, x - 8 : x + 8] = 255 - 40 * kind
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)


@pytest.fixture(scope="session")
def write_film() -> Callable[..., None]:
    """Write a clip as those of the corpus, of another length."""
    return write_clip


@pytest.fixture(scope="session")
def clip_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    files = []
    for number in range(12):
        files.append(folder / f"vid{number:02d}_0_2000.mp4")
        write_clip(files[-1], number % len(LABELS), number)
    return files


@pytest.fixture
def corpus(tmp_path: Path, clip_files: list[Path]) -> Corpus:
    """Make a workspace: the first clips train, then `val` and `test` of them."""

    def make(val: int = 2, test: int = 3, name: str = "small") -> Workspace:
        workspace = Workspace(tmp_path / "workspace")
        clips = []
        for number, file in enumerate(clip_files):
            target = workspace.clip(file.stem)
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                target.hardlink_to(file)
            label = LABELS[number % len(LABELS)]
            sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
            path = clip_path("clips", file.name)
            row = (file.stem, file.stem[:5], 0, 2000, label, "", "test", path, 24, 12, 1)
            clips.append(Clip(*row, 88, 72, False, file.stat().st_size, sha256, "folder"))
        tables.write(workspace.clips, Clip, clips)
        write_split(workspace, name, clips, val, test)
        return workspace

    return make


def write_split(workspace: Workspace, name: str, clips: list[Clip], val: int, test: int) -> None:
    train = len(clips) - val - test
    places = ["train"] * train + ["val"] * val + ["test"] * test
    parts = [
        SplitClip(c.clip_id, p, c.video_id, c.label, c.sha256) for c, p in zip(clips, places, strict=True)
    ]
    counts = {"train": train, "val": val, "test": test}
    meta = {
        "split.name": name,
        "split.hash": hashlib.sha256(repr(parts).encode()).hexdigest(),
        "split.seed": "0",
        "split.ratios": "60/15/25",
        "split.labels": json.dumps(LABELS),
        "split.counts": json.dumps(counts),
    }
    tables.write(workspace.split(name), SplitClip, parts, meta)
    folder = workspace.annotations(name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "label_map.txt").write_text("".join(f"{label}\n" for label in LABELS))
    for part in counts:
        lines = [
            f"{clip_path('clips', f'{p.clip_id}.mp4')} {LABELS.index(p.label)}\n"
            for p in sorted(parts)
            if p.subset == part
        ]
        (folder / f"{part}.txt").write_text("".join(lines))


@pytest.fixture
def tiny_recipe(tmp_path: Path) -> Path:
    """Eight frames of 64 pixels: a second a step on one core."""
    path = tmp_path / "tiny.toml"
    path.write_text(
        "clip_len = 8\nframe_interval = 1\nshort_side = 64\ncrop = 64\nviews = 2\nepochs = 2\nbatch = 4\n"
        "lr = 0.01\nlr_batch = 4\noptimizer = 'sgd'\nworkers = 1\n"
        # Two validation clips are enough to see what is chosen by them.
        "validation = 'held-out'\n"
    )
    return path


@pytest.fixture
def tiny_model(tmp_path: Path) -> Path:
    """A 3-D ResNet-18 an eighth as wide: the shape of MMAction2's I3D, a hundredth of its cost."""
    path = tmp_path / "tiny_i3d.py"
    path.write_text(
        """model = dict(
    type='Recognizer3D',
    backbone=dict(type='ResNet3d', depth=18, base_channels=8, pretrained='torchvision://resnet18',
                  conv1_kernel=(5, 7, 7), conv1_stride_t=2, pool1_stride_t=2, zero_init_residual=False),
    cls_head=dict(type='I3DHead', num_classes=400, in_channels=64, average_clips=None),
    data_preprocessor=dict(type='ActionDataPreprocessor', mean=[128.] * 3, std=[64.] * 3,
                           format_shape='NCTHW'))
train_pipeline = [
    dict(type='DecordInit'), dict(type='SampleFrames', clip_len=32, frame_interval=2, num_clips=1),
    dict(type='FormatShape', input_format='NCTHW')]
"""
    )
    return path


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep weights in a folder of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
