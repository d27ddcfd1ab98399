"""Work that takes longer than an answer: done once, in a thread, while the pages ask how far it is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from dancecli.core.errors import DanceError
from dancecli.core.progress import Progress, Reporter

Result = TypeVar("Result")


class UnfinishedError(DanceError):
    """The work is under way; the message says how far it is."""


class Background(Generic[Result]):
    """A result that is made in a thread of its own when it is first asked for.

    A result that could not be made is tried again when it is asked for again. The thread ends with the
    program; what it computes must keep its own state, so that the next program resumes.

    Args:
        what: it is, for the messages.
        make: makes it, and reports its progress.
        patience_s: an answer waits so long for the result before it says how far the work is.
    """

    def __init__(self, what: str, make: Callable[[Reporter], Result], patience_s: float = 0.5) -> None:
        self._what, self._make, self._patience_s = what, make, patience_s
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._progress = Progress(0, 0)
        self._results: list[Result] = []
        self._error: DanceError | None = None

    def get(self) -> Result:
        """Return the result; start to make it if nobody has.

        Raises:
            UnfinishedError: it is not ready yet.
            DanceError: it cannot be made.
        """
        with self._lock:
            if self._results:
                return self._results[0]
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._what, daemon=True)
                self._thread.start()
            thread = self._thread
        thread.join(self._patience_s)
        with self._lock:
            if self._results:
                return self._results[0]
            if self._error is not None:
                error, self._error, self._thread = self._error, None, None
                raise error
            now = self._progress
        share = f": {100 * now.done // now.total} %" if now.total else ""
        raise UnfinishedError(f"{self._what} is being computed{share}{f' ({now.text})' if now.text else ''}")

    def _run(self) -> None:
        def on_progress(progress: Progress) -> None:
            self._progress = progress

        try:
            result = self._make(Reporter(on_progress))
        except DanceError as error:
            with self._lock:
                self._error = error
        except OSError as error:
            with self._lock:
                self._error = DanceError(f"{self._what} could not be stored: {error.strerror or error}")
        except Exception as error:
            # A bug: whoever asks is told, and the console has the traceback.
            with self._lock:
                self._error = DanceError(
                    f"{self._what} could not be computed: {type(error).__name__}: {error}"
                )
            raise
        else:
            with self._lock:
                self._results.append(result)
