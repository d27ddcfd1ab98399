"""Try one known video as a fetch would, and find out what the site requires.

Where the first attempt fails, a few others are made that need nothing from the user: without the
given options, over IPv4 alone, imitating a browser, and the mirror. What works names the remedy;
where nothing does, the reason of the failure does. A site that asks to be left alone is not asked
again.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from dancecli.core.errors import UsageError
from dancecli.core.progress import Reporter
from dancecli.dataset.cutting import probe_source
from dancecli.dataset.fetch.jobs import download_settings, mirror_numbers, mirror_template
from dancecli.dataset.fetch.settings import FetchSettings, check_settings
from dancecli.sources.failures import Failure
from dancecli.sources.mirror import ResumingStream
from dancecli.sources.remedies import Remedy, remedies_for
from dancecli.sources.youtube import Download, download
from dancecli.sources.youtube_options import check_options

# A newer release of yt-dlp than one of this age may exist, but it is not the first thing to try.
_NEW_DAYS = 14
_SOCKET_TIMEOUT_S = 10.0
_LONGEST_TEXT = 200
PLAIN, WITHOUT, IPV4, BROWSER, MIRROR = "as given", "without options", "IPv4", "browser", "mirror"
_ASKS_TO_WAIT = ("http-402", "http-420", "http-429", "http-503", "rate-limit", "try-later")
_LIKES_BROWSERS = ("http-403", "bot-check", "not-a-video")
_BY_ADDRESS = ("address-blocked", "bot-check", "http-403", "unreachable", "timeout", "network")
_FAMILY_OPTIONS = ("force-ipv4", "force-ipv6", "source-address", "proxy")


@dataclass(frozen=True)
class Attempt:
    """One attempt at the known video, or at the mirror.

    Attributes:
        how: `PLAIN`, `WITHOUT`, `IPV4`, `BROWSER` or `MIRROR`.
        failure: why it failed; None if it worked.
        found: what came, for people.
    """

    how: str
    failure: Failure | None
    found: str


@dataclass(frozen=True)
class SiteReport:
    """What a site does with a request of this machine.

    Attributes:
        site: its name.
        attempts: the one that is made as a fetch would first.
        remedies: what to try, as phrases, the most likely first; empty if the first attempt worked.
    """

    site: str
    attempts: tuple[Attempt, ...]
    remedies: tuple[str, ...]


def check_site(settings: FetchSettings, video_id: str, ytdlp_age_days: int, reporter: Reporter) -> SiteReport:
    """Download one video into a temporary folder, and say what is needed if that fails.

    Args:
        settings: as for a fetch; only what concerns the site counts.
        video_id: a video that the site has.
        ytdlp_age_days: the age of the installed yt-dlp.
        reporter: gets the attempts.

    Raises:
        InputError: the cookie file is missing or of another form.
        UsageError: an option is wrong.
    """
    check_settings(settings)
    site = urlsplit(settings.url_template).hostname or "YouTube"
    reporter.progress(0, 1, site)
    attempts = [_attempt(PLAIN, settings, video_id)]
    failure = attempts[0].failure
    if failure is None:
        return SiteReport(site, tuple(attempts), ())
    others = _others(settings, failure.reason, ipv6=_has_ipv6(), browser=_can_imitate_browser())
    for i, (how, changed) in enumerate(others.items(), start=1):
        reporter.progress(i, len(others) + 1, f"{site}, {how}")
        attempts.append(_try_mirror(changed) if how == MIRROR else _attempt(how, changed, video_id))
    reporter.progress(len(others) + 1, len(others) + 1, site)
    return SiteReport(site, tuple(attempts), remedies(attempts, settings, ytdlp_age_days))


def _others(settings: FetchSettings, reason: str, *, ipv6: bool, browser: bool) -> dict[str, FetchSettings]:
    """Choose the further attempts that can tell something, given the reason of the first failure.

    Args:
        settings: those of the first attempt.
        reason: see `Failure.reason`.
        ipv6: this machine may have reached the site over IPv6.
        browser: yt-dlp can imitate a browser here.
    """
    names = {text.lstrip("-").partition("=")[0] for text in settings.ytdlp}
    found: dict[str, FetchSettings] = {}
    about_us = Remedy.VIDEO not in remedies_for(reason)
    if about_us and reason not in _ASKS_TO_WAIT:
        if settings.ytdlp or settings.cookies:
            found[WITHOUT] = replace(settings, ytdlp=(), cookies=None)
        if ipv6 and reason in _BY_ADDRESS and not names.intersection(_FAMILY_OPTIONS):
            found[IPV4] = replace(settings, ytdlp=(*settings.ytdlp, "force-ipv4"))
        if browser and reason in _LIKES_BROWSERS and "impersonate" not in names:
            found[BROWSER] = replace(settings, ytdlp=(*settings.ytdlp, "impersonate=chrome"))
    # A site of one's own has no mirror, unless it is named.
    if about_us and (settings.mirror_template or not settings.url_template):
        found[MIRROR] = settings
    return found


def remedies(attempts: list[Attempt], settings: FetchSettings, ytdlp_age_days: int) -> tuple[str, ...]:
    """Give what to do about a first attempt that failed, from it and the other attempts."""
    failure = attempts[0].failure
    assert failure is not None  # noqa: S101 - for the type checker; there is nothing to do otherwise
    worked = {attempt.how for attempt in attempts if attempt.failure is None}
    known = {
        WITHOUT: "leave out the options for yt-dlp, or correct them: without them it works",
        IPV4: "add --ytdlp force-ipv4: over IPv4 it works",
        BROWSER: "add --impersonate chrome: with it, it works",
    }
    if proven := [known[how] for how in known if how in worked]:
        return tuple(proven)
    unfit = set()
    if settings.url_template:
        unfit |= {Remedy.UPDATE, Remedy.PO_TOKEN}
    if settings.cookies or any(text.startswith("cookies-from-browser") for text in settings.ytdlp):
        unfit.add(Remedy.COOKIES)
    if MIRROR not in worked:
        unfit.add(Remedy.MIRROR)
    found = [remedy for remedy in remedies_for(failure.reason) if remedy not in unfit]
    if ytdlp_age_days <= _NEW_DAYS and Remedy.UPDATE in found:
        found.remove(Remedy.UPDATE)
        found.append(Remedy.UPDATE)
    return tuple(_phrase(remedy, failure) for remedy in found)


def _phrase(remedy: Remedy, failure: Failure) -> str:
    if remedy is Remedy.WAIT and failure.retry_after_s:
        return f"wait {failure.retry_after_s / 60:.0f} minutes, as the site asks, then use a lower --rate"
    return str(remedy)


def _attempt(how: str, settings: FetchSettings, video_id: str) -> Attempt:
    wanted = replace(download_settings(settings), socket_timeout_s=_SOCKET_TIMEOUT_S, retries=1)
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="dance-site-") as folder:
        try:
            found = _download(video_id, Path(folder), wanted)
        except Failure as failure:
            return _failed(how, failure)
    return Attempt(how, None, f"{found}, in {time.monotonic() - started_s:.1f} s")


def _failed(how: str, failure: Failure) -> Attempt:
    text = failure.text if len(failure.text) <= _LONGEST_TEXT else failure.text[:_LONGEST_TEXT] + "..."
    return Attempt(how, failure, f"{failure.reason} ({failure.outcome}): {text}")


def _download(video_id: str, folder: Path, wanted: Download) -> str:
    path = download(video_id, folder, wanted, lambda: None).path
    facts = probe_source(path)
    return f"downloaded {facts.duration_ms / 1000:.0f} s of video, {path.stat().st_size / 1e6:.1f} MB"


def _try_mirror(settings: FetchSettings) -> Attempt:
    number = min(mirror_numbers().values())
    url = mirror_template(settings).format(split="val", number=number)
    try:
        with contextlib.closing(ResumingStream(url, lambda: None)) as stream:
            came = stream.read(512)
    except Failure as failure:
        return _failed(MIRROR, failure)
    return Attempt(MIRROR, None, f"answers, {len(came or b'')} bytes read")


def _has_ipv6() -> bool:
    """Whether a packet for an IPv6 address would leave this machine; none is sent."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.connect(("2001:4860:4860::8888", 53))
    except OSError:
        return False
    return True


def _can_imitate_browser() -> bool:
    try:
        check_options(("impersonate=chrome",))
    except UsageError:
        return False
    return True
