"""Estimate a fetch: clips, hours, disk space, and how many clips to expect."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass

from dancecli.core.records import OutcomeClass, Segment
from dancecli.dataset.clips import clips_there
from dancecli.dataset.fetch.jobs import SourcePlan, plan_source, source_name
from dancecli.dataset.fetch.settings import FetchSettings, load_requested, of_shard, pending
from dancecli.dataset.fetch.totals import RowTotals, count_rows
from dancecli.engine.factory import num_cores
from dancecli.engine.rate_limit import hours_of
from dancecli.sources import LOCAL, YOUTUBE
from dancecli.storage import ledger
from dancecli.storage.workspace import Workspace

# Measured: a clip of 10 s at short side 256, as it is encoded here.
CLIP_KB_PER_S = 74.0
# Measured: seek, cut, encode and validate one clip of 10 s, on one core.
CPU_S_PER_CLIP = 0.75
# Of the Kinetics-400 training list, three counts between 2018 and 2020 lacked 8.0 to 10.8 %.
PUBLISHED_SURVIVAL = (0.892, 0.92)
# Fewer settled clips than this are a worse estimate than the published counts.
ENOUGH = 50
_SETTLED = (OutcomeClass.DONE, OutcomeClass.PERMANENT, OutcomeClass.SOURCE_SHORT, OutcomeClass.CORRUPT)


@dataclass(frozen=True)
class FetchPlan:
    """What a fetch with these settings would do.

    Attributes:
        labels: clips on disk and requested, by label.
        num_videos: source videos that would be downloaded.
        num_clips: clips that would be cut from them.
        rate_per_hour: None for no limit.
        hours: the longer of the site's limit and this machine's work.
        gigabytes: on disk, of the missing clips.
        free_gigabytes: on the disk of the workspace.
        survival: the share of clips to expect, from and to.
        evidence: where that share comes from.
        rows: what became of every row of the lists.
    """

    labels: dict[str, tuple[int, int]]
    num_videos: int
    num_clips: int
    rate_per_hour: float | None
    hours: float
    gigabytes: float
    free_gigabytes: float
    survival: tuple[float, float]
    evidence: str
    rows: RowTotals


def plan(workspace: Workspace, settings: FetchSettings) -> FetchPlan:
    """Estimate a fetch; no site is contacted, except for the list archive.

    Raises:
        InputError: a list, a label file or a setting is wrong.
    """
    requested, listing, label_set = load_requested(workspace, settings)
    segments = of_shard(requested, settings.shard)
    there = clips_there(workspace)
    missing, source = _missing(workspace, settings, segments, there)
    seconds = sum(segment.end_ms - segment.start_ms for segment in missing) / 1000
    requested_by_label = Counter(s.label for s in segments)
    done = Counter(s.label for s in segments if s.clip_id in there)
    survival, evidence = _survival(workspace, settings)
    work_h = len(missing) * CPU_S_PER_CLIP / (settings.workers or num_cores()) / 3600
    limit_h = hours_of(len(source.jobs), source.rate_per_hour) if source else 0.0
    root = next(path for path in (workspace.root, *workspace.root.parents) if path.exists())
    return FetchPlan(
        labels={label: (done[label], requested_by_label[label]) for label in sorted(requested_by_label)},
        num_videos=len({segment.video_id for segment in missing}),
        num_clips=len(missing),
        rate_per_hour=source.rate_per_hour if source else None,
        hours=max(work_h, limit_h),
        gigabytes=seconds * CLIP_KB_PER_S / 1e6,
        free_gigabytes=shutil.disk_usage(root).free / 1e9,
        survival=survival,
        evidence=evidence,
        rows=count_rows(listing, label_set, requested, segments),
    )


def _missing(
    workspace: Workspace, settings: FetchSettings, segments: Sequence[Segment], there: Set[str]
) -> tuple[list[Segment], SourcePlan | None]:
    """Return what the sources are tried for, and the plan of the last one that has a rate limit.

    A folder is looked into: what it does not have is left to the next source. What a mirror lacks
    shows only when it is read, so all of it counts for the site after it: the hours are an upper
    bound.
    """
    found: set[Segment] = set()
    limited: SourcePlan | None = None
    rest = list(segments)
    for kind in settings.source_order:
        name = source_name(kind, settings)
        wanted = pending(workspace, rest, settings.retry, name, there)
        source = plan_source(kind, workspace.root, workspace.temp, settings, wanted)
        available = {segment for job in source.jobs for segment in job.segments}
        found |= available
        if kind == LOCAL:
            rest = [segment for segment in rest if segment not in available]
        elif kind == YOUTUBE:
            limited = source
    return [segment for segment in segments if segment in found], limited


def _survival(workspace: Workspace, settings: FetchSettings) -> tuple[tuple[float, float], str]:
    """Tell by what was tried at the sites of this fetch: clips of one's own folders say nothing of them."""
    last: dict[str, OutcomeClass] = {}
    for kind in settings.source_order:
        if kind != LOCAL:
            found = ledger.latest_of_source(workspace.root, source_name(kind, settings))
            last |= {i: outcome for i, outcome in found.items() if last.get(i) is not OutcomeClass.DONE}
    counts = Counter(last.values())
    settled = sum(counts[outcome] for outcome in _SETTLED)
    if settled < ENOUGH:
        return PUBLISHED_SURVIVAL, "published counts of the Kinetics-400 training list, 2018 to 2020"
    share = counts[OutcomeClass.DONE] / settled
    return (share, share), f"{counts[OutcomeClass.DONE]} of {settled} clips tried in this workspace"
