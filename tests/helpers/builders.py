"""Records that tests make: how a command ended, clips and the manifests of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from dancecli.core.records import NEAR_DUPLICATE, Clip, ClipHashes, Group, Segment
from dancecli.core.video_files import clip_path
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def make_clip(i: int, label: str = "tap dancing", **changed: Any) -> Clip:
    """A clip record; every third video holds two clips."""
    video = f"video{i - i % 3 if i % 3 == 1 else i:06d}"
    start_ms = 20_000 * i
    clip_id = f"{video}_{start_ms}_{start_ms + 10_000}"
    facts: dict[str, Any] = {
        "clip_id": clip_id,
        "video_id": video,
        "start_ms": start_ms,
        "end_ms": start_ms + 10_000,
        "label": label,
        "official_split": "train",
        "dataset": "kinetics700",
        "path": clip_path("clips", f"{clip_id}.mp4"),
        "num_frames": 250,
        "fps_num": 25,
        "fps_den": 1,
        "width": 340,
        "height": 256,
        "has_audio": True,
        "num_bytes": 1000 + i,
        "sha256": hashlib.sha256(clip_id.encode()).hexdigest(),
        "source": "youtube",
    }
    return Clip(**{**facts, **changed})


def fill(workspace: Workspace, clips: Sequence[Clip], labels: Sequence[str]) -> None:
    """Write the manifests of these clips, as a fetch leaves them, and empty files for them."""
    segments = [
        Segment(c.video_id, c.start_ms, c.end_ms, c.label, c.official_split, c.dataset) for c in clips
    ]
    tables.write(workspace.segments, Segment, segments, {"labels": json.dumps(list(labels))})
    tables.write(workspace.clips, Clip, clips)
    for clip in clips:
        (workspace.root / clip.path).parent.mkdir(parents=True, exist_ok=True)
        (workspace.root / clip.path).touch()


def group_as_near(workspace: Workspace, looks: dict[str, int]) -> None:
    """Make clips a group of near-duplicates; those with one number are near-duplicates."""
    tables.write(workspace.groups, Group, [Group(clip_id, "g", NEAR_DUPLICATE) for clip_id in sorted(looks)])
    sha256_of = {clip.clip_id: clip.sha256 for clip in tables.read(workspace.clips, Clip)}
    rows = [
        ClipHashes(clip_id, sha256_of[clip_id], *(Random(look).randbytes(n) for n in (32, 32, 80, 80)))
        for clip_id, look in looks.items()
    ]
    tables.write(workspace.hashes, ClipHashes, rows)
