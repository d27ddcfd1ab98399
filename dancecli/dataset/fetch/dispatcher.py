"""Hand out jobs, record what comes back, try again what is worth it, and know when to stop."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from dancecli.core.errors import WorkspaceError
from dancecli.core.progress import Reporter
from dancecli.core.records import Outcome, OutcomeClass, Segment
from dancecli.dataset.cutting import ClipResult
from dancecli.dataset.fetch.jobs import SourcePlan
from dancecli.dataset.fetch.mirror_worker import MirrorJob
from dancecli.dataset.fetch.video_worker import JobResult, SourceJob
from dancecli.engine.factory import open_pool
from dancecli.engine.pool import Finished, Pool
from dancecli.engine.rate_limit import RateLimiter
from dancecli.storage import ledger
from dancecli.storage.workspace import Workspace

Job = SourceJob | MirrorJob
UNSETTLED = (OutcomeClass.TRANSIENT, OutcomeClass.SESSION)


@dataclass(frozen=True)
class JobPlan:
    """The work of one run; see `FetchSettings` for what the numbers mean.

    Attributes:
        phase: the source and its jobs.
        num_asked: clips that were asked for, those that are there already included.
        num_done: clips that are there already.
    """

    phase: SourcePlan
    num_asked: int
    num_done: int
    engine: str
    workers: int
    tries: int
    backoff_s: float
    timeout_s: float
    min_free_bytes: int


class Dispatcher:
    """One run over a plan; the only writer of the ledger.

    Attributes:
        num_new: clips that were added.
        num_attempted: sources that were worked on.
        stopped: why the run ended early; empty if it did not.
    """

    def __init__(
        self, workspace: Workspace, plan: JobPlan, writer: ledger.LedgerWriter, reporter: Reporter
    ) -> None:
        self.num_new = 0
        self.num_attempted = 0
        self.stopped = ""
        self._workspace = workspace
        self._plan = plan
        self._writer = writer
        self._reporter = reporter
        self._limiter = RateLimiter(plan.phase.rate_per_hour, plan.phase.breaker)
        self._attempts = Counter({k: v.attempts for k, v in ledger.latest(workspace.root).items()})
        self._refusal = ""
        # Not settled in this run: those that are there, or that are not to be tried, are.
        self._open = sum(len(job.segments) for job in plan.phase.jobs)
        # Of jobs that give their result in parts: what is told already.
        self._told: dict[int, set[Segment]] = {}

    def run(self) -> None:
        """Do the plan.

        Raises:
            WorkspaceError: the disk is full, or fuller than allowed.
        """
        plan, phase = self._plan, self._plan.phase
        if not phase.jobs:
            return
        self._check_space()
        self._tell()
        with open_pool(
            plan.engine,
            phase.work,
            plan.workers,
            plan.timeout_s,
            self._limiter,
            root=self._workspace.root,
            egress=phase.online,
        ) as pool:
            for finished in pool.run(phase.jobs):
                if finished is not None:
                    self._take(finished, pool)
                self._tell()
        if self._limiter.given_up:
            self.stopped = f"the site keeps refusing ({self._refusal}); the rest is pending"

    def _take(self, finished: Finished[Job, JobResult], pool: Pool[Job, JobResult]) -> None:
        job = finished.job
        told = self._told.setdefault(id(job), set())
        result = finished.result or JobResult(
            tuple(
                ClipResult(segment, OutcomeClass.TRANSIENT, finished.lost, finished.detail)
                for segment in job.segments
                if segment not in told
            )
        )
        self._record(result, job)
        told.update(clip.segment for clip in result.clips)
        self._check_space()
        if finished.more:
            self._open -= len(result.clips)
            return
        del self._told[id(job)]
        self._report(job, result, lost=finished.result is None)
        if result.disk_full:
            raise self._full("no space is left")
        unsettled = tuple(clip.segment for clip in result.clips if clip.outcome in UNSETTLED)
        self._open -= len(result.clips) - len(unsettled)
        refused = self._limiter.paused_until_s() is not None
        # While the breaker is open it is the site that is being tried, not the video.
        tries = job.tries + (0 if refused else 1)
        if unsettled and tries < self._plan.tries and not self._limiter.given_up:
            delay_s = self._plan.backoff_s * 2**job.tries
            pool.requeue(replace(job, segments=unsettled, tries=tries), delay_s)
        else:
            self.num_attempted += len(told) == len(job.segments)
            self._open -= len(unsettled)
            shutil.rmtree(job.cutter.temp, ignore_errors=True)

    def _record(self, result: JobResult, job: Job) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        rows = []
        for clip in result.clips:
            clip_id = clip.segment.clip_id
            self._attempts[clip_id] += 1
            outcome = Outcome(
                clip_id=clip_id,
                video_id=clip.segment.video_id,
                outcome=clip.outcome,
                reason=clip.reason,
                text=clip.text,
                attempt=self._attempts[clip_id],
                time_utc=now,
                num_bytes=clip.num_bytes,
                source=job.cutter.source,
            )
            rows.append((outcome, clip.clip))
            if clip.outcome not in UNSETTLED:
                # Not tried again in this run; a hundred thousand of them would add up.
                del self._attempts[clip_id]
            self.num_new += clip.outcome is OutcomeClass.DONE
        self._writer.record(rows)

    def _report(self, job: Job, result: JobResult, *, lost: bool) -> None:
        if not (result.asked or lost):
            return
        outcomes = {clip.outcome for clip in result.clips}
        self._refusal = next(
            (c.reason for c in result.clips if c.outcome is OutcomeClass.SESSION), self._refusal
        )
        self._limiter.report(
            job,
            time.monotonic(),
            answered=bool(outcomes - set(UNSETTLED)),
            session=OutcomeClass.SESSION in outcomes,
            retry_after_s=result.retry_after_s,
        )

    def _tell(self) -> None:
        plan = self._plan
        done = plan.num_done + self.num_new
        settled = plan.num_asked - self._open
        text = f"{done} done · {settled - done} missing"
        paused_s = self._limiter.paused_until_s()
        if paused_s is not None:
            left_s = max(0.0, paused_s - time.monotonic())
            text += f" · the site refuses ({self._refusal}), next try in {left_s:.0f} s"
        self._reporter.progress(settled, plan.num_asked, text)

    def _check_space(self) -> None:
        free = shutil.disk_usage(self._workspace.root).free
        if free < self._plan.min_free_bytes:
            wanted_gb = self._plan.min_free_bytes / 1e9
            raise self._full(f"{free / 1e9:.1f} GB are free, less than the {wanted_gb:.10g} GB of --min-free")

    def _full(self, what: str) -> WorkspaceError:
        return WorkspaceError(
            f"{self._workspace.root}: {what}; stopped with {self._plan.num_done + self.num_new} of "
            f"{self._plan.num_asked} clips",
            "free some space and run the same command again: it goes on where it stopped",
        )
