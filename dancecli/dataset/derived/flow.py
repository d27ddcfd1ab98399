"""The optical flow of the workspace's clips, one file per clip and method.

What is done is logged clip by clip in `manifests/flow.jsonl`, so that a killed run resumes, and is
in `manifests/flow.parquet` when a run ends, however it ends.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

from dancecli.core.errors import UsageError, WorkspaceError
from dancecli.core.flow_format import FlowMethod
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import Clip, Flow, SplitClip
from dancecli.core.video_files import sizes_in
from dancecli.dataset.derived.flow_worker import FlowJob, FlowOutcome, work
from dancecli.dataset.job_log import JobLog, JobOutcome, ResumableJob
from dancecli.engine.factory import LOCAL, check_engine
from dancecli.engine.pool import Finished
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace
from dancecli.video.optical_flow import CODING, estimator, frames_at_25

# For a few dozen fields, after which a worker reports them; TV-L1 takes a second for one.
_DEADLINE_S = 600.0


@dataclass(frozen=True)
class FlowSettings:
    """Which flow to compute.

    Attributes:
        method: a value of `FlowMethod`.
        split: only for the clips of this split and their augmented clips; None for all clips.
        workers: processes; 0 for one per core, of this machine or of the cluster.
        dry_run: change nothing.
        engine: `local` or `ray`, see `engine.factory`.
    """

    method: str = FlowMethod.DIS
    split: str | None = None
    workers: int = 0
    dry_run: bool = False
    engine: str = LOCAL


@dataclass(frozen=True)
class FlowResult:
    """The state of the requested flow.

    Attributes:
        method: how it is computed.
        num_clips: clips it was requested for.
        num_augmented: of them, augmented clips.
        made: of them, those whose flow this run computed, or in a dry run would compute.
        failed: clips without flow, with the reason; all others have theirs.
        num_fields: of the flow that exists.
        num_bytes: of the flow that exists.
        clip_bytes: of the clips that have it.
        error_px: mean distance of the stored flow from the computed one; 0 if there is none.
        seconds: duration of the run.
    """

    method: str
    num_clips: int
    num_augmented: int
    made: int
    failed: tuple[tuple[str, str], ...] = ()
    num_fields: int = 0
    num_bytes: int = 0
    clip_bytes: int = 0
    error_px: float = 0.0
    seconds: float = 0.0


def flow(workspace: Workspace, settings: FlowSettings, reporter: Reporter = SILENT) -> FlowResult:
    """Compute the flow that does not exist yet; that of other methods stays.

    Args:
        workspace: gets `flow/` and its manifest.
        settings: which flow.
        reporter: told in fields, now and then within a clip.

    Raises:
        UsageError: there is no such method.
        WorkspaceError: there are no clips, or no such split, or another flow is at work.
        MissingDependencyError: there is no OpenCV, or not the one that the method needs.
        OSError: the disk is full; what was made is kept.
    """
    started_s = time.monotonic()
    check_engine(settings.engine)
    method = _method(settings.method)
    clips = requested_clips(workspace, settings.split)
    step = _step(workspace)
    if settings.dry_run:
        pending = _pending(workspace, clips, method, step.log.read())
        return FlowResult(method, len(clips), _num_augmented(clips), len(pending))
    estimator(method)
    made: list[Flow] = []
    failed: dict[str, str] = {}
    with step.exclusively():
        logged = step.log.read()
        pending = _pending(workspace, clips, method, logged)
        jobs = [FlowJob(workspace.root, _temp(workspace) / c.clip_id, c, method) for c in pending]
        run = step.run(jobs, engine=settings.engine, workers=settings.workers, reporter=reporter)
        try:
            with closing(run) as outcomes:
                for outcome in outcomes:
                    made += outcome.made
                    failed |= dict(outcome.failed)
        finally:
            logged |= {_key(row.clip_id, row.method): row for row in made}
            _settle(workspace, step.log, logged, failed, changed=bool(made or failed))
    rows = [logged[_key(clip.clip_id, method)] for clip in clips if _key(clip.clip_id, method) in logged]
    there = [row for row in rows if _key(row.clip_id, method) not in failed]
    having = {row.clip_id for row in there}
    fields = sum(row.frames for row in there)
    return FlowResult(
        method=method,
        num_clips=len(clips),
        num_augmented=_num_augmented(clips),
        made=len(made),
        failed=tuple(sorted((key.removesuffix(f".{method}"), reason) for key, reason in failed.items())),
        num_fields=fields,
        num_bytes=sum(row.num_bytes for row in there),
        clip_bytes=sum(clip.num_bytes for clip in clips if clip.clip_id in having),
        error_px=sum(row.error_px * row.frames for row in there) / fields if fields else 0.0,
        seconds=time.monotonic() - started_s,
    )


def requested_clips(workspace: Workspace, split: str | None) -> list[Clip]:
    """Return the clips of the workspace, or of a split, with augmented clips: lists contain them too.

    Raises:
        WorkspaceError: there are no clips, or there is no such split.
    """
    clips = tables.read(workspace.clips, Clip) if workspace.clips.exists() else []
    if not clips:
        raise WorkspaceError(
            f"{workspace.root}: there are no clips to compute flow of", "run dance fetch or dance import"
        )
    if split is None:
        return clips
    ids = {clip.clip_id for clip in tables.read(workspace.split(workspace.find_split(split)), SplitClip)}
    return [clip for clip in clips if clip.clip_id in ids or clip.parent_id in ids]


def _method(name: str) -> FlowMethod:
    try:
        return FlowMethod(name)
    except ValueError:
        known = ", ".join(method.value for method in FlowMethod)
        raise UsageError(f"--method {name!r} is not a flow method", f"known: {known}") from None


def _num_augmented(clips: Iterable[Clip]) -> int:
    return sum(bool(clip.parent_id) for clip in clips)


def _pending(
    workspace: Workspace, clips: Iterable[Clip], method: FlowMethod, logged: Mapping[str, Flow]
) -> list[Clip]:
    """Return the clips that lack flow, or whose flow is of another file or in another form."""
    sizes = sizes_in(workspace.root / "flow")
    return [
        clip
        for clip in clips
        if not (
            (row := logged.get(_key(clip.clip_id, method)))
            and (row.of_sha256, row.coding) == (clip.sha256, CODING)
            and sizes.get(Path(row.path).name) == row.num_bytes
        )
    ]


def _settle(
    workspace: Workspace,
    log: JobLog[Flow],
    logged: Mapping[str, Flow],
    failed: Mapping[str, str],
    *,
    changed: bool,
) -> None:
    """Bring the manifest and the log to what exists now, of all methods."""
    clips = dict(tables.read_columns(workspace.clips, Clip, ("clip_id", "sha256")))
    sizes = sizes_in(workspace.root / "flow")
    current = [
        row
        for key, row in sorted(logged.items())
        if key not in failed
        and sizes.get(Path(row.path).name) == row.num_bytes
        and clips.get(row.clip_id) == row.of_sha256
    ]
    if not workspace.flows.exists() or tables.read(workspace.flows, Flow) != current:
        tables.write(workspace.flows, Flow, current)
    if changed or len(current) < len(logged):
        log.rewrite(current, sorted(failed.items()))


def _step(workspace: Workspace) -> ResumableJob[FlowJob, Flow]:
    log = JobLog(
        path=workspace.root / "manifests" / "flow.jsonl",
        key_of=lambda row: _key(row.clip_id, row.method),
        to_json=asdict,
        from_json=lambda row: Flow(**row),
    )
    return ResumableJob(
        workspace,
        "flow",
        log,
        work,
        _DEADLINE_S,
        _outcome,
        units_of=lambda job: _fields_of(job.clip),
        temp=_temp(workspace),
    )


def _outcome(finished: Finished[FlowJob, FlowOutcome]) -> JobOutcome[Flow]:
    job, result = finished.job, finished.result
    if result is None:
        return JobOutcome(failed=((_key(job.clip.clip_id, job.method), finished.detail or finished.lost),))
    if result.made:
        return JobOutcome(made=(result.made,))
    if result.disk_full:
        return JobOutcome(disk_full=True)
    return JobOutcome(failed=((_key(job.clip.clip_id, job.method), result.reason),))


def _key(clip_id: str, method: str) -> str:
    return f"{clip_id}.{method}"


def _fields_of(clip: Clip) -> int:
    return len(frames_at_25(clip.num_frames, Fraction(clip.fps_num, clip.fps_den))) - 1


def _temp(workspace: Workspace) -> Path:
    # Not in the workspace's own temporary folder, which a fetch sweeps.
    return workspace.root / "flow" / ".tmp"
