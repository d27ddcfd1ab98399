"""Tars as a mirror holds them, and a server that sends them by range, or breaks off."""

from __future__ import annotations

import io
import re
import tarfile
import threading
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
        ranges: whether ranges are honoured.
        etag: sent with each answer.
        log: paths with their Range headers.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.breaks = 0
        self.ranges = True
        self.etag = '"1"'
        self.log: list[tuple[str, str]] = []
        self.url = ""

    @property
    def template(self) -> str:
        return f"{self.url}/{{split}}/{{number:03d}}.tar.gz"


@contextmanager
def tar_site() -> Iterator[TarSite]:
    site = TarSite()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            site.log.append((self.path, self.headers.get("Range", "")))
            body = site.files.get(self.path)
            if body is None:
                self.send_error(404)
                return
            first = int(asked[1]) if asked and site.ranges else 0
            part = body[first:]
            self.send_response(206 if first else 200)
            self.send_header("Content-Length", str(len(part)))
            self.send_header("ETag", site.etag)
            if first:
                self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
            self.end_headers()
            if site.breaks:
                site.breaks -= 1
                part = part[: len(part) // 2]
            self.wfile.write(part)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        site.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield site
        server.shutdown()
