"""The ledger: no outcome is lost, several files read as one."""

import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.builders import make_clip

from dancecli.core.errors import WorkspaceError
from dancecli.core.records import Clip, Outcome, OutcomeClass
from dancecli.storage.ledger import (
    LedgerWriter,
    done_clips,
    done_files,
    history,
    latest,
    latest_of_source,
    utc_now,
)

CLIP = make_clip(1)


def outcome(kind: OutcomeClass, attempt: int = 1, clip_id: str = CLIP.clip_id, minute: int = 0) -> Outcome:
    time = f"2026-01-01T00:{minute:02}:00+00:00"
    return Outcome(clip_id, "v", kind, f"reason-{kind}", "raw text", attempt, time, 7, "youtube")


def write(path: Path, *rows: tuple[Outcome, Clip | None]) -> None:
    with LedgerWriter(path) as writer:
        for row in rows:
            writer.record([row])


def test_every_attempt_is_kept_and_the_last_one_counts(tmp_path: Path) -> None:
    first, second = outcome(OutcomeClass.TRANSIENT), outcome(OutcomeClass.DONE, 2, minute=1)
    write(tmp_path / "ledger.db", (first, None), (second, CLIP))
    assert history(tmp_path, CLIP.clip_id) == [first, second]
    standing = latest(tmp_path)[CLIP.clip_id]
    assert (standing.outcome, standing.reason, standing.attempts) == (OutcomeClass.DONE, "reason-done", 2)
    assert done_clips(tmp_path) == [CLIP]


def test_a_clip_that_is_no_longer_done_is_not_listed(tmp_path: Path) -> None:
    write(
        tmp_path / "ledger.db", (outcome(OutcomeClass.DONE), CLIP), (outcome(OutcomeClass.PERMANENT, 2), None)
    )
    assert done_clips(tmp_path) == []


def test_the_last_row_over_all_files_wins_whatever_it_says(tmp_path: Path) -> None:
    lost, other = outcome(OutcomeClass.TRANSIENT, minute=5), make_clip(2)
    write(tmp_path / "ledger-1of2.db", (outcome(OutcomeClass.DONE, minute=3), CLIP))
    done = outcome(OutcomeClass.DONE, clip_id=other.clip_id)
    write(tmp_path / "ledger-2of2.db", (done, other), (lost, None))
    assert {k: (v.outcome, v.attempts) for k, v in latest(tmp_path).items()} == {
        CLIP.clip_id: (OutcomeClass.TRANSIENT, 2),
        other.clip_id: (OutcomeClass.DONE, 1),
    }
    assert done_clips(tmp_path) == [other]
    again = replace(CLIP, sha256="b" * 64)
    write(tmp_path / "ledger-1of2.db", (outcome(OutcomeClass.DONE, minute=7), again))
    assert done_clips(tmp_path) == sorted([again, other])
    withdrawn = outcome(OutcomeClass.PERMANENT, minute=8)
    write(tmp_path / "ledger.db", (withdrawn, None))
    assert done_clips(tmp_path) == [other]
    assert history(tmp_path, CLIP.clip_id)[-1] == withdrawn
    assert latest(tmp_path)[CLIP.clip_id].attempts == 4


def test_at_one_time_the_later_file_wins_and_in_a_file_the_later_row(tmp_path: Path) -> None:
    kinds = OutcomeClass.PERMANENT, OutcomeClass.TRANSIENT, OutcomeClass.CORRUPT
    write(tmp_path / "ledger.db", *((outcome(kind), None) for kind in kinds[1:]))
    write(tmp_path / "ledger-1of2.db", (outcome(kinds[0]), None))
    assert latest(tmp_path)[CLIP.clip_id].outcome is OutcomeClass.CORRUPT
    assert [row.outcome for row in history(tmp_path, CLIP.clip_id)] == list(kinds)


def test_times_of_older_versions_are_whole_seconds(tmp_path: Path) -> None:
    fine = replace(outcome(OutcomeClass.DONE), time_utc="2026-01-01T00:00:00.000001+00:00")
    write(tmp_path / "ledger-1of2.db", (fine, CLIP))
    write(tmp_path / "ledger.db", (outcome(OutcomeClass.TRANSIENT), None))
    assert latest(tmp_path)[CLIP.clip_id].outcome is OutcomeClass.DONE


Row = tuple[str, int, int, OutcomeClass, str, str]


def model(rows: list[Row], source: str | None = None) -> dict[str, tuple[Row, int]]:
    """Ten lines that say what is right: the last row by (time, file, row), and how many there are."""
    found: dict[str, tuple[Row, int]] = {}
    for row in sorted(rows, key=lambda row: row[:3]):
        if source in (None, row[5]):
            found[row[4]] = (row, found.get(row[4], (row, 0))[1] + 1)
    return found


@pytest.mark.parametrize("seed", range(8))
def test_random_histories_agree_with_the_model(tmp_path: Path, seed: int) -> None:
    """10,000 histories: 1,250 clips in each of eight workspaces of two to four ledgers."""
    chance = random.Random(seed)
    names = ["ledger-1of2.db", "ledger-2of2.db", "ledger-3of4.db", "ledger.db"][: 2 + seed % 3]
    clips = {clip.clip_id: clip for clip in map(make_clip, range(1250))}
    written: list[Row] = []
    for place, name in enumerate(names):
        rows: list[tuple[Outcome, Clip | None]] = []
        for clip_id in chance.sample(sorted(clips), len(clips)) * 2:
            kind = chance.choice([OutcomeClass.DONE, *OutcomeClass])
            # Few different times, so that ties between files and in a file are common.
            time = f"2026-01-01T00:00:00.00000{chance.randrange(6)}+00:00"
            source = chance.choice(["youtube", "mirror"])
            written.append((time, place, len(rows) + 1, kind, clip_id, source))
            clip = replace(clips[clip_id], num_bytes=1000 * place + len(rows))
            row = replace(
                outcome(kind, clip_id=clip_id), time_utc=time, source=source, text=f"{len(rows) + 1}"
            )
            rows.append((row, clip if kind is OutcomeClass.DONE else None))
        with LedgerWriter(tmp_path / name, shared=place > 0) as writer:
            writer.record(rows)
    right = model(written)
    assert {k: (v.outcome, v.time_utc, v.attempts) for k, v in latest(tmp_path).items()} == {
        k: (row[3], row[0], count) for k, (row, count) in right.items()
    }
    done = {k: 1000 * row[1] + row[2] - 1 for k, (row, _) in right.items() if row[3] is OutcomeClass.DONE}
    assert {clip.clip_id: clip.num_bytes for clip in done_clips(tmp_path)} == done
    assert [clip.clip_id for clip in done_clips(tmp_path)] == sorted(done)
    assert {clip_id: size for clip_id, _, size in done_files(tmp_path)} == done
    assert latest_of_source(tmp_path, "mirror") == {
        k: row[3] for k, (row, _) in model(written, "mirror").items()
    }
    for clip_id in chance.sample(sorted(clips), 20):
        ordered = sorted(row[:3] for row in written if row[4] == clip_id)
        assert [(row.time_utc, row.text) for row in history(tmp_path, clip_id)] == [
            (time, str(row)) for time, _, row in ordered
        ]


def test_a_new_row_is_later_than_the_one_before_it_on_any_clock() -> None:
    assert utc_now() < utc_now("2001-01-01T00:00:00+00:00") < "2101"
    assert utc_now("2101-01-01T00:00:00+00:00") == "2101-01-01T00:00:00.000001+00:00"
    assert utc_now("2101-01-01T00:00:00.999999+00:00") == "2101-01-01T00:00:01.000000+00:00"


def test_what_one_source_said_last_is_told_apart_from_the_others(tmp_path: Path) -> None:
    elsewhere = replace(outcome(OutcomeClass.DONE, 3), source="mirror")
    rows = [outcome(OutcomeClass.TRANSIENT), outcome(OutcomeClass.PERMANENT, 2), elsewhere]
    write(tmp_path / "ledger.db", *((row, None) for row in rows))
    assert latest_of_source(tmp_path, "youtube") == {CLIP.clip_id: OutcomeClass.PERMANENT}
    assert latest_of_source(tmp_path, "mirror") == {CLIP.clip_id: OutcomeClass.DONE}
    assert latest_of_source(tmp_path, "folder") == {}


def test_a_ledger_is_begun_in_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    write(tmp_path / "new" / "space" / "ledger.db", (outcome(OutcomeClass.DONE), CLIP))
    assert done_clips(tmp_path / "new" / "space") == [CLIP]


def test_the_format_has_the_version_that_older_files_have(tmp_path: Path) -> None:
    write(tmp_path / "ledger.db", (outcome(OutcomeClass.DONE), CLIP))
    with sqlite3.connect(tmp_path / "ledger.db") as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)


def test_text_comes_back_as_it_was(tmp_path: Path) -> None:
    said = 'Ceci n\N{RIGHT SINGLE QUOTATION MARK}est\tpas\'; DROP TABLE "x" \N{SNOWMAN}'
    odd = replace(outcome(OutcomeClass.PERMANENT), text=said)
    write(tmp_path / "ledger.db", (odd, None))
    assert history(tmp_path, CLIP.clip_id) == [odd]


def test_no_ledger_is_an_empty_one(tmp_path: Path) -> None:
    assert latest(tmp_path) == {}
    (tmp_path / "ledger.db").touch()
    assert latest(tmp_path) == {}
    assert history(tmp_path, "x") == []


def test_from_a_newer_version(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "ledger.db") as db:
        db.execute("PRAGMA user_version = 99")
    for act in (lambda: latest(tmp_path), lambda: LedgerWriter(tmp_path / "ledger.db")):
        with pytest.raises(WorkspaceError, match=r"ledger\.db: written by a newer dance") as caught:
            act()
        assert "upgrade" in caught.value.hint


def test_no_ledger_at_all(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_text("this is no database, but it is long enough to look at\n" * 20)
    with pytest.raises(WorkspaceError, match="is not a ledger"):
        latest(tmp_path)


def test_a_ledger_that_is_broken_further_on(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    write(path, *((outcome(OutcomeClass.DONE), CLIP) for _ in range(50)))
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))
    for read in (latest, done_clips, lambda root: history(root, "x")):
        with pytest.raises(WorkspaceError, match=r"ledger\.db: is not a ledger") as caught:
            read(tmp_path)
        assert "move it away" in caught.value.hint


def test_a_ledger_that_another_program_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.db"
    write(path, (outcome(OutcomeClass.DONE), CLIP))
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **more: connect(*args, **more | {"timeout": 0.05}))
    with closing(connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(WorkspaceError, match=r"ledger\.db: another program has it open"):
            LedgerWriter(path)
    assert done_clips(tmp_path) == [CLIP]


def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    with LedgerWriter(tmp_path / "ledger.db") as writer:
        writer._db.execute(f"PRAGMA max_page_count = {writer._db.execute('PRAGMA page_count').fetchone()[0]}")
        many = [(replace(outcome(OutcomeClass.PERMANENT), text="x" * 5000), None)] * 20
        with pytest.raises(OSError, match="No space left") as caught:
            writer.record(many)
    assert caught.value.filename == str(tmp_path / "ledger.db")
    assert latest(tmp_path) == {}, "all of a transaction or nothing"


def test_a_ledger_that_may_not_be_written_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "ledger.db", (outcome(OutcomeClass.DONE), CLIP))
    monkeypatch.setattr("os.access", lambda *_: False)
    assert done_clips(tmp_path) == [CLIP]
    with pytest.raises(OSError, match="Read-only file system") as caught:
        LedgerWriter(tmp_path / "ledger.db")
    assert caught.value.filename == str(tmp_path / "ledger.db")


# A writer that is killed: after a transaction, or in the middle of one that is larger than the cache.
_KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
sys.path[:0] = [sys.argv[2]]
from helpers.builders import make_clip
from dancecli.core.records import Outcome, OutcomeClass
from dancecli.storage.ledger import LedgerWriter

writer = LedgerWriter(Path(sys.argv[1]), shared=sys.argv[3] == "shared")
def row(i, text=""):
    clip = make_clip(i)
    time = "2026-01-01T00:00:00.000000+00:00"
    return Outcome(clip.clip_id, "v", OutcomeClass.DONE, "ok", text, 1, time, 7, "youtube"), clip
for i in range(50):
    writer.record([row(i)])
if sys.argv[4] == "in-transaction":
    writer._db.execute("PRAGMA cache_size = 5")
    def rows():
        for i in range(50, 500):
            yield row(i, "x" * 2000)
        os.kill(os.getpid(), signal.SIGKILL)
    writer.record(rows())
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(params=["shared", "alone"])
def killed(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], Path]:
    def kill(when: str) -> Path:
        helpers = str(Path(__file__).parents[1])
        path = tmp_path / "space" / "ledger.db"
        ran = subprocess.run([sys.executable, "-c", _KILLED, path, helpers, request.param, when], check=False)
        assert ran.returncode == -signal.SIGKILL
        return path

    return kill


@pytest.mark.parametrize("when", ["between", "in-transaction"])
@pytest.mark.parametrize("readable", ["writable", "read-only", "copied"])
def test_what_a_killed_writer_recorded_is_read_whole(
    killed: Callable[[str], Path], when: str, readable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = killed(when).parent
    if readable == "copied":
        # A snapshot or a copy has the log, but not the shared memory beside it.
        shutil.copytree(root, root.with_name("copy"), ignore=shutil.ignore_patterns("*-shm"))
        root = root.with_name("copy")
    before = {path.name: path.read_bytes() for path in root.iterdir() if not path.name.endswith("-shm")}
    with monkeypatch.context() as patch:
        if readable == "read-only":
            patch.setattr("os.access", lambda *_: False)
        assert len(done_clips(root)) == len(latest(root)) == 50
    after = {path.name: path.read_bytes() for path in root.iterdir() if not path.name.endswith("-shm")}
    assert after == before, "readers never write"
    with LedgerWriter(root / "ledger.db"):
        pass
    assert len(done_clips(root)) == 50


def test_readers_open_no_ledger_for_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "ledger.db", (outcome(OutcomeClass.DONE), CLIP))
    opened: list[str] = []
    connect = sqlite3.connect

    def noting(address: str, **more: Any) -> sqlite3.Connection:
        opened.append(address)
        return connect(address, **more)

    monkeypatch.setattr(sqlite3, "connect", noting)
    latest(tmp_path), latest_of_source(tmp_path, "x"), list(done_files(tmp_path))
    done_clips(tmp_path), history(tmp_path, CLIP.clip_id)
    assert len(opened) == 5
    assert {address.rpartition("?")[2] for address in opened} == {"mode=ro"}


def test_a_shards_ledger_is_read_from_another_host_while_it_grows(tmp_path: Path) -> None:
    """A write-ahead log works on one host only; a rollback journal also on a shared disk."""
    with LedgerWriter(tmp_path / "ledger-1of2.db", shared=True) as writer:
        writer.record([(outcome(OutcomeClass.DONE), CLIP)])
        assert [path.name for path in tmp_path.iterdir()] == ["ledger-1of2.db"], "no log, no shared memory"
        assert done_clips(tmp_path) == [CLIP]
        assert writer._db.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert writer._db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_ledger_of_one_host_has_a_log_that_survives_the_process(tmp_path: Path) -> None:
    with LedgerWriter(tmp_path / "ledger.db") as writer:
        writer.record([(outcome(OutcomeClass.DONE), CLIP)])
        assert writer._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert writer._db.execute("PRAGMA synchronous").fetchone() == (1,)
