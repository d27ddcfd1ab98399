"""The trajectories of the workspace's clips, one file per clip.

What is done is logged clip by clip in `manifests/trajectories.jsonl`, so that a killed run resumes, and is
in `manifests/trajectories.parquet` when a run ends, however it ends. Augmented clips get none.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction

from dancecli.core.errors import UsageError
from dancecli.core.flow_format import FlowMethod
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import Clip, ClipPose, Trajectories
from dancecli.core.video_files import sizes_in
from dancecli.dataset.derived.per_clip import is_current, log_of, original_clips, outcome_of, settle
from dancecli.dataset.derived.trajectories_worker import TrajectoriesJob, work
from dancecli.dataset.job_log import ResumableJob
from dancecli.engine.factory import LOCAL, check_engine
from dancecli.storage import tables
from dancecli.storage.trajectory_files import FOLDER
from dancecli.storage.workspace import Workspace
from dancecli.video.optical_flow import estimator, frames_at_25
from dancecli.video.trajectories.estimate import method_name

# For a few dozen frames, after which a worker reports them; TV-L1 takes a second for one.
_DEADLINE_S = 600.0


@dataclass(frozen=True)
class TrajectoriesSettings:
    """Which trajectories to compute.

    Attributes:
        split: only for the clips of this split; None for all clips.
        flow: how the flow is computed that points are tracked in, a value of `FlowMethod`.
        workers: processes; 0 for one per core, of this machine or of the cluster.
        dry_run: change nothing.
        engine: `local` or `ray`, see `engine.factory`.
    """

    split: str | None = None
    flow: str = FlowMethod.DIS
    workers: int = 0
    dry_run: bool = False
    engine: str = LOCAL


@dataclass(frozen=True)
class TrajectoriesResult:
    """The state of the requested trajectories.

    Attributes:
        method: what they depend on beside the clips and their poses.
        num_clips: clips they were requested for.
        made: of them, those whose trajectories this run computed, or in a dry run would compute.
        with_poses: of them, those whose dancers are left out of the camera's motion.
        failed: clips without trajectories, with the reason; all others have theirs.
        stored: number of trajectories in the files.
        num_bytes: of the files.
        seconds: duration of the run.
    """

    method: str
    num_clips: int
    made: int
    with_poses: int = 0
    failed: tuple[tuple[str, str], ...] = ()
    stored: int = 0
    num_bytes: int = 0
    seconds: float = 0.0


def trajectories(
    workspace: Workspace, settings: TrajectoriesSettings, reporter: Reporter = SILENT
) -> TrajectoriesResult:
    """Compute the trajectories that do not exist yet, or were computed in another way.

    Where a clip has poses, its people are left out of the camera's motion; with other poses than before,
    its trajectories are computed again.

    Args:
        workspace: gets `trajectories/` and its manifest.
        settings: which trajectories.
        reporter: told in pairs of frames, now and then within a clip.

    Raises:
        UsageError: there is no such flow.
        WorkspaceError: there are no clips, or no such split, or another process computes trajectories.
        MissingDependencyError: there is no OpenCV, or not the one that the flow needs.
        OSError: the disk is full; what was made is kept.
    """
    started_s = time.monotonic()
    check_engine(settings.engine)
    flow = _flow(settings.flow)
    clips = original_clips(workspace, settings.split, "track points in")
    poses = _poses(workspace, clips)
    step = _step(workspace)
    if settings.dry_run:
        pending = _pending(workspace, clips, flow, poses, step.log.read())
        return TrajectoriesResult(method_name(flow), len(clips), len(pending))
    estimator(flow)
    made: list[Trajectories] = []
    failed: dict[str, str] = {}
    with step.exclusively():
        logged = step.log.read()
        pending = _pending(workspace, clips, flow, poses, logged)
        jobs = [TrajectoriesJob(workspace.root, clip, flow, poses.get(clip.clip_id)) for clip in pending]
        run = step.run(jobs, engine=settings.engine, workers=settings.workers, reporter=reporter)
        try:
            with closing(run) as outcomes:
                for outcome in outcomes:
                    made += outcome.made
                    failed |= dict(outcome.failed)
        finally:
            logged |= {row.clip_id: row for row in made}
            settle(workspace, Trajectories, FOLDER, step.log, logged, failed, changed=bool(made or failed))
    known = [logged[clip.clip_id] for clip in clips if clip.clip_id in logged and clip.clip_id not in failed]
    without = {row.clip_id: row.reason for row in known if row.reason}
    return TrajectoriesResult(
        method=method_name(flow),
        num_clips=len(clips),
        made=len(made),
        with_poses=sum(bool(row.of_poses) for row in known),
        failed=tuple(sorted({**without, **failed}.items())),
        stored=sum(row.stored for row in known),
        num_bytes=sum(row.num_bytes for row in known),
        seconds=time.monotonic() - started_s,
    )


def _flow(name: str) -> FlowMethod:
    try:
        return FlowMethod(name)
    except ValueError:
        known = ", ".join(method.value for method in FlowMethod)
        raise UsageError(f"--flow-method {name!r} is not a flow method", f"known: {known}") from None


def _poses(workspace: Workspace, clips: Iterable[Clip]) -> dict[str, ClipPose]:
    """Return the records of the poses that the clips' present files have."""
    stored = tables.read(workspace.poses, ClipPose) if workspace.poses.exists() else []
    rows = {row.clip_id: row for row in stored}
    sizes = sizes_in(workspace.root / "pose")
    return {
        clip.clip_id: rows[clip.clip_id]
        for clip in clips
        if is_current(rows.get(clip.clip_id), clip, sizes) and not rows[clip.clip_id].reason
    }


def _pending(
    workspace: Workspace,
    clips: Iterable[Clip],
    flow: FlowMethod,
    poses: Mapping[str, ClipPose],
    logged: Mapping[str, Trajectories],
) -> list[Clip]:
    """Return the clips that lack trajectories, or have those of another file, of other poses or flow."""
    sizes = sizes_in(workspace.root / FOLDER)
    pending = []
    for clip in clips:
        row, pose = logged.get(clip.clip_id), poses.get(clip.clip_id)
        wanted = (method_name(flow), pose.sha256 if pose else "")
        if row is None or not is_current(row, clip, sizes) or (row.method, row.of_poses) != wanted:
            pending.append(clip)
    return pending


def _step(workspace: Workspace) -> ResumableJob[TrajectoriesJob, Trajectories]:
    log = log_of(workspace, Trajectories, FOLDER)
    return ResumableJob(
        workspace,
        FOLDER,
        log,
        work,
        _DEADLINE_S,
        outcome_of,
        units_of=lambda job: (
            len(frames_at_25(job.clip.num_frames, Fraction(job.clip.fps_num, job.clip.fps_den))) - 1
        ),
    )
