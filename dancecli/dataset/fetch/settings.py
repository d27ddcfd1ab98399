"""What a fetch is to download: settings, checked; lists, read; what of them is pending."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from dancecli.core.errors import InputError, UsageError
from dancecli.core.hashing import keyed_digest, keyed_order
from dancecli.core.labels import DEFAULT_LABELS, LabelSet
from dancecli.core.records import OutcomeClass, Segment
from dancecli.core.redaction import redact
from dancecli.dataset.clips import read_segments, refuse_lost_labels, workspace_labels
from dancecli.dataset.cutting import STANDARD_RULES, ClipRules
from dancecli.engine.factory import LOCAL as LOCAL_ENGINE
from dancecli.engine.factory import check_engine
from dancecli.engine.rate_limit import BreakerSettings
from dancecli.sources import LOCAL, MIRROR, YOUTUBE
from dancecli.sources.kinetics import Listing, read_lists
from dancecli.sources.kinetics_archive import read_archive
from dancecli.sources.youtube import check_address
from dancecli.sources.youtube_options import check_cookies, check_options
from dancecli.storage import ledger
from dancecli.storage.removals import read_removals
from dancecli.storage.workspace import Workspace

RETRY = ("transient", "permanent", "all", "none")


@dataclass(frozen=True)
class FetchSettings:
    """What to fetch, and how.

    Attributes:
        annotations: lists in any common form; none: the official archive of `edition`.
        edition: of Kinetics: `400`, `600`, `700` or `700-2020`.
        labels: a label file; rows with other labels are skipped. None: the workspace's own set, else
            the 19 dance styles.
        limit: clips per class, a larger number containing a smaller one's; None for all.
        sources: of `local`, `mirror` and `youtube`, in the order in which they are tried; none:
            `local` if there is a folder, `mirror` for the official archive, then `youtube`.
        folder: for `local`: clips or whole videos that are on disk, in any known form.
        mirror_template: for `mirror`: an http address with `{split}` and `{number}`.
        url_template: an http address with `{video_id}`, in place of YouTube.
        shard: process the i-th of n shards, given as (i, n), i from 1.
        engine: `local` or `ray`, see `engine.factory`.
        workers: processes; 0 for one a core, of this machine or of the cluster.
        rate_per_hour: requests to the site, of all fetches of this machine; None for the source's
            default, 0 for no limit.
        retry: which failures of an earlier run to retry: `transient`, `permanent`, `all` or `none`.
            What was never tried, or refused for this session, is always tried.
        keep_audio: keep the sound.
        rules: which clips are accepted, and how they are stored.
        tries: attempts at a source in one run.
        backoff_s: before its second attempt; doubled before each further one.
        timeout_s: wall-clock limit of one attempt.
        socket_timeout_s: a transfer on which nothing comes for so long is cut.
        min_free_gb: stop when the workspace's disk has less.
        cookies: a cookie file in Netscape's format.
        ytdlp: options that are passed on to yt-dlp, as `name=value`; see `sources.youtube_options`.
        breaker: when to pause and to stop at a site that does not answer.
        dry_run: change nothing.
    """

    annotations: tuple[Path, ...] = ()
    edition: str = "700-2020"
    labels: Path | None = None
    limit: int | None = None
    sources: tuple[str, ...] = ()
    folder: Path | None = None
    mirror_template: str = ""
    url_template: str = ""
    shard: tuple[int, int] | None = None
    engine: str = LOCAL_ENGINE
    workers: int = 0
    rate_per_hour: float | None = None
    retry: str = "transient"
    keep_audio: bool = True
    rules: ClipRules = STANDARD_RULES
    tries: int = 3
    backoff_s: float = 2.0
    timeout_s: float = 900.0
    socket_timeout_s: float = 20.0
    min_free_gb: float = 1.0
    cookies: Path | None = None
    ytdlp: tuple[str, ...] = ()
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


def load_requested(workspace: Workspace, settings: FetchSettings) -> tuple[list[Segment], Listing, LabelSet]:
    """Read the lists that the settings name, and give the requested segments.

    Raises:
        InputError: a list, a label file or a setting is wrong.
        UsageError: a flag's value is.
    """
    check_settings(settings)
    own = None if settings.labels else workspace_labels(workspace)
    labels = own or LabelSet.read(settings.labels or DEFAULT_LABELS)
    if settings.annotations:
        listing = read_lists(settings.annotations, labels)
    else:
        listing = read_archive(settings.edition, labels)
    requested = choose(listing.segments, settings.limit)
    if settings.labels:
        # A list may correct the labels of what was requested before.
        after = read_segments(workspace) | {segment.clip_id: segment for segment in requested}
        refuse_lost_labels(settings.labels, labels, after.values())
    return requested, listing, labels


def selection_options(settings: FetchSettings) -> list[str]:
    """Return the command-line options that select what is fetched and from where.

    Paths are absolute, so that the options mean the same in every folder. They are stored, so
    passwords and the queries of addresses are left out.
    """
    default = FetchSettings()
    options = [word for path in settings.annotations for word in ("--annotations", str(path.absolute()))]
    texts = (
        ("--edition", settings.edition, default.edition),
        ("--limit", settings.limit, default.limit),
        ("--source", ",".join(settings.sources), ""),
        ("--url-template", settings.url_template, ""),
        ("--mirror-template", settings.mirror_template, ""),
    )
    paths = (("--labels", settings.labels), ("--folder", settings.folder))
    for name, value, unset in texts:
        options += [name, redact(str(value))] if value != unset else []
    for name, path in paths:
        options += [name, str(path.absolute())] if path is not None else []
    return options


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
        return int.from_bytes(keyed_digest("shard", video_id)[:8]) % n == i - 1

    return [segment for segment in segments if mine(segment.video_id)]


def pending(
    workspace: Workspace, segments: Sequence[Segment], retry: str, source: str, there: Set[str]
) -> list[Segment]:
    """Give the segments that a source is to be tried for now; none of clips that were removed by request.

    Args:
        workspace: its ledgers hold the earlier outcomes of the source.
        segments: all requested ones.
        retry: as in `FetchSettings`.
        source: as the ledger names it.
        there: ids of the clips that are on disk.
    """
    again = {OutcomeClass.SESSION, OutcomeClass.DONE}
    if retry == "all":
        again |= set(OutcomeClass)
    elif retry != "none":
        again.add(OutcomeClass(retry))
    before = ledger.latest_of_source(workspace.root, source)
    removed = read_removals(workspace)
    return [
        segment
        for segment in segments
        if segment.clip_id not in there
        and before.get(segment.clip_id, OutcomeClass.SESSION) in again
        and not removed.find(segment.video_id, segment.start_ms, segment.end_ms)
    ]


def check_settings(settings: FetchSettings) -> None:
    """Refuse settings that cannot work, before any work and any request.

    Raises:
        InputError: a file or folder that they name is missing or wrong.
        UsageError: a value is.
    """
    check_engine(settings.engine)
    settings.rules.check()
    if settings.url_template:
        check_address(settings.url_template, "--url-template", ("video_id",))
    if settings.retry not in RETRY:
        raise UsageError(f"--retry {settings.retry!r} is none of {', '.join(RETRY)}")
    if settings.limit is not None and settings.limit < 1:
        raise UsageError(f"--limit {settings.limit} is not at least 1")
    if settings.shard is not None and not 1 <= settings.shard[0] <= settings.shard[1]:
        raise UsageError(f"--shard {settings.shard[0]}/{settings.shard[1]} is not I/N with 1 <= I <= N")
    if settings.cookies is not None:
        check_cookies(settings.cookies)
    if settings.folder is not None and not settings.folder.is_dir():
        raise InputError.at(settings.folder, None, "there is no such folder")
    if settings.ytdlp:
        check_options(settings.ytdlp)
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
