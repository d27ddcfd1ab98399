"""The ledger: one row per clip and attempt, in SQLite, so that no outcome is ever lost.

Each fetch writes to one file (`ledger.db`, of a shard `ledger-2of4.db`) and has it for itself;
all files of a workspace are read as one. A row is there once it is recorded, whatever happens
to the process: the manifest of clips is rebuilt from here.

Format: table `attempts` with the columns of `schema.Outcome` and `clip`, the JSON of the
`schema.Clip` that a done attempt made, else empty; `PRAGMA user_version` is the version.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Any

from dancecli.core.errors import WorkspaceError
from dancecli.core.records import Clip, Outcome, OutcomeClass

LEDGER_VERSION = 1
_COLUMNS = ", ".join(field.name for field in fields(Outcome))
_SAID = {
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
    """Where a clip stands: its last outcome, and how often it was tried."""

    outcome: OutcomeClass
    reason: str
    attempts: int
    time_utc: str


class LedgerWriter:
    """The one writer of a ledger file; its owner holds the workspace's lock.

    Raises:
        WorkspaceError: the file is from a newer version, or is no ledger.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._db = _open(path)
        with _disk_errors(path):
            # With WAL, NORMAL survives a killed process; a power cut may cost the last rows, and
            # their clips are then adopted from disk.
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(_TABLE)
            self._db.execute(f"PRAGMA user_version = {LEDGER_VERSION}")

    def record(self, rows: Iterable[tuple[Outcome, Clip | None]]) -> None:
        """Keep outcomes, in one transaction; a done one comes with the clip that it made.

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


def ledger_files(root: Path) -> list[Path]:
    """The ledger files of a workspace, in a fixed order."""
    return sorted(path for path in root.glob("ledger*.db") if path.is_file())


def latest(root: Path) -> dict[str, Latest]:
    """Give each clip's last outcome, by clip id.

    Args:
        root: the workspace's folder.
    """
    found: dict[str, Latest] = {}
    query = "SELECT clip_id, outcome, reason, attempt, time_utc, max(row) FROM attempts GROUP BY clip_id"
    for clip_id, outcome, reason, attempt, time_utc, _ in _rows(root, query):
        before = found.get(clip_id)
        # A done clip stays done: shards may overlap when their number was changed.
        if before and (before.outcome is OutcomeClass.DONE or before.time_utc > time_utc):
            continue
        found[clip_id] = Latest(OutcomeClass(outcome), reason, attempt, time_utc)
    return found


def latest_of_source(root: Path, source: str) -> dict[str, OutcomeClass]:
    """Give the last outcome that one source had for each clip, by clip id.

    Args:
        root: the workspace's folder.
        source: as in `Outcome.source`.
    """
    query = "SELECT clip_id, outcome, max(row) FROM attempts WHERE source = ? GROUP BY clip_id"
    return {clip_id: OutcomeClass(outcome) for clip_id, outcome, _ in _rows(root, query, source)}


def history(root: Path, clip_id: str) -> list[Outcome]:
    """Give all attempts at one clip, the first one first."""
    query = f"SELECT {_COLUMNS} FROM attempts WHERE clip_id = ? ORDER BY row"  # noqa: S608
    return sorted((_outcome(row) for row in _rows(root, query, clip_id)), key=lambda o: o.time_utc)


def done_clips(root: Path) -> list[Clip]:
    """Rebuild the records of all clips whose last outcome is done, in the order of their ids."""
    found: dict[str, Clip] = {}
    query = (
        "SELECT clip FROM attempts AS a WHERE outcome = 'done' AND row = "
        "(SELECT max(row) FROM attempts AS b WHERE b.clip_id = a.clip_id)"
    )
    for (text,) in _rows(root, query):
        clip = Clip(**json.loads(text))
        found[clip.clip_id] = clip
    return [found[clip_id] for clip_id in sorted(found)]


def _open(path: Path) -> sqlite3.Connection:
    # Where nothing can be written, SQLite must be told, or it fails to open what it could read.
    fixed = "" if os.access(path.parent, os.W_OK) else "?immutable=1"
    with _disk_errors(path):
        db = sqlite3.connect(path.absolute().as_uri() + fixed, uri=True)
        version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > LEDGER_VERSION:
        db.close()
        raise WorkspaceError(
            f"{path}: written by a newer dance (ledger {version}, this one reads {LEDGER_VERSION})",
            "upgrade: pip install -U dancecli",
        )
    return db


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's words for a full disk, and for one that may not be written, into the system's.

    Raises:
        WorkspaceError: another program holds the file, or it is broken.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = next((code for words, code in _SAID.items() if words in str(error)), None)
        if code is not None:
            raise OSError(code, os.strerror(code), str(path)) from error
        if "locked" in str(error):
            what, hint = "another program has it open for writing", "close that program and run again"
        else:
            what, hint = f"is not a ledger ({error})", "move it away; clips on disk are adopted again"
        raise WorkspaceError(f"{path}: {what}", hint) from None


def _rows(root: Path, query: str, *values: str) -> Iterator[tuple[Any, ...]]:
    """Ask all ledger files of a workspace, one after the other."""
    for path in ledger_files(root):
        with closing(_open(path)) as db, _disk_errors(path):
            # A file that a killed process had only just made has no table yet.
            if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'attempts'").fetchone():
                yield from db.execute(query, values)


def _outcome(row: tuple[str, str, str, str, str, int, str, int, str]) -> Outcome:
    clip_id, video_id, outcome, reason, text, attempt, time_utc, num_bytes, source = row
    return Outcome(
        clip_id, video_id, OutcomeClass(outcome), reason, text, attempt, time_utc, num_bytes, source
    )
