"""The addresses of the app that belong to looking: overlays of an open clip."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from dancecli.app.catalog import Catalog
from dancecli.app.explore.overlays import flow_overlay, pose_overlay
from dancecli.core.errors import DanceError, MediaError
from dancecli.storage.workspace import Workspace

# The address holds the checksum of the file, so what is shown of it never changes.
_KEPT = {"Cache-Control": "private, max-age=86400"}


class _Explore:
    """The handlers, over one catalog."""

    def __init__(self, workspace: Workspace, catalog: Catalog) -> None:
        self.workspace, self.catalog = workspace, catalog

    async def pose(self, request: Request) -> Response:
        clip_id, sha256 = request.path_params["clip_id"], request.query_params.get("of", "")
        if self._file(clip_id) is None:
            return PlainTextResponse("There is no such clip.", 404)
        try:
            found = await run_in_threadpool(partial(pose_overlay, self.workspace, clip_id, sha256))
        except DanceError as error:
            return refusal(error)
        return JSONResponse(found)

    async def flow(self, request: Request) -> Response:
        clip_id, frame = request.path_params["clip_id"], request.path_params["frame"]
        sha256 = request.query_params.get("of", "")
        path = self._file(clip_id)
        if path is None or not path.is_file():
            return PlainTextResponse("The file of this clip is gone.", 404)
        draw = partial(flow_overlay, self.workspace, path, clip_id, sha256, frame)
        try:
            return Response(await run_in_threadpool(draw), media_type="image/png", headers=_KEPT)
        except MediaError as error:
            return PlainTextResponse(error.message, 404)
        except DanceError as error:
            return refusal(error)

    def _file(self, clip_id: str) -> Path | None:
        if clip_id not in self.catalog.frame.index:
            return None
        return self.workspace.root / str(self.catalog.frame.at[clip_id, "path"])


def refusal(error: DanceError) -> Response:
    """Answer what cannot be done for now, with what to do about it."""
    return PlainTextResponse(f"{error.message}: {error.hint}" if error.hint else error.message, 409)


def explore_routes(workspace: Workspace, catalog: Catalog) -> list[Route]:
    """Give the routes of looking, over a catalog of a workspace."""
    handlers = _Explore(workspace, catalog)
    return [
        Route("/api/pose/{clip_id}", handlers.pose),
        Route("/flow/{clip_id}/{frame:int}", handlers.flow),
    ]
