"""A local video site: byte ranges, a request log, and injected faults.

The demo and the tests fetch from it as from any other site, so that what works here works
for a user; each `Fault` is something that real sites do.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

CONTENT_TYPES = {".mp4": "video/mp4", ".webm": "video/webm"}
# An address with its host is what a client sends to a proxy; the site then is one for itself.
_ROUTE = re.compile(r"(?:http://[^/]+)?/v/([^/?]+)\.mp4(?:\?.*)?")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_BLOCK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of the site for one video; the attributes can be combined.

    yt-dlp requests a direct address twice, once to inspect it and once to download, so
    `after=1` lets the first request pass and spoils the download.

    Attributes:
        status: HTTP status returned in place of the video, 0 for none.
        after: number of requests that succeed before the fault begins.
        times: number of requests that fail, None for all that follow.
        retry_after: value of the `Retry-After` header, in seconds or as a date.
        cut_at: fraction of the body after which the connection is closed.
        stall_at: fraction of the body after which nothing more is sent; the connection stays open.
        ranges: whether byte ranges are supported; False returns the whole file.
        length_factor: `Content-Length` as a multiple of the true length.
        html: return an HTML page with status 200 in place of the video.
        text: the body that is sent with `status` or `html`.
        unless: name of a request header whose presence lifts the fault, for example `Cookie`.
    """

    status: int = 0
    after: int = 0
    times: int | None = None
    retry_after: str = ""
    cut_at: float | None = None
    stall_at: float | None = None
    ranges: bool = True
    length_factor: float = 1.0
    html: bool = False
    text: str = ""
    unless: str = ""

    def applies_to(self, nth: int, headers: Container[str] = ()) -> bool:
        """Return whether the `nth` request for the video, counted from 1, fails."""
        lifted = bool(self.unless) and self.unless in headers
        return not lifted and self.after < nth and (self.times is None or nth <= self.after + self.times)


NO_FAULT = Fault()


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the server received it.

    Attributes:
        time_s: `time.monotonic()` when it arrived.
        video_id: the id in the address; empty for an unknown address.
        range: the Range header, or empty.
        status: the HTTP status returned.
    """

    time_s: float
    video_id: str
    range: str
    status: int


class VideoSite:
    """The site; a context manager that serves inside the block.

    Args:
        videos: the folder that holds `<video id>.mp4`, or a function that returns a video's
            file, or None for "not found". A `.webm` file is sent as such.
        faults: one or several per video id; the first that applies to a request counts. They are
            looked up at each request, so the dict may be changed meanwhile.
        port: TCP port; 0 lets the system choose one.

    Attributes:
        everywhere: a fault of the whole site that takes precedence over those of videos, or None.
        log: every request, in order of arrival.
    """

    def __init__(
        self,
        videos: Path | Callable[[str], Path | None],
        faults: Mapping[str, Fault | Sequence[Fault]] | None = None,
        port: int = 0,
    ) -> None:
        self._videos = videos
        self._faults = faults if faults is not None else {}
        self._requests: Counter[str] = Counter()
        self._guard = threading.Lock()
        self._closing = threading.Event()
        self._server = _Server(("127.0.0.1", port), self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        self.everywhere: Fault | None = None
        self.log: list[Request] = []

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return int(self._server.server_address[1])

    @property
    def url_template(self) -> str:
        """The address of a video, with the placeholder `{video_id}` for its id."""
        return f"http://127.0.0.1:{self.port}/v/{{video_id}}.mp4"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def resolve(self, video_id: str) -> Path | None:
        """Find the file of a video id."""
        if callable(self._videos):
            return self._videos(video_id)
        path = self._videos / f"{video_id}.mp4"
        return path if path.is_file() else None

    def fault_now(self, video_id: str, headers: Container[str] = ()) -> Fault:
        """Count a request and return the fault that applies to it, or `NO_FAULT`."""
        with self._guard:
            self._requests[video_id] += 1
            nth = self._requests[video_id]
        faults = self.everywhere or self._faults.get(video_id, NO_FAULT)
        listed = (faults,) if isinstance(faults, Fault) else faults
        return next((fault for fault in listed if fault.applies_to(nth, headers)), NO_FAULT)

    def wait_until_closed(self) -> None:
        """Block until the site is closed, to keep a stalled connection open."""
        self._closing.wait()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Threads of stalled connections end by themselves; there is no need to wait for the client.
    block_on_close = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], site: VideoSite) -> None:
        super().__init__(address, _Handler)
        self.site = site

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a client that closes the connection."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing; requests are kept in `VideoSite.log`."""

    def _answer(self, *, with_body: bool) -> None:
        site = self.server.site
        route = _ROUTE.fullmatch(self.path)
        video_id = route[1] if route else ""
        fault = site.fault_now(video_id, self.headers.keys()) if route else NO_FAULT
        path = site.resolve(video_id) if route else None
        if fault.status:
            self._send_text(video_id, fault.status, fault, with_body)
        elif fault.html:
            self._send_text(video_id, 200, fault, with_body)
        elif path is None:
            self._send_text(video_id, 404, fault, with_body)
        else:
            with path.open("rb") as file:
                self._send_video(video_id, path, file, fault, with_body)

    def _send_text(self, video_id: str, status: int, fault: Fault, with_body: bool) -> None:
        self._record(video_id, status)
        body = (fault.text or f"<html><body><h1>{status}</h1></body></html>").encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if fault.retry_after:
            self.send_header("Retry-After", fault.retry_after)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _send_video(self, video_id: str, path: Path, file: BinaryIO, fault: Fault, with_body: bool) -> None:
        size = path.stat().st_size
        requested = _RANGE.fullmatch(self.headers.get("Range", "")) if fault.ranges else None
        first = int(requested[1]) if requested else 0
        last = min(int(requested[2]), size - 1) if requested and requested[2] else size - 1
        if first >= size or last < first:
            self._refuse_range(video_id, size)
            return
        length = last - first + 1
        self._record(video_id, 206 if requested else 200)
        self.send_response(206 if requested else 200)
        self.send_header("Content-Type", CONTENT_TYPES.get(path.suffix, "video/mp4"))
        self.send_header("Content-Length", str(int(length * fault.length_factor)))
        if fault.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if requested:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if with_body:
            self._send_body(file, first, length, size, fault)

    def _send_body(self, file: BinaryIO, first: int, length: int, size: int, fault: Fault) -> None:
        stops = [at for at in (fault.cut_at, fault.stall_at) if at is not None]
        # A position in the file, not in the response: a client that resumes there gets nothing more.
        end = min([first + length, *(int(size * at) for at in stops)])
        file.seek(first)
        while (left := end - file.tell()) > 0:
            self.wfile.write(file.read(min(_BLOCK, left)))
        self.wfile.flush()
        if fault.stall_at is not None:
            self.server.site.wait_until_closed()
        if stops or fault.length_factor != 1:
            self.close_connection = True

    def _refuse_range(self, video_id: str, size: int) -> None:
        self._record(video_id, 416)
        self.send_response(416)
        self.send_header("Content-Range", f"bytes */{size}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _record(self, video_id: str, status: int) -> None:
        self.server.site.log.append(
            Request(time.monotonic(), video_id, self.headers.get("Range", ""), status)
        )
