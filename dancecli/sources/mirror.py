"""Frozen clips in one tar a class: streamed, only wanted members unpacked, nothing stored whole.

A connection that breaks is taken up again where it was, by range. Names in the tar reach no
path: a member counts only by the video and times that its name says, and only if it is a
plain file; what is in it is checked like any other video.
"""

from __future__ import annotations

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
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dancecli.core.records import OutcomeClass
from dancecli.engine.worker import Acquire
from dancecli.sources.failures import Failure, from_status, from_text, shortened
from dancecli.sources.local import parse_clip_name

ClipKey = tuple[str, int, int]
_TIMEOUT_S = 30.0
# In a row without a byte in between.
_MOST_BREAKS = 4
# A clip of ten seconds has a few megabytes; this is no clip.
_LARGEST_MEMBER = 1 << 30
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True, slots=True)
class Member:
    """A wanted clip that lies unpacked at `path`, or None: go on, nothing wanted went by."""

    key: ClipKey | None
    path: Path | None = None


def members(url: str, wanted: Collection[ClipKey], folder: Path, acquire: Acquire) -> Iterator[Member]:
    """Stream a tar and unpack one wanted member after the other.

    Args:
        url: of the tar, compressed or not.
        wanted: video id, start and end in milliseconds; it may shrink meanwhile.
        folder: where a member lies until the next one is asked for.
        acquire: called before every request.

    Raises:
        Failure: the tar cannot be had, or is broken from some place on.
        OSError: the disk is full.
    """
    stream = ResumingStream(url, acquire)
    try:
        with stream, tarfile.open(fileobj=io.BufferedReader(stream, 1 << 20), mode="r|*") as tar:
            for member in tar:
                key = parse_clip_name(PurePosixPath(member.name).name)
                file = tar.extractfile(member) if member.isreg() and key in wanted else None
                if file is None or member.size > _LARGEST_MEMBER:
                    yield Member(None)
                    continue
                path = folder / "member.mp4"
                with path.open("wb") as copy:
                    shutil.copyfileobj(file, copy, 1 << 20)
                yield Member(key, path)
                path.unlink(missing_ok=True)
    except (tarfile.TarError, zlib.error, EOFError) as error:
        if stream.failure:
            raise stream.failure from error
        raise Failure(OutcomeClass.CORRUPT, "broken-tar", shortened(f"{url}: {error}")) from error


class ResumingStream(io.RawIOBase):
    """The bytes of an address, forwards, through broken connections.

    Attributes:
        failure: why it ended before its end; tarfile hides what is raised under it.
    """

    def __init__(self, url: str, acquire: Acquire) -> None:
        super().__init__()
        self.failure: Failure | None = None
        self._url = url
        self._acquire = acquire
        self._answer: http.client.HTTPResponse | None = None
        self._position = 0
        self._size: int | None = None
        self._validator = ""
        self._breaks = 0

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # a narrower buffer will do
        """Read the next bytes; 0 at the end."""
        while True:
            why = "it ended early"
            try:
                answer = self._answer or self._connect()
                count = answer.readinto(buffer)
            except Failure as failure:
                self.failure = failure
                raise
            except (OSError, http.client.HTTPException) as error:
                count, why = 0, str(error) or type(error).__name__
            if count:
                self._position += count
                self._breaks = 0
                return count
            if self._size is None or self._position >= self._size:
                return 0
            self._hang_up()
            self._breaks += 1
            if self._breaks >= _MOST_BREAKS:
                text = f"{self._url}: {self._position} of {self._size} bytes came, then {why}"
                self.failure = Failure(OutcomeClass.TRANSIENT, "truncated", shortened(text))
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
            raise from_text(f"{self._url}: {error.reason}") from error
        self._answer = answer
        self._take_up(answer)
        return answer

    def _take_up(self, answer: http.client.HTTPResponse) -> None:
        validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
        if self._position and validator != self._validator:
            raise Failure(OutcomeClass.TRANSIENT, "changed", f"{self._url}: is not the file that it was")
        self._validator = validator
        found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if answer.status == 206 and found and int(found[1]) == self._position:
            return
        length = answer.headers.get("Content-Length")
        self._size = int(length) if length else None
        # No ranges here: what is known already goes by unread.
        left = self._position
        while left and (piece := answer.read(min(left, 1 << 20))):
            left -= len(piece)
