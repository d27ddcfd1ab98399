"""The addresses of the app that belong to exploring: overlays, the map, and corrections of many clips."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from dancecli.app.answers import answering, checked_text
from dancecli.app.catalog import Catalog, Query
from dancecli.app.explore.bulk import BULK_FIELDS, bulk_rows, check_value, undo_rows
from dancecli.app.explore.overlays import flow_overlay, pose_overlay
from dancecli.core.errors import InputError, MediaError
from dancecli.storage.corrections import Correction, Field, append_corrections, read_corrections
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    from dancecli.app.explore.clip_map import ClipMap
    from dancecli.app.explore.explorer import Explorer

# The address holds the checksum of the file, so what is shown of it never changes.
_KEPT = {"Cache-Control": "private, max-age=86400"}


class _Explore:
    """The handlers, over one catalog."""

    def __init__(self, workspace: Workspace, catalog: Catalog, lock: threading.Lock) -> None:
        self.workspace, self.catalog, self.lock = workspace, catalog, lock

    @answering
    async def pose(self, request: Request) -> Response:
        clip_id, sha256 = request.path_params["clip_id"], request.query_params.get("of", "")
        if self._file(clip_id) is None:
            return PlainTextResponse("There is no such clip.", 404)
        return await _json(partial(pose_overlay, self.workspace, clip_id, sha256))

    @answering
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

    @answering
    async def map(self, _: Request) -> Response:
        def answer() -> dict[str, Any]:
            found = self._explorer().map.get()
            return {"key": found.key, "clips": len(found.clips)}

        return await _json(answer)

    @answering
    async def points(self, request: Request) -> Response:
        query = Query.of(request.query_params)

        def answer() -> bytes:
            with self._shown_map(request) as found:
                return _columns(self.catalog, found, query)

        return Response(await run_in_threadpool(answer), media_type="application/octet-stream")

    @answering
    async def point(self, request: Request) -> Response:
        def answer() -> dict[str, Any]:
            with self._shown_map(request) as found:
                place = request.path_params["place"]
                if place >= len(found.clips):
                    raise InputError("there is no such clip on the map")
                return self.catalog.rows(self.catalog.frame.loc[[found.clips[place]]])[0]

        return await _json(answer)

    def _explorer(self) -> Explorer:
        with self.lock:
            self.catalog.catch_up()
            return self.catalog.explorer

    @contextmanager
    def _shown_map(self, request: Request) -> Iterator[ClipMap]:
        """Hold the lock and give the map that the page shows; the clips on another one have other places."""
        explorer = self._explorer()
        # It may have to be read, for which nobody else should wait.
        found = explorer.map.get()
        with self.lock:
            if found.key != request.path_params["key"] or self.catalog.explorer is not explorer:
                raise InputError("the clips have changed since this map was drawn", "reload the page")
            yield found

    @answering
    async def correct_many(self, request: Request) -> Response:
        """Set one field of all clips of a query, if they are as many as the page shows."""
        try:
            document = await request.json()
            who, why, new = (checked_text(document.get(name, "")) for name in ("who", "why", "new"))
            field, expected = Field(document["field"]), int(document["expected"])
            query = Query.of({str(name): str(value) for name, value in document["query"].items()})
            self._check(field, new)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return PlainTextResponse(f"This is no correction: {error}", 400)

        def write() -> dict[str, Any]:
            with self.lock:
                self.catalog.catch_up()
                found = self.catalog.find(query)
                if len(found) != expected:
                    raise InputError(
                        f"these were {expected} clips, and are {len(found)} now", "look at them again"
                    )
                clips = list(zip(found.index, found["listed_label"], strict=True))
                rows = bulk_rows(clips, self.catalog.changes, field, new, who=who, why=why)
                self._append(rows)
            return {"saved": len(rows), "unchanged": expected - len(rows), "moment": _moment(rows)}

        return await _json(write)

    @answering
    async def undo_many(self, request: Request) -> Response:
        """Take a correction of many clips back, but for the clips that were corrected since."""
        try:
            document = await request.json()
            who, moment = checked_text(document.get("who", "")), checked_text(document["moment"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return PlainTextResponse(f"This is no correction: {error}", 400)

        def write() -> dict[str, Any]:
            with self.lock:
                rows, kept = undo_rows(read_corrections(self.workspace), moment, who)
                self._append(rows)
            return {"saved": len(rows), "kept": kept}

        return await _json(write)

    def _append(self, rows: list[Correction]) -> None:
        if rows:
            append_corrections(self.workspace, rows)
            self.catalog.refresh()

    def _check(self, field: Field, new: str) -> None:
        if field not in BULK_FIELDS:
            raise ValueError(f"{field} cannot be set for many clips at once")
        check_value(field, new, self.catalog.labels)

    def _file(self, clip_id: str) -> Path | None:
        frame = self.catalog.frame
        return self.workspace.root / str(frame.at[clip_id, "path"]) if clip_id in frame.index else None


def _columns(catalog: Catalog, found: ClipMap, query: Query) -> bytes:
    """Give what the map draws, one column after the other, little-endian, a value per clip of the map.

    uint16 x, y and label (its number; 65,535 for none of the label set), then uint8 subset (0 none, 1 train,
    2 val, 3 test), outcome (0 not predicted, 1 right, 2 wrong) and whether the query shows it.
    """
    import numpy as np
    import pandas as pd

    rows = catalog.frame.index.get_indexer(found.clips)
    frame = catalog.frame.iloc[rows]
    labels = pd.Index(catalog.labels).get_indexer(pd.Index(frame["label"]))
    subsets = pd.Index(["train", "val", "test"]).get_indexer(pd.Index(frame["subset"])) + 1
    outcomes = np.where(frame["predicted"] == "", 0, np.where(frame["right"], 1, 2))
    shown = catalog.mask(query)[rows]
    columns = (found.places[:, 0], found.places[:, 1], labels, *(subsets, outcomes, shown))
    kinds = ("<u2", "<u2", "<u2", "u1", "u1", "u1")
    return b"".join(
        np.asarray(column).astype(kind).tobytes() for column, kind in zip(columns, kinds, strict=True)
    )


async def _json(answer: Callable[[], Any]) -> Response:
    return JSONResponse(await run_in_threadpool(answer))


def _moment(rows: list[Correction]) -> str:
    return rows[0].when_utc if rows else ""


def explore_routes(workspace: Workspace, catalog: Catalog, lock: threading.Lock) -> list[Route]:
    """Give the routes of exploring.

    Args:
        workspace: of the clips.
        catalog: the clips.
        lock: is held while the catalog is read or changed.
    """
    handlers = _Explore(workspace, catalog, lock)
    return [
        Route("/api/pose/{clip_id}", handlers.pose),
        Route("/api/map", handlers.map),
        Route("/api/map/{key}/points", handlers.points),
        Route("/api/map/{key}/points/{place:int}", handlers.point),
        Route("/api/bulk", handlers.correct_many, methods=["POST"]),
        Route("/api/bulk/undo", handlers.undo_many, methods=["POST"]),
        Route("/flow/{clip_id}/{frame:int}", handlers.flow),
    ]
