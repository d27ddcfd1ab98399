from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.builders import Ran, fill, make_clip

from dancecli.core.errors import InputError, UsageError
from dancecli.core.records import Clip
from dancecli.dataset.split.split import SplitSettings, split
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace

LABELS = ("tap dancing", "zumba", "krumping")
HEAD = "clip_id,subset,group,label,sha256\n"


@pytest.fixture
def filled(workspace: Workspace) -> Workspace:
    fill(workspace, [make_clip(i, LABELS[i % 2]) for i in range(200)], LABELS)
    return workspace


def test_a_lock_rebuilds_the_split_and_reports_the_drift(filled: Workspace) -> None:
    first = split(filled, SplitSettings(stratify=True, name="bench"))
    lock = filled.split_lock("bench").rename(filled.root / "bench.lock.csv")
    same = split(filled, SplitSettings(lock=lock, name="again"))
    assert same.clips == first.clips
    assert same.digest == first.digest
    assert same.drift is not None
    assert same.drift == type(same.drift)((), (), (), {}, {}, {})
    clips = tables.read(filled.clips, Clip)
    gone, other = clips[0].clip_id, clips[1].clip_id
    later = [c if c.clip_id != other else replace(c, sha256="f" * 64) for c in clips[1:]]
    fill(filled, [*later, make_clip(999)], LABELS)
    rebuilt = split(filled, SplitSettings(lock=lock, name="later"))
    assert rebuilt.drift is not None
    assert (rebuilt.drift.missing, rebuilt.drift.changed) == ((gone,), (other,))
    assert rebuilt.drift.unlisted == (make_clip(999).clip_id,)
    before = {p.clip_id: p.subset for p in first.clips}
    assert all(before[p.clip_id] == p.subset for p in rebuilt.clips)


def test_a_clip_that_is_another_file_is_counted_by_subset_and_exits_with_3(
    filled: Workspace, dance: Callable[..., Ran]
) -> None:
    first = split(filled, SplitSettings(stratify=True, name="bench"))
    test = next(clip.clip_id for clip in first.clips if clip.subset == "test")
    lock = filled.split_lock("bench").rename(filled.root / "bench.lock.csv")
    assert dance("split", "--lock", str(lock), "--name", "same").code == 0
    clips = tables.read(filled.clips, Clip)
    fill(filled, [replace(c, sha256="f" * 64) if c.clip_id == test else c for c in clips], LABELS)
    ran = dance("split", "--lock", str(lock), "--name", "later")
    assert ran.code == 3
    assert "drift from the lock: 0 missing, 1 changed" in ran.out
    assert json.loads(tables.read_meta(filled.split("later"))["split.other_files"]) == {"test": 1}


def test_removed_and_missing_clips_and_those_here_add_up(
    filled: Workspace, dance: Callable[..., Ran]
) -> None:
    first = split(filled, SplitSettings(stratify=True, name="bench"))
    test = [clip.clip_id for clip in first.clips if clip.subset == "test"]
    lock = filled.split_lock("bench").rename(filled.root / "bench.lock.csv")
    lock.write_text(lock.read_text().replace(test[0], f"removed-{'0' * 12}_0_1000"))
    fill(filled, [c for c in tables.read(filled.clips, Clip) if c.clip_id not in test[:3]], LABELS)
    ran = dance("split", "--lock", str(lock), "--name", "later")
    note = f"{len(test) - 3} of {len(test)} clips, 1 removed by request, 2 missing here"
    assert f"test: {note}" in ran.err
    assert json.loads(tables.read_meta(filled.split("later"))["split.missing"]) == {"test": 2}


@pytest.mark.parametrize(
    ("text", "row", "what"),
    [
        ("", 1, "is not a split lock"),
        ("clip_id,part\n", 1, "is not a split lock"),
        (f"{HEAD}a,train\n", 2, "is not clip_id, subset"),
        (f"{HEAD}a,middle,g,l,s\n", 2, "is not clip_id, subset"),
        (HEAD, None, "none of its clips is in this workspace"),
        (f"{HEAD}a,train,g,zumba,s\na,train,g,zumba,s\n", 3, "names clip a a second time"),
        (f"{HEAD}a,train,g,zumba,s\nb,test,g,zumba,s\n", 3, "group g is in train too: the split would leak"),
        (
            f"{HEAD}a,train,g,zumba,s\nb,test,h,ballet,s\n",
            3,
            "label 'ballet' is not in this",
        ),
    ],
)
def test_a_bad_lock_is_named_with_its_row(filled: Workspace, text: str, row: int | None, what: str) -> None:
    path = filled.root / "bad.lock.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        split(filled, SplitSettings(lock=path))
    assert caught.value.message.startswith(f"{path}:{row}: " if row else f"{path}: ")
    assert what in caught.value.message


def test_a_missing_lock_is_reported(filled: Workspace) -> None:
    with pytest.raises(InputError, match="there is no such lock file"):
        split(filled, SplitSettings(lock=Path("nowhere.lock.csv")))


@pytest.mark.parametrize(
    "more", [{"seed": 3}, {"subset": 10}, {"ratios": "80/20"}, {"stratify": True}, {"keep_official": True}]
)
def test_a_lock_combines_with_the_name_only(filled: Workspace, more: dict[str, Any]) -> None:
    split(filled, SplitSettings(name="bench"))
    with pytest.raises(UsageError, match="combines with --name, --groups and --without-groups only"):
        split(filled, SplitSettings(lock=filled.split_lock("bench"), **more))


def test_a_lock_saved_by_a_spreadsheet_is_read(filled: Workspace) -> None:
    first = split(filled, SplitSettings(name="bench"))
    saved = filled.root / "saved.lock.csv"
    saved.write_bytes(b"\xef\xbb\xbf" + filled.split_lock("bench").read_bytes().replace(b"\n", b"\r\n"))
    assert split(filled, SplitSettings(lock=saved)).digest == first.digest


def test_a_blank_line_in_a_lock_is_no_row(filled: Workspace) -> None:
    first = split(filled, SplitSettings(name="bench"))
    header, *rows = filled.split_lock("bench").read_text().splitlines()
    edited = filled.root / "edited.lock.csv"
    edited.write_text("\n".join(["", header, rows[0], "", ",,,,", *rows[1:], "", ""]))
    assert split(filled, SplitSettings(lock=edited)).digest == first.digest


def test_another_label_here_is_drift_and_the_locks_is_kept(filled: Workspace) -> None:
    first = split(filled, SplitSettings(name="bench"))
    clips = tables.read(filled.clips, Clip)
    tables.write(filled.clips, Clip, [replace(clips[0], label="krumping"), *clips[1:]])
    again = split(filled, SplitSettings(lock=filled.split_lock("bench"), name="again"))
    assert again.drift is not None
    assert again.drift.changed == (clips[0].clip_id,)
    assert again.clips == first.clips


@pytest.mark.parametrize(
    "settings",
    [
        SplitSettings(name="a"),
        SplitSettings(name="a", ratios="80/20", seed=7, subset=50),
        SplitSettings(name="a", stratify=True),
        SplitSettings(subset=60, seed=2),
    ],
)
def test_a_split_says_how_it_is_made_again(
    filled: Workspace, settings: SplitSettings, dance: Callable[..., Ran]
) -> None:
    first = split(filled, settings)
    for way in (settings, SplitSettings(lock=filled.split_lock(first.name), name="locked")):
        made = split(filled, way)
        flags = shlex.split(tables.read_meta(filled.split(made.name))["split.flags"])
        assert flags == list(made.flags)
        at = [str(filled.split_lock(made.name)) if word.endswith(".lock.csv") else word for word in flags]
        assert dance("split", "--json", *at).json["hash"] == first.digest


def test_a_lock_names_no_seed(filled: Workspace, dance: Callable[..., Ran]) -> None:
    split(filled, SplitSettings(name="bench", seed=5))
    ran = dance("split", "--lock", str(filled.split_lock("bench")), "--name", "again")
    assert "split again (as locked)\n" in ran.out
    assert tables.read_meta(filled.split("again"))["split.seed"] == ""
