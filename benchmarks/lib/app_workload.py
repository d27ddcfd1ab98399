"""A workspace for the app: made-up rows over a few real files, and one recording with a timeline."""

from __future__ import annotations

import json
from pathlib import Path

from dancecli.core.hashing import keyed_uniform, sha256_file
from dancecli.core.records import Clip, Segment, SplitClip
from dancecli.core.video_files import clip_path
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace
from dancecli.video.ffmpeg import run_ffmpeg

LABELS = tuple(f"style {i:02d}" for i in range(19))
_SUBSETS = (*["train"] * 18, "val", "test")


def fill_workspace(root: Path, num_clips: int, num_files: int) -> Workspace:
    """Write the tables of so many clips, which share so many files, and a prediction of one of these."""
    workspace = Workspace(root)
    files = [_make_file(root / clip_path("clips", f"file{i:05d}_0_2000.mp4"), i) for i in range(num_files)]
    facts = [(path.relative_to(root).as_posix(), path.stat().st_size, sha256_file(path)) for path in files]
    clips = [_clip(i, *facts[i % num_files]) for i in range(num_clips)]
    segments = [Segment(c.video_id, c.start_ms, c.end_ms, c.label, "", c.dataset) for c in clips]
    tables.write(workspace.segments, Segment, segments, {"labels": json.dumps(LABELS)})
    tables.write(workspace.clips, Clip, clips)
    parts = [
        SplitClip(c.clip_id, _SUBSETS[i % len(_SUBSETS)], c.video_id, c.label, c.sha256)
        for i, c in enumerate(clips)
    ]
    meta = {"split.name": "full", "split.hash": "0" * 64, "split.labels": json.dumps(LABELS)}
    tables.write(workspace.split("full"), SplitClip, parts, meta)
    _predict(workspace, files[0])
    return workspace


def _make_file(path: Path, i: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = f"testsrc2=size=340x256:rate=25:duration=2,hue=h={(37 * i) % 360}"
    codecs = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-threads", "1"]
    run_ffmpeg(["-f", "lavfi", "-i", picture, *codecs, str(path)])
    return path


def _clip(i: int, path: str, num_bytes: int, sha256: str) -> Clip:
    start_ms = 10_000 * (i % 3)
    # As names of files and titles of videos are: no two alike, the order of ids another one.
    video = f"v{int(1e4 * keyed_uniform('video', str(i // 3))):04d}{i // 3:06d}"
    clip_id, label = f"{video}_{start_ms}_{start_ms + 2000}", LABELS[i // 3 % len(LABELS)]
    where = (clip_id, video, start_ms, start_ms + 2000, label, "", "made-up", path)
    facts = (50 + i % 7, 25, 1, 340, 256, False, num_bytes, sha256, "local")
    return Clip(*where, *facts, title=f"An evening of dances, evening-{i // 3:06d}")


def _predict(workspace: Workspace, video: Path) -> None:
    """Write what `dance predict` would of a video."""
    segments = [
        {"start_s": 10.0 * i, "end_s": 10.0 * i + 10, "label": LABELS[i % 19], "probability": 0.7}
        for i in range(60)
    ]
    windows = [{"start_s": s["start_s"], "end_s": s["end_s"], "scores": [1 / 19] * 19} for s in segments]
    where = {"file": video.name, "path": str(video), "num_bytes": video.stat().st_size}
    row = {**where, "sha256": sha256_file(video), "error": "", "seconds": 600.0, "frames": 15_000,
           "segments": segments, "windows": windows}  # fmt: skip
    document = {"checkpoint": {"run": "made-up"}, "labels": LABELS, "inputs": [str(video)], "videos": [row]}
    path = workspace.report("predict-evening") / "prediction.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(document), encoding="utf-8")
