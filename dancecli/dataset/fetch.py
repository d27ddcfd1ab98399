"""Fetch: annotation lists to clips that are proven whole, with an outcome for every row.

The parent process reads the lists, hands out one job a source video (`dataset.dispatch`), and is
the only one that writes to the ledger; the workers (`dataset.job`) download, cut, prove and
publish. A run may be stopped in any way at any moment: what is recorded is not done again, and
what is published but not recorded is proven again and adopted.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dancecli import ledger
from dancecli.dataset.clips import rebuild_clips, remember_segments
from dancecli.dataset.dispatch import Dispatcher, JobPlan
from dancecli.dataset.job import SourceJob
from dancecli.dataset.order import keyed_order
from dancecli.engine.limiter import BreakerSettings
from dancecli.errors import UsageError
from dancecli.labels import DEFAULT_LABELS, LabelSet
from dancecli.media.ffmpeg import find_ffmpeg
from dancecli.schema import OnProgress, OutcomeClass, Segment, no_progress
from dancecli.sources.archive import read_archive
from dancecli.sources.kinetics import Listing, read_lists
from dancecli.sources.youtube import Download, check_template
from dancecli.workspace import Workspace

PENDING = "pending"
# A guest's honest rate at YouTube; a server of one's own has none.
YOUTUBE_RATE_PER_HOUR = 300.0
RETRY = ("transient", "permanent", "all", "none")


@dataclass(frozen=True)
class FetchSettings:
    """What to fetch, and how.

    Attributes:
        annotations: lists in any form of Kinetics; none: the official archive of `edition`.
        edition: of Kinetics: `400`, `600`, `700` or `700-2020`.
        labels: a label file; rows with other labels are left out.
        limit: clips per class, a larger number containing a smaller one's; None for all.
        url_template: an http address with `{video_id}`, in place of YouTube.
        workers: processes; 0 for one a core.
        rate_per_hour: requests to the site; None for the source's default, 0 for no limit.
        retry: what of an earlier run to try again: `transient`, `permanent`, `all` or `none`.
            What was never tried, and what a site put off, is always tried.
        keep_audio: keep the sound.
        tries: attempts at a source in one run.
        backoff_s: before its second attempt; doubled before each further one.
        timeout_s: wall-clock limit of one attempt.
        socket_timeout_s: a transfer on which nothing comes for so long is cut.
        min_free_gb: stop when the workspace's disk has less.
        cookies: a cookie file in Netscape's format.
        extractor_args: passed on to yt-dlp.
        breaker: when to stop asking a site that refuses.
        dry_run: change nothing.
    """

    annotations: tuple[Path, ...] = ()
    edition: str = "700-2020"
    labels: Path = DEFAULT_LABELS
    limit: int | None = None
    url_template: str = ""
    workers: int = 0
    rate_per_hour: float | None = None
    retry: str = "transient"
    keep_audio: bool = True
    tries: int = 3
    backoff_s: float = 2.0
    timeout_s: float = 900.0
    socket_timeout_s: float = 20.0
    min_free_gb: float = 1.0
    cookies: Path | None = None
    extractor_args: tuple[str, ...] = ()
    breaker: BreakerSettings = field(default_factory=BreakerSettings)
    dry_run: bool = False


@dataclass(frozen=True)
class FetchResult:
    """How the segments that were asked for stand.

    Attributes:
        outcomes: number by outcome class, `pending` for those without an answer; they sum to
            the number asked for.
        reasons: number by reason, of those that are not done.
        labels: done and asked for, by label.
        num_new: clips that this run added.
        num_attempted: sources that this run worked on.
        conflicts: clips listed under two labels; the first one is kept.
        stopped: why the run ended before its work did; empty if it did not.
        seconds: what it took.
    """

    outcomes: dict[str, int]
    reasons: dict[str, int]
    labels: dict[str, tuple[int, int]]
    num_new: int = 0
    num_attempted: int = 0
    conflicts: list[str] = field(default_factory=list)
    stopped: str = ""
    seconds: float = 0.0

    @property
    def num_asked(self) -> int:
        """Segments that were asked for."""
        return sum(self.outcomes.values())

    @property
    def num_done(self) -> int:
        """Of these, those whose clip is there."""
        return self.outcomes.get(OutcomeClass.DONE, 0)

    @property
    def complete(self) -> bool:
        """Nothing is missing."""
        return self.num_done == self.num_asked


def fetch(
    workspace: Workspace, settings: FetchSettings, on_progress: OnProgress = no_progress
) -> FetchResult:
    """Fetch the clips of the lists that are not there yet.

    Args:
        workspace: gets `clips/`, the ledger, and the manifests of segments and clips.
        settings: what to fetch.
        on_progress: told after every source, in clips.

    Raises:
        InputError: a list, a label file or a setting is wrong.
        WorkspaceError: another fetch is at work here, or the disk is full; what was done is kept.
        MissingDependencyError: there is no ffmpeg.
    """
    started_s = time.monotonic()
    _check(settings)
    labels = LabelSet.read(settings.labels)
    listing = _read(settings, labels)
    chosen = choose(listing.segments, settings.limit)
    if settings.dry_run:
        return _result(workspace, chosen, listing, started_s)
    find_ffmpeg()
    with workspace.lock("fetch"):
        # What a killed run left half-made; everything whole has its real name.
        shutil.rmtree(workspace.temp, ignore_errors=True)
        remember_segments(workspace, chosen, labels)
        jobs = _jobs(workspace, settings, to_do(workspace, chosen, settings.retry))
        plan = JobPlan(
            jobs=jobs,
            num_asked=len(chosen),
            num_done=_result(workspace, chosen, listing, started_s).num_done,
            workers=settings.workers or os.cpu_count() or 1,
            rate_per_hour=_rate(settings),
            tries=settings.tries,
            backoff_s=settings.backoff_s,
            timeout_s=settings.timeout_s,
            min_free_bytes=int(settings.min_free_gb * 1e9),
            breaker=settings.breaker,
        )
        try:
            with ledger.LedgerWriter(workspace.ledger) as writer:
                dispatcher = Dispatcher(workspace, plan, writer, on_progress)
                dispatcher.run()
        finally:
            rebuild_clips(workspace)
            shutil.rmtree(workspace.temp, ignore_errors=True)
    return replace(
        _result(workspace, chosen, listing, started_s),
        num_new=dispatcher.num_new,
        num_attempted=dispatcher.num_attempted,
        stopped=dispatcher.stopped,
    )


def choose(segments: Sequence[Segment], limit: int | None) -> list[Segment]:
    """Pick up to `limit` segments of each class, the same ones on any machine.

    A larger limit picks those of a smaller one and more.
    """
    if limit is None:
        return list(segments)
    taken: Counter[str] = Counter()
    chosen = []
    for segment in keyed_order(segments, lambda s: s.clip_id, seed=0, purpose="limit"):
        if taken[segment.label] < limit:
            taken[segment.label] += 1
            chosen.append(segment)
    return chosen


def to_do(workspace: Workspace, segments: Sequence[Segment], retry: str) -> list[Segment]:
    """Give the segments that are to be tried now: never tried, put off, lost, or worth a retry."""
    again = {OutcomeClass.SESSION, OutcomeClass.DONE}
    if retry == "all":
        again |= set(OutcomeClass)
    elif retry != "none":
        again.add(OutcomeClass(retry))
    standing = ledger.latest(workspace.root)
    there = _clips_there(workspace)
    return [
        segment
        for segment in segments
        if segment.clip_id not in there
        and ((known := standing.get(segment.clip_id)) is None or known.outcome in again)
    ]


def _clips_there(workspace: Workspace) -> set[str]:
    """Ids of the clips that are recorded as done and whose file is there, whole by its size."""
    folder = workspace.clip("x").parent
    sizes = {e.name: e.stat().st_size for e in os.scandir(folder)} if folder.is_dir() else {}
    return {
        clip.clip_id
        for clip in ledger.done_clips(workspace.root)
        if sizes.get(f"{clip.clip_id}.mp4") == clip.num_bytes
    }


def _jobs(workspace: Workspace, settings: FetchSettings, segments: Sequence[Segment]) -> list[SourceJob]:
    by_video: dict[str, list[Segment]] = {}
    for segment in segments:
        by_video.setdefault(segment.video_id, []).append(segment)
    download = Download(
        url_template=settings.url_template,
        with_audio=settings.keep_audio,
        cookies=settings.cookies.absolute() if settings.cookies else None,
        extractor_args=settings.extractor_args,
        socket_timeout_s=settings.socket_timeout_s,
    )
    # Shuffled, so that a run that is stopped early has something of every class.
    return [
        SourceJob(
            root=workspace.root,
            temp=workspace.temp / video_id,
            segments=tuple(sorted(by_video[video_id])),
            source="url-template" if settings.url_template else "youtube",
            download=download,
            keep_audio=settings.keep_audio,
        )
        for video_id in keyed_order(by_video, str, seed=0, purpose="fetch")
    ]


def _result(
    workspace: Workspace, segments: Sequence[Segment], listing: Listing, started_s: float
) -> FetchResult:
    standing = ledger.latest(workspace.root)
    there = _clips_there(workspace)
    outcomes: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    asked, done = Counter(s.label for s in segments), Counter[str]()
    for segment in segments:
        known = standing.get(segment.clip_id)
        if segment.clip_id in there:
            outcomes[OutcomeClass.DONE] += 1
            done[segment.label] += 1
        elif known is None or known.outcome is OutcomeClass.DONE:
            outcomes[PENDING] += 1
            reasons["not-tried" if known is None else "file-lost"] += 1
        else:
            outcomes[known.outcome] += 1
            reasons[known.reason] += 1
    return FetchResult(
        outcomes={name: outcomes[name] for name in (*OutcomeClass, PENDING)},
        reasons=dict(reasons.most_common()),
        labels={label: (done[label], asked[label]) for label in sorted(asked)},
        conflicts=listing.conflicts,
        seconds=time.monotonic() - started_s,
    )


def _read(settings: FetchSettings, labels: LabelSet) -> Listing:
    if settings.annotations:
        return read_lists(settings.annotations, labels)
    return read_archive(settings.edition, labels)


def _rate(settings: FetchSettings) -> float | None:
    if settings.rate_per_hour is not None:
        return settings.rate_per_hour or None
    return None if settings.url_template else YOUTUBE_RATE_PER_HOUR


def _check(settings: FetchSettings) -> None:
    if settings.url_template:
        check_template(settings.url_template)
    if settings.retry not in RETRY:
        raise UsageError(f"--retry {settings.retry!r} is none of {', '.join(RETRY)}")
    if settings.limit is not None and settings.limit < 1:
        raise UsageError(f"--limit {settings.limit} is not at least 1")
