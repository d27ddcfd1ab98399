"""Import many clips from disk: worker processes, an outcome for each clip, the manifests in step.

What is recorded as done and still there is not done again; a run may be stopped at any moment.
"""

from __future__ import annotations

import contextlib
import shutil
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path

from dancecli.core.errors import WorkspaceError
from dancecli.core.labels import LabelSet
from dancecli.core.progress import Reporter
from dancecli.core.records import Outcome, OutcomeClass
from dancecli.core.text import shown
from dancecli.dataset.clips import clips_there, rebuild_clips, remember_segments
from dancecli.dataset.cutting import STANDARD_RULES, ClipResult, ClipRules
from dancecli.dataset.fetch.video_worker import JobResult
from dancecli.dataset.ingest.worker import SOURCE, ImportJob, temp_of, work
from dancecli.engine.factory import num_cores
from dancecli.engine.local import LocalPool
from dancecli.engine.pool import Finished
from dancecli.sources.letsdance import FrameRun
from dancecli.storage import ledger
from dancecli.storage.removals import REMOVED, read_removals
from dancecli.storage.workspace import Workspace, clips_lock
from dancecli.video.ffmpeg import find_ffmpeg

# Of a clip's length, beside a fixed time: a slow core encodes a high resolution at a fraction of its pace.
_TIMES_LENGTH = 10


@dataclass(frozen=True)
class ImportOptions:
    """How clips are imported.

    Attributes:
        link: keep files as they are, verified only.
        keep_audio: keep the sound.
        workers: processes; 0 for one per core.
        timeout_s: wall-clock limit of one clip; ten times its length is added.
        rules: which clips are accepted, and how they are stored.
    """

    link: bool = False
    keep_audio: bool = True
    workers: int = 0
    timeout_s: float = 900.0
    rules: ClipRules = STANDARD_RULES


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that cannot even be tried: a row of the ledger all the same.

    Attributes:
        name: its clip id, or what comes closest to one.
        reason: a short stable word.
        text: what is wrong with it, with its path.
    """

    name: str
    video_id: str
    reason: str
    text: str


@dataclass(frozen=True, slots=True)
class FailedClip:
    """Why a clip could not be made: a short stable word, and what is behind it."""

    reason: str
    text: str


@dataclass(frozen=True)
class ClipOutcomes:
    """What became of the clips.

    Attributes:
        outcomes: number by outcome class; those that were there already are done.
        reasons: number by reason, of those that are not done.
        new_ids: ids of the clips that this run added, in order.
        failed: those that could not be made, by clip id.
    """

    outcomes: dict[str, int]
    reasons: dict[str, int]
    new_ids: tuple[str, ...] = field(default=(), repr=False)
    failed: dict[str, FailedClip] = field(default_factory=dict, repr=False)

    @property
    def num_new(self) -> int:
        """Clips that this run added."""
        return len(self.new_ids)

    @property
    def complete(self) -> bool:
        """Nothing is missing."""
        return not self.reasons


def import_clips(
    workspace: Workspace,
    jobs: Sequence[ImportJob],
    refused: Sequence[Refused],
    labels: LabelSet,
    settings: ImportOptions,
    reporter: Reporter,
    command: Sequence[str] = (),
) -> ClipOutcomes:
    """Import clips, record every outcome, and bring the manifests up to date.

    Args:
        workspace: gets the clips, the ledger's rows, and the manifests of segments and clips.
        jobs: the clips.
        refused: what could not be tried; recorded as corrupt, unless its clip is there from before.
        labels: the label set that the segments' labels are of.
        settings: how.
        reporter: gets the progress after every clip.
        command: the folder and the options of the `dance import` that does it, for `dance status`.

    Raises:
        WorkspaceError: a fetch is at work here, or the disk is full; what was done is kept.
        MissingDependencyError: there is no ffmpeg.
    """
    find_ffmpeg()
    with clips_lock(workspace, "import"):
        # Its own folder alone: a shard of a fetch may be at work beside it.
        temp = temp_of(workspace)
        shutil.rmtree(temp, ignore_errors=True)
        remember_segments(workspace, [job.segment for job in jobs], labels, import_options=command)
        there = clips_there(workspace)
        pending = [job for job in jobs if job.segment.clip_id not in there]
        run = _Run(workspace, len(jobs) - len(pending), len(jobs), reporter)
        try:
            with ledger.LedgerWriter(workspace.ledger) as writer:
                run.refuse(writer, refused, there)
                run.do(writer, pending, settings.workers or num_cores(), settings.timeout_s)
        finally:
            rebuild_clips(workspace)
            shutil.rmtree(temp, ignore_errors=True)
            with contextlib.suppress(OSError):
                workspace.temp.rmdir()
    return run.result()


class _Run:
    def __init__(self, workspace: Workspace, num_there: int, total: int, reporter: Reporter) -> None:
        self._workspace = workspace
        self._reporter = reporter
        self._total = total
        self._settled = num_there
        self._outcomes = Counter({OutcomeClass.DONE: num_there})
        self._reasons: Counter[str] = Counter()
        self._new_ids: list[str] = []
        self._failed: dict[str, FailedClip] = {}
        self._latest = ledger.latest(workspace.root)
        self._removed = read_removals(workspace)

    def refuse(self, writer: ledger.LedgerWriter, refused: Sequence[Refused], there: Set[str]) -> None:
        rows = []
        for one in refused:
            self._outcomes[OutcomeClass.CORRUPT] += 1
            self._reasons[one.reason] += 1
            known = self._latest.get(one.name)
            # The last row of a clip is its state: what became of its file since does not undo it.
            # Recorded once: the same reason for the same file is no new attempt.
            if one.name not in there and (known is None or known.reason != one.reason):
                rows.append(
                    (
                        _outcome(
                            one.name,
                            one.video_id,
                            OutcomeClass.CORRUPT,
                            one.reason,
                            one.text,
                            known,
                        ),
                        None,
                    )
                )
        writer.record(rows)

    def do(
        self, writer: ledger.LedgerWriter, jobs: Sequence[ImportJob], workers: int, timeout_s: float
    ) -> None:
        self._report()

        def limit_s(job: ImportJob) -> float:
            length_ms = max(job.media_ms, job.segment.end_ms - job.segment.start_ms)
            return timeout_s + _TIMES_LENGTH * length_ms / 1000

        with LocalPool[ImportJob, JobResult](work, workers, limit_s) as pool:
            for finished in pool.run(jobs):
                if finished is not None:
                    self._take(writer, finished)
                    self._report()

    def _take(self, writer: ledger.LedgerWriter, finished: Finished[ImportJob, JobResult]) -> None:
        segment = finished.job.segment
        if finished.result is not None and finished.result.disk_full:
            raise WorkspaceError(
                f"{self._workspace.root}: no space is left; stopped with {self._settled} of "
                f"{self._total} clips",
                "free some space and run the same command again: the import resumes",
            )
        result = (
            finished.result.clips[0]
            if finished.result
            else ClipResult(segment, OutcomeClass.TRANSIENT, finished.lost, _lost_text(finished))
        )
        row = _outcome(
            segment.clip_id,
            segment.video_id,
            result.outcome,
            result.reason,
            result.text,
            self._latest.get(segment.clip_id),
        )
        clip = result.clip
        if clip is not None and (tombstone := self._removed.of_bytes(clip.sha256)):
            # The same bytes under another name. A clip of the user's own is a link: only that goes.
            (self._workspace.root / clip.path).unlink(missing_ok=True)
            self._count(segment.clip_id, OutcomeClass.PERMANENT, REMOVED, tombstone.reason)
            return
        if clip is not None and not clip.original_path:
            clip = replace(clip, original_path=_original_path(finished.job.media))
        writer.record([(row, clip)])
        self._count(segment.clip_id, result.outcome, result.reason, result.text)

    def _count(self, clip_id: str, outcome: OutcomeClass, reason: str, text: str) -> None:
        self._settled += 1
        self._outcomes[outcome] += 1
        if outcome is OutcomeClass.DONE:
            self._new_ids.append(clip_id)
        else:
            self._reasons[reason] += 1
            self._failed[clip_id] = FailedClip(reason, text)

    def _report(self) -> None:
        missing = sum(self._reasons.values())
        self._reporter.progress(self._settled, self._total, f"{missing} missing" if missing else "")

    def result(self) -> ClipOutcomes:
        return ClipOutcomes(
            outcomes={name.value: self._outcomes[name] for name in OutcomeClass},
            reasons=dict(self._reasons.most_common()),
            new_ids=tuple(sorted(self._new_ids)),
            failed=self._failed,
        )


def _lost_text(finished: Finished[ImportJob, JobResult]) -> str:
    """Say what happened to a lost job; the limit is the same the next time."""
    more = ": run it again with fewer --workers, or cut the file into shorter ones"
    return finished.detail + (more if finished.lost == "timeout" else "")


def _original_path(media: Path | FrameRun) -> str:
    """Write where a clip's file or pictures are."""
    path = media if isinstance(media, Path) else media.folder / f"{media.stem}_*{media.suffix}"
    return shown(path.absolute())


def _outcome(
    clip_id: str, video_id: str, outcome: OutcomeClass, reason: str, text: str, known: ledger.Latest | None
) -> Outcome:
    attempt, time_utc = (known.attempts + 1, known.time_utc) if known else (1, "")
    now = ledger.utc_now(time_utc)
    return Outcome(clip_id, video_id, outcome, reason, text, attempt, now, 0, SOURCE)
