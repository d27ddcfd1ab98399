"""Tars as a mirror holds them, and a server that sends them by range, or breaks off."""

from __future__ import annotations

import io
import re
import tarfile
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def pack(members: Mapping[str, bytes | tarfile.TarInfo], *, compressed: bool = True) -> bytes:
    """Pack members in their order; a `TarInfo` is a member of another kind."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz" if compressed else "w") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """A link or a device."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.devmajor, info.devminor = kind, target, 1, 3
    return info


class TarSite:
    """Serves byte strings by path.

    Attributes:
        files: by path, with a slash at the front.
        breaks: how often each answer is broken off in its middle.
        ranges: whether ranges are answered.
        etag: sent with each answer; a range of another one is answered in full.
        lie: `range`: a range begins one byte late; `total`: it is of a larger file; `unasked`: it
            is sent without a request for one; `missing`: without its header; `size`: a resumed
            answer without ranges is of another size; all under the same tag.
        length: `known`; `none`, the connection's end is that of the file; `chunked`.
        log: paths with their Range headers.
        if_range: their If-Range headers.
        user: `name:password` that is required; empty for none.
        moved_to: where all requests are sent on to; empty for nowhere.
        authorizations: the Authorization headers that came.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.breaks = 0
        self.ranges = True
        self.etag = '"1"'
        self.lie = ""
        self.length = "known"
        self.log: list[tuple[str, str]] = []
        self.if_range: list[str] = []
        self.user = ""
        self.moved_to = ""
        self.authorizations: list[str] = []
        self.url = ""

    @property
    def template(self) -> str:
        return f"{self.url}/{{split}}/{{number:03d}}.tar.gz"


@contextmanager
def tar_site() -> Iterator[TarSite]:
    site = TarSite()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            site.log.append((self.path, self.headers.get("Range", "")))
            sent_user = self.headers.get("Authorization", "")
            site.authorizations.append(sent_user)
            if site.user and sent_user != f"Basic {b64encode(site.user.encode()).decode()}":
                self.send_error(401)
                return
            if site.moved_to:
                self.send_response(302)
                self.send_header("Location", site.moved_to + self.path)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = site.files.get(self.path.partition("?")[0])
            if body is None:
                self.send_error(404)
                return
            site.if_range.append(self.headers.get("If-Range", ""))
            same = self.headers.get("If-Range", site.etag) == site.etag
            first = int(asked[1]) if asked and site.ranges and same else 0
            part = body[first:]
            self.send_response(206 if first or site.lie == "unasked" else 200)
            size = len(part) + (asked is not None and not first and site.lie == "size")
            if site.length == "known":
                self.send_header("Content-Length", str(size))
            elif site.length == "chunked":
                self.send_header("Transfer-Encoding", "chunked")
            self.send_header("ETag", site.etag)
            self.send_header("Connection", "close")
            if first and site.lie != "missing":
                begin, total = first + (site.lie == "range"), len(body) + (site.lie == "total")
                self.send_header("Content-Range", f"bytes {begin}-{total - 1}/{total}")
            self.end_headers()
            broken = site.breaks > 0
            site.breaks -= broken
            sent = part[: len(part) // 2] if broken else part
            if site.length == "chunked":
                # Broken, the chunk that was announced does not come whole.
                self.wfile.write(b"%x\r\n" % len(part) + sent + (b"" if broken else b"\r\n0\r\n\r\n"))
            else:
                self.wfile.write(sent)
            self.close_connection = True

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        site.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield site
        server.shutdown()
