from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.builders import make_clip
from helpers.fake_run import make_run
from hypothesis import given
from hypothesis import strategies as st

from dancecli.core.errors import InputError
from dancecli.core.records import SplitClip
from dancecli.storage import tables
from dancecli.storage.corrections import (
    COLUMNS,
    Correction,
    Field,
    append_corrections,
    apply_corrections,
    corrections_file,
    current,
    newer_corrections,
    read_corrections,
)
from dancecli.storage.workspace import Workspace


def change(clip_id: str, field: str, new: str, old: str = "") -> Correction:
    return Correction(clip_id, field, old, new, "ana", "2026-01-01T00:00:00.000+00:00", "looked")


def test_what_is_appended_is_read_back(workspace: Workspace) -> None:
    assert read_corrections(workspace) == []
    rows = [change("a", "label", "waltz", "tango"), change("b", "note", 'says "hello", twice')]
    append_corrections(workspace, rows[:1])
    append_corrections(workspace, rows[1:])
    assert read_corrections(workspace) == rows
    assert corrections_file(workspace).read_text().splitlines()[0] == ",".join(COLUMNS)


def test_a_row_without_a_time_gets_one(workspace: Workspace) -> None:
    append_corrections(workspace, [Correction("a", "exclude", "", "yes")])
    assert read_corrections(workspace)[0].when_utc.endswith("+00:00")


def test_a_line_without_its_end_is_not_there_and_gives_way(workspace: Workspace) -> None:
    append_corrections(workspace, [change("a", "exclude", "yes")])
    with corrections_file(workspace).open("a") as file:
        file.write("b,exclude,,ye")
    assert [row.clip_id for row in read_corrections(workspace)] == ["a"]
    append_corrections(workspace, [change("c", "exclude", "yes")])
    assert [row.clip_id for row in read_corrections(workspace)] == ["a", "c"]


@pytest.mark.parametrize(
    "row", ["b,exclude,,yes,ana,,", 'b,note,,x,ana,,"one\ntwo"'], ids=["plain", "quoted"]
)
def test_a_row_that_lacks_only_the_end_of_its_line_counts_and_stays(workspace: Workspace, row: str) -> None:
    append_corrections(workspace, [change("a", "exclude", "yes")])
    with corrections_file(workspace).open("a") as file:
        file.write(row)
    assert [row.clip_id for row in read_corrections(workspace)] == ["a", "b"]
    append_corrections(workspace, [change("c", "exclude", "yes")])
    assert [row.clip_id for row in read_corrections(workspace)] == ["a", "b", "c"]


def test_a_table_that_ends_after_its_columns_gets_its_first_row(workspace: Workspace) -> None:
    corrections_file(workspace).write_text(",".join(COLUMNS))
    append_corrections(workspace, [change("a", "exclude", "yes")])
    assert [row.clip_id for row in read_corrections(workspace)] == ["a"]


NAMES = ("one", "two", "three")
KILLED = """
import sys
from dataclasses import replace
from pathlib import Path
from dancecli.storage.corrections import Correction, append_corrections
from dancecli.storage.workspace import Workspace
workspace, name = Workspace(Path(sys.argv[1])), sys.argv[2]
for i in range(100000):
    append_corrections(workspace, [Correction(f"{name}-{i}", "exclude", "", "yes"), Correction(f"{name}-{i}", "note", "", "x")])
    print(i, flush=True)
"""  # noqa: E501


def test_killed_writers_lose_and_double_nothing_that_was_acknowledged(workspace: Workspace) -> None:
    command = [sys.executable, "-c", KILLED, str(workspace.root)]
    writers = [
        subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True)
        for name in ("one", "two", "three")
    ]
    seen = []
    for writer in writers:
        assert writer.stdout
        lines = [writer.stdout.readline() for _ in range(5)]
        os.kill(writer.pid, signal.SIGKILL)
        seen.append(int((lines + writer.stdout.read().splitlines())[-1]))
        writer.wait()
    rows = read_corrections(workspace)
    assert len({(row.clip_id, row.field) for row in rows}) == len(rows)
    for name, last in zip(NAMES, seen, strict=True):
        notes = [row for row in rows if row.clip_id.startswith(f"{name}-") and row.field == "note"]
        excluded = [row for row in rows if row.clip_id.startswith(f"{name}-") and row.field == "exclude"]
        # At most the one that was being acknowledged is there beyond what was.
        assert last + 1 <= len(notes) == len(excluded) <= last + 2


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(list(Field)), st.sampled_from(["", "1", "2"])))
)
def test_the_last_value_of_a_field_is_in_force(changes: list[tuple[str, Field, str]]) -> None:
    expected: dict[tuple[str, str], str] = {}
    for clip_id, field, new in changes:
        expected[clip_id, field] = new
    found = current([change(*one) for one in changes])
    assert {(clip, field): v for clip, values in found.items() for field, v in values.items()} == {
        key: value for key, value in expected.items() if value
    }


def test_clips_get_their_corrected_labels_and_excluded_ones_go() -> None:
    clips = [make_clip(i) for i in range(3)]
    rows = [change(clips[0].clip_id, "label", "zumba"), change(clips[1].clip_id, "exclude", "yes")]
    found = apply_corrections(clips, current(rows))
    assert [(clip.clip_id, clip.label) for clip in found.clips] == [
        (clips[0].clip_id, "zumba"),
        (clips[2].clip_id, "tap dancing"),
    ]
    assert (found.excluded, found.relabeled) == ((clips[1].clip_id,), (clips[0].clip_id,))


HEAD = ",".join(COLUMNS)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("clip,label\na,waltz\n", 1),
        (",".join(COLUMNS) + "\na,color,,red,,,\n", 2),
        (",".join(COLUMNS) + "\na,label\n", 2),
        (",".join(COLUMNS) + "\na,label,,red,,," + "x" * 200_000 + "\n", 2),
        (",".join(COLUMNS) + '\na,label,,red,,,"x\nb,label,,red,,,\n', 2),
    ],
)
def test_a_table_that_is_none_is_named_with_its_row(workspace: Workspace, text: str, line: int) -> None:
    corrections_file(workspace).write_text(text)
    with pytest.raises(InputError, match=rf"labels\.csv:{line}\b"):
        read_corrections(workspace)


def test_a_text_that_is_not_utf8_is_named(workspace: Workspace) -> None:
    Path(corrections_file(workspace)).write_bytes(b"\xff\xfe\n")
    with pytest.raises(InputError, match="UTF-8"):
        read_corrections(workspace)


def test_a_split_says_what_was_corrected_since(tmp_path: Path) -> None:
    workspace = make_run(tmp_path / "space", ("wave", "spin"), test=4, train=2)
    rows = tables.read(workspace.split("demo"), SplitClip)
    one, two, three = [row.clip_id for row in rows if row.label == "wave"]
    assert newer_corrections(workspace, "demo") == ""
    append_corrections(
        workspace,
        [
            Correction(one, "label", "wave", "spin"),
            Correction(two, "exclude", "", "yes"),
            Correction(three, "note", "", "look"),
        ],
    )
    note = newer_corrections(workspace, "demo")
    assert "excluded 1 of its clips and relabeled 1: run dance split again with --name NEW" in note
    relabeled = [replace(row, label="spin") if row.clip_id == one else row for row in rows]
    kept = [row for row in relabeled if row.clip_id != two]
    tables.write(workspace.split("demo"), SplitClip, kept, tables.read_meta(workspace.split("demo")))
    assert newer_corrections(workspace, "demo") == ""
    append_corrections(workspace, [Correction(one, "label", "spin", "")])
    assert "excluded 0 of its clips and relabeled 1" in newer_corrections(workspace, "demo")
