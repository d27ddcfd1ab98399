"""The part of the app's server that shows timelines of recordings and saves edits of them."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import asdict, astuple
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from dancecli.app.answers import STATIC, answering, checked_text
from dancecli.app.timelines import (
    Recording,
    Recordings,
    StaleEditError,
    Timeline,
    as_segments,
    changed_files,
    edit,
    import_spans,
    parse_spans,
    read_timeline,
    undo,
)
from dancecli.core.errors import InputError
from dancecli.model.inference import timeline_files
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace

_KINDS = {"eaf": "application/xml", "vtt": "text/vtt", "csv": "text/csv"}


class _Timelines:
    """The handlers, over one workspace."""

    def __init__(self, workspace: Workspace, who: str) -> None:
        self.workspace, self.who = workspace, who
        self.recordings = Recordings(workspace)

    async def page(self, _: Request) -> Response:
        return FileResponse(STATIC / "timeline.html")

    @answering
    async def listed(self, _: Request) -> Response:
        def answer() -> list[dict[str, Any]]:
            return [self._row(recording) for recording in self.recordings.all().values()]

        return JSONResponse({"workspace": self.workspace.root.name, "rows": await run_in_threadpool(answer)})

    def _row(self, recording: Recording) -> dict[str, Any]:
        now = read_timeline(self.workspace, recording)
        return {
            "name": recording.name,
            "title": recording.title,
            "seconds": recording.seconds,
            "run": recording.run,
            "spans": len(now.spans),
            "checked": sum(span.checked for span in now.spans),
            "edits": max(0, now.revision - 1),
            "changed": len(changed_files(recording, now)),
        }

    @answering
    async def one(self, request: Request) -> Response:
        recording = await self._recording(request)
        state = await run_in_threadpool(lambda: _state(recording, read_timeline(self.workspace, recording)))
        return JSONResponse(
            {
                "name": recording.name,
                "title": recording.title,
                "workspace": self.workspace.root.name,
                "who": self.who,
                "seconds": recording.seconds,
                "fps": recording.fps,
                "run": recording.run,
                "labels": recording.labels,
                "media": recording.video is not None,
                "windows": recording.windows,
                **state,
            }
        )

    @answering
    async def save(self, request: Request) -> Response:
        recording = await self._recording(request)
        try:
            work = self._work(recording, await request.json())
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            return PlainTextResponse(f"This is no edit of a timeline: {error}", 400)
        try:
            return JSONResponse(await run_in_threadpool(lambda: _state(recording, work())))
        except StaleEditError as error:
            return PlainTextResponse(error.message, 412)

    def _work(self, recording: Recording, sent: Any) -> Callable[[], Timeline]:
        """Read what a page wants: `{"base", "who", "action"}`, and what its action needs."""
        base, who, action = int(sent["base"]), checked_text(sent["who"]), sent["action"]
        if action == "undo":
            return partial(undo, self.workspace, recording, base, who)
        if action == "import":
            return partial(self._import, recording, base, str(sent["text"]), str(sent["file"]), who)
        if action == "edit":
            spans, why = parse_spans(sent["spans"]), checked_text(sent["why"])
            return partial(edit, self.workspace, recording, base, spans, who, why)
        raise ValueError("its action is unknown")

    def _import(self, recording: Recording, base: int, text: str, file: str, who: str) -> Timeline:
        name = Path(file).name
        if not name.isprintable():
            raise InputError("the file's name holds control characters")
        spans = import_spans(recording, read_timeline(self.workspace, recording).spans, text, Path(name))
        return edit(self.workspace, recording, base, spans, who, f"import of {name[:200]}")

    @answering
    async def export(self, request: Request) -> Response:
        """Send a timeline as a file; `checked=1` leaves out what nobody looked at."""
        recording = await self._recording(request)
        kind = request.path_params["kind"]
        if kind not in _KINDS:
            return PlainTextResponse("There is no such format.", 404)
        now = await run_in_threadpool(partial(read_timeline, self.workspace, recording))
        text = _format(recording, now, kind, checked=bool(request.query_params.get("checked")))
        headers = {"Content-Disposition": f'attachment; filename="{recording.name}.{kind}"'}
        return Response(text, media_type=f"{_KINDS[kind]}; charset=utf-8", headers=headers)

    @answering
    async def clips(self, request: Request) -> Response:
        """Write what was checked as a list, and say which command makes clips of it."""
        recording = await self._recording(request)
        return JSONResponse(await run_in_threadpool(partial(self._write_list, recording)))

    def _write_list(self, recording: Recording) -> Mapping[str, Any]:
        now = read_timeline(self.workspace, recording)
        if not any(span.checked for span in now.spans):
            raise InputError("no stretch was checked yet", "press c on those that are right")
        path = self.workspace.timeline(recording.name).with_suffix(".eaf")
        with atomic_file(path) as out:
            out.write(_format(recording, now, "eaf", checked=True))
        video = recording.video
        folder = video.parent if video else Path("FOLDER")
        words = ["dance", "fetch", "--annotations", path, "--source", "local", "--folder", folder]
        return {
            "file": str(path),
            "stretches": sum(span.checked for span in now.spans),
            "left": sum(not span.checked for span in now.spans),
            "command": shlex.join(map(str, words)),
        }

    async def media(self, request: Request) -> Response:
        recording = (await run_in_threadpool(self.recordings.all)).get(request.path_params["name"])
        video = recording.video if recording else None
        if video is None:
            return PlainTextResponse("The file of this recording is gone, or another one now.", 404)
        return FileResponse(video)

    async def _recording(self, request: Request) -> Recording:
        found = (await run_in_threadpool(self.recordings.all)).get(request.path_params["name"])
        if found is None:
            raise HTTPException(404, "There is no such recording.")
        return found


def _state(recording: Recording, now: Timeline) -> dict[str, Any]:
    return {
        "revision": now.revision,
        "last": now.last,
        "spans": [astuple(span) for span in now.spans],
        "changed": [asdict(file) for file in changed_files(recording, now)],
    }


def _format(recording: Recording, now: Timeline, kind: str, *, checked: bool) -> str:
    segments = as_segments([span for span in now.spans if span.checked or not checked])
    video = recording.video or Path(recording.title)
    if kind == "eaf":
        return timeline_files.elan(video, segments, datetime.now(UTC))
    return timeline_files.webvtt(video, segments) if kind == "vtt" else timeline_files.table(video, segments)


def timeline_routes(workspace: Workspace, who: str) -> list[Route]:
    """Return the routes of the timelines.

    Args:
        workspace: whose recordings.
        who: is suggested as the name of who edits.
    """
    handlers = _Timelines(workspace, who)
    return [
        Route("/timelines", handlers.page),
        Route("/api/timelines", handlers.listed),
        Route("/api/timelines/{name}", handlers.one, methods=["GET"]),
        Route("/api/timelines/{name}", handlers.save, methods=["POST"]),
        Route("/api/timelines/{name}/clips", handlers.clips, methods=["POST"]),
        Route("/api/timelines/{name}/export.{kind}", handlers.export),
        Route("/recordings/{name}", handlers.media),
    ]
