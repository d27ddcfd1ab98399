"""Hand out jobs, record what comes back, retry what is worth it, and know when to stop."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace

from dancecli.core.errors import WorkspaceError
from dancecli.core.progress import Reporter
from dancecli.core.records import Outcome, OutcomeClass, Segment
from dancecli.core.redaction import redact
from dancecli.dataset.cutting import ClipResult
from dancecli.dataset.fetch.jobs import SourcePlan
from dancecli.dataset.fetch.mirror_worker import MirrorJob
from dancecli.dataset.fetch.video_worker import JobResult, SourceJob
from dancecli.engine.factory import open_pool
from dancecli.engine.pool import CRASH, Finished, Pool
from dancecli.engine.rate_limit import RateLimiter
from dancecli.sources.remedies import advice_for
from dancecli.storage import ledger
from dancecli.storage.workspace import Workspace

Job = SourceJob | MirrorJob
UNSETTLED = (OutcomeClass.TRANSIENT, OutcomeClass.SESSION)


@dataclass(frozen=True)
class JobPlan:
    """The work of one run; see `FetchSettings` for what the numbers mean.

    Attributes:
        source: the source and its jobs.
        num_requested: clips that were requested, those already on disk included.
        num_done: clips that are on disk already.
    """

    source: SourcePlan
    num_requested: int
    num_done: int
    engine: str
    workers: int
    tries: int
    backoff_s: float
    timeout_s: float
    min_free_bytes: int


class Dispatcher:
    """One run over a plan; the only writer of its ledger.

    Attributes:
        num_new: clips that were added.
        num_attempted: sources that were worked on.
        num_crashes: jobs that ended with an exception that nothing handled: bugs.
        stopped: why the run ended early, and what to do; empty if it did not.
    """

    def __init__(
        self, workspace: Workspace, plan: JobPlan, writer: ledger.LedgerWriter, reporter: Reporter
    ) -> None:
        self.num_new = 0
        self.num_attempted = 0
        self.num_crashes = 0
        self.stopped = ""
        self._workspace = workspace
        self._plan = plan
        self._writer = writer
        self._reporter = reporter
        source = plan.source
        self._limiter = RateLimiter(breaker=source.breaker, spacing=source.spacing())
        requested = {segment.clip_id for job in source.jobs for segment in job.segments}
        # Attempts at each clip of this run, over all ledgers, and the time of the last one.
        self._before = {
            clip_id: (known.attempts, known.time_utc)
            for clip_id, known in ledger.latest(workspace.root).items()
            if clip_id in requested
        }
        self._refusal = ""
        self._num_open = len(requested)
        # Of jobs that deliver their result in parts: the segments that are recorded already.
        self._recorded: dict[int, set[Segment]] = {}

    def run(self) -> None:
        """Do the plan.

        Raises:
            WorkspaceError: the disk is full, or fuller than allowed.
        """
        plan, source = self._plan, self._plan.source
        if not source.jobs:
            return
        self._check_space()
        self._report_progress()
        with open_pool(
            plan.engine,
            source.work,
            plan.workers,
            plan.timeout_s,
            self._limiter,
            root=self._workspace.root,
            egress=source.online,
        ) as pool:
            for finished in pool.run(source.jobs):
                if finished is not None:
                    self._handle(finished, pool)
                self._report_progress()
        self.num_crashes = pool.num_crashes
        if self._limiter.given_up:
            self.stopped = (
                f"source {source.name} stopped answering ({self._refusal}); the rest is pending. "
                f"{advice_for(self._refusal)}"
            )

    def _handle(self, finished: Finished[Job, JobResult], pool: Pool[Job, JobResult]) -> None:
        job = finished.job
        recorded = self._recorded.setdefault(id(job), set())
        result = finished.result or JobResult(
            tuple(
                ClipResult(segment, OutcomeClass.TRANSIENT, finished.lost, finished.detail)
                for segment in job.segments
                if segment not in recorded
            ),
            asked=self._plan.source.online,
        )
        self._record(result, job)
        recorded.update(clip.segment for clip in result.clips)
        self._check_space()
        self._report_answer(job, result, more=finished.more)
        if finished.more:
            self._num_open -= len(result.clips)
            return
        del self._recorded[id(job)]
        if result.disk_full:
            raise self._full("no space is left")
        unsettled = tuple(clip.segment for clip in result.clips if clip.outcome in UNSETTLED)
        self._num_open -= len(result.clips) - len(unsettled)
        refused = self._limiter.paused_until_s() is not None
        # While the breaker is open it is the site that is being tried, not the video.
        tries = job.tries + (0 if refused else 1)
        retry = unsettled and finished.lost != CRASH  # a bug would only happen again
        if retry and tries < self._plan.tries and not self._limiter.given_up:
            delay_s = self._plan.backoff_s * 2**job.tries
            pool.requeue(replace(job, segments=unsettled, tries=tries), delay_s)
        else:
            self.num_attempted += len(recorded) == len(job.segments)
            self._num_open -= len(unsettled)
            shutil.rmtree(job.cutter.temp, ignore_errors=True)

    def _record(self, result: JobResult, job: Job) -> None:
        rows = []
        for clip in result.clips:
            clip_id = clip.segment.clip_id
            attempts, time_utc = self._before.get(clip_id, (0, ""))
            outcome = Outcome(
                clip_id=clip_id,
                video_id=clip.segment.video_id,
                outcome=clip.outcome,
                reason=clip.reason,
                text=redact(clip.text),
                attempt=attempts + 1,
                time_utc=ledger.utc_now(time_utc),
                num_bytes=clip.num_bytes,
                source=job.cutter.source,
            )
            rows.append((outcome, clip.clip))
            self._before[clip_id] = (outcome.attempt, outcome.time_utc)
            if clip.outcome not in UNSETTLED:
                # It is not tried again in this run; a hundred thousand of them would add up.
                del self._before[clip_id]
            self.num_new += clip.outcome is OutcomeClass.DONE
        self._writer.record(rows)

    def _report_answer(self, job: Job, result: JobResult, *, more: bool) -> None:
        """Tell the breaker whether the site answered; each part of a result is an answer, too."""
        if not result.asked or (more and not result.answered):
            return
        unanswered = () if result.answered else result.clips
        self._refusal = next((clip.reason for clip in unanswered), self._refusal)
        self._limiter.report(
            job,
            time.monotonic(),
            answered=result.answered,
            session=any(clip.outcome is OutcomeClass.SESSION for clip in unanswered),
            retry_after_s=result.retry_after_s,
            subject=job.cutter.temp,
        )

    def _report_progress(self) -> None:
        plan = self._plan
        done = plan.num_done + self.num_new
        settled = plan.num_requested - self._num_open
        text = f"{done} done · {settled - done} missing"
        paused_s = self._limiter.paused_until_s()
        if paused_s is not None:
            left_s = max(0.0, paused_s - time.monotonic())
            text += f" · paused, no answers ({self._refusal}), next try in {left_s:.0f} s"
        self._reporter.progress(settled, plan.num_requested, text)

    def _check_space(self) -> None:
        free = shutil.disk_usage(self._workspace.root).free
        if free < self._plan.min_free_bytes:
            required_gb = self._plan.min_free_bytes / 1e9
            raise self._full(
                f"{free / 1e9:.1f} GB are free, less than the {required_gb:.10g} GB of --min-free"
            )

    def _full(self, what: str) -> WorkspaceError:
        return WorkspaceError(
            f"{self._workspace.root}: {what}; stopped with {self._plan.num_done + self.num_new} of "
            f"{self._plan.num_requested} clips",
            "free some space and run the same command again: it resumes where it stopped",
        )
