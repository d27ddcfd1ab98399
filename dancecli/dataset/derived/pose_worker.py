"""One clip's poses: what a worker process of `dance pose` does.

It writes poses under their final name only, so it may be killed at any moment.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from dancecli.core.errors import MediaError
from dancecli.core.hashing import sha256_file
from dancecli.core.records import Clip, ClipPose
from dancecli.core.video_files import clip_path
from dancecli.dataset.derived.per_clip import FileOutcome, work_on
from dancecli.engine.worker import Acquire
from dancecli.storage.files import atomic_file
from dancecli.storage.pose_files import Pose, pose_name, read_pose, write_pose
from dancecli.video.pose.estimate import estimator_of
from dancecli.video.pose.tracker import NobodyFoundError, StartsDisagreeError
from dancecli.video.pose.weights import PoseWeights


@dataclass(frozen=True, slots=True)
class PoseJob:
    """A clip whose poses are requested.

    Attributes:
        root: the workspace's folder.
        clip: its record.
        weights: the networks.
        people: how many people to follow at most.
    """

    root: Path
    clip: Clip
    weights: PoseWeights
    people: int


def work(job: PoseJob, _: Acquire) -> Generator[int, None, FileOutcome[ClipPose]]:
    """Find and commit a clip's poses; yield the number of frames done since the last yield."""
    return (yield from work_on(_make(job)))


def _make(job: PoseJob) -> Generator[int, None, ClipPose]:
    clip = job.clip
    source = job.root / clip.path
    if not source.is_file() or sha256_file(source) != clip.sha256:
        raise MediaError(f"{clip.path} is missing or was changed since it was committed")
    estimator = estimator_of(job.weights)
    fps, method = Fraction(clip.fps_num, clip.fps_den), estimator.method(job.people)
    try:
        found = yield from estimator.estimate(source, clip.num_frames, fps, job.people)
    except (NobodyFoundError, StartsDisagreeError) as error:
        # Another look would find the same, so that this too is a result.
        (job.root / clip_path("pose", pose_name(clip.clip_id))).unlink(missing_ok=True)
        return ClipPose(
            *(clip.clip_id, "", "", 0, clip.sha256, method, estimator.engine, 0, 0, 0, 0.0, 0.0),
            reason=error.message,
        )
    return commit_pose(
        job.root, clip, found.pose, method=method, engine=found.engine, agreement=found.agreement
    )


def commit_pose(
    root: Path, clip: Clip, pose: Pose, *, method: str, engine: str, agreement: float = 1.0
) -> ClipPose:
    """Store a clip's poses, read them back, and return their record.

    Args:
        root: the workspace's folder.
        clip: whose poses they are.
        pose: the poses.
        method: as in the record.
        engine: as in the record.
        agreement: as in the record.

    Raises:
        InputError: what was stored is not what a reader accepts.
        OSError: the disk is full.
    """
    path = clip_path("pose", pose_name(clip.clip_id))
    with atomic_file(root / path, "wb") as file:
        write_pose(file, pose)
    stored = read_pose(root / path)
    found = stored.found[0]
    return ClipPose(
        clip_id=clip.clip_id,
        path=path,
        sha256=sha256_file(root / path),
        num_bytes=(root / path).stat().st_size,
        of_sha256=clip.sha256,
        method=method,
        engine=engine,
        people=stored.num_people,
        frames=len(stored.frame_index),
        found_frames=int(found.sum()),
        mean_score=float(stored.scores[0, found].mean()) if found.any() else 0.0,
        agreement=agreement,
    )
