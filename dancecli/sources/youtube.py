"""Source videos over the network, with yt-dlp as a library; nothing else imports it.

A video is downloaded whole and natively: yt-dlp's download of a section goes through ffmpeg,
which knows no retries and takes a cut connection for the end of the video.
"""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from string import Formatter
from typing import Any
from urllib.parse import urlsplit

from dancecli.core.errors import UsageError
from dancecli.core.records import OutcomeClass
from dancecli.engine.worker import Acquire, Halted
from dancecli.sources.failures import Failure, from_page, from_status, from_text, shortened

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_LONGEST_TEMPLATE = 2000
_LONGEST_FORM = 5
_READ_OF_A_PAGE = 8192


@dataclass(frozen=True, slots=True)
class Download:
    """How to ask for videos.

    Attributes:
        url_template: an address with `{video_id}` that gives the file itself; empty for YouTube.
        with_audio: the sound is wanted too.
        cookies: a cookie file in Netscape's format, None for none.
        extractor_args: passed on to yt-dlp's extractors, as `youtube:player_client=web`.
        socket_timeout_s: a connection on which nothing comes for so long is given up.
        retries: of a broken connection, within one attempt.
    """

    url_template: str = ""
    with_audio: bool = True
    cookies: Path | None = None
    extractor_args: tuple[str, ...] = ()
    socket_timeout_s: float = 20.0
    retries: int = 2


def check_address(template: str, flag: str, names: tuple[str, ...]) -> None:
    """Refuse an address template that cannot work.

    Args:
        template: such as `http://127.0.0.1:8000/v/{video_id}.mp4`.
        flag: its name in messages.
        names: what is to stand in braces, each once; nothing else may.

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
        wanted = " and ".join(f"{{{name}}}" for name in names)
        raise UsageError(
            f"{flag} {template[:80]!r} is to hold {wanted} once", "write other braces as {{ and }}"
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


def download(video_id: str, folder: Path, settings: Download, acquire: Acquire) -> Path:
    """Download one video, in low resolution where the site offers a choice.

    Args:
        video_id: already checked to be made of letters, digits, `-` and `_`.
        folder: for this video alone; a part that an earlier attempt left there is continued.
        settings: how to ask.
        acquire: called before the site is asked; of a direct address, before every request.

    Returns:
        The file, in `folder`.

    Raises:
        Failure: it could not be had.
        OSError: the disk is full.
    """
    from yt_dlp import YoutubeDL
    from yt_dlp.networking.exceptions import HTTPError

    class Asking(YoutubeDL):  # type: ignore[misc]  # yt_dlp has no types
        """Asks for permission before every request, and takes a page for no video."""

        def urlopen(self, req: Any) -> Any:
            acquire()
            try:
                answer = super().urlopen(req)
            except HTTPError as error:
                verdict = _verdict(error, str(error))
                # What puts us off is not to be asked again at once, which yt-dlp would do on a 503.
                if isinstance(verdict, Failure) and verdict.outcome is OutcomeClass.SESSION:
                    raise verdict from error
                raise
            kind = answer.headers.get("Content-Type", "")
            if kind.startswith(("text/html", "application/xhtml")):
                page = answer.read(_READ_OF_A_PAGE).decode(errors="replace")
                answer.close()
                raise from_page(page)
            return answer

    try:
        if settings.url_template:
            with Asking(_options(folder, settings)) as direct:
                return _download_direct(direct, video_id, folder, settings)
        acquire()
        with YoutubeDL(_options(folder, settings)) as site:
            site.extract_info(f"https://www.youtube.com/watch?v={video_id}", download=True)
    except Exception as error:
        raise _judge(error) from error
    return _downloaded(folder)


def _download_direct(ydl: Any, video_id: str, folder: Path, settings: Download) -> Path:
    from yt_dlp.downloader.http import HttpFD

    url = settings.url_template.format(video_id=video_id)
    target = folder / "source.mp4"
    info = {"id": video_id, "url": url, "ext": "mp4", "protocol": urlsplit(url).scheme, "http_headers": {}}
    succeeded, _ = HttpFD(ydl, ydl.params).download(str(target), info)
    if not succeeded:
        raise from_text("; ".join(ydl.params["logger"].errors) or "the download failed without a word")
    return target


def _options(folder: Path, settings: Download) -> dict[str, Any]:
    from dancecli.video.ffmpeg import find_ffmpeg

    return {
        # The smallest that is no smaller than needed: 256 is the short side of a clip.
        "format": "b/bv*+ba/bv*" if settings.with_audio else "bv*/b",
        "format_sort": ["res:360", "vcodec:h264", "acodec:aac"],
        "paths": {"home": str(folder)},
        "outtmpl": "source.%(ext)s",
        "ffmpeg_location": str(find_ffmpeg()),
        "retries": settings.retries,
        "fragment_retries": settings.retries,
        "extractor_retries": settings.retries,
        "file_access_retries": 1,
        "retry_sleep_functions": dict.fromkeys(("http", "fragment", "extractor"), _pause_s),
        "socket_timeout": settings.socket_timeout_s,
        "skip_unavailable_fragments": False,
        "noplaylist": True,
        "updatetime": False,
        "cookiefile": str(settings.cookies) if settings.cookies else None,
        "extractor_args": read_extractor_args(settings.extractor_args),
        "logger": _Logger(),
        "noprogress": True,
        "no_color": True,
    }


def _pause_s(n: int) -> float:
    return float(min(0.5 * 2**n, 10))


def read_extractor_args(given: tuple[str, ...]) -> dict[str, dict[str, list[str]]]:
    """Read `extractor:key=value,value;key=value`, yt-dlp's own form.

    Raises:
        UsageError: one is not of that form.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for text in given:
        name, colon, pairs = text.partition(":")
        if not colon or "=" not in pairs:
            raise UsageError(
                f"--extractor-args {text[:80]!r} is not EXTRACTOR:KEY=VALUE",
                "for example youtube:player_client=web",
            )
        for pair in pairs.split(";"):
            key, _, values = pair.partition("=")
            found.setdefault(name.strip(), {})[key.strip().replace("-", "_")] = values.split(",")
    return found


def _downloaded(folder: Path) -> Path:
    found = [p for p in folder.iterdir() if p.stem == "source" and p.suffix not in (".part", ".ytdl")]
    if not found:
        raise from_text("yt-dlp ended without a file")
    return found[0]


class _Logger:
    """Keeps yt-dlp's errors and prints nothing."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def debug(self, _: str) -> None:
        pass

    def warning(self, _: str) -> None:
        pass

    def error(self, text: str) -> None:
        self.errors.append(text)


def _judge(error: Exception) -> BaseException:
    """Turn what yt-dlp raised into a `Failure`; `Halted` and a full disk stay what they are."""
    from yt_dlp.utils import YoutubeDLError

    chain = list(_causes(error))
    said = next((text for text in (_plain(link) for link in chain) if text), type(error).__name__)
    for link in chain:
        if (verdict := _verdict(link, said)) is not None:
            return verdict
    if "No space left on device" in said:
        return OSError(errno.ENOSPC, "No space left on device")
    # yt-dlp reads pages that change under it: a fault of its own is no reason to end the run.
    return from_text(
        said if isinstance(error, YoutubeDLError | OSError) else f"{type(error).__name__}: {said}"
    )


def _verdict(link: BaseException, said: str) -> BaseException | None:
    from yt_dlp.networking.exceptions import HTTPError
    from yt_dlp.utils import GeoRestrictedError

    if isinstance(link, Failure | Halted):
        return link
    if isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT):
        return OSError(link.errno, link.strerror)
    if isinstance(link, HTTPError):
        return from_status(link.status, said, _retry_after_s(link.response.headers.get("Retry-After", "")))
    if isinstance(link, GeoRestrictedError):
        return Failure(OutcomeClass.PERMANENT, "geo-blocked", shortened(said))
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
