"""Options that pass through to yt-dlp, in its own spelling, and cookie files.

Options are read by yt-dlp's own parser, so that what its documentation says holds here. Only those
that say how to reach a site are let through; what is downloaded and where it is stored is decided
by this package.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dancecli.core.errors import InputError, UsageError

# Keys of yt-dlp's parameters that say how to reach a site.
_ALLOWED = frozenset(
    [
        "ap_mso",
        "ap_password",
        "ap_username",
        "cachedir",
        "client_certificate",
        "client_certificate_key",
        "client_certificate_password",
        "concurrent_fragment_downloads",
        "cookiesfrombrowser",
        "extractor_args",
        "extractor_retries",
        "fragment_retries",
        "geo_bypass_country",
        "geo_bypass_ip_block",
        "geo_verification_proxy",
        "http_chunk_size",
        "http_headers",
        "impersonate",
        "js_runtimes",
        "legacyserverconnect",
        "netrc_cmd",
        "netrc_location",
        "nocheckcertificate",
        "password",
        "prefer_insecure",
        "proxy",
        "ratelimit",
        "remote_components",
        "retries",
        "sleep_interval_requests",
        "socket_timeout",
        "source_address",
        "throttledratelimit",
        "twofactor",
        "usenetrc",
        "username",
        "videopassword",
    ]
)
_EXAMPLE = "for example --ytdlp proxy=socks5://127.0.0.1:1080; see yt-dlp --help"
_COOKIE_FIELDS = 7
_SHORTEST_SECRET = 6
_SECRET_ARGS = ("po_token", "visitor_data", "data_sync_id")


@cache
def read_options(given: tuple[str, ...]) -> dict[str, Any]:
    """Read options of yt-dlp.

    Args:
        given: `name=value` or `name`, as on yt-dlp's command line without the leading dashes.

    Returns:
        The parameters for `YoutubeDL` that differ from its defaults.

    Raises:
        UsageError: yt-dlp does not know one, or it is not about how to reach a site.
    """
    arguments = [f"--{text.lstrip('-')}" for text in given]
    found = _parse(arguments)
    if found is not None and found.keys() <= _ALLOWED:
        return found
    for argument in arguments:
        name = argument.partition("=")[0].lstrip("-")
        alone = _parse([argument])
        if alone is None:
            # The parser's own message repeats what it was given, which may be a secret.
            raise UsageError(f"--ytdlp {name} is not an option of yt-dlp with such a value", _EXAMPLE)
        if not alone.keys() <= _ALLOWED:
            raise UsageError(
                f"--ytdlp {name} cannot be set: it is not about how to reach a site",
                "see the network, geo-restriction, authentication and extractor options of yt-dlp",
            )
    raise UsageError("the options for yt-dlp contradict each other", _EXAMPLE)


def _parse(arguments: list[str]) -> dict[str, Any] | None:
    """Let yt-dlp read its arguments; what differs from its defaults, None if it does not take them."""
    import optparse

    import yt_dlp

    silence = io.StringIO()
    try:
        with contextlib.redirect_stderr(silence), contextlib.redirect_stdout(silence):
            defaults, parsed = (yt_dlp.parse_options(given).ydl_opts for given in ([], arguments))
    except (SystemExit, ValueError, optparse.OptParseError):
        return None
    return {key: value for key, value in parsed.items() if defaults.get(key) != value}


def check_options(given: tuple[str, ...]) -> None:
    """Refuse options that yt-dlp cannot work with here, before any work.

    Raises:
        UsageError: yt-dlp does not know one, or lacks what it needs (a browser to impersonate).
    """
    from yt_dlp import YoutubeDL
    from yt_dlp.utils import YoutubeDLError

    try:
        YoutubeDL({**read_options(given), "quiet": True, "no_warnings": True}, auto_init=False).close()
    except YoutubeDLError as error:
        raise UsageError(
            f"yt-dlp cannot use these options: {error}",
            "to impersonate a browser it needs pip install 'yt-dlp[curl-cffi]'",
        ) from None


def check_cookies(path: Path) -> None:
    """Refuse a cookie file that yt-dlp would not read whole; it is only read.

    Raises:
        InputError: there is no such file, or it is not in Netscape's format.
    """
    hint = "export it in Netscape's format, see the FAQ of yt-dlp on passing cookies"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError.at(path, None, "there is no such cookie file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError.at(
            path, None, f"cannot be read as a cookie file ({type(error).__name__})", hint
        ) from None
    if text.startswith("\ufeff"):
        raise InputError.at(path, 1, "begins with a byte order mark", "save it as plain UTF-8, without BOM")
    if text.lstrip().startswith(("{", "[")):
        raise InputError.at(path, 1, "is JSON, not a cookie file in Netscape's format", hint)
    if not re.match(r"#( Netscape)? HTTP Cookie File", text):
        raise InputError.at(path, 1, "does not begin with '# Netscape HTTP Cookie File'", hint)
    for number, line in enumerate(text.splitlines(), start=1):
        entry = line.removeprefix("#HttpOnly_")
        if not entry.strip() or entry.startswith("#"):
            continue
        cells = entry.split("\t")
        if len(cells) != _COOKIE_FIELDS or not re.fullmatch(r"([0-9]+(\.[0-9]+)?)?", cells[4]):
            raise InputError.at(
                path, number, f"is not a cookie: {len(cells)} fields parted by tabs, not 7", hint
            )


@contextlib.contextmanager
def private_cookies(given: Path | None, folder: Path) -> Any:
    """Copy a cookie file for one `YoutubeDL`, which writes it back when it is closed.

    Args:
        given: the user's file, which is only read; None for none.
        folder: where the copy lies meanwhile, readable by this user alone.

    Yields:
        The copy, or None.
    """
    if given is None:
        yield None
        return
    copy = folder / f".cookies-{os.getpid()}.txt"
    copy.unlink(missing_ok=True)
    try:
        handle = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(given.read_bytes())
        yield copy
    finally:
        copy.unlink(missing_ok=True)


def secrets_of(options: dict[str, Any], cookies: Path | None, url_template: str) -> list[str]:
    """Give the passwords, tokens and cookie values that are never to be stored or shown."""
    found = [str(options.get(key) or "") for key in ("password", "videopassword", "ap_password", "twofactor")]
    found += (str(value) for value in options.get("http_headers", {}).values())
    for address in (options.get("proxy"), options.get("geo_verification_proxy"), url_template):
        parts = urlsplit(address or "")
        found += [parts.password or "", parts.username or "", *re.findall(r"=([^&{}]+)", parts.query)]
    for arguments in options.get("extractor_args", {}).values():
        for key in _SECRET_ARGS:
            for value in arguments.get(key, ()):
                found += [value, value.rpartition("+")[2]]
    if cookies is not None and cookies.is_file():
        lines = cookies.read_text(encoding="utf-8", errors="replace").splitlines()
        found += (line.rpartition("\t")[2] for line in lines if line.count("\t") == _COOKIE_FIELDS - 1)
    return sorted({secret for secret in found if len(secret) >= _SHORTEST_SECRET}, key=len, reverse=True)
