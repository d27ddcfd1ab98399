"""The manifest of clips is what the ledgers say is done, and what others added, in bounded memory."""

from __future__ import annotations

import random
import tracemalloc
from dataclasses import fields, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.builders import make_clip

from dancecli.core.labels import LabelSet
from dancecli.core.records import Clip, Outcome, OutcomeClass, Segment
from dancecli.dataset.clips import (
    clips_there,
    read_segments,
    rebuild_clips,
    remember_copies,
    remember_segments,
)
from dancecli.storage import ledger, tables
from dancecli.storage.workspace import Workspace

LABELS = LabelSet(("tango", "zumba"))


def record(workspace: Workspace, *rows: tuple[OutcomeClass, Clip], name: str = "ledger.db") -> None:
    with ledger.LedgerWriter(workspace.root / name) as writer:
        writer.record(
            (
                Outcome(clip.clip_id, clip.video_id, kind, "ok", "", 1, ledger.utc_now(), 0, "youtube"),
                clip if kind is OutcomeClass.DONE else None,
            )
            for kind, clip in rows
        )


def copy_of(clip: Clip) -> Clip:
    return replace(clip, clip_id=f"{clip.clip_id}.hflip", parent_id=clip.clip_id, op="hflip")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def test_random_ledgers_and_manifests_agree_with_the_plain_rule(workspace: Workspace) -> None:
    chance = random.Random(3)
    known: dict[str, Clip] = {}
    for round_ in range(12):
        chosen = [replace(make_clip(i), num_bytes=round_) for i in chance.sample(range(60), 20)]
        rows = [
            (chance.choice([OutcomeClass.DONE, OutcomeClass.DONE, OutcomeClass.PERMANENT]), c) for c in chosen
        ]
        record(workspace, *rows, name=chance.choice(["ledger.db", "ledger-1of2.db", "ledger-2of2.db"]))
        for kind, clip in rows:
            known.pop(clip.clip_id, None)
            if kind is OutcomeClass.DONE:
                known[clip.clip_id] = clip
        rebuild_clips(workspace)
        copies = [copy_of(clip) for clip in chance.sample(sorted(known.values()), 5)]
        remember_copies(workspace, copies)
        rebuild_clips(workspace)
        assert tables.read(workspace.clips, Clip) == sorted([*known.values(), *copies])


def state_of(workspace: Workspace) -> Path:
    return workspace.root / ".locks" / "clips.json"


@pytest.mark.parametrize("piece", [4, 1000])
def test_an_update_gives_the_bytes_of_a_table_made_anew(workspace: Workspace, piece: int) -> None:
    chance = random.Random(piece)
    names = ["ledger.db", "ledger-1of2.db", "ledger-2of2.db"]
    kinds = [OutcomeClass.DONE, OutcomeClass.DONE, OutcomeClass.PERMANENT]
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(tables, "PIECE", piece)
        for round_ in range(10):
            some = [replace(make_clip(i), num_bytes=round_) for i in chance.sample(range(40), 6)]
            record(workspace, *((chance.choice(kinds), clip) for clip in some), name=chance.choice(names))
            clip = make_clip(chance.randrange(40))
            segment = Segment(clip.video_id, clip.start_ms, clip.end_ms, chance.choice(LABELS.names), "", "x")
            remember_segments(workspace, [segment], LABELS)
            rebuild_clips(workspace)
            updated = workspace.clips.read_bytes()
            rows = tables.read(workspace.clips, Clip)
            tables.write(workspace.clips, Clip, rows)
            assert workspace.clips.read_bytes() == updated, (
                "the order and the pieces are those of a plain write"
            )
            workspace.clips.unlink()
            rebuild_clips(workspace)
            assert workspace.clips.read_bytes() == updated


def test_only_clips_with_later_rows_are_looked_up(workspace: Workspace) -> None:
    record(workspace, *((OutcomeClass.DONE, make_clip(i)) for i in range(50)))
    rebuild_clips(workspace)
    asked: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        real = ledger.last_clips

        def spy(root: Path, clip_ids: set[str] | None = None) -> object:
            asked.append(clip_ids)
            return real(root, clip_ids)

        patch.setattr("dancecli.dataset.clips_table.ledger.last_clips", spy)
        rebuild_clips(workspace)
        assert asked == []
        record(workspace, (OutcomeClass.PERMANENT, make_clip(7)), name="ledger-1of2.db")
        rebuild_clips(workspace)
        assert asked == [{make_clip(7).clip_id}]
        remember_copies(workspace, [copy_of(make_clip(8))])
        record(workspace, (OutcomeClass.DONE, make_clip(60)))
        rebuild_clips(workspace)
        assert asked[1:] == [{make_clip(60).clip_id}]
        # Another ledger under the name: everything is looked up.
        workspace.ledger.unlink()
        record(workspace, (OutcomeClass.DONE, make_clip(1)))
        rebuild_clips(workspace)
        assert asked[2:] == [None]
    assert len(tables.read(workspace.clips, Clip)) == 51


def test_labels_are_those_of_the_latest_list(workspace: Workspace) -> None:
    clip = make_clip(1)
    segment = Segment(clip.video_id, clip.start_ms, clip.end_ms, "tango", "test", "list")
    record(workspace, (OutcomeClass.DONE, clip))
    remember_segments(workspace, [segment], LABELS)
    rebuild_clips(workspace)
    (found,) = tables.read(workspace.clips, Clip)
    assert found == replace(clip, label="tango", official_split="test", dataset="list")
    assert read_segments(workspace) == {clip.clip_id: segment}


def test_a_manifest_that_would_be_the_same_is_not_written(workspace: Workspace) -> None:
    record(workspace, *((OutcomeClass.DONE, make_clip(i)) for i in range(5)))
    rebuild_clips(workspace)
    before = workspace.clips.stat()
    rebuild_clips(workspace)
    after = workspace.clips.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert [path.name for path in workspace.clips.parent.iterdir()] == ["clips.parquet"]
    record(workspace, (OutcomeClass.PERMANENT, make_clip(4)))
    rebuild_clips(workspace)
    assert len(tables.read(workspace.clips, Clip)) == 4


def test_the_manifest_of_an_older_version_is_read_with_defaults(workspace: Workspace) -> None:
    clip = make_clip(1)
    record(workspace, (OutcomeClass.DONE, clip))
    rebuild_clips(workspace)
    table = pq.read_table(workspace.clips)
    pq.write_table(table.drop_columns(["note", "loudness_lufs"]), workspace.clips)
    assert tables.read(workspace.clips, Clip) == [clip]
    assert list(tables.read_columns(workspace.clips, Clip, ("note", "clip_id"))) == [("", clip.clip_id)]
    pq.write_table(table.drop_columns(["sha256"]), workspace.clips)
    with pytest.raises(Exception, match="lacks the column 'sha256'"):
        tables.read(workspace.clips, Clip)
    assert {field.name for field in fields(Clip)} == set(table.column_names)


def test_a_file_that_is_gone_or_cut_short_is_missing(workspace: Workspace) -> None:
    clips = [replace(make_clip(i), num_bytes=3) for i in range(3)]
    record(workspace, *((OutcomeClass.DONE, clip) for clip in clips))
    for clip, content in zip(clips, (b"abc", b"ab"), strict=False):
        path = workspace.root / clip.path
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_bytes(content)
    assert clips_there(workspace) == {clips[0].clip_id}


def test_memory_does_not_grow_with_the_manifest(workspace: Workspace) -> None:
    def peak(num_clips: int) -> int:
        record(workspace, *((OutcomeClass.DONE, make_clip(i)) for i in range(num_clips)))
        rebuild_clips(workspace)
        state_of(workspace).unlink()
        pa.default_memory_pool().release_unused()
        tracemalloc.start()
        rebuild_clips(workspace)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr(tables, "PIECE", 200)
        few = peak(1000)
        assert peak(6000) < 1.5 * few
