"""A video site on loopback: byte ranges, a log of what was asked, and faults on request.

The demo and the tests fetch from it as from any other site, so that what works there works
for a user; each `Fault` is something that real sites do.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

CONTENT_TYPES = {".mp4": "video/mp4", ".webm": "video/webm"}
_ROUTE = re.compile(r"/v/([^/?]+)\.mp4")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_BLOCK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong when one video is asked for; the parts can be combined.

    yt-dlp asks twice for a direct address, once to look and once to download, so
    `after=1` lets it look and spoils the download.

    Attributes:
        status: answered in place of the video, 0 for none.
        after: requests that are answered well before the fault begins.
        times: requests that it spoils, None for all that follow.
        retry_after: the header of that name, in seconds or as a date.
        cut_at: the connection is closed after this fraction of the body.
        stall_at: nothing more comes after this fraction, and the connection stays open.
        ranges: False answers every request with the whole file.
        length_factor: the header says this many times the true length.
        html: an HTML page is sent, with status 200, in place of the video.
        text: the body beside `status`, or of the page.
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

    def spoils(self, nth: int) -> bool:
        """Say whether the `nth` request for the video, from 1, is spoiled."""
        return self.after < nth and (self.times is None or nth <= self.after + self.times)


NO_FAULT = Fault()


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the server saw it.

    Attributes:
        time_s: `time.monotonic()` when it came.
        video_id: the id in the address; empty if the address is none of the site's.
        range: the Range header, empty if there was none.
        status: what was answered.
    """

    time_s: float
    video_id: str
    range: str
    status: int


class VideoSite:
    """The site; a context manager, at work inside the block.

    Args:
        videos: the folder that holds `<video id>.mp4`, or a function that gives a video's
            file, or None for "not found". A `.webm` file is sent as such.
        faults: by video id, one or several, of which the first that spoils a request counts. It
            is looked up at each request, so a dict may change meanwhile.
        port: 0 lets the system choose one.

    Attributes:
        everywhere: a fault of the whole site, which goes before that of a video; None for none.
        log: every request, in the order in which they came.
    """

    def __init__(
        self,
        videos: Path | Callable[[str], Path | None],
        faults: Mapping[str, Fault | Sequence[Fault]] | None = None,
        port: int = 0,
    ) -> None:
        self._videos = videos
        self._faults = faults if faults is not None else {}
        self._asked: Counter[str] = Counter()
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
        """The port it listens on."""
        return int(self._server.server_address[1])

    @property
    def url_template(self) -> str:
        """The address of a video, with `{video_id}` in place of its id."""
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
        """Find the file that stands behind an id."""
        if callable(self._videos):
            return self._videos(video_id)
        path = self._videos / f"{video_id}.mp4"
        return path if path.is_file() else None

    def fault_now(self, video_id: str) -> Fault:
        """Count a request and give the fault that spoils it, `NO_FAULT` if none does."""
        with self._guard:
            self._asked[video_id] += 1
            nth = self._asked[video_id]
        faults = self.everywhere or self._faults.get(video_id, NO_FAULT)
        listed = (faults,) if isinstance(faults, Fault) else faults
        return next((fault for fault in listed if fault.spoils(nth)), NO_FAULT)

    def wait_until_closed(self) -> None:
        """Keep a stalled connection open for as long as the site is."""
        self._closing.wait()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Threads of stalled connections end by themselves, nobody need wait for the client.
    block_on_close = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], site: VideoSite) -> None:
        super().__init__(address, _Handler)
        self.site = site

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that hangs up is an everyday thing."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing; `VideoSite.log` keeps it."""

    def _answer(self, *, with_body: bool) -> None:
        site = self.server.site
        route = _ROUTE.fullmatch(self.path)
        video_id = route[1] if route else ""
        fault = site.fault_now(video_id) if route else NO_FAULT
        path = site.resolve(video_id) if route else None
        if fault.status:
            self._say(video_id, fault.status, fault, with_body)
        elif fault.html:
            self._say(video_id, 200, fault, with_body)
        elif path is None:
            self._say(video_id, 404, fault, with_body)
        else:
            with path.open("rb") as file:
                self._send_video(video_id, path, file, fault, with_body)

    def _say(self, video_id: str, status: int, fault: Fault, with_body: bool) -> None:
        self._note(video_id, status)
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
        asked = _RANGE.fullmatch(self.headers.get("Range", "")) if fault.ranges else None
        first = int(asked[1]) if asked else 0
        last = min(int(asked[2]), size - 1) if asked and asked[2] else size - 1
        if first >= size or last < first:
            self._refuse_range(video_id, size)
            return
        length = last - first + 1
        self._note(video_id, 206 if asked else 200)
        self.send_response(206 if asked else 200)
        self.send_header("Content-Type", CONTENT_TYPES.get(path.suffix, "video/mp4"))
        self.send_header("Content-Length", str(int(length * fault.length_factor)))
        if fault.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        if with_body:
            self._send_body(file, first, length, size, fault)

    def _send_body(self, file: BinaryIO, first: int, length: int, size: int, fault: Fault) -> None:
        stops = [at for at in (fault.cut_at, fault.stall_at) if at is not None]
        # A place in the file, not in the answer: a client that resumes there gets nothing more.
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
        self._note(video_id, 416)
        self.send_response(416)
        self.send_header("Content-Range", f"bytes */{size}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _note(self, video_id: str, status: int) -> None:
        self.server.site.log.append(
            Request(time.monotonic(), video_id, self.headers.get("Range", ""), status)
        )
