from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.builders import make_clip
from hypothesis import given
from hypothesis import strategies as st

from dancecli.core.errors import InputError, WorkspaceError
from dancecli.core.records import Clip, Prediction, Segment, SplitClip
from dancecli.storage import tables
from dancecli.storage.files import atomic_file, remove_stale_temp

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
WHOLE = st.integers(-(2**62), 2**62)
ROWS = {
    Segment: st.builds(Segment, TEXT, WHOLE, WHOLE, TEXT, TEXT, TEXT),
    SplitClip: st.builds(SplitClip, TEXT, TEXT, TEXT, TEXT, TEXT),
    Prediction: st.builds(Prediction, TEXT, TEXT, WHOLE, st.lists(st.floats(0, 1)).map(tuple)),
}


@pytest.mark.parametrize("record", ROWS, ids=lambda r: r.__name__)
def test_what_is_read_is_what_was_written(record: type, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.parquet"

    @given(st.lists(ROWS[record], max_size=5))
    def check(rows: list) -> None:
        tables.write(path, record, rows, {"note": "ü"})
        assert tables.read(path, record) == rows
        assert tables.read_meta(path)["note"] == "ü"

    check()


def test_clips_come_back_equal(tmp_path: Path) -> None:
    clips = [make_clip(i) for i in range(20)]
    tables.write(tmp_path / "clips.parquet", Clip, clips)
    assert tables.read(tmp_path / "clips.parquet", Clip) == clips


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        tables.write(tmp_path / name, Clip, [make_clip(i) for i in range(20)])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "note.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="half-way"), atomic_file(path) as file:
        file.write("new")
        raise RuntimeError("half-way")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="there is no such manifest"):
        tables.read(tmp_path / "clips.parquet", Clip)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all" * 100])
def test_a_file_that_is_not_parquet_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "clips.parquet"
    path.write_bytes(content)
    for read in (lambda: tables.read(path, Clip), lambda: tables.read_meta(path)):
        with pytest.raises(InputError, match="is not a readable Parquet file"):
            read()


def test_another_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "clips.parquet"
    tables.write(path, SplitClip, [])
    with pytest.raises(InputError, match="holds 'SplitClip', not 'Clip'"):
        tables.read(path, Clip)
    pq.write_table(pa.table({"a": [1]}), path)
    for read in (lambda: tables.read(path, Clip), lambda: tables.read_meta(path)):
        with pytest.raises(InputError, match="no table of dance"):
            read()


def test_a_newer_schema_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "clips.parquet"
    table = tables.to_table(Clip, [])
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"dance.schema": b"99"}), path)
    with pytest.raises(WorkspaceError, match="newer dance") as caught:
        tables.read(path, Clip)
    assert "upgrade" in caught.value.hint


def test_a_full_disk_is_said_with_the_file(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match="No space left") as caught,
        atomic_file(tmp_path / "a") as file,
    ):
        with Path("/dev/full").open("w") as full:
            full.write("x")
        file.write("never")
    assert caught.value.filename == str(tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, signal, sys\nfrom dancecli.storage.files import atomic_file\n"
        "with atomic_file(pathlib.Path(sys.argv[1])):\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "a.b.json")], check=False)
    left = list(tmp_path.iterdir())
    assert len(left) == 1
    others = (tmp_path / ".mine.tmp", tmp_path / ".x.otherhost.1.abc.tmp", tmp_path / "a.tmp")
    for path in others:
        path.touch()
    with atomic_file(tmp_path / "mine") as file:
        file.write("whole")
        remove_stale_temp(tmp_path)
    assert not left[0].exists()
    assert (tmp_path / "mine").read_text() == "whole"
    assert all(path.exists() for path in others)
