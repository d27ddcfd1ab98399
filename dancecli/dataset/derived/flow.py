"""The optical flow of the workspace's clips, a file for each clip and method.

What is done is noted clip by clip in `manifests/flow.jsonl`, so that a killed run goes on from
there, and stands in `manifests/flow.parquet` when a run ends, however it ends.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import IO

from dancecli.core.errors import UsageError, WorkspaceError
from dancecli.core.flow_format import FlowMethod
from dancecli.core.progress import OnProgress, Progress, no_progress
from dancecli.core.records import Clip, Flow, SplitClip
from dancecli.dataset.derived.flow_worker import FlowJob, FlowOutcome, work
from dancecli.engine.factory import LOCAL, check_engine, open_pool
from dancecli.storage import tables
from dancecli.storage.files import atomic_file, json_lines, naming
from dancecli.storage.workspace import Workspace
from dancecli.video.optical_flow import CODING, estimator, frames_at_25

# For a few dozen fields, after which a worker says that it goes on; TV-L1 takes a second for one.
_DEADLINE_S = 600.0
# A clip's id and a method.
Key = tuple[str, str]


@dataclass(frozen=True)
class FlowSettings:
    """Which flow to compute.

    Attributes:
        method: a value of `FlowMethod`.
        split: only for the clips of this split, with their copies; None for all clips.
        workers: processes; 0 for one a core, of this machine or of the cluster.
        dry_run: change nothing.
        engine: `local` or `ray`, see `engine.choice`.
    """

    method: str = FlowMethod.DIS
    split: str | None = None
    workers: int = 0
    dry_run: bool = False
    engine: str = LOCAL


@dataclass(frozen=True)
class FlowResult:
    """How the flow that was asked for stands.

    Attributes:
        method: how it is computed.
        num_clips: clips it was asked for.
        num_copies: of them, augmented copies.
        made: of them, those whose flow this run made, or under a dry run would make.
        failed: clips without flow, with the reason; all others have theirs.
        num_fields: of the flow that is there.
        num_bytes: of the flow that is there.
        clip_bytes: of the clips that have it.
        error_px: mean distance of what is stored from what was computed; 0 if there is none.
        seconds: that the run took.
    """

    method: str
    num_clips: int
    num_copies: int
    made: int
    failed: tuple[tuple[str, str], ...] = ()
    num_fields: int = 0
    num_bytes: int = 0
    clip_bytes: int = 0
    error_px: float = 0.0
    seconds: float = 0.0


@dataclass
class _Tally:
    """What this run has come to so far."""

    made: list[Flow] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)


def flow(workspace: Workspace, settings: FlowSettings, on_progress: OnProgress = no_progress) -> FlowResult:
    """Compute the flow that is not there yet; that of other methods stays.

    Args:
        workspace: gets `flow/` and its manifest.
        settings: which flow.
        on_progress: told in fields, now and then within a clip.

    Raises:
        UsageError: there is no such method.
        WorkspaceError: there are no clips, or no such split, or another flow is at work.
        MissingDependencyError: there is no OpenCV, or not the one that the method needs.
        OSError: the disk is full; what was made is kept.
    """
    started_s = time.monotonic()
    check_engine(settings.engine)
    method = _method(settings.method)
    clips = wanted_clips(workspace, settings.split)
    if settings.dry_run:
        todo = _todo(workspace, clips, method, _read_log(_log_of(workspace)))
        return FlowResult(method, len(clips), _copies(clips), len(todo))
    estimator(method)
    with workspace.lock("flow"):
        # What a killed run left half-made; everything whole has its real name.
        shutil.rmtree(_temp(workspace), ignore_errors=True)
        logged = _read_log(_log_of(workspace))
        todo = _todo(workspace, clips, method, logged)
        jobs = [FlowJob(workspace.root, _temp(workspace) / clip.clip_id, clip, method) for clip in todo]
        tally = _Tally()
        try:
            _run(workspace, jobs, settings, tally, on_progress)
        finally:
            logged |= {(row.clip_id, row.method): row for row in tally.made}
            _settle(workspace, logged, tally, method)
    rows = [row for clip in clips if (row := logged.get((clip.clip_id, method)))]
    failed = dict(tally.failed)
    there = [row for row in rows if row.clip_id not in failed]
    having = {row.clip_id for row in there}
    fields = sum(row.frames for row in there)
    return FlowResult(
        method=method,
        num_clips=len(clips),
        num_copies=_copies(clips),
        made=len(tally.made),
        failed=tuple(sorted(tally.failed)),
        num_fields=fields,
        num_bytes=sum(row.num_bytes for row in there),
        clip_bytes=sum(clip.num_bytes for clip in clips if clip.clip_id in having),
        error_px=sum(row.error_px * row.frames for row in there) / fields if fields else 0.0,
        seconds=time.monotonic() - started_s,
    )


def wanted_clips(workspace: Workspace, split: str | None) -> list[Clip]:
    """Give the clips of the workspace, or of a split, augmented copies included: lists name them too.

    Raises:
        WorkspaceError: there are no clips, or there is no such split.
    """
    clips = tables.read(workspace.clips, Clip) if workspace.clips.exists() else []
    if not clips:
        raise WorkspaceError(
            f"{workspace.root}: there are no clips to compute flow of", "run dance fetch first"
        )
    if split is None:
        return clips
    ids = {part.clip_id for part in tables.read(workspace.split(workspace.find_split(split)), SplitClip)}
    return [clip for clip in clips if clip.clip_id in ids or clip.parent_id in ids]


def _method(name: str) -> FlowMethod:
    try:
        return FlowMethod(name)
    except ValueError:
        known = ", ".join(method.value for method in FlowMethod)
        raise UsageError(f"--method {name!r} is no way to compute flow", f"known: {known}") from None


def _copies(clips: Iterable[Clip]) -> int:
    return sum(bool(clip.parent_id) for clip in clips)


def _todo(
    workspace: Workspace, clips: Iterable[Clip], method: FlowMethod, logged: Mapping[Key, Flow]
) -> list[Clip]:
    """Give the clips that lack flow, or whose flow is of another file or in another form."""
    sizes = _sizes(workspace)
    return [
        clip
        for clip in clips
        if not (
            (row := logged.get((clip.clip_id, method)))
            and (row.of_sha256, row.coding) == (clip.sha256, CODING)
            and sizes.get(Path(row.path).name) == row.num_bytes
        )
    ]


def _run(
    workspace: Workspace,
    jobs: list[FlowJob],
    settings: FlowSettings,
    tally: _Tally,
    on_progress: OnProgress,
) -> None:
    if not jobs:
        return
    fields = {job.clip.clip_id: _fields_of(job.clip) for job in jobs}
    total, done, told = sum(fields.values()), 0, dict.fromkeys(fields, 0)
    with (
        naming(_log_of(workspace)),
        _log_of(workspace).open("a", encoding="utf-8", newline="\n") as file,
        open_pool(settings.engine, work, settings.workers, _DEADLINE_S, root=workspace.root) as pool,
    ):
        file.write("\n")  # ends what a killed process left half-written
        for finished in (f for f in pool.run(jobs) if f is not None):
            job, result = finished.job, finished.result
            left = fields[job.clip.clip_id] - told[job.clip.clip_id]
            if isinstance(result, int):
                # A clip that is stored anew in finer steps is computed twice, and counts once.
                left = min(left, result)
            else:
                _note(job, result or FlowOutcome(reason=finished.detail or finished.lost), tally, file)
            told[job.clip.clip_id] += left
            done += left
            failed = f", {len(tally.failed)} failed" if tally.failed else ""
            on_progress(Progress(done, total, f"{len(tally.made)} of {len(jobs)} clips{failed}"))


def _note(job: FlowJob, outcome: FlowOutcome, tally: _Tally, log: IO[str]) -> None:
    if outcome.disk_full:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(job.root))
    if outcome.made:
        tally.made.append(outcome.made)
        log.write(_lines((outcome.made,)))
    else:
        tally.failed.append((job.clip.clip_id, outcome.reason))
        log.write(_lines((), tally.failed[-1:], job.method))
    log.flush()


def _settle(workspace: Workspace, logged: Mapping[Key, Flow], tally: _Tally, method: FlowMethod) -> None:
    """Bring the manifest and the log to what is there now, of all methods."""
    clips = {clip.clip_id: clip.sha256 for clip in tables.read(workspace.clips, Clip)}
    sizes = _sizes(workspace)
    failed = {(clip_id, method) for clip_id, _ in tally.failed}
    current = [
        row
        for key, row in sorted(logged.items())
        if key not in failed
        and sizes.get(Path(row.path).name) == row.num_bytes
        and clips.get(row.clip_id) == row.of_sha256
    ]
    if not workspace.flows.exists() or tables.read(workspace.flows, Flow) != current:
        tables.write(workspace.flows, Flow, current)
    if tally.made or tally.failed or len(current) < len(logged):
        with atomic_file(_log_of(workspace)) as file:
            file.write(_lines(current, sorted(tally.failed), method))
    shutil.rmtree(_temp(workspace), ignore_errors=True)


def _log_of(workspace: Workspace) -> Path:
    return workspace.root / "manifests" / "flow.jsonl"


def _read_log(path: Path) -> dict[Key, Flow]:
    """Read what was made; the last line about a clip and method counts, one cut short is skipped."""
    found: dict[Key, Flow] = {}
    for row in json_lines(path):
        try:
            if "failed" in row:
                found.pop((row["failed"], row["method"]), None)
            else:
                found[row["clip_id"], row["method"]] = Flow(**row)
        except (KeyError, TypeError):
            continue
    return found


def _lines(made: Iterable[Flow], failed: Iterable[tuple[str, str]] = (), method: str = "") -> str:
    rows: list[Mapping[str, object]] = [asdict(row) for row in made]
    rows += ({"failed": clip_id, "method": method, "reason": reason} for clip_id, reason in failed)
    return "".join(json.dumps(row) + "\n" for row in rows)


def _fields_of(clip: Clip) -> int:
    return len(frames_at_25(clip.num_frames, Fraction(clip.fps_num, clip.fps_den))) - 1


def _sizes(workspace: Workspace) -> dict[str, int]:
    folder = workspace.root / "flow"
    return {e.name: e.stat().st_size for e in os.scandir(folder)} if folder.is_dir() else {}


def _temp(workspace: Workspace) -> Path:
    # Not in the workspace's own temporary folder, which a fetch sweeps.
    return workspace.root / "flow" / ".tmp"
