"""The app, served on this machine for as long as a block takes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

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
