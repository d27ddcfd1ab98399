"""The app's server: pages, pictures, clips by range, and corrections, for whoever holds the token.

The token is in the address that `dance app` prints; the first page opened with it sets a cookie for this
site alone. Requests that change something must come from the app's own pages.
"""

from __future__ import annotations

import base64
import getpass
import hmac
import socket
import threading
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from dancecli.app.answers import STATIC, Handler, answering, checked_text
from dancecli.app.catalog import FLAGS, SORTS, Catalog, Query
from dancecli.app.explore.bulk import check_value, old_and_new
from dancecli.app.explore.routes import explore_routes
from dancecli.app.run_routes import run_routes
from dancecli.app.thumbnails import thumbnail
from dancecli.app.timeline_routes import timeline_routes
from dancecli.core.errors import DanceError, MediaError, UsageError
from dancecli.storage.corrections import Correction, Field, append_corrections, read_corrections
from dancecli.storage.workspace import Workspace

COOKIE = "dance_app"
_PAGE = 300
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class _Guard(BaseHTTPMiddleware):
    """Let only holders of the token, or of the password, in, and changes only from the app's own pages."""

    def __init__(self, app: Any, token: str, password: str) -> None:
        super().__init__(app)
        self.token, self.password = token, password

    async def dispatch(self, request: Request, call_next: Handler) -> Response:
        if self.password and not _knows(request, self.password):
            asked = PlainTextResponse(
                "The password, please.", 401, {"WWW-Authenticate": 'Basic realm="dance app"'}
            )
            return _sealed(asked)
        given = request.query_params.get("token", "")
        if given and hmac.compare_digest(given.encode(), self.token.encode()):
            rest = request.url.remove_query_params("token")
            answer: Response = RedirectResponse(f"{rest.path}{'?' + rest.query if rest.query else ''}", 303)
            answer.set_cookie(COOKIE, self.token, httponly=True, samesite="strict")
            return _sealed(answer)
        held = self.token if self.password else request.cookies.get(COOKIE, "")
        if not hmac.compare_digest(held.encode(), self.token.encode()):
            return _sealed(
                PlainTextResponse("Open the address that `dance app` printed: it holds the key.", 403)
            )
        if request.method not in ("GET", "HEAD") and not _of_our_page(request):
            return _sealed(PlainTextResponse("Changes come from the app's own pages only.", 403))
        return _sealed(await call_next(request))


def _knows(request: Request, password: str) -> bool:
    kind, _, secret = request.headers.get("authorization", "").partition(" ")
    try:
        given = base64.b64decode(secret, validate=True).partition(b":")[2]
    except ValueError:
        return False
    return kind.lower() == "basic" and hmac.compare_digest(given, password.encode())


def _of_our_page(request: Request) -> bool:
    origin = request.headers.get("origin", "")
    kind = request.headers.get("content-type", "").partition(";")[0]
    return (
        origin == f"{request.url.scheme}://{request.headers.get('host', '')}" and kind == "application/json"
    )


def _sealed(answer: Response) -> Response:
    answer.headers.setdefault("Content-Security-Policy", _POLICY)
    answer.headers["X-Content-Type-Options"] = "nosniff"
    answer.headers["Referrer-Policy"] = "no-referrer"
    answer.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    answer.headers.setdefault("Cache-Control", "no-store")
    return answer


class _App:
    """The handlers, over one catalog."""

    def __init__(self, workspace: Workspace, catalog: Catalog) -> None:
        self.workspace, self.catalog = workspace, catalog
        self.who = _user()
        self.lock = threading.Lock()

    async def page(self, _: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    @answering
    async def about(self, _: Request) -> Response:
        catalog = self.catalog

        def answer() -> dict[str, Any]:
            with self.lock:
                catalog.catch_up()
                facets = catalog.facets()
            return {
                "workspace": str(self.workspace.root),
                "name": self.workspace.root.name,
                "who": self.who,
                "split": catalog.split,
                "run": catalog.run,
                "labels": catalog.labels,
                "clips": len(catalog.frame),
                "facets": facets,
                "sorts": list(SORTS),
                "flags": list(FLAGS),
            }

        return JSONResponse(await run_in_threadpool(answer))

    @answering
    async def clips(self, request: Request) -> Response:
        query = Query.of(request.query_params)
        offset = max(0, _whole(request.query_params.get("offset", "0")))

        def answer() -> dict[str, Any]:
            with self.lock:
                self.catalog.catch_up()
                places = self.catalog.places(query)
                page = self.catalog.frame.iloc[places[offset : offset + _PAGE]]
                rows = self.catalog.rows(page, query)
                between = self.catalog.between(query)
            return {"total": len(places), "offset": offset, "rows": rows, "between": between}

        return JSONResponse(await run_in_threadpool(answer))

    @answering
    async def clip(self, request: Request) -> Response:
        def answer() -> dict[str, Any] | None:
            with self.lock:
                self.catalog.catch_up()
                try:
                    return self.catalog.details(request.path_params["clip_id"])
                except KeyError:
                    return None

        found = await run_in_threadpool(answer)
        return PlainTextResponse("There is no such clip.", 404) if found is None else JSONResponse(found)

    async def media(self, request: Request) -> Response:
        path = self._file(request.path_params["clip_id"])
        if path is None:
            return PlainTextResponse("The file of this clip is gone.", 404)
        return FileResponse(path, media_type="video/mp4")

    async def picture(self, request: Request) -> Response:
        clip_id = request.path_params["clip_id"]
        path = self._file(clip_id)
        if path is None:
            return PlainTextResponse("The file of this clip is gone.", 404)
        try:
            sha256 = str(self.catalog.frame.at[clip_id, "sha256"])
            kept = await run_in_threadpool(partial(thumbnail, self.workspace, path, sha256))
        except (KeyError, MediaError, OSError):
            return PlainTextResponse("This clip cannot be shown.", 404)
        return FileResponse(kept, headers={"Cache-Control": "private, max-age=86400"})

    @answering
    async def correct(self, request: Request) -> Response:
        try:
            document = await request.json()
        except ValueError as error:
            return PlainTextResponse(f"This is no correction: {error}", 400)

        def write() -> Response:
            with self.lock:
                self.catalog.catch_up()
                try:
                    rows = _corrections(document, self.catalog)
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    return PlainTextResponse(f"This is no correction: {error}", 400)
                try:
                    append_corrections(self.workspace, rows)
                except DanceError as error:
                    return PlainTextResponse(f"Nothing was saved: {error.message}", 409)
                self.catalog.refresh()
            return JSONResponse({"saved": len(rows)})

        return await run_in_threadpool(write)

    @answering
    async def history(self, _: Request) -> Response:
        rows = await run_in_threadpool(partial(read_corrections, self.workspace))
        shown = [{f.name: getattr(row, f.name) for f in fields(Correction)} for row in rows[:-501:-1]]
        return JSONResponse({"total": len(rows), "rows": shown})

    def _file(self, clip_id: str) -> Path | None:
        frame = self.catalog.frame
        if clip_id not in frame.index:
            return None
        path = self.workspace.root / str(frame.at[clip_id, "path"])
        return path if path.is_file() else None


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # A container may run under a number that has no name.
        return ""


def _corrections(document: Any, catalog: Catalog) -> list[Correction]:
    """Read what a page sends: `{"who": ..., "changes": [{"clip_id", "field", "new", "why"}, ...]}`."""
    who = checked_text(document.get("who", ""))
    found = []
    for change in document["changes"]:
        clip_id, field = str(change["clip_id"]), Field(change["field"])
        new = checked_text(change["new"])
        if clip_id not in catalog.frame.index:
            raise ValueError(f"there is no clip {clip_id!r}")
        listed = str(catalog.frame.at[clip_id, "listed_label"])
        old, new = old_and_new(catalog.changes.get(clip_id, {}), field, listed, new)
        check_value(field, new, catalog.labels)
        found.append(Correction(clip_id, field, old, new, who, why=checked_text(change.get("why", ""))))
    if not found:
        raise ValueError("it changes nothing")
    return found


def _whole(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def make_app(workspace: Workspace, catalog: Catalog, token: str, password: str = "") -> Starlette:
    """Build the app; see the module.

    Args:
        workspace: that is shown and corrected.
        catalog: its clips.
        token: opens the app from the address.
        password: asked for in place of the token, where other machines may connect; empty for none.
    """
    handlers = _App(workspace, catalog)
    return Starlette(
        routes=[
            Route("/", handlers.page),
            Route("/api/about", handlers.about),
            Route("/api/clips", handlers.clips),
            Route("/api/clips/{clip_id}", handlers.clip),
            Route("/api/corrections", handlers.correct, methods=["POST"]),
            Route("/api/corrections", handlers.history, methods=["GET"]),
            Route("/media/{clip_id}", handlers.media),
            Route("/thumb/{clip_id}", handlers.picture),
            *explore_routes(workspace, catalog, handlers.lock),
            Route("/clips/{folder}/{clip_id}.mp4", handlers.media),
            *run_routes(workspace),
            *timeline_routes(workspace, handlers.who),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(_Guard, token=token, password=password)],
    )


def listen(host: str, port: int) -> socket.socket:
    """Bind a socket.

    Raises:
        UsageError: the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        # So that a browser that is opened before the server runs waits for it.
        sock.listen(128)
    except OSError as error:
        sock.close()
        hint = "choose another --port" if port else "check --host"
        raise UsageError(f"cannot listen on {host}:{port} ({error.strerror or error})", hint) from None
    return sock


def serve(app: Starlette, sock: socket.socket) -> None:
    """Answer requests on a bound socket until Ctrl-C."""
    import uvicorn

    uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False)).run(sockets=[sock])
