"""The ledger: one row per clip and attempt, in SQLite, so that no outcome is ever lost.

Each fetch writes to one file of its own (`ledger.db`, a shard to `ledger-2of4.db`); all files of a
workspace are read as one. Their rows have one order: by time, then file name, then row number. The
last row of a clip in that order is its state. A recorded row survives a killed process: the
manifest of clips is rebuilt from here.

Readers never write. A ledger that other machines may read while it grows, that of a shard, has a
rollback journal, since a write-ahead log needs shared memory and so works on one host only.

Format: table `attempts` with the columns of `records.Outcome` and `clip`, the JSON of the
`records.Clip` that a done attempt made, else empty; `PRAGMA user_version` is the version.
"""

from __future__ import annotations

import errno
import heapq
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, astuple, dataclass, fields
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from dancecli.core.errors import WorkspaceError
from dancecli.core.records import Clip, Outcome, OutcomeClass

LEDGER_VERSION = 1
# SQLite allows at least 999 parameters.
_AT_ONCE = 900
_COLUMNS = ", ".join(field.name for field in fields(Outcome))
# A reader of a ledger with a rollback journal and its writer wait for each other.
_WAIT_FOR_LOCK_S = 120.0
_ERRNO_BY_TEXT = {
    "full": errno.ENOSPC,
    "disk I/O": errno.ENOSPC,
    "readonly": errno.EROFS,
    "unable to open": errno.EACCES,
}
_TABLE = """
CREATE TABLE IF NOT EXISTS attempts (
  row INTEGER PRIMARY KEY,
  clip_id TEXT NOT NULL, video_id TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL,
  text TEXT NOT NULL, attempt INTEGER NOT NULL, time_utc TEXT NOT NULL, num_bytes INTEGER NOT NULL,
  source TEXT NOT NULL, clip TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS attempts_of_clip ON attempts (clip_id, row);
"""


@dataclass(frozen=True, slots=True)
class Latest:
    """The state of a clip: its last outcome, and the number of rows about it in all ledgers."""

    outcome: OutcomeClass
    reason: str
    attempts: int
    time_utc: str


class LedgerWriter:
    """The one writer of a ledger file; its owner holds the workspace's lock.

    Args:
        path: the file; folders are made.
        shared: other machines may read it meanwhile, over a shared disk.

    Raises:
        WorkspaceError: the file is from a newer version, or is not a ledger.
        OSError: it may not be written.
    """

    def __init__(self, path: Path, *, shared: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with _disk_errors(path):
            if not os.access(path.parent, os.W_OK):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
            self._db = _connect(path, "?mode=rwc")
            self._db.execute(f"PRAGMA journal_mode = {'DELETE' if shared else 'WAL'}")
            # With a write-ahead log NORMAL survives a killed process; a power cut may cost the last
            # rows, and their clips are then registered from disk. A rollback journal needs FULL.
            self._db.execute(f"PRAGMA synchronous = {'FULL' if shared else 'NORMAL'}")
            self._db.executescript(_TABLE)
            self._db.execute(f"PRAGMA user_version = {LEDGER_VERSION}")

    def record(self, rows: Iterable[tuple[Outcome, Clip | None]]) -> None:
        """Store outcomes in one transaction; a done one comes with the clip that it made.

        Raises:
            OSError: the disk is full.
        """
        with _disk_errors(self._path), self._db:
            self._db.executemany(
                f"INSERT INTO attempts ({_COLUMNS}, clip) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                (
                    (*astuple(outcome), json.dumps(asdict(clip), ensure_ascii=False) if clip else "")
                    for outcome, clip in rows
                ),
            )

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> LedgerWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def utc_now(after: str = "") -> str:
    """Give the time for a new row: UTC, ISO 8601 with microseconds.

    Args:
        after: the time of the clip's row before; the new one is later, even if this machine's clock
            is behind that of the machine that wrote it.
    """
    now = datetime.now(UTC)
    if after and now <= (before := datetime.fromisoformat(after)):
        now = before + timedelta(microseconds=1)
    return now.isoformat(timespec="microseconds")


def ledger_files(root: Path) -> list[Path]:
    """The ledger files of a workspace, in a fixed order."""
    return sorted(path for path in root.glob("ledger*.db") if path.is_file())


def latest(root: Path) -> dict[str, Latest]:
    """Give each clip's last outcome, by clip id.

    Args:
        root: the workspace's folder.
    """
    return {
        row.clip_id: Latest(OutcomeClass(row.outcome), row.extra[0], row.attempts, row.time_utc)
        for row in _last_rows(root, ("reason",))
    }


def latest_of_source(root: Path, source: str) -> dict[str, OutcomeClass]:
    """Give the last outcome that one source had for each clip, by clip id.

    Args:
        root: the workspace's folder.
        source: as in `Outcome.source`.
    """
    return {row.clip_id: OutcomeClass(row.outcome) for row in _last_rows(root, (), source)}


def forget(root: Path, clip_ids: Collection[str]) -> None:
    """Delete every row about clips from all ledgers, and overwrite what they held.

    Raises:
        OSError: a ledger may not be written.
        WorkspaceError: another program holds one.
    """
    for path in ledger_files(root):
        with _disk_errors(path), closing(_connect(path, "?mode=rw")) as db:
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'attempts'").fetchone():
                continue
            db.execute("PRAGMA secure_delete = ON")
            with db:
                db.executemany("DELETE FROM attempts WHERE clip_id = ?", ((name,) for name in clip_ids))
            # The log still holds the rows as they were.
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def last_clip(root: Path, clip_id: str) -> Clip | None:
    """Give the last record of a clip, whatever became of it since; None if it was never done."""
    found: list[tuple[str, int, int, str]] = []
    query = "SELECT time_utc, row, clip FROM attempts WHERE clip_id = ? AND clip != ''"
    for place, path in enumerate(ledger_files(root)):
        with _reading(path) as db:
            if db is not None:
                found += ((time, place, row, clip) for time, row, clip in db.execute(query, (clip_id,)))
    return Clip(**json.loads(max(found)[3])) if found else None


def history(root: Path, clip_id: str) -> list[Outcome]:
    """Give all attempts at one clip, in the order of outcomes."""
    found: list[tuple[str, int, int, Outcome]] = []
    query = f"SELECT row, {_COLUMNS} FROM attempts WHERE clip_id = ?"  # noqa: S608
    for place, path in enumerate(ledger_files(root)):
        with _reading(path) as db:
            if db is not None:
                outcomes = ((row[0], _outcome(row[1:])) for row in db.execute(query, (clip_id,)))
                found += ((outcome.time_utc, place, row, outcome) for row, outcome in outcomes)
    return [outcome for *_, outcome in sorted(found, key=lambda known: known[:3])]


def done_clips(root: Path) -> list[Clip]:
    """Give the records of all clips whose last outcome is done, in the order of their ids."""
    return [clip for _, clip in last_clips(root) if clip is not None]


def last_clips(root: Path, clip_ids: Collection[str] | None = None) -> Iterator[tuple[str, Clip | None]]:
    """Go through all clips with an outcome, in the order of their ids, in constant memory.

    Args:
        root: the workspace's folder.
        clip_ids: only these clips; None for all.

    Yields:
        A clip's id, and its record if its last outcome is done.
    """
    for row in _last_rows(root, ("clip",), clip_ids=clip_ids):
        done = row.outcome == OutcomeClass.DONE
        yield row.clip_id, Clip(**json.loads(row.extra[0])) if done else None


def done_files(root: Path) -> Iterator[tuple[str, str, int]]:
    """Go through the clips whose last outcome is done: id, path and number of bytes."""
    columns = ("json_extract(nullif(clip, ''), '$.path')", "json_extract(nullif(clip, ''), '$.num_bytes')")
    for row in _last_rows(root, columns):
        if row.outcome == OutcomeClass.DONE:
            yield row.clip_id, row.extra[0], row.extra[1]


class Mark(NamedTuple):
    """How far a ledger was read: its last row, with what tells it from that of another file."""

    row: int
    clip_id: str
    time_utc: str


def marks(root: Path) -> dict[str, Mark]:
    """Give the last row of each ledger, by file name."""
    found = {}
    query = "SELECT row, clip_id, time_utc FROM attempts ORDER BY row DESC LIMIT 1"
    for path in ledger_files(root):
        with _reading(path) as db:
            last = db.execute(query).fetchone() if db is not None else None
            if last:
                found[path.name] = Mark(*last)
    return found


def changed_since(root: Path, since: Mapping[str, Mark]) -> set[str] | None:
    """Give the ids of the clips with rows after these marks; None if a ledger is not the marked one."""
    found: set[str] = set()
    files = {path.name: path for path in ledger_files(root)}
    if since.keys() - files.keys():
        return None
    for name, path in files.items():
        mark = since.get(name)
        with _reading(path) as db:
            if db is None:
                if mark:
                    return None
                continue
            same = "SELECT 1 FROM attempts WHERE row = ? AND clip_id = ? AND time_utc = ?"
            if mark and not db.execute(same, mark).fetchone():
                return None
            query = "SELECT DISTINCT clip_id FROM attempts WHERE row > ?"
            found.update(clip_id for (clip_id,) in db.execute(query, (mark.row if mark else 0,)))
    return found


class _Row(NamedTuple):
    """The last row of a clip in one file, or in all; `order` decides between files."""

    clip_id: str
    order: tuple[str, int]
    outcome: str
    attempts: int
    extra: tuple[Any, ...]

    @property
    def time_utc(self) -> str:
        return self.order[0]


def _last_rows(
    root: Path,
    columns: Sequence[str],
    source: str | None = None,
    clip_ids: Collection[str] | None = None,
) -> Iterator[_Row]:
    """Give the last row of each clip over all files, in the order of the clip ids.

    This is the one order of outcomes: by time, then file, then row; the last one wins, whatever it
    says. Within a file SQLite picks the row, between files this does; nothing is held but one row
    of each file.

    Args:
        root: the workspace's folder.
        columns: what `_Row.extra` is to hold.
        source: rows of this source only; None for all.
        clip_ids: rows of these clips only; None for all.
    """
    with ExitStack() as opened:
        rows = [
            _last_rows_of(db, place, columns, source, clip_ids)
            for place, path in enumerate(ledger_files(root))
            if (db := opened.enter_context(_reading(path))) is not None
        ]
        merged = heapq.merge(*rows, key=lambda row: row.clip_id)
        for _, of_clip in groupby(merged, key=lambda row: row.clip_id):
            candidates = list(of_clip)
            last = max(candidates, key=lambda row: row.order)
            yield last._replace(attempts=sum(row.attempts for row in candidates))


def _last_rows_of(
    db: sqlite3.Connection,
    place: int,
    columns: Sequence[str],
    source: str | None,
    clip_ids: Collection[str] | None,
) -> Iterator[_Row]:
    # With one max(), SQLite takes the other columns from the row that holds it.
    select = (
        "SELECT clip_id, time_utc, outcome, count(*), max(time_utc || printf('%020d', row))"  # noqa: S608
        f"{''.join(', ' + column for column in columns)} FROM attempts"
    )
    group = "GROUP BY clip_id ORDER BY clip_id"
    pieces: Iterable[tuple[str, Sequence[str]]]
    pieces = [("", ())] if source is None else [("source = ?", (source,))]
    if clip_ids is not None:
        wanted = sorted(clip_ids)
        some = [wanted[i : i + _AT_ONCE] for i in range(0, len(wanted), _AT_ONCE)]
        pieces = ((f"clip_id IN ({', '.join('?' * len(ids))})", ids) for ids in some)
    for condition, values in pieces:
        where = f"WHERE {condition}" if condition else ""
        for clip_id, time, outcome, count, _, *extra in db.execute(f"{select} {where} {group}", values):
            yield _Row(clip_id, (time, place), outcome, count, tuple(extra))


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection | None]:
    """Open a ledger for reading, never for writing; None if it has no table yet.

    What a killed process, a snapshot or a copy of a running workspace left beside the database (a
    write-ahead log, a rollback journal) holds rows. Where SQLite cannot take it up without writing,
    a private copy of both is read.
    """
    with ExitStack() as opened, _disk_errors(path):
        db = opened.enter_context(closing(_open_for_reading(path, opened)))
        has_table = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'attempts'").fetchone()
        yield db if has_table else None


def _open_for_reading(path: Path, opened: ExitStack) -> sqlite3.Connection:
    beside = [side for side in (_beside(path, "-wal"), _beside(path, "-journal")) if _holds_bytes(side)]
    if not os.access(path.parent, os.W_OK):
        if not beside:
            return _connect(path, "?mode=ro&immutable=1")
        return _open_copy(path, beside, opened)
    try:
        return _connect(path, "?mode=ro")
    except sqlite3.OperationalError as error:
        # A journal that a killed writer left has to be rolled back, which a reader may not do.
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise
    return _open_copy(path, beside, opened)


def _open_copy(path: Path, beside: Sequence[Path], opened: ExitStack) -> sqlite3.Connection:
    folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="dance-ledger-")))
    for source in (path, *beside):
        shutil.copyfile(source, folder / source.name)
    return _connect(folder / path.name, "?mode=rw")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _holds_bytes(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _connect(path: Path, how: str) -> sqlite3.Connection:
    """Open a database and check its version.

    Raises:
        WorkspaceError: it is from a newer version.
    """
    db = sqlite3.connect(path.absolute().as_uri() + how, uri=True, timeout=_WAIT_FOR_LOCK_S)
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
    except BaseException:
        db.close()
        raise
    if version > LEDGER_VERSION:
        db.close()
        raise WorkspaceError(
            f"{path}: written by a newer dance (ledger {version}, this one reads {LEDGER_VERSION})",
            "upgrade: pip install -U dancecli",
        )
    return db


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's messages about the disk into `OSError`, others into `WorkspaceError`.

    Raises:
        OSError: the disk is full, or may not be written to.
        WorkspaceError: another program holds the file, or it is broken.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = next((code for words, code in _ERRNO_BY_TEXT.items() if words in str(error)), None)
        if code is not None:
            raise OSError(code, os.strerror(code), str(path)) from error
        if "locked" in str(error):
            what, hint = "another program has it open for writing", "close that program and run again"
        else:
            what = f"is not a ledger ({error})"
            hint = "move it away and run the same command again: clips on disk are registered again"
        raise WorkspaceError(f"{path}: {what}", hint) from None


def _outcome(row: tuple[str, str, str, str, str, int, str, int, str]) -> Outcome:
    clip_id, video_id, outcome, reason, text, attempt, time_utc, num_bytes, source = row
    return Outcome(
        clip_id, video_id, OutcomeClass(outcome), reason, text, attempt, time_utc, num_bytes, source
    )
