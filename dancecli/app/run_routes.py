"""The part of the app's server that shows runs: their list, training curves, reports, and how two differ."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from dancecli.app.answers import STATIC, answering
from dancecli.app.runs import compare_runs, list_runs, report_page, training_curves
from dancecli.app.stopping import stop_run
from dancecli.storage.workspace import Workspace

# A report is one file with its style and script inside; only this very script may run.
_REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{}'; media-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# What lies beside a report's page.
_BESIDE = {".png", ".json", ".csv", ".md", ".bib"}
_MOST_CURVES = 12


class _Runs:
    """The handlers, over one workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.drawing = threading.Lock()

    async def page(self, _: Request) -> Response:
        return FileResponse(STATIC / "runs.html")

    @answering
    async def listed(self, _: Request) -> Response:
        rows = await run_in_threadpool(partial(list_runs, self.workspace))
        return JSONResponse({"workspace": self.workspace.root.name, "rows": rows})

    @answering
    async def curves(self, request: Request) -> Response:
        names = request.query_params.getlist("run")[:_MOST_CURVES]
        return JSONResponse(await run_in_threadpool(partial(training_curves, self.workspace, names)))

    @answering
    async def compare(self, request: Request) -> Response:
        pair = (request.query_params.get("a", ""), request.query_params.get("b", ""))
        return JSONResponse(await run_in_threadpool(partial(compare_runs, self.workspace, *pair)))

    @answering
    async def stop(self, request: Request) -> Response:
        pid = await run_in_threadpool(partial(stop_run, self.workspace, request.path_params["name"]))
        return JSONResponse({"process": pid})

    @answering
    async def report(self, request: Request) -> Response:
        def draw() -> tuple[Path, str]:
            # Heavy, and of no use before the first report is opened.
            from dancecli.report.pages.run_page import SCRIPTS
            from dancecli.report.pages.templating import script_hash

            known = script_hash(SCRIPTS)
            with self.drawing:
                return report_page(self.workspace, request.path_params["name"], known), known

        page, known = await run_in_threadpool(draw)
        return FileResponse(page, headers={"Content-Security-Policy": _REPORT_POLICY.format(known)})

    @answering
    async def beside(self, request: Request) -> Response:
        folder = self.workspace.report(request.path_params["name"]).resolve()
        path = (folder / request.path_params["file"]).resolve()
        if not path.is_relative_to(folder) or path.suffix not in _BESIDE or not path.is_file():
            return PlainTextResponse("There is no such file.", 404)
        return FileResponse(path)


def run_routes(workspace: Workspace) -> list[Route]:
    """Return the routes of the runs."""
    handlers = _Runs(workspace)
    return [
        Route("/runs", handlers.page),
        Route("/api/runs", handlers.listed),
        Route("/api/runs/curves", handlers.curves),
        Route("/api/runs/compare", handlers.compare),
        Route("/api/runs/{name}/stop", handlers.stop, methods=["POST"]),
        Route("/reports/{name}/", handlers.report),
        Route("/reports/{name}/{file:path}", handlers.beside),
    ]
