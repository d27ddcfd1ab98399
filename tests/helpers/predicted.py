"""What `dance predict` writes of a recording, made without a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from helpers.clip_workspace import LABELS

from dancecli.core.hashing import sha256_file
from dancecli.storage.workspace import Workspace
from dancecli.video.ffmpeg import run_ffmpeg

SECONDS = 60.0
# One stretch of each 20 s.
SPANS = ((0.0, 20.0, 0, 0.9), (20.0, 40.0, 1, 0.6), (40.0, 60.0, 0, 0.75))


def make_recording(path: Path, seconds: float = SECONDS) -> Path:
    """Write a film that shows its time as a picture that changes, small and quickly encoded."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = f"testsrc2=size=160x120:rate=10:duration={seconds}"
    codecs = [
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-pix_fmt",
        "yuv420p",
        "-g",
        "10",
        "-movflags",
        "+faststart",
    ]
    run_ffmpeg(["-f", "lavfi", "-i", picture, *codecs, "-threads", "1", str(path)])
    return path


def predicted(
    workspace: Workspace,
    video: Path,
    spans: Sequence[tuple[float, float, int, float]] = SPANS,
    labels: Sequence[str] = LABELS,
    name: str = "evening",
) -> None:
    """Write `reports/predict-NAME/prediction.json` of one video, with a window for each 10 s."""
    seconds = spans[-1][1]
    windows: list[dict[str, Any]] = []
    for start in range(0, int(seconds) - 5, 5):
        _, _, best, high = next(s for s in spans if s[1] > start + 5 or s is spans[-1])
        rest = (1 - high) / max(1, len(labels) - 1)
        scores = [high if i == best else rest for i in range(len(labels))]
        windows.append({"start_s": float(start), "end_s": min(start + 10.0, seconds), "scores": scores})
    row = {
        "file": video.name,
        "path": str(video),
        "num_bytes": video.stat().st_size,
        "sha256": sha256_file(video),
        "error": "",
        "fault": "",
        "seconds": seconds,
        "frames": int(10 * seconds),
        "top5": [],
        "scores": [],
        "segments": [
            {"start_s": start, "end_s": end, "label": labels[i], "probability": p}
            for start, end, i, p in spans
        ],
        "windows": windows,
    }
    document = {
        "schema": 1,
        "checkpoint": {"file": "best.pth", "sha256": "0" * 64, "run": "inception-full-1"},
        "labels": list(labels),
        "inputs": [str(video)],
        "videos": [row],
        "window_s": 10.0,
    }
    path = workspace.report(f"predict-{name}") / "prediction.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
