"""Frozen clips in one tar per class: streamed, only requested members unpacked, nothing stored whole.

A broken connection is resumed by range, and what arrives is held against what was promised: the
same validator, the same size, the range that was requested. Only a tar whose end mark was read is
known to be whole. Names in the tar reach no path: a member counts only by the video and times in
its name, and only if it is a plain file; what is in it is checked like any other video.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import re
import shutil
import tarfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Self
from urllib.parse import unquote, urlsplit, urlunsplit

from dancecli.core.records import OutcomeClass
from dancecli.core.redaction import redact
from dancecli.engine.worker import Acquire
from dancecli.sources.failures import Failure, from_status, from_text, shortened
from dancecli.sources.local import parse_clip_name

ClipKey = tuple[str, int, int]
_TIMEOUT_S = 30.0
# In a row without a byte in between.
_MOST_BREAKS = 4
# A clip of ten seconds has a few megabytes; this is no clip.
_LARGEST_MEMBER = 1 << 30
_PARTIAL_CONTENT = 206
# What tarfile and its decompressors say of bytes that are missing.
_ENDED_EARLY = ("unexpected end", "end-of-stream", "truncated")
_EndMarkError: type[Exception] = tarfile.EOFHeaderError  # type: ignore[attr-defined]  # not in typeshed
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class Member:
    """A requested clip, unpacked at `path`; or None for members that nobody requested."""

    key: ClipKey | None
    path: Path | None = None


class _MarkedTarInfo(tarfile.TarInfo):
    """Notes on the archive whether its end mark was read: tarfile takes any end for the end."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile)
        except _EndMarkError:
            tarfile.end_mark_read = True  # type: ignore[attr-defined]  # ours, read by `members`
            raise


def members(url: str, requested: Collection[ClipKey], folder: Path, acquire: Acquire) -> Iterator[Member]:
    """Stream a tar and unpack one requested member after the other.

    Args:
        url: of the tar, compressed or not.
        requested: video id, start and end in milliseconds; it may shrink meanwhile.
        folder: where a member lies until the next one is taken.
        acquire: called before every request.

    Raises:
        Failure: the tar could not be downloaded or ends early (transient), or is broken (corrupt).
        OSError: the disk is full.
    """
    stream = ResumingStream(url, acquire)
    shown = redact(url)
    try:
        reader = io.BufferedReader(stream, 1 << 20)
        with stream, tarfile.open(fileobj=reader, mode="r|*", tarinfo=_MarkedTarInfo) as tar:
            for member in tar:
                key = parse_clip_name(PurePosixPath(member.name).name)
                file = tar.extractfile(member) if member.isreg() and key in requested else None
                if file is None or member.size > _LARGEST_MEMBER:
                    yield Member(None)
                    continue
                path = folder / "member.mp4"
                with path.open("wb") as copy:
                    shutil.copyfileobj(file, copy, 1 << 20)
                yield Member(key, path)
                path.unlink(missing_ok=True)
            if not getattr(tar, "end_mark_read", False):
                raise _truncated(f"{shown}: ended without the end mark of a tar")
    except (tarfile.TarError, zlib.error, EOFError) as error:
        if stream.failure:
            raise stream.failure from error
        if not stream.complete or any(words in str(error) for words in _ENDED_EARLY):
            raise _truncated(f"{shown}: {error}") from error
        raise Failure(OutcomeClass.CORRUPT, "broken-tar", shortened(f"{shown}: {error}")) from error


def _truncated(text: str) -> Failure:
    return Failure(OutcomeClass.TRANSIENT, "truncated", shortened(text))


class ResumingStream(io.RawIOBase):
    """The bytes of an address, forwards, through broken connections.

    Attributes:
        failure: why it ended before its end; tarfile hides what is raised under it.
    """

    def __init__(self, url: str, acquire: Acquire) -> None:
        super().__init__()
        self.failure: Failure | None = None
        self._url, self._authorization = _without_password(url)
        self._shown = redact(url)
        self._acquire = acquire
        self._answer: http.client.HTTPResponse | None = None
        self._position = 0
        self._size: int | None = None
        self._validator = ""
        self._begin = 0
        self._breaks = 0

    @property
    def complete(self) -> bool:
        """All bytes came that the server promised; False if it did not say how many there are."""
        return self._size is not None and self._position >= self._size

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # a narrower buffer will do
        """Read the next bytes; 0 at the end."""
        while True:
            broken = ""
            count = 0
            try:
                answer = self._answer or self._connect()
                count = answer.readinto(buffer)
            except Failure as failure:
                self.failure = failure
                raise
            except (OSError, http.client.HTTPException) as error:
                broken = str(error) or type(error).__name__
            if count:
                self._position += count
                self._breaks = 0
                return count
            # Without a size, a connection that was closed in order is the end; the tar must tell.
            if self.complete or (self._size is None and not broken):
                return 0
            self._hang_up()
            self._breaks += 1
            if self._breaks >= _MOST_BREAKS:
                size = "" if self._size is None else f" of {self._size}"
                came = f"{self._position}{size} bytes came"
                self.failure = _truncated(f"{self._shown}: {came}, then {broken or 'it ended early'}")
                raise self.failure

    def close(self) -> None:
        """Hang up."""
        self._hang_up()
        super().close()

    def _hang_up(self) -> None:
        if self._answer is not None:
            with contextlib.suppress(OSError):
                self._answer.close()
            self._answer = None

    def _connect(self) -> http.client.HTTPResponse:
        self._acquire()
        request = urllib.request.Request(self._url)  # noqa: S310 - checked to be http
        if self._authorization:
            # Where the site sends us on to another one, that one does not get it.
            request.add_unredirected_header("Authorization", self._authorization)
        if self._position:
            request.add_header("Range", f"bytes={self._position}-")
            if self._validator:
                # Another file under the same name is sent whole instead.
                request.add_header("If-Range", self._validator)
        try:
            answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT_S)  # noqa: S310
        except urllib.error.HTTPError as error:
            after = error.headers.get("Retry-After", "")
            raise from_status(error.code, str(error), float(after) if after.isdigit() else 0.0) from error
        except urllib.error.URLError as error:
            # The address itself is no part of what is classified.
            failure = from_text(str(error.reason))
            raise replace(failure, text=shortened(f"{self._shown}: {failure.text}")) from error
        self._check_answer(answer)
        self._answer = answer
        self._skip_known(answer)
        return answer

    def _check_answer(self, answer: http.client.HTTPResponse) -> None:
        """Hold an answer against what was requested and what earlier answers promised.

        Raises:
            Failure: it is of another file, or of another range.
        """
        validator = _validator_of(answer)
        length = answer.headers.get("Content-Length", "")
        begin, size = 0, int(length) if length.isdigit() else None
        if answer.status == _PARTIAL_CONTENT:
            found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            if not found or int(found[1]) != self._position:
                text = f"{self._shown}: answers with another range than bytes {self._position}-"
                raise Failure(OutcomeClass.TRANSIENT, "bad-range", shortened(text))
            begin, size = self._position, int(found[2]) if found[2] != "*" else self._size
        known = self._position > 0
        if known and (validator != self._validator or (self._size is not None and size != self._size)):
            text = f"{self._shown}: is not the file that it was"
            raise Failure(OutcomeClass.TRANSIENT, "changed", shortened(text))
        self._validator, self._size, self._begin = validator, size, begin

    def _skip_known(self, answer: http.client.HTTPResponse) -> None:
        """Read past what is known already, if the server sent the file from its beginning."""
        left = self._position - self._begin
        while left and (piece := answer.read(min(left, 1 << 20))):
            left -= len(piece)


def _without_password(url: str) -> tuple[str, str]:
    """Split an address into one without user and password, which urllib cannot read, and their header."""
    parts = urlsplit(url)
    user_info, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, ""
    token = base64.b64encode(unquote(user_info).encode()).decode()
    return urlunsplit(parts._replace(netloc=host)), f"Basic {token}"


def _validator_of(answer: http.client.HTTPResponse) -> str:
    # A weak entity tag does not promise the same bytes.
    tag = str(answer.headers.get("ETag") or "")
    return tag if tag and not tag.startswith("W/") else str(answer.headers.get("Last-Modified") or "")
