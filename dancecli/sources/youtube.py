"""Source videos over the network, with yt-dlp as a library.

A video is downloaded whole and natively: yt-dlp's download of a section goes through ffmpeg,
which knows no retries and takes a cut connection for the end of the video.
"""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from string import Formatter
from typing import Any
from urllib.parse import urlsplit

from dancecli.core.errors import UsageError
from dancecli.core.records import OutcomeClass
from dancecli.engine.worker import Acquire, Halted
from dancecli.sources.failures import Failure, from_page, from_status, from_text, shortened
from dancecli.sources.youtube_options import private_cookies, read_options, secrets_of

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_LONGEST_TEMPLATE = 2000
_LONGEST_FORM = 5
_READ_OF_A_PAGE = 8192
_RANGE_NOT_SATISFIABLE = 416
_NOTHING_CAME = "IncompleteRead: the connection was closed before any byte came"
# What a live video is, by yt-dlp's `live_status`; the others are whole videos.
_LIVE = {"is_live": "live", "is_upcoming": "upcoming", "post_live": "processing"}


@dataclass(frozen=True, slots=True)
class Download:
    """How to download videos.

    Attributes:
        url_template: an address with `{video_id}` that gives the file itself; empty for YouTube.
        with_audio: download the sound, too.
        short_side: the smallest version is taken whose short side has at least so many pixels.
        cookies: a cookie file in Netscape's format, which is only read; None for none.
        options: passed on to yt-dlp, as `proxy=socks5://127.0.0.1:1080`; see `read_options`.
        socket_timeout_s: a connection on which nothing comes for so long is given up.
        retries: of a broken transfer, within one attempt. A request that is refused is not repeated.
    """

    url_template: str = ""
    with_audio: bool = True
    short_side: int = 256
    cookies: Path | None = None
    options: tuple[str, ...] = ()
    socket_timeout_s: float = 20.0
    retries: int = 2


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What a site says of a video, by the names of `records.Clip`; empty or 0 where it says nothing."""

    title: str = ""
    uploader: str = ""
    upload_date: str = ""
    license: str = ""
    source_width: int = 0
    source_height: int = 0
    source_fps: float = 0.0
    source_codec: str = ""
    source_format: str = ""


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A source video on disk, and what its site says of it."""

    path: Path
    info: SourceInfo = SourceInfo()


def check_address(template: str, flag: str, names: tuple[str, ...]) -> None:
    """Refuse an address template that cannot work.

    Args:
        template: such as `http://127.0.0.1:8000/v/{video_id}.mp4`.
        flag: its name in messages.
        names: the placeholders, each once; no others are allowed.

    Raises:
        UsageError: it is not an http address with these names in it.
    """
    try:
        parts = urlsplit(template) if len(template) <= _LONGEST_TEMPLATE else None
    except ValueError:
        parts = None
    if parts is None or parts.scheme not in ("http", "https") or not parts.netloc:
        raise UsageError(
            f"{flag} {template[:80]!r} is not an http or https address",
            "for example 'http://127.0.0.1:8000/v/{video_id}.mp4'",
        )
    if not _is_filled_by(template, names):
        needed = " and ".join(f"{{{name}}}" for name in names)
        raise UsageError(
            f"{flag} {template[:80]!r} must contain {needed} once", "write other braces as {{ and }}"
        )


def _is_filled_by(template: str, names: tuple[str, ...]) -> bool:
    try:
        fields = [(name, form) for _, name, form, _ in Formatter().parse(template) if name is not None]
        if sorted(name for name, _ in fields) != sorted(names):
            return False
        # `{number:03d}` is a form; one of millions of blanks is none.
        if any(len(form or "") > _LONGEST_FORM for _, form in fields):
            return False
        template.format(**{name: 1 if name == "number" else "x" for name in names})
    except ValueError:
        return False
    return True


def download(video_id: str, folder: Path, settings: Download, acquire: Acquire) -> Downloaded:
    """Download one video, in low resolution where the site offers a choice.

    Args:
        video_id: already checked to be made of letters, digits, `-` and `_`.
        folder: for this video alone; a partial file that an earlier attempt left there is continued.
        settings: how to download.
        acquire: called before the site is contacted; of a direct address, before every request.

    Returns:
        The file, in `folder`.

    Raises:
        Failure: it could not be downloaded; its text holds no secrets.
        OSError: the disk is full.
    """
    given = read_options(settings.options)
    try:
        with private_cookies(settings.cookies, folder) as cookies:
            options = {**given, **_options(folder, settings), "cookiefile": cookies and str(cookies)}
            if settings.url_template:
                with _youtube_dl()(options, acquire, direct=True) as ydl:
                    return Downloaded(_download_direct(ydl, video_id, folder, settings))
            acquire()
            with _youtube_dl()(options, acquire, direct=False) as ydl:
                info = ydl.extract_info(f"https://www.youtube.com/watch?v={video_id}", download=True)
            return Downloaded(_downloaded(folder), _source_info(info or {}))
    except Exception as error:
        verdict = _classify(error, direct=bool(settings.url_template))
        if isinstance(verdict, Failure):
            secrets = secrets_of(given, settings.cookies, settings.url_template)
            verdict = replace(verdict, text=_without(verdict.text, secrets))
        raise verdict from None if isinstance(verdict, Failure) else error


def _without(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def _youtube_dl() -> Any:
    """Make the class only here: yt-dlp takes a while to load."""
    from yt_dlp import YoutubeDL
    from yt_dlp.networking.exceptions import HTTPError, RequestError

    class PoliteYoutubeDL(YoutubeDL):  # type: ignore[misc]  # yt_dlp has no types
        """Gives up at once where the site refuses, so that yt-dlp's own retries do not repeat the request.

        Of a direct address it also waits for a permit before each request, and takes a page for no
        video.
        """

        def __init__(self, params: dict[str, Any], acquire: Acquire, *, direct: bool) -> None:
            self._acquire, self._direct = acquire, direct
            self._ranges: set[str] = set()
            super().__init__(params)

        def urlopen(self, req: Any) -> Any:
            if not self._direct:
                return self._open(req)
            requested = str(getattr(req, "headers", {}).get("Range") or "")
            if requested in self._ranges:
                # No byte came of the request before: asking a third time would not help.
                raise from_text(self.params["logger"].last_retry or _NOTHING_CAME)
            self._ranges.add(requested)
            self._acquire()
            answer = self._open(req)
            kind = answer.headers.get("Content-Type", "")
            if kind.startswith(("text/html", "application/xhtml")):
                page = answer.read(_READ_OF_A_PAGE).decode(errors="replace")
                answer.close()
                raise from_page(page)
            return answer

        def _open(self, req: Any) -> Any:
            try:
                return super().urlopen(req)
            except RequestError as error:
                verdict = _verdict(error, str(error), direct=self._direct)
                if isinstance(verdict, Failure) and _ends_the_attempt(verdict, req):
                    raise verdict from error
                # yt-dlp itself starts anew where the rest of a file is unavailable.
                again = isinstance(error, HTTPError) and error.status == _RANGE_NOT_SATISFIABLE
                if again:
                    self._ranges.clear()
                if self._direct and not again:
                    raise _classify(error, direct=True) from error
                raise

    return PoliteYoutubeDL


def _ends_the_attempt(failure: Failure, request: Any) -> bool:
    """Whether nothing more is to be requested; yt-dlp would go on to other clients and interfaces."""
    path = urlsplit(request if isinstance(request, str) else request.url).path
    return failure.outcome is OutcomeClass.SESSION or (failure.reason == "http-403" and path == "/watch")


def _download_direct(ydl: Any, video_id: str, folder: Path, settings: Download) -> Path:
    from yt_dlp.downloader.http import HttpFD

    url = settings.url_template.format(video_id=video_id)
    target = folder / "source.mp4"
    info = {"id": video_id, "url": url, "ext": "mp4", "protocol": urlsplit(url).scheme, "http_headers": {}}
    succeeded, _ = HttpFD(ydl, ydl.params).download(str(target), info)
    if not succeeded:
        raise from_text("; ".join(ydl.params["logger"].errors) or "the download failed without a message")
    return target


def _options(folder: Path, settings: Download) -> dict[str, Any]:
    from dancecli.video.ffmpeg import find_ffmpeg

    retries = settings.retries
    return {
        "format": format_choice(settings.short_side, with_audio=settings.with_audio),
        # Ascending: the best is the smallest, so the worst is the largest; `format_choice` needs it.
        "format_sort": ["+res", "hasaud", "vcodec:h264", "acodec:aac"],
        "format_sort_force": True,
        "match_filter": _refuse_live,
        "paths": {"home": str(folder)},
        "outtmpl": "source.%(ext)s",
        "ffmpeg_location": str(find_ffmpeg()),
        "retries": retries,
        "fragment_retries": retries,
        "extractor_retries": 1,
        "file_access_retries": 1,
        "retry_sleep_functions": dict.fromkeys(("http", "fragment", "extractor"), _pause_s),
        "socket_timeout": settings.socket_timeout_s,
        # A fragment that is passed over is a hole in the video, which nobody would notice.
        "skip_unavailable_fragments": False,
        "noplaylist": True,
        "updatetime": False,
        "logger": _Logger(),
        "noprogress": True,
        "no_color": True,
    }


def format_choice(short_side: int, *, with_audio: bool) -> str:
    """Give yt-dlp's expression for the smallest version that is large enough, else the largest.

    Sizes of unknown versions pass. It is for versions that are sorted by size, the smallest best.
    """
    enough = f"[width>=?{short_side}][height>=?{short_side}]"
    if with_audio:
        return f"bv*{enough}+ba/b{enough}/bv*{enough}/wv*+ba/w/wv*"
    return f"bv*{enough}/wv*/w"


def _refuse_live(info: dict[str, Any], *, incomplete: bool = False) -> None:
    """Refuse a video that is not whole yet, as yt-dlp's `match_filter`.

    Raises:
        Failure: it is live, announced, or still being processed.
    """
    status = str(info.get("live_status") or "")
    if not incomplete and status in _LIVE:
        raise Failure(OutcomeClass.TRANSIENT, _LIVE[status], f"live_status is {status}")


def _source_info(info: dict[str, Any]) -> SourceInfo:
    def text(*names: str) -> str:
        return next((" ".join(str(info[name]).split()) for name in names if info.get(name)), "")

    codec = text("vcodec")
    return SourceInfo(
        title=text("title"),
        uploader=text("uploader", "channel"),
        upload_date=text("upload_date"),
        license=text("license"),
        source_width=int(info.get("width") or 0),
        source_height=int(info.get("height") or 0),
        source_fps=float(info.get("fps") or 0),
        source_codec="" if codec == "none" else codec,
        source_format=text("format_id"),
    )


def _pause_s(n: int) -> float:
    return float(min(0.5 * 2**n, 10))


def _downloaded(folder: Path) -> Path:
    found = [p for p in folder.iterdir() if p.stem == "source" and p.suffix not in (".part", ".ytdl")]
    if not found:
        raise from_text("yt-dlp ended without a file")
    return found[0]


class _Logger:
    """Keeps yt-dlp's errors and the cause of its last retry, and prints nothing."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.last_retry = ""

    def debug(self, text: str) -> None:
        if "Got error" in text:
            self.last_retry = text

    def warning(self, _: str) -> None:
        pass

    def error(self, text: str) -> None:
        self.errors.append(text)


def _classify(error: Exception, *, direct: bool) -> Exception:
    """Turn what yt-dlp raised into a `Failure`; `Halted` and a full disk stay what they are.

    Args:
        error: what was raised.
        direct: the address is that of the video, so that its status is that of the video.
    """
    from yt_dlp.utils import YoutubeDLError

    chain = list(_causes(error))
    text = next((text for text in (_plain(link) for link in chain) if text), type(error).__name__)
    for link in chain:
        if (verdict := _verdict(link, text, direct=direct)) is not None:
            return verdict
    if "No space left on device" in text:
        return OSError(errno.ENOSPC, "No space left on device")
    # yt-dlp reads pages that change under it: a fault of its own is no reason to end the run.
    expected = isinstance(error, YoutubeDLError | OSError)
    return from_text(text if expected else f"{type(error).__name__}: {text}", tombstones=direct)


def _verdict(link: BaseException, text: str, *, direct: bool) -> Exception | None:
    from yt_dlp.networking.exceptions import HTTPError
    from yt_dlp.utils import GeoRestrictedError

    if isinstance(link, Failure | Halted):
        return link
    if isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT):
        return OSError(link.errno, link.strerror)
    if isinstance(link, HTTPError):
        retry_after_s = _retry_after_s(link.response.headers.get("Retry-After", ""))
        return from_status(link.status, text, retry_after_s, tombstones=direct)
    if isinstance(link, GeoRestrictedError):
        return Failure(OutcomeClass.PERMANENT, "geo-blocked", shortened(text))
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what lies beneath it, the outermost first, each once."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        link = waiting.pop(0)
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        inner = getattr(link, "exc_info", None)
        waiting += [
            inner[1] if inner else None,
            getattr(link, "cause", None),
            link.__cause__,
            link.__context__,
        ]


def _plain(error: BaseException) -> str:
    return _ANSI.sub("", str(error)).removeprefix("ERROR: ")


def _retry_after_s(text: str) -> float:
    if text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return 0.0
    return max(0.0, moment.timestamp() - time.time())
