"""The app, served on this machine for as long as a block takes."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import uvicorn

from dancecli.app.catalog import Catalog
from dancecli.app.server import listen, make_app
from dancecli.storage.workspace import Workspace

TOKEN = "the-token-of-the-tests"


@contextmanager
def served(
    workspace: Workspace, split: str | None = None, run: str | None = None, password: str = ""
) -> Iterator[str]:
    """Serve a workspace; give the address without the token."""
    app = make_app(workspace, Catalog(workspace, split, run), TOKEN, password)
    with listen("127.0.0.1", 0) as sock:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Site:
    address: str
    workspace: Workspace

    def ask(self, path: str, method: str = "GET", body: object = None, **headers: str) -> Answer:
        """Send one request as the app's page does, unless headers say otherwise; an empty one is left out."""
        sent = {"Cookie": f"dance_app={TOKEN}"}
        if body is not None:
            sent |= {"Content-Type": "application/json", "Origin": self.address}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=30)
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, path, content, {name: value for name, value in sent.items() if value})
        answer = connection.getresponse()
        found = Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        connection.close()
        return found

    def correct(self, *changes: dict[str, str], **headers: str) -> Answer:
        return self.ask("/api/corrections", "POST", {"who": "ana", "changes": changes}, **headers)
