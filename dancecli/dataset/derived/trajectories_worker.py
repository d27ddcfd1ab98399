"""One clip's trajectories: what a worker process does when a model of trajectories is trained.

It writes them under their final name only, so it may be killed at any moment.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from dancecli.core.errors import MediaError
from dancecli.core.flow_format import FlowMethod
from dancecli.core.hashing import sha256_file
from dancecli.core.records import Clip, ClipPose, Trajectories
from dancecli.core.video_files import clip_path
from dancecli.dataset.derived.per_clip import FileOutcome, work_on
from dancecli.engine.worker import Acquire
from dancecli.storage.files import atomic_file
from dancecli.storage.pose_files import read_pose
from dancecli.storage.trajectory_files import FOLDER, read_trajectories, trajectories_name, write_trajectories
from dancecli.video.trajectories.estimate import find_trajectories, method_name
from dancecli.video.trajectories.tracker import LENGTH


@dataclass(frozen=True, slots=True)
class TrajectoriesJob:
    """A clip whose trajectories are requested.

    Attributes:
        root: the workspace's folder.
        clip: its record.
        flow: how the flow is computed.
        pose: the record of its poses; None if there are none.
    """

    root: Path
    clip: Clip
    flow: FlowMethod
    pose: ClipPose | None


def work(job: TrajectoriesJob, _: Acquire) -> Generator[int, None, FileOutcome[Trajectories]]:
    """Find and commit a clip's trajectories; yield the number of fields done since the last yield."""
    return (yield from work_on(_make(job)))


def _make(job: TrajectoriesJob) -> Generator[int, None, Trajectories]:
    clip = job.clip
    source, path = job.root / clip.path, clip_path(FOLDER, trajectories_name(clip.clip_id))
    if not source.is_file() or sha256_file(source) != clip.sha256:
        raise MediaError(f"{clip.path} is missing or was changed since it was committed")
    pose = read_pose(job.root / job.pose.path) if job.pose else None
    fps = Fraction(clip.fps_num, clip.fps_den)
    found = yield from find_trajectories(source, clip.num_frames, fps, job.flow, pose)
    of = {
        "of_sha256": clip.sha256,
        "of_poses": job.pose.sha256 if job.pose else "",
        "method": method_name(job.flow),
    }
    if not found.found:
        (job.root / path).unlink(missing_ok=True)
        reason = f"nothing moves for {LENGTH} frames beyond the camera's motion"
        return Trajectories(clip.clip_id, "", "", 0, **of, found=0, stored=0, reason=reason)
    with atomic_file(job.root / path, "wb") as file:
        write_trajectories(file, found.descriptors)
    stored = read_trajectories(job.root / path)
    return Trajectories(
        clip_id=clip.clip_id,
        path=path,
        sha256=sha256_file(job.root / path),
        num_bytes=(job.root / path).stat().st_size,
        **of,
        found=found.found,
        stored=len(stored["shape"]),
    )
