"""Files that name other files: a playlist in place of a video is a refused file, and causes no request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from helpers.builders import Ran


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """A server on this machine, and the paths that were asked of it."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}", asked
        httpd.shutdown()


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{address}/segment.ts\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{secret}'\n",
    "concat-address": "ffconcat version 1.0\nfile {address}/other.mp4\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "m3u-file": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{secret}\n#EXT-X-ENDLIST\n",
}


@pytest.mark.parametrize("link", [(), ("--link",)], ids=["cut", "link"])
def test_a_playlist_in_place_of_a_video_is_refused_and_opens_nothing(
    tmp_path: Path,
    dance: Callable[..., Ran],
    server: tuple[str, list[str]],
    link: tuple[str, ...],
) -> None:
    address, asked = server
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(b"not for anybody")
    folder = tmp_path / "in" / "waltz"
    folder.mkdir(parents=True)
    for name, text in PLAYLISTS.items():
        (folder / f"{name}.mp4").write_text(text.format(address=address, secret=secret))
    ran = dance("import", str(folder.parent), "--json", *link)
    assert ran.code == 3
    assert asked == []
    assert list((tmp_path / "space" / "clips").glob("**/*.mp4")) == []
