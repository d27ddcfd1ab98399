"""The sources of clips, in order: what each one is tried for, as jobs."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dancecli.core.errors import UsageError
from dancecli.core.hashing import keyed_order
from dancecli.core.records import Segment
from dancecli.dataset.cutting import Cutter
from dancecli.dataset.fetch import mirror_worker, video_worker
from dancecli.dataset.fetch.mirror_worker import MirrorJob
from dancecli.dataset.fetch.settings import FetchSettings
from dancecli.dataset.fetch.video_worker import OnDisk, SourceJob
from dancecli.engine.rate_limit import BreakerSettings, EvenSpacing, SharedSpacing
from dancecli.engine.worker import Work
from dancecli.sources import LOCAL, MIRROR, YOUTUBE
from dancecli.sources.kinetics_archive import SOURCES
from dancecli.sources.local import FolderIndex
from dancecli.sources.youtube import Download

# What YouTube tolerates from a guest, as users report; a mirror or a server of one's own has no limit.
YOUTUBE_RATE_PER_HOUR = 300.0
# Other sources follow, so an unreachable mirror is not waited for.
_MIRROR_BREAKER = BreakerSettings(streak=3, first_wait_s=5.0, trips=2, silent_trips=1)
# yt-dlp asks YouTube up to five times for one video, of which all but the last may be answered: two
# videos without an answer are ten requests. A pause is short beside the rate; the stop comes as late as
# elsewhere, after eight videos in a row.
_YOUTUBE_STREAK, _YOUTUBE_SILENT_TRIPS = 2, 6

# With another address of its own, a fetch does not share the rate of this machine.
_ADDRESS_OPTIONS = ("proxy", "source-address", "force-ipv4", "force-ipv6")


@dataclass(frozen=True)
class SourcePlan:
    """One source's share of the work.

    Attributes:
        name: what the ledger and the clips name as their source.
        jobs: in the order in which they are done.
        work: what a worker does with one.
        rate_per_hour: over all workers of this machine; None for no limit.
        breaker: when to stop asking.
        online: a site is contacted.
        site: what shares the rate: the site, and the address from which it is contacted.
    """

    name: str
    jobs: Sequence[SourceJob | MirrorJob]
    work: Work
    rate_per_hour: float | None
    breaker: BreakerSettings
    online: bool = True
    site: str = ""

    def spacing(self) -> EvenSpacing:
        """Give the spacing of permits: one for all fetches of this machine, where there is a limit."""
        if not self.rate_per_hour:
            return EvenSpacing(None)
        import platformdirs

        folder = platformdirs.user_cache_path("dancecli") / "rate"
        return SharedSpacing(self.rate_per_hour, self.site, folder)


def source_name(kind: str, settings: FetchSettings) -> str:
    """Return the name of a source of `--source` in the ledger."""
    if kind == LOCAL:
        return "folder"
    return "url-template" if kind == YOUTUBE and settings.url_template else kind


def download_settings(settings: FetchSettings) -> Download:
    """Give how a fetch downloads from the site."""
    return Download(
        url_template=settings.url_template,
        with_audio=settings.keep_audio,
        short_side=settings.rules.form.short_side,
        cookies=settings.cookies.absolute() if settings.cookies else None,
        options=settings.ytdlp,
        socket_timeout_s=settings.socket_timeout_s,
    )


def mirror_template(settings: FetchSettings) -> str:
    """Give the address of the mirror's tars, with `{split}` and `{number}` in it."""
    return settings.mirror_template or str(_mirror_table()["url"])


def mirror_numbers() -> dict[str, int]:
    """Give the number of each label's tar at the mirror."""
    return dict(_mirror_table()["numbers"])


def _mirror_table() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads(SOURCES.read_text(encoding="utf-8"))["mirror"]
    return table


def plan_source(
    kind: str, root: Path, temp: Path, settings: FetchSettings, segments: Sequence[Segment]
) -> SourcePlan:
    """Plan what one source is tried for.

    Args:
        kind: `local`, `mirror` or `youtube`.
        root: the workspace's folder.
        temp: where unfinished files may lie.
        settings: of the fetch.
        segments: the requested ones; a source leaves out those that it does not have.

    Raises:
        InputError: there is no such folder.
        UsageError: the mirror knows none of the labels.
    """
    cutter = Cutter(root, temp, source_name(kind, settings), settings.keep_audio, settings.rules)
    # Shuffled, so that a run that is stopped early has clips of every class.
    segments = keyed_order(segments, lambda s: f"{s.video_id} {s.start_ms}", seed=0, purpose="fetch")
    rate = settings.rate_per_hour or None
    if kind == LOCAL:
        jobs = _local(cutter, settings, segments)
        return SourcePlan(cutter.source, jobs, video_worker.work, None, settings.breaker, online=False)
    address = " ".join(sorted(text for text in settings.ytdlp if text.startswith(_ADDRESS_OPTIONS)))
    if kind == MIRROR:
        return SourcePlan(
            cutter.source,
            _mirror(cutter, settings, segments),
            mirror_worker.work,
            rate,
            _MIRROR_BREAKER,
            site=settings.mirror_template or MIRROR,
        )
    breaker = settings.breaker
    if not settings.url_template:
        breaker = replace(breaker, streak=_YOUTUBE_STREAK, silent_trips=_YOUTUBE_SILENT_TRIPS)
        if settings.rate_per_hour is None:
            rate = YOUTUBE_RATE_PER_HOUR
    return SourcePlan(
        cutter.source,
        _online(cutter, settings, segments),
        video_worker.work,
        rate,
        breaker,
        site=f"{settings.url_template or YOUTUBE} {address}",
    )


def _online(cutter: Cutter, settings: FetchSettings, segments: Sequence[Segment]) -> list[SourceJob]:
    origin = download_settings(settings)
    return [
        SourceJob(_below(cutter, video_id), tuple(sorted(of_video)), origin)
        for video_id, of_video in _by_video(segments).items()
    ]


def _local(cutter: Cutter, settings: FetchSettings, segments: Sequence[Segment]) -> list[SourceJob]:
    assert settings.folder is not None  # noqa: S101 - checked with the other settings
    index = FolderIndex.read(settings.folder)
    jobs: list[SourceJob] = []
    of_whole_videos: list[Segment] = []
    videos: dict[str, Path] = {}
    for segment in segments:
        path = index.clip(segment.video_id, segment.start_ms, segment.end_ms)
        if path is not None:
            origin = OnDisk(path.absolute(), is_clip=True)
            jobs.append(SourceJob(_below(cutter, segment.clip_id), (segment,), origin))
        elif (video := index.video(segment.video_id)) is not None:
            videos[segment.video_id] = video.absolute()
            of_whole_videos.append(segment)
    for video_id, of_video in _by_video(of_whole_videos).items():
        jobs.append(SourceJob(_below(cutter, video_id), tuple(sorted(of_video)), OnDisk(videos[video_id])))
    return jobs


def _mirror(cutter: Cutter, settings: FetchSettings, segments: Sequence[Segment]) -> list[MirrorJob]:
    numbers, template = mirror_numbers(), mirror_template(settings)
    # As a mere default, the mirror is skipped for a label set of one's own.
    if settings.sources and segments and not any(segment.label in numbers for segment in segments):
        raise UsageError(
            f"the mirror has no tar for the labels, such as {segments[0].label!r}",
            f"add their numbers to {SOURCES.name}, or leave --source mirror out",
        )
    by_tar: dict[tuple[str, str], list[Segment]] = {}
    for segment in segments:
        if segment.label in numbers and segment.official_split in ("train", "val"):
            by_tar.setdefault((segment.official_split, segment.label), []).append(segment)
    return [
        MirrorJob(
            _below(cutter, f"mirror-{split}-{numbers[label]}"),
            tuple(sorted(of_tar)),
            template.format(split=split, number=numbers[label]),
        )
        for (split, label), of_tar in by_tar.items()
    ]


def _by_video(segments: Sequence[Segment]) -> dict[str, list[Segment]]:
    found: dict[str, list[Segment]] = {}
    for segment in segments:
        found.setdefault(segment.video_id, []).append(segment)
    return found


def _below(cutter: Cutter, name: str) -> Cutter:
    return replace(cutter, temp=cutter.temp / name)
