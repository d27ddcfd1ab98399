from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.builders import Ran, fill, group_as_near, make_clip

from dancecli.core.errors import InputError
from dancecli.core.records import Clip, Group, Outcome, OutcomeClass, SplitClip
from dancecli.dataset.groups import add_groups
from dancecli.dataset.quality.audit import AuditSettings, Finding, Listed, audit, read_ids, video_of
from dancecli.dataset.split.annotations import annotate
from dancecli.dataset.split.split import SplitSettings, split
from dancecli.storage import tables
from dancecli.storage.corrections import Correction, Field, append_corrections
from dancecli.storage.ledger import LedgerWriter
from dancecli.storage.lockfile import write_lock
from dancecli.storage.workspace import Workspace

LABELS = ("tap dancing", "zumba")


@pytest.fixture
def cut(workspace: Workspace) -> tuple[Workspace, tuple[SplitClip, ...]]:
    fill(workspace, [make_clip(i, LABELS[i % 2]) for i in range(120)], LABELS)
    found = split(workspace, SplitSettings(ratios="80/10/10", name="s")).clips
    annotate(workspace)
    return workspace, found


def look(workspace: Workspace, *against: Path) -> tuple[Finding, ...]:
    return audit(workspace, AuditSettings(against=against, files=False)).findings


def rewrite(workspace: Workspace, split_clips: list[SplitClip]) -> None:
    write_lock(workspace.split_lock("s"), split_clips)
    tables.write(workspace.split("s"), SplitClip, split_clips, tables.read_meta(workspace.split("s")))


def test_a_split_of_this_tool_is_clean(cut: tuple[Workspace, tuple[SplitClip, ...]]) -> None:
    assert look(cut[0]) == ()


def test_a_video_in_two_subsets_is_found(cut: tuple[Workspace, tuple[SplitClip, ...]]) -> None:
    workspace, split_clips = cut
    pair = next(p for p in split_clips if sum(q.group == p.group for q in split_clips) == 2)
    other = "test" if pair.subset == "train" else "train"
    rewrite(workspace, [replace(p, subset=other) if p == pair else p for p in split_clips])
    assert Counter(f.kind for f in look(workspace)) == {
        "video in two subsets": 1,
        "lock: video in two subsets": 1,
        "lock: group in two subsets": 1,
    }


def test_near_duplicates_in_two_subsets_and_with_two_labels_are_found(
    cut: tuple[Workspace, tuple[SplitClip, ...]],
) -> None:
    workspace, split_clips = cut
    one = next(p for p in split_clips if p.subset == "train" and p.label == "zumba")
    two = next(p for p in split_clips if p.subset == "test" and p.label == "tap dancing")
    group_as_near(workspace, {one.clip_id: 1, two.clip_id: 1})
    found = {f.kind: f.detail for f in look(workspace)}
    assert found == {
        "near-duplicates in two subsets": "1 in test, 1 in train",
        "near-duplicates with two labels": f"tap dancing ({two.clip_id}) and zumba ({one.clip_id})",
    }


def test_the_dances_of_a_recording_that_was_cut_are_no_near_duplicates(workspace: Workspace) -> None:
    clip = make_clip(0)
    stretches = [
        replace(clip, clip_id=f"v_{i}", start_ms=9000 * i, end_ms=9000 * (i + 1), label=label, sha256=str(i))
        for i, label in enumerate(("tap dancing", "zumba", "tap dancing"))
    ]
    copy = replace(clip, clip_id="copy", video_id="copy", label="tap dancing", sha256="copy")
    fill(workspace, [*stretches, copy, *(make_clip(3 * i) for i in range(1, 60))], LABELS)
    # Two stretches of one place may be close; the copy is a near-duplicate of the first one alone.
    group_as_near(workspace, {"v_0": 1, "v_1": 2, "v_2": 2, "copy": 1})
    split(workspace, SplitSettings(ratios="80/20"))
    annotate(workspace)
    assert [f for f in look(workspace) if "labels" in f.kind] == []


def test_two_labels_for_one_segment_are_found(workspace: Workspace) -> None:
    clips = [make_clip(3 * i) for i in range(60)]
    clip = clips[0]
    clashing = replace(clip, clip_id="other", start_ms=clip.start_ms + 5000, label="zumba", sha256="1")
    after = replace(
        clip, clip_id="after", start_ms=clip.end_ms, end_ms=clip.end_ms + 9, label="zumba", sha256="2"
    )
    fill(workspace, [*clips, clashing, after], LABELS)
    split(workspace, SplitSettings(ratios="80/20"))
    named = f"tap dancing ({clip.clip_id}) and zumba (other)"
    assert look(workspace) == (Finding("two labels for one segment", clip.video_id, named),)


def test_augmented_clips_outside_training_are_found(cut: tuple[Workspace, tuple[SplitClip, ...]]) -> None:
    workspace, split_clips = cut
    clips = tables.read(workspace.clips, Clip)
    held = next(p for p in split_clips if p.subset == "test")
    trained = next(p for p in split_clips if p.subset == "train")
    augmented = [
        replace(clips[0], clip_id=f"c{i}", parent_id=p.clip_id, op="hflip", path=f"augmented/c{i}.mp4")
        for i, p in enumerate((held, trained))
    ]
    fill(workspace, [*clips, *augmented], LABELS)
    lists = workspace.annotations("s")
    with (lists / "train.txt").open("a") as file:
        file.write("augmented/c0.mp4 1\naugmented/c1.mp4 1\n")
    with (lists / "val.txt").open("a") as file:
        file.write("augmented/c1.mp4 1\n")
    found = [(f.kind, f.what, f.detail) for f in look(workspace)]
    assert found == [
        ("augmented clip outside training", "c0", "listed in train, its parent is in test"),
        ("augmented clip outside training", "c1", "listed in val, its parent is in train"),
    ]


def test_held_out_videos_of_a_pre_training_list_are_found(
    cut: tuple[Workspace, tuple[SplitClip, ...]], tmp_path: Path
) -> None:
    workspace, split_clips = cut
    clips = {c.clip_id: c for c in tables.read(workspace.clips, Clip)}
    held = next(p for p in split_clips if p.subset == "test")
    trained = next(p for p in split_clips if p.subset == "train")
    path = tmp_path / "k400.csv"
    rows = [f"x,{clips[p.clip_id].video_id},0,10,train" for p in (held, trained)]
    path.write_text("label,youtube_id,time_start,time_end,split\n" + "\n".join(rows) + "\n")
    found = look(workspace, path)
    same_video = [p for p in split_clips if p.group == held.group]
    assert len(found) == len(same_video)
    assert found[0].kind == "k400.csv: held-out video is listed"
    assert found[0].detail == "in test here, listed there as train"


def test_a_lists_own_leaks_are_found(cut: tuple[Workspace, tuple[SplitClip, ...]], tmp_path: Path) -> None:
    path = tmp_path / "thesis.csv"
    path.write_text("youtube_id,split\nAAA,train\nAAA,test\nBBB,train\nBBB,train\nCCC,train\nCCC,excluded\n")
    assert [(f.kind, f.what) for f in look(cut[0], path)] == [
        ("thesis.csv: video in two of its own subsets", "AAA")
    ]


def test_clips_that_a_list_holds_out_of_a_video_it_trains_on_are_counted(
    cut: tuple[Workspace, tuple[SplitClip, ...]], tmp_path: Path, dance: Callable[..., Ran]
) -> None:
    path = tmp_path / "thesis.csv"
    # A has a clip in val and one in test beside its clip in training; B and C do not leak.
    path.write_text("youtube_id,split\nA,train\nA,test\nA,val\nB,test\nC,val\nC,excluded\n")
    ran = dance("audit", "--no-files", "--against", str(path))
    assert (ran.code, "2 of its 4 held-out clips are of a video that it trains on" in ran.out) == (3, True)
    assert "1 in test, 1 in train, 1 in val" in " ".join(ran.out.split())


def test_missing_and_changed_files_are_found(
    cut: tuple[Workspace, tuple[SplitClip, ...]], dance: Callable[..., Ran]
) -> None:
    workspace, split_clips = cut
    workspace.clip(split_clips[0].clip_id).unlink()
    ran = dance("audit", "--json")
    assert ran.code == 3
    found = Counter(f["kind"] for f in ran.json["findings"])
    assert found == {"file missing": 1, "file changed": len(split_clips) - 1}
    table = dance("audit")
    assert table.code == 3
    assert "file changed" in table.out
    quick = dance("audit", "--no-files", "--json")
    assert [f["kind"] for f in quick.json["findings"]] == ["file missing"]
    workspace.clip(split_clips[0].clip_id).touch()
    clean = dance("audit", "--no-files")
    assert clean.code == 0
    assert "no findings" in clean.out


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("k.csv", "label,youtube_id,time_start,time_end,split\na,-bc,0,10,val\n", [Listed("-bc", "val")]),
        ("t.csv", "youtube_id,time_start,time_end\nabc,0,10\n", [Listed("abc", "")]),
        # As dance fetch reads them.
        ("u.csv", "youtube_id,Split\nhttps://youtu.be/0aUhNK8tJPU,Test\n", [Listed("0aUhNK8tJPU", "test")]),
        ("a.csv", "video_id,subset\nv_0aUhNK8tJPU,Validation\n", [Listed("0aUhNK8tJPU", "val")]),
        ("lock.csv", "clip_id,part,group\nab_c_0_10000,train,g\n", [Listed("ab_c", "train")]),
        ("ld.csv", "label,clip_id\ntap,0aUhNK8tJPU_035\n", [Listed("0aUhNK8tJPU", "")]),
        ("k.json", json.dumps({"abc": {"subset": "training"}}), [Listed("abc", "train")]),
    ],
)
def test_every_form_of_list_is_read(tmp_path: Path, name: str, text: str, rows: list[Listed]) -> None:
    (tmp_path / name).write_text(text)
    assert list(read_ids(tmp_path / name)) == rows


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.csv", b"label,name\nx,y\n", "has no column"),
        ("a.csv", b"\xff\xff", "is not UTF-8"),
        ("a.csv", b"youtube_id\nabc\n" + b"x" * 200_000, "a.csv:3: is not CSV"),
        ("a.json", b"[1]", "is not {id"),
        ("a.JSON", b"[" * 100_000, "is not {id"),
        ("a.json", b'{"a": 1' + b"0" * 5000 + b"}", "is not {id"),
        ("a.json", b"{", "is not {id"),
    ],
)
def test_a_list_that_is_none_is_named(tmp_path: Path, name: str, content: bytes, what: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        list(read_ids(tmp_path / name))
    assert what in caught.value.message
    assert str(tmp_path / name) in caught.value.message


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder, not a list"):
        list(read_ids(tmp_path))
    with pytest.raises(InputError, match="there is no such list"):
        list(read_ids(tmp_path / "none.csv"))


@pytest.mark.parametrize(
    ("clip_id", "video"),
    [
        ("-0L4z8D2eGs_43000_53000", "-0L4z8D2eGs"),
        ("a_b_1_2_0_10", "a_b_1_2"),
        ("7O6kPEPOoaE_216", "7O6kPEPOoaE"),
        ("0aUhNK8tJPU", "0aUhNK8tJPU"),
        # Of Let's Dance: a video whose id ends in digits, and the second.
        ("abcdef_1234_952", "abcdef_1234"),
        ("abcdef_1234_9952", "abcdef"),
        # A digit that is no number.
        ("abcdefghijk_\u00b2_\u00b3", "abcdefghijk"),
    ],
)
def test_the_video_of_a_clip_id(clip_id: str, video: str) -> None:
    assert video_of(clip_id) == video


def kinds(workspace: Workspace) -> dict[str, int]:
    return dict(Counter(finding.kind for finding in look(workspace)))


def test_equal_bytes_in_two_subsets_and_under_two_labels_are_found(
    cut: tuple[Workspace, tuple[SplitClip, ...]],
) -> None:
    workspace, split_clips = cut
    one = next(c for c in split_clips if c.subset == "train" and c.label == "zumba")
    two = next(c for c in split_clips if c.subset == "test" and c.label == "tap dancing")
    clips = tables.read(workspace.clips, Clip)
    same = [replace(c, sha256="f" * 64) if c.clip_id in (one.clip_id, two.clip_id) else c for c in clips]
    tables.write(workspace.clips, Clip, same)
    assert kinds(workspace) == {
        "equal bytes in two subsets": 1,
        "equal bytes with two labels": 1,
        "file changed since the split": 2,
    }


def test_clips_of_the_split_that_are_gone_are_found(
    cut: tuple[Workspace, tuple[SplitClip, ...]],
) -> None:
    workspace = cut[0]
    clips = tables.read(workspace.clips, Clip)
    gone = clips[5]
    tables.write(workspace.clips, Clip, [clip for clip in clips if clip != gone])
    found = {f.kind: f.what for f in look(workspace)}
    assert found == {"clip of the split is gone": gone.clip_id, "file without a row": gone.path}
    # A fetch at work has recorded the clip, and will list it when it ends.
    with LedgerWriter(workspace.ledger) as writer:
        done = Outcome(gone.clip_id, gone.video_id, OutcomeClass.DONE, "ok", "", 1, "2026-01-01", 0, "")
        writer.record([(done, gone)])
    assert set(kinds(workspace)) == {"clip of the split is gone"}


def test_files_without_rows_and_rows_without_files_are_found(
    cut: tuple[Workspace, tuple[SplitClip, ...]],
) -> None:
    workspace, _ = cut
    for name in ("clips/stray.mp4", "clips/shelf/stray.mp4", "clips/.half.tmp", "augmented/.tmp/half.mp4"):
        path = workspace.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    clip = tables.read(workspace.clips, Clip)[0]
    (workspace.root / clip.path).unlink()
    assert [(f.kind, f.what) for f in look(workspace)] == [
        ("file missing", clip.clip_id),
        ("file without a row", "clips/shelf/stray.mp4"),
        ("file without a row", "clips/stray.mp4"),
    ]


def test_every_kind_of_group_is_checked(
    cut: tuple[Workspace, tuple[SplitClip, ...]], dance: Callable[..., Ran]
) -> None:
    workspace, split_clips = cut
    one = next(c for c in split_clips if c.subset == "train")
    two = next(c for c in split_clips if c.subset == "val")
    add_groups(workspace, [Group(c.clip_id, "ann", "dancer") for c in (one, two)])
    # The same name under another kind is another group.
    add_groups(workspace, [Group(one.clip_id, "a", "venue"), Group(two.clip_id, "a", "piece")])
    changes = [Correction(c.clip_id, Field.GROUP, "", "the same room", "ann") for c in (one, two)]
    append_corrections(workspace, changes)
    ran = dance("audit", "--no-files")
    assert (ran.code, kinds(workspace)) == (3, {"corrected in two subsets": 1, "dancer in two subsets": 1})
    assert "dancer (2 clips)" in ran.out
    assert "1 in train, 1 in val" in " ".join(ran.out.split())


def test_a_lock_that_is_not_the_splits_is_found(cut: tuple[Workspace, tuple[SplitClip, ...]]) -> None:
    workspace, split_clips = cut
    write_lock(workspace.split_lock("s"), split_clips[1:])
    assert kinds(workspace) == {"lock is not the split's": 1}
    # One video under two group names.
    train = next(c for c in split_clips if c.subset == "train")
    leaky = [*split_clips, replace(train, clip_id=f"{train.clip_id}1", subset="test", group="other")]
    write_lock(workspace.split_lock("s"), leaky)
    assert kinds(workspace) == {"lock is not the split's": 1, "lock: video in two subsets": 1}


def test_a_lock_that_cannot_be_read_is_a_finding(cut: tuple[Workspace, tuple[SplitClip, ...]]) -> None:
    workspace, _ = cut
    workspace.split_lock("s").write_text("clip_id\n")
    assert kinds(workspace) == {"lock cannot be used": 1}
