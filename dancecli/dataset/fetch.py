"""Fetch: annotation lists to clips that are proven whole, with an outcome for every row.

The parent process reads the lists, hands out one job a source video (`dataset.dispatch`), and is
the only one that writes to the ledger; the workers (`dataset.job`) download, cut, prove and
publish. A run may be stopped in any way at any moment: what is recorded is not done again, and
what is published but not recorded is proven again and adopted.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace
from pathlib import Path

from dancecli import ledger
from dancecli.dataset.clips import clips_there, rebuild_clips, remember_segments
from dancecli.dataset.dispatch import Dispatcher, JobPlan
from dancecli.dataset.order import keyed_digest, keyed_order
from dancecli.dataset.phases import LOCAL, MIRROR, YOUTUBE, phase_of, source_name
from dancecli.engine.limiter import BreakerSettings
from dancecli.errors import UsageError
from dancecli.labels import DEFAULT_LABELS, LabelSet
from dancecli.media.ffmpeg import find_ffmpeg
from dancecli.schema import OnProgress, OutcomeClass, Segment, no_progress
from dancecli.sources.archive import read_archive
from dancecli.sources.kinetics import Listing, read_lists
from dancecli.sources.youtube import check_address
from dancecli.workspace import Workspace

PENDING = "pending"
RETRY = ("transient", "permanent", "all", "none")


@dataclass(frozen=True)
class FetchSettings:
    """What to fetch, and how.

    Attributes:
        annotations: lists in any form of Kinetics; none: the official archive of `edition`.
        edition: of Kinetics: `400`, `600`, `700` or `700-2020`.
        labels: a label file; rows with other labels are left out.
        limit: clips per class, a larger number containing a smaller one's; None for all.
        sources: of `local`, `mirror` and `youtube`, in the order in which they are asked; none:
            `local` if there is a folder, `mirror` for the official archive, then `youtube`.
        folder: for `local`: clips or whole videos that are on disk, in any known form.
        mirror_template: for `mirror`: an http address with `{split}` and `{number}`.
        url_template: an http address with `{video_id}`, in place of YouTube.
        shard: do the i-th of n parts of the work, given as (i, n), i from 1.
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
    sources: tuple[str, ...] = ()
    folder: Path | None = None
    mirror_template: str = ""
    url_template: str = ""
    shard: tuple[int, int] | None = None
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

    @property
    def source_order(self) -> tuple[str, ...]:
        """The sources given, or those that the other settings imply."""
        if self.sources:
            return self.sources
        local = (LOCAL,) if self.folder else ()
        mirror = () if self.annotations or self.url_template else (MIRROR,)
        return (*local, *mirror, YOUTUBE)

    @property
    def work_name(self) -> str:
        """What this fetch is called in the lock, the ledger's name and the temporary folder."""
        return f"fetch-{self.shard[0]}of{self.shard[1]}" if self.shard else "fetch"


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
    wanted = choose(listing.segments, settings.limit)
    chosen = of_shard(wanted, settings.shard)
    if settings.dry_run:
        return _result(workspace, chosen, listing, started_s)
    find_ffmpeg()
    with workspace.lock(settings.work_name):
        # Of all shards, so that each of them writes the same.
        remember_segments(workspace, wanted, labels)
        runs = _run(workspace, settings, chosen, on_progress)
    return replace(
        _result(workspace, chosen, listing, started_s),
        num_new=sum(run.num_new for run in runs),
        num_attempted=sum(run.num_attempted for run in runs),
        stopped=runs[-1].stopped,
    )


def _run(
    workspace: Workspace, settings: FetchSettings, chosen: Sequence[Segment], on_progress: OnProgress
) -> list[Dispatcher]:
    """Ask one source after the other for what is not there yet."""
    temp = workspace.temp / settings.work_name
    path = workspace.ledger
    if settings.shard:
        path = path.with_name(f"ledger-{settings.shard[0]}of{settings.shard[1]}.db")
    runs: list[Dispatcher] = []
    # What a killed run left half-made; everything whole has its real name.
    shutil.rmtree(temp, ignore_errors=True)
    try:
        with ledger.LedgerWriter(path) as writer:
            for kind in settings.source_order:
                there = clips_there(workspace)
                segments = to_do(workspace, chosen, settings.retry, source_name(kind, settings), there)
                plan = JobPlan(
                    phase=phase_of(kind, workspace.root, temp, settings, segments),
                    num_asked=len(chosen),
                    num_done=sum(segment.clip_id in there for segment in chosen),
                    workers=settings.workers or os.cpu_count() or 1,
                    tries=settings.tries,
                    backoff_s=settings.backoff_s,
                    timeout_s=settings.timeout_s,
                    min_free_bytes=int(settings.min_free_gb * 1e9),
                )
                runs.append(Dispatcher(workspace, plan, writer, on_progress))
                runs[-1].run()
    finally:
        rebuild_clips(workspace)
        shutil.rmtree(temp, ignore_errors=True)
        with contextlib.suppress(OSError):
            workspace.temp.rmdir()
    return runs


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


def of_shard(segments: Sequence[Segment], shard: tuple[int, int] | None) -> list[Segment]:
    """Keep the segments whose video falls into the shard, by a hash of its id."""
    if shard is None:
        return list(segments)
    i, n = shard

    def mine(video_id: str) -> bool:
        return int.from_bytes(keyed_digest(video_id, b"shard")[:8]) % n == i - 1

    return [segment for segment in segments if mine(segment.video_id)]


def to_do(
    workspace: Workspace, segments: Sequence[Segment], retry: str, source: str, there: Set[str]
) -> list[Segment]:
    """Give the segments for which a source is to be asked now.

    Args:
        workspace: its ledgers say what the source answered before.
        segments: all that are wanted.
        retry: as in `FetchSettings`.
        source: as the ledger names it.
        there: ids of the clips that are there.
    """
    again = {OutcomeClass.SESSION, OutcomeClass.DONE}
    if retry == "all":
        again |= set(OutcomeClass)
    elif retry != "none":
        again.add(OutcomeClass(retry))
    before = ledger.latest_of_source(workspace.root, source)
    return [
        segment
        for segment in segments
        if segment.clip_id not in there and before.get(segment.clip_id, OutcomeClass.SESSION) in again
    ]


def _result(
    workspace: Workspace, segments: Sequence[Segment], listing: Listing, started_s: float
) -> FetchResult:
    standing = ledger.latest(workspace.root)
    there = clips_there(workspace)
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


def _check(settings: FetchSettings) -> None:
    if settings.url_template:
        check_address(settings.url_template, "--url-template", ("video_id",))
    if settings.retry not in RETRY:
        raise UsageError(f"--retry {settings.retry!r} is none of {', '.join(RETRY)}")
    if settings.limit is not None and settings.limit < 1:
        raise UsageError(f"--limit {settings.limit} is not at least 1")
    if settings.shard is not None and not 1 <= settings.shard[0] <= settings.shard[1]:
        raise UsageError(f"--shard {settings.shard[0]}/{settings.shard[1]} is not I/N with 1 <= I <= N")
    _check_sources(settings)


def _check_sources(settings: FetchSettings) -> None:
    known = (LOCAL, MIRROR, YOUTUBE)
    for kind in settings.source_order:
        if kind not in known:
            raise UsageError(f"--source {kind!r} is none of {', '.join(known)}")
    if len(set(settings.source_order)) < len(settings.source_order):
        raise UsageError(f"--source {','.join(settings.source_order)} names a source twice")
    if LOCAL in settings.source_order and settings.folder is None:
        raise UsageError("--source local needs the folder to look in", "add --folder DIR")
    if settings.mirror_template:
        check_address(settings.mirror_template, "--mirror-template", ("split", "number"))
