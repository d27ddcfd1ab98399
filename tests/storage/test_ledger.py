"""The ledger: no outcome is lost, several files read as one."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.builders import make_clip

from dancecli.core.errors import WorkspaceError
from dancecli.core.records import Clip, Outcome, OutcomeClass
from dancecli.storage.ledger import LedgerWriter, done_clips, history, latest, latest_of_source

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


def test_several_files_are_read_as_one(tmp_path: Path) -> None:
    other = make_clip(2)
    write(tmp_path / "ledger-1of2.db", (outcome(OutcomeClass.DONE), CLIP))
    write(
        tmp_path / "ledger-2of2.db",
        (outcome(OutcomeClass.DONE, clip_id=other.clip_id), other),
        # The same clip from before the shards were renumbered: done stays done.
        (outcome(OutcomeClass.TRANSIENT, minute=5), None),
    )
    assert {k: v.outcome for k, v in latest(tmp_path).items()} == {
        CLIP.clip_id: OutcomeClass.DONE,
        other.clip_id: OutcomeClass.DONE,
    }
    assert [clip.clip_id for clip in done_clips(tmp_path)] == sorted([CLIP.clip_id, other.clip_id])
    assert len(history(tmp_path, CLIP.clip_id)) == 2


def test_the_later_of_two_failures_counts(tmp_path: Path) -> None:
    write(tmp_path / "ledger-1of2.db", (outcome(OutcomeClass.PERMANENT, minute=9), None))
    write(tmp_path / "ledger-2of2.db", (outcome(OutcomeClass.TRANSIENT, minute=5), None))
    assert latest(tmp_path)[CLIP.clip_id].outcome is OutcomeClass.PERMANENT


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
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **more: connect(*args, **more, timeout=0.05))
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
