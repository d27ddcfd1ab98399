"""A Hub on this machine: the few routes by which its client finds a revision and downloads files."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

COMMIT = "0123456789abcdef0123456789abcdef01234567"
# As the Hub names these in a header, and the status it sends with them.
NO_REPO, NO_REVISION, NO_FILE, GATED = "RepoNotFound", "RevisionNotFound", "EntryNotFound", "GatedRepo"
_STATUS = {NO_REPO: 401, NO_REVISION: 404, NO_FILE: 404, GATED: 403}


@dataclass
class FakeHub:
    """What is on the Hub, and what was asked of it.

    Attributes:
        repos: folder of each repository, all at one commit that is also `main`.
        gated: repositories whose conditions nobody has accepted.
        asked: method and path of each request.
        broken: bytes in the place of a file's own, by its name.
    """

    endpoint: str = ""
    repos: dict[str, Path] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    broken: dict[str, bytes] = field(default_factory=dict)

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Give status, headers and body."""
        parts = [unquote(part) for part in urlsplit(path).path.strip("/").split("/")]
        api = parts[:2] == ["api", "models"]
        if api:
            parts = parts[2:]
        name, rest = "/".join(parts[:2]), parts[2:]
        revision = rest[1] if len(rest) > 1 else "main"
        if name not in self.repos:
            return _refusal(NO_REPO)
        if revision not in (COMMIT, "main", COMMIT[:8]):
            return _refusal(NO_REVISION)
        if api:
            files = sorted(file.name for file in self.repos[name].iterdir())
            found = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": file} for file in files]}
            return 200, {"Content-Type": "application/json"}, json.dumps(found).encode()
        if name in self.gated:
            return _refusal(GATED)
        file = self.repos[name] / "/".join(rest[2:])
        if not file.is_file():
            return _refusal(NO_FILE)
        body = file.read_bytes()
        large = file.suffix == ".safetensors"
        etag = (hashlib.sha256 if large else hashlib.sha1)(body).hexdigest()
        served = self.broken.get(file.name, body)
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Content-Length": str(len(served))}
        return 200, headers, served


def _refusal(code: str) -> tuple[int, dict[str, str], bytes]:
    return _STATUS[code], {"X-Error-Code": code, "Content-Length": "0"}, b""


@pytest.fixture
def fake_hub() -> Iterator[FakeHub]:
    """Serve a Hub without repositories."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self, *, body: bool) -> None:
            hub.asked.append(f"{self.command} {self.path}")
            status, headers, content = hub.answer(self.path)
            self.send_response(status)
            for key, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def do_GET(self) -> None:
            self._serve(body=True)

        def do_HEAD(self) -> None:
            self._serve(body=False)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    yield hub
    server.shutdown()
    server.server_close()


@pytest.fixture
def on_fake_hub(fake_hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    """Let the client in this process use the fake Hub and a cache of the test's own."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", fake_hub.endpoint)
    template = fake_hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return fake_hub
