"""The poses of the workspace's clips, one file per clip.

What is done is logged clip by clip in `manifests/pose.jsonl`, so that a killed run resumes, and is in
`manifests/pose.parquet` when a run ends, however it ends. Augmented clips get none: a skeleton model
augments the poses themselves.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import Clip, ClipPose
from dancecli.core.video_files import sizes_in
from dancecli.dataset.derived.per_clip import is_current, log_of, original_clips, outcome_of, settle
from dancecli.dataset.derived.pose_worker import PoseJob, work
from dancecli.dataset.job_log import JobLog, ResumableJob
from dancecli.engine.factory import LOCAL, check_engine
from dancecli.storage.workspace import Workspace
from dancecli.video.pose.estimate import Estimator, estimator_of, frames_of_poses
from dancecli.video.pose.weights import PoseWeights, find_weights

FOLDER = "pose"
IMPORTED = "imported"
DEFAULT_PEOPLE = 2
# For a few dozen frames, after which a worker reports them.
_DEADLINE_S = 300.0


@dataclass(frozen=True)
class PoseSettings:
    """Which poses to compute.

    Attributes:
        split: only for the clips of this split; None for all clips.
        people: how many people to follow at most, the main dancer first.
        weights: a file that holds the networks; None for those that are here.
        workers: processes; 0 for one per core, of this machine or of the cluster.
        dry_run: change nothing.
        engine: `local` or `ray`, see `engine.factory`.
    """

    split: str | None = None
    people: int = DEFAULT_PEOPLE
    weights: Path | None = None
    workers: int = 0
    dry_run: bool = False
    engine: str = LOCAL


@dataclass(frozen=True)
class PoseResult:
    """The state of the requested poses.

    Attributes:
        method: network, start of the tracks, most people and version.
        engine: the program that computes the network, with its version.
        has_detector: whether people are found by the person detector; otherwise the main dancer alone.
        num_clips: clips they were requested for.
        made: of them, those whose poses this run computed, or in a dry run would compute.
        imported: of them, those with imported poses, which stay.
        failed: clips without poses, with the reason; all others have theirs.
        people: number of clips by number of people.
        num_frames, found_frames: frames of the clips that have poses; those with a main dancer.
        num_bytes: of the files.
        seconds: duration of the run.
    """

    method: str
    engine: str
    has_detector: bool
    num_clips: int
    made: int
    imported: int = 0
    failed: tuple[tuple[str, str], ...] = ()
    people: tuple[tuple[int, int], ...] = ()
    num_frames: int = 0
    found_frames: int = 0
    num_bytes: int = 0
    seconds: float = 0.0


def pose(workspace: Workspace, settings: PoseSettings, reporter: Reporter = SILENT) -> PoseResult:
    """Compute the poses that do not exist yet; imported ones stay.

    Args:
        workspace: gets `pose/` and its manifest.
        settings: which poses.
        reporter: told in frames, now and then within a clip.

    Raises:
        WorkspaceError: there are no clips, or no such split, or another `dance pose` is at work.
        MissingDependencyError: OpenCV or the weights are missing.
        ModelError: the weights are not those that were reviewed, or are computed wrongly.
        OSError: the disk is full; what was made is kept.
    """
    started_s = time.monotonic()
    check_engine(settings.engine)
    clips = requested_clips(workspace, settings.split)
    weights = find_weights(settings.weights)
    estimator = estimator_of(weights)
    method, step = estimator.method(settings.people), job_of(workspace)
    if settings.dry_run:
        logged = step.log.read()
        pending = _pending(workspace, clips, method, logged)
        return _result(estimator, method, clips, logged, {}, len(pending))
    failed: dict[str, str] = {}
    made: list[ClipPose] = []
    with step.exclusively():
        logged = step.log.read()
        pending = _pending(workspace, clips, method, logged)
        if settings.engine != LOCAL:
            weights = _shared(workspace, weights)
        jobs = [PoseJob(workspace.root, clip, weights, settings.people) for clip in pending]
        run = step.run(jobs, engine=settings.engine, workers=settings.workers, reporter=reporter)
        try:
            with closing(run) as outcomes:
                for outcome in outcomes:
                    made += outcome.made
                    failed |= dict(outcome.failed)
        finally:
            logged |= {row.clip_id: row for row in made}
            settle_poses(workspace, step.log, logged, failed, changed=bool(made or failed))
    num_made = sum(not row.reason for row in made)
    seconds = time.monotonic() - started_s
    return _result(estimator, method, clips, logged, failed, num_made, seconds)


def requested_clips(workspace: Workspace, split: str | None) -> list[Clip]:
    """Return the original clips of the workspace, or of a split.

    Raises:
        WorkspaceError: there are no clips, or there is no such split.
    """
    return original_clips(workspace, split, "find poses in")


def job_of(workspace: Workspace) -> ResumableJob[PoseJob, ClipPose]:
    """Return the resumable job, with its log."""
    log = log_of(workspace, ClipPose, FOLDER)
    return ResumableJob(
        workspace,
        FOLDER,
        log,
        work,
        _DEADLINE_S,
        outcome_of,
        units_of=lambda job: len(
            frames_of_poses(job.clip.num_frames, Fraction(job.clip.fps_num, job.clip.fps_den))
        ),
    )


def settle_poses(
    workspace: Workspace,
    log: JobLog[ClipPose],
    logged: Mapping[str, ClipPose],
    failed: Mapping[str, str],
    *,
    changed: bool,
) -> None:
    """Bring the manifest and the log to what exists now."""
    settle(workspace, ClipPose, FOLDER, log, logged, failed, changed=changed)


def _pending(
    workspace: Workspace, clips: Iterable[Clip], method: str, logged: Mapping[str, ClipPose]
) -> list[Clip]:
    """Return the clips that lack poses, or whose poses are of another file or made in another way."""
    sizes = sizes_in(workspace.root / FOLDER)
    pending = []
    for clip in clips:
        row = logged.get(clip.clip_id)
        if row is None or not is_current(row, clip, sizes) or row.method not in (method, *_kept(row)):
            pending.append(clip)
    return pending


def _kept(row: ClipPose) -> tuple[str, ...]:
    """An import is never replaced by an estimate."""
    return (row.method,) if row.method.startswith(IMPORTED) else ()


def _shared(workspace: Workspace, weights: PoseWeights) -> PoseWeights:
    """Put the networks where all nodes of a cluster see them: into the workspace."""
    folder = workspace.root / "cache" / "weights"
    folder.mkdir(parents=True, exist_ok=True)

    def copied(path: Path) -> Path:
        return Path(shutil.copyfile(path, folder / path.name))

    return PoseWeights(
        copied(weights.landmarks), copied(weights.detector) if weights.detector is not None else None
    )


def _result(
    estimator: Estimator,
    method: str,
    clips: Iterable[Clip],
    logged: Mapping[str, ClipPose],
    failed: Mapping[str, str],
    made: int,
    seconds: float = 0.0,
) -> PoseResult:
    clips = list(clips)
    known = [logged[clip.clip_id] for clip in clips if clip.clip_id in logged and clip.clip_id not in failed]
    rows = [row for row in known if not row.reason]
    without = {row.clip_id: row.reason for row in known if row.reason}
    return PoseResult(
        method=method,
        engine=estimator.engine,
        has_detector=estimator.has_detector,
        num_clips=len(clips),
        made=made,
        imported=sum(row.method.startswith(IMPORTED) for row in rows),
        failed=tuple(sorted({**without, **failed}.items())),
        people=tuple(sorted(Counter(row.people for row in rows).items())),
        num_frames=sum(row.frames for row in rows),
        found_frames=sum(row.found_frames for row in rows),
        num_bytes=sum(row.num_bytes for row in rows),
        seconds=seconds,
    )
