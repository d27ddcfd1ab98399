"""What the handlers of the app's parts share: the pages, texts that these send, and errors as answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from dancecli.app.explore.background import UnfinishedError
from dancecli.core.errors import DanceError

STATIC = Path(__file__).parent / "static"
_TEXT_LIMIT = 2000
Handler = Callable[[Request], Awaitable[Response]]


def checked_text(value: Any) -> str:
    """Let a text through that may stand in a table: one line, without control characters.

    Raises:
        ValueError: it is too long, or holds control characters.
    """
    text = " ".join(str(value).split())
    if len(text) > _TEXT_LIMIT or not text.isprintable():
        raise ValueError("a text is too long or holds control characters")
    return text


def answering(handler: Callable[..., Awaitable[Response]]) -> Callable[..., Awaitable[Response]]:
    """Turn what a user or a disk can cause into an answer: what is wrong, and what to do about it.

    202 for what is being computed, 409 for what cannot be done, 507 for a full disk.
    """

    @wraps(handler)
    async def answer(*given: Any) -> Response:
        try:
            return await handler(*given)
        except UnfinishedError as error:
            return JSONResponse({"wait": error.message}, 202)
        except DanceError as error:
            return PlainTextResponse(f"{error.message}: {error.hint}" if error.hint else error.message, 409)
        except OSError as error:
            return PlainTextResponse(f"Nothing was saved: {error.strerror or error}", 507)

    return answer
