"""Fetch: annotation lists to clips that are validated whole, with an outcome for every row.

The parent process reads the lists, hands out one job per source video (`dispatcher`), and is the
only one that writes to its ledger; the workers (`video_worker`, `mirror_worker`) download, cut,
validate and commit. A run may be stopped in any way at any moment: what is recorded is not done
again, and what is committed but not recorded is validated again and registered.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import OutcomeClass, Segment
from dancecli.dataset.clips import clips_there, rebuild_clips, remember_segments
from dancecli.dataset.fetch.dispatcher import Dispatcher, JobPlan
from dancecli.dataset.fetch.jobs import plan_source, source_name
from dancecli.dataset.fetch.lacking import Lacking, lacking_recordings
from dancecli.dataset.fetch.settings import (
    FetchSettings,
    load_requested,
    of_shard,
    pending,
    selection_options,
)
from dancecli.dataset.fetch.totals import RowTotals, count_rows
from dancecli.sources import LOCAL
from dancecli.storage import ledger
from dancecli.storage.files import remove_stale_temp
from dancecli.storage.removals import REMOVED, read_removals
from dancecli.storage.workspace import Workspace, clips_lock
from dancecli.video.ffmpeg import find_ffmpeg

PENDING = "pending"
# Why the ledger has no row of a clip that is not there.
_NOT_TRIED, _NOT_IN_FOLDER = "not-tried", "not-in-folder"


@dataclass(frozen=True)
class FetchResult:
    """The state of the requested segments.

    Attributes:
        outcomes: number by outcome class, `pending` for those without an answer; they sum to
            the number requested.
        reasons: number by reason, of those that are not done.
        labels: the same by label, without the zeros.
        num_new: clips that this run added.
        num_attempted: sources that this run worked on.
        lacking: recordings and videos that the folder lacks, if it is the only source and was searched.
        num_crashes: jobs that ended with an exception that nothing handled, a bug; their clips are
            pending, the traceback is in their history.
        rows: what became of every row of the lists.
        stopped: why the run ended before its work did; empty if it did not.
        seconds: what it took.
    """

    outcomes: dict[str, int]
    reasons: dict[str, int]
    labels: dict[str, dict[str, int]]
    num_new: int = 0
    num_attempted: int = 0
    lacking: tuple[Lacking, ...] = ()
    num_crashes: int = 0
    rows: RowTotals = field(default_factory=RowTotals)
    stopped: str = ""
    seconds: float = 0.0

    @property
    def num_asked(self) -> int:
        """Segments that were requested."""
        return sum(self.outcomes.values())

    @property
    def num_done(self) -> int:
        """Of these, those whose clip is on disk."""
        return self.outcomes.get(OutcomeClass.DONE, 0)

    @property
    def complete(self) -> bool:
        """Nothing is missing."""
        return self.num_done == self.num_asked


def fetch(workspace: Workspace, settings: FetchSettings, reporter: Reporter = SILENT) -> FetchResult:
    """Fetch the clips of the lists that are not on disk yet.

    Args:
        workspace: gets `clips/`, the ledger, and the manifests of segments and clips.
        settings: what to fetch.
        reporter: gets the progress after every source, in clips.

    Raises:
        InputError: a list, a label file or a setting is wrong.
        WorkspaceError: another command writes clips here, or the disk is full; what was done is kept.
        MissingDependencyError: ffmpeg is not installed.
    """
    started_s = time.monotonic()
    requested, listing, labels = load_requested(workspace, settings)
    chosen = of_shard(requested, settings.shard)
    rows = count_rows(listing, labels, requested, chosen)
    if settings.dry_run:
        return _result(workspace, chosen, rows, started_s, _NOT_TRIED)
    find_ffmpeg()
    workspace.begin(reporter)
    with clips_lock(workspace, "fetch", settings.shard):
        # Of all shards, so that each of them writes the same.
        remember_segments(workspace, requested, labels, fetch_options=selection_options(settings))
        runs = _run(workspace, settings, chosen, reporter)
    searched = settings.source_order == (LOCAL,) and not runs[-1].stopped
    return replace(
        _result(workspace, chosen, rows, started_s, _NOT_IN_FOLDER if searched else _NOT_TRIED),
        num_new=sum(run.num_new for run in runs),
        num_attempted=sum(run.num_attempted for run in runs),
        lacking=_lacking(workspace, settings, chosen, listing.recordings) if searched else (),
        num_crashes=sum(run.num_crashes for run in runs),
        stopped=runs[-1].stopped,
    )


def _run(
    workspace: Workspace, settings: FetchSettings, chosen: Sequence[Segment], reporter: Reporter
) -> list[Dispatcher]:
    """Try one source after the other for what is not on disk yet."""
    temp = workspace.temp / settings.work_name
    path = workspace.ledger
    if settings.shard:
        path = path.with_name(f"ledger-{settings.shard[0]}of{settings.shard[1]}.db")
    runs: list[Dispatcher] = []
    # What a killed run left half-made; everything whole has its real name.
    shutil.rmtree(temp, ignore_errors=True)
    for folder in (workspace.root, workspace.segments.parent):
        remove_stale_temp(folder)
    try:
        with ledger.LedgerWriter(path, shared=settings.shard is not None) as writer:
            for kind in settings.source_order:
                there = clips_there(workspace)
                segments = pending(workspace, chosen, settings.retry, source_name(kind, settings), there)
                plan = JobPlan(
                    source=plan_source(kind, workspace.root, temp, settings, segments),
                    num_requested=len(chosen),
                    num_done=sum(segment.clip_id in there for segment in chosen),
                    engine=settings.engine,
                    workers=settings.workers,
                    tries=settings.tries,
                    backoff_s=settings.backoff_s,
                    timeout_s=settings.timeout_s,
                    min_free_bytes=int(settings.min_free_gb * 1e9),
                )
                runs.append(Dispatcher(workspace, plan, writer, reporter))
                runs[-1].run()
    finally:
        rebuild_clips(workspace)
        shutil.rmtree(temp, ignore_errors=True)
        with contextlib.suppress(OSError):
            workspace.temp.rmdir()
    return runs


def _lacking(
    workspace: Workspace, settings: FetchSettings, chosen: Sequence[Segment], recordings: Mapping[str, str]
) -> tuple[Lacking, ...]:
    """Name what a folder that was searched lacks: what the ledger has no row of."""
    assert settings.folder is not None  # noqa: S101 - checked with the other settings
    tried, removed = ledger.latest(workspace.root), read_removals(workspace)
    video_ids = {
        segment.video_id
        for segment in chosen
        if segment.clip_id not in tried
        and not removed.find(segment.video_id, segment.start_ms, segment.end_ms)
    }
    return lacking_recordings(settings.folder, video_ids, recordings)


def _result(
    workspace: Workspace, segments: Sequence[Segment], rows: RowTotals, started_s: float, without_row: str
) -> FetchResult:
    """Sum up where the segments stand; `without_row` says why the ledger knows nothing of one."""
    standing = ledger.latest(workspace.root)
    there, removed = clips_there(workspace), read_removals(workspace)
    by_label: dict[str, Counter[str]] = {}
    reasons: Counter[str] = Counter()
    for segment in segments:
        known = standing.get(segment.clip_id)
        if removed.find(segment.video_id, segment.start_ms, segment.end_ms):
            outcome = OutcomeClass.PERMANENT.value
            reasons[REMOVED] += 1
        elif segment.clip_id in there:
            outcome = OutcomeClass.DONE.value
        elif known is None or known.outcome is OutcomeClass.DONE:
            outcome = PENDING
            reasons[without_row if known is None else "file-lost"] += 1
        else:
            outcome = known.outcome.value
            reasons[known.reason] += 1
        by_label.setdefault(segment.label, Counter())[outcome] += 1
    total = sum(by_label.values(), Counter[str]())
    return FetchResult(
        outcomes={name: total[name] for name in (*(o.value for o in OutcomeClass), PENDING)},
        reasons=dict(reasons.most_common()),
        labels={label: dict(by_label[label]) for label in sorted(by_label)},
        rows=rows,
        seconds=time.monotonic() - started_s,
    )
