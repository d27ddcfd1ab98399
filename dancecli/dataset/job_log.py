"""One resumable job per clip, for every step that makes something of many clips.

A step (optical flow, augmented clips, perceptual hashes) hands each clip to a worker and appends a
line to its log as soon as the clip is done, so a run that is killed resumes from there. A line that
cannot be read, such as the last one of a killed process, is skipped: its clip is done again.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from dancecli.core.progress import SILENT, Reporter
from dancecli.engine.factory import LOCAL, open_pool
from dancecli.engine.pool import Finished
from dancecli.engine.worker import Work
from dancecli.storage.files import atomic_file, naming
from dancecli.storage.workspace import Workspace

Job = TypeVar("Job")
Row = TypeVar("Row")
_FAILED = "failed"


@dataclass(frozen=True)
class JobLog(Generic[Row]):
    """A log of JSON lines: what was made, and what failed and why.

    Attributes:
        path: the file.
        key_of: names what a row is about; the last line about a key counts.
        to_json: writes a row as a JSON object.
        from_json: reads it; raises `KeyError`, `TypeError` or `ValueError` if it is not one.
    """

    path: Path
    key_of: Callable[[Row], str]
    to_json: Callable[[Row], Mapping[str, object]]
    from_json: Callable[[Mapping[str, Any]], Row]

    def read(self) -> dict[str, Row]:
        """Read what was made, by key; what failed last is not in it."""
        found: dict[str, Row] = {}
        for entry in self._entries():
            if isinstance(entry, str):
                found.pop(entry, None)
            else:
                found[self.key_of(entry)] = entry
        return found

    def stream(self) -> Iterator[Row]:
        """Yield every row that was made, in the order of the log; no more than one line is held."""
        return (entry for entry in self._entries() if not isinstance(entry, str))

    def lines(self, made: Iterable[Row], failed: Iterable[tuple[str, str]] = ()) -> str:
        """Write lines: rows that were made, and keys that failed with the reason."""
        rows: list[Mapping[str, object]] = [self.to_json(row) for row in made]
        rows += ({_FAILED: key, "reason": reason} for key, reason in failed)
        return "".join(json.dumps(row) + "\n" for row in rows)

    def rewrite(self, made: Iterable[Row], failed: Iterable[tuple[str, str]] = ()) -> None:
        """Replace the log by one line per row."""
        with atomic_file(self.path) as file:
            file.write(self.lines(made, failed))

    def _entries(self) -> Iterator[Row | str]:
        """Yield rows that were made, and the keys of those that failed."""
        if not self.path.exists():
            return
        with self.path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    row = json.loads(line)
                    yield str(row[_FAILED]) if _FAILED in row else self.from_json(row)
                except (ValueError, KeyError, TypeError):
                    continue


@dataclass(frozen=True, slots=True)
class JobOutcome(Generic[Row]):
    """What came of one job.

    Attributes:
        made: what it made.
        failed: what it could not make, by key, with the reason.
        disk_full: it stopped because the disk is full.
        empty: how many of the rows only say why there is nothing.
    """

    made: tuple[Row, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    disk_full: bool = False
    empty: int = 0


@dataclass(frozen=True)
class ResumableJob(Generic[Job, Row]):
    """A step that makes something of every clip.

    Attributes:
        workspace: whose clips.
        name: of the step; only one of a name is at work in a workspace.
        log: where it notes what is done.
        work: what a worker does with a job, see `engine.worker`; an `int` that it yields is units done.
        deadline_s: wall-clock limit of a job, or of what it does between two yields.
        outcome_of: what a finished job made.
        units_of: the length of a job for the progress bar, such as frames.
        temp: the folder of half-made files, removed before and after; None if there are none.
    """

    workspace: Workspace
    name: str
    log: JobLog[Row]
    work: Work
    deadline_s: float
    outcome_of: Callable[[Finished[Job, Any]], JobOutcome[Row]]
    units_of: Callable[[Job], int] = lambda _: 1
    temp: Path | None = None

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Keep others of this name out, and remove what a killed run left half-made.

        Raises:
            WorkspaceError: another process is at this step.
        """
        with self.workspace.lock(self.name):
            self._sweep()
            try:
                yield
            finally:
                self._sweep()

    def run(
        self, jobs: Sequence[Job], *, engine: str = LOCAL, workers: int = 0, reporter: Reporter = SILENT
    ) -> Generator[JobOutcome[Row], None, None]:
        """Do the jobs, and yield what each one made once it is in the log.

        Args:
            jobs: what is to be done; what the log has already is left out by the caller.
            engine: `local` or `ray`, see `engine.factory`.
            workers: processes; 0 for one per core.
            reporter: told in units, after every job and within long ones.

        Raises:
            OSError: the disk is full; what was made is in the log.
        """
        if not jobs:
            return
        total, done, num_failed, num_made, num_empty = sum(map(self.units_of, jobs)), 0, 0, 0, 0
        partial: dict[int, int] = {}
        with (
            naming(self.log.path),
            self._appended() as file,
            open_pool(engine, self.work, workers, self.deadline_s, root=self.workspace.root) as pool,
        ):
            for finished in (f for f in pool.run(jobs) if f is not None):
                job = finished.job
                left = self.units_of(job) - partial.get(id(job), 0)
                if finished.more and isinstance(finished.result, int):
                    # What a job does a second time counts once.
                    step = min(left, finished.result)
                    partial[id(job)] = partial.get(id(job), 0) + step
                else:
                    step = left
                    partial.pop(id(job), None)
                    outcome = self.outcome_of(finished)
                    file.write(self.log.lines(outcome.made, outcome.failed))
                    file.flush()
                    num_made += len(outcome.made) - outcome.empty
                    num_empty += outcome.empty
                    num_failed += len(outcome.failed)
                    yield outcome
                    if outcome.disk_full:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.workspace.root))
                done += step
                counts = ((num_empty, "without result"), (num_failed, "failed"))
                words = f"{num_made:,} made" + "".join(f", {n:,} {what}" for n, what in counts if n)
                reporter.progress(done, total, words)

    @contextmanager
    def _appended(self) -> Iterator[Any]:
        self.log.path.parent.mkdir(parents=True, exist_ok=True)
        with self.log.path.open("a", encoding="utf-8", newline="\n") as file:
            file.write("\n")  # ends what a killed process left half-written
            yield file

    def _sweep(self) -> None:
        if self.temp is not None:
            shutil.rmtree(self.temp, ignore_errors=True)
