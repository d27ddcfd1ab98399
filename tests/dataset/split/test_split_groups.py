"""What a split keeps whole, what it leaves out, and what it refuses."""

from __future__ import annotations

import shlex
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.builders import Ran, fill, make_clip

from dancecli.core.errors import InputError, UsageError, WorkspaceError
from dancecli.core.records import NEAR_DUPLICATE, Clip, ClipHashes, Group, SplitClip
from dancecli.dataset.clip_lookup import ClipLookup
from dancecli.dataset.groups import add_groups, read_group_file, read_groups
from dancecli.dataset.split.diff import diff_splits
from dancecli.dataset.split.official import official_subsets
from dancecli.dataset.split.split import SplitSettings, split
from dancecli.storage import tables
from dancecli.storage.content import parse_conditions
from dancecli.storage.lockfile import write_lock
from dancecli.storage.workspace import Workspace

LABELS = ("tap dancing", "zumba")
RATIOS = "60/20/20"


def imported(i: int, label: str, **changed: object) -> Clip:
    """A clip that was imported from a file of its own: its name tells no source video."""
    video = f"take-{i:03d}-0a1b2c3d"
    facts = {"video_id": video, "clip_id": f"{video}_0_10000", "start_ms": 0, "end_ms": 10_000}
    path = {"source": "folder", "path": f"clips/{video}.mp4", "original_path": f"/tapes/{label}/{video}.avi"}
    return make_clip(i, label, **{**facts, **path, "sha256": f"{i:064x}", **changed})


def groups_of(i: int) -> int:
    return i % 15


@pytest.fixture
def archive(workspace: Workspace) -> Workspace:
    """60 imported clips; the fifteen dancers have four each."""
    fill(workspace, [imported(i, LABELS[i % 2]) for i in range(60)], LABELS)
    return workspace


def torn(clips: tuple[SplitClip, ...], group: Callable[[int], object]) -> int:
    """Count the groups with clips in several subsets, by the number in a clip's name."""
    subsets: dict[object, set[str]] = {}
    for clip in clips:
        subsets.setdefault(group(int(clip.clip_id.split("-")[1])), set()).add(clip.subset)
    return sum(len(found) > 1 for found in subsets.values())


def write_groups(path: Path, key: str = "file", sep: str = ",") -> Path:
    names = {
        "file": lambda i: f"{LABELS[i % 2]}/take-{i:03d}-0a1b2c3d.avi",
        "clip_id": lambda i: f"take-{i:03d}-0a1b2c3d_0_10000",
        "video": lambda i: f"take-{i:03d}-0a1b2c3d",
    }
    rows = [sep.join((names[key](i), f"d{groups_of(i)}", "")) for i in range(60)]
    path.write_text("\n".join([sep.join((key, "Dancer", "venue")), *rows]) + "\n")
    return path


@pytest.mark.parametrize(("key", "sep"), [("file", ","), ("clip_id", ";"), ("video", "\t")])
def test_a_group_file_keeps_its_groups_whole(archive: Workspace, tmp_path: Path, key: str, sep: str) -> None:
    assert torn(split(archive, SplitSettings(ratios=RATIOS, name="none")).clips, groups_of) > 0
    path = write_groups(tmp_path / "groups.csv", key, sep)
    settings = SplitSettings(ratios=RATIOS, groups=(path,), name="dancers")
    assert torn(split(archive, settings, dry_run=True).clips, groups_of) == 0
    assert read_groups(archive) == []
    found = split(archive, settings)
    assert torn(found.clips, groups_of) == 0
    assert (found.known.kinds, found.known.unknown) == ({"dancer": 60}, False)
    # The groups are stored: the next split knows them.
    again = split(archive, SplitSettings(ratios=RATIOS, name="again"))
    assert torn(again.clips, groups_of) == 0
    # They are not in the clips, so the split is made again from its lock.
    assert found.flags == ("--lock", "dancers.lock.csv", "--name", "dancers")


def test_columns_of_one_name_bind_both(archive: Workspace, tmp_path: Path) -> None:
    path, name = tmp_path / "groups.csv", "take-000-0a1b2c3d"
    path.write_text(f"video,dancer,Dancer\n{name},ann,bob\n")
    split(archive, SplitSettings(ratios=RATIOS, groups=(path,)))
    ann, bob = (Group(f"{name}_0_10000", dancer, "dancer") for dancer in ("ann", "bob"))
    assert read_groups(archive) == [ann, bob]


def test_several_files_of_one_kind_bind_together(archive: Workspace, tmp_path: Path) -> None:
    first, second = tmp_path / "leaders.csv", tmp_path / "followers.csv"
    names = [f"take-{i:03d}-0a1b2c3d" for i in range(60)]
    first.write_text("video,dancer\n" + "".join(f"{name},d{i % 10}\n" for i, name in enumerate(names)))
    second.write_text("video,dancer\n" + "".join(f"{name},e\n" for name in names[:2]))
    found = split(archive, SplitSettings(ratios=RATIOS, groups=(first, second)))
    assert torn(found.clips, lambda i: i % 10) == 0
    assert {row.group for row in read_groups(archive) if row.clip_id.startswith(names[0])} == {"d0", "e"}


def test_a_name_of_a_mac_is_that_of_a_list(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "Größe é.mp4") for form in ("NFC", "NFD"))
    for stored, listed in ((apart, composed), (composed, apart)):
        lookup = ClipLookup([imported(0, "zumba", original_path=f"/tapes/{stored}")])
        assert len(lookup.find(listed)) == 1


@pytest.mark.parametrize("stored_first", [False, True])
def test_spellings_of_one_name_are_one_group(
    archive: Workspace, dance: Callable[..., Ran], tmp_path: Path, stored_first: bool
) -> None:
    names = [f"take-{i:03d}-0a1b2c3d" for i in range(60)]
    composed, apart = (unicodedata.normalize(form, "Jürgen") for form in ("NFC", "NFD"))
    spelled = (composed, composed, apart, "JÜRGEN", "jürgen ")
    lines = [f"{name};{spelled[i % 5] if i < 20 else f'd{i}'}\n" for i, name in enumerate(names)]
    if stored_first:
        first = tmp_path / "first.csv"
        first.write_text("video;Tänzer\n" + "".join(lines[:3]))
        assert dance("split", "--groups", str(first), "--name", "first").code == 0
        lines = lines[3:]
    path = tmp_path / "groups.csv"
    path.write_text(unicodedata.normalize("NFD", "video;Tänzer\n") + "".join(lines))
    ran = dance("split", "--groups", str(path), "--ratios", RATIOS, "--name", "s")
    assert ran.code == 0
    assert "tänzer: 'JÜRGEN' is read as 'Jürgen', 'jürgen' is read as 'Jürgen'" in ran.err
    assert torn(tuple(tables.read(archive.split("s"), SplitClip)), lambda i: i < 20 or i) == 0
    assert len({(g.kind, g.group) for g in read_groups(archive)}) == 41
    assert "is read as" not in dance("split", "--ratios", RATIOS, "--name", "t").err


def test_spellings_that_are_stored_apart_are_joined(archive: Workspace, dance: Callable[..., Ran]) -> None:
    rows = [
        Group(clip.clip_id, ("Max", "Max", "MAX")[i % 3], "dancer") for i, clip in enumerate(clips(archive))
    ]
    tables.write(archive.groups, Group, sorted(rows[:12]))
    ran = dance("split", "--ratios", RATIOS, "--name", "s")
    assert (ran.code, "dancer: 'MAX' is read as 'Max'" in ran.err) == (0, True)
    assert torn(tuple(tables.read(archive.split("s"), SplitClip)), lambda i: i < 12 or i) == 0
    assert {g.group for g in read_groups(archive)} == {"Max"}


@pytest.mark.parametrize(
    "above",
    [
        "Dancers of the gala;\n",
        "sep=;\n",
        "sep=;\r\nVideo\n\n",
        "# who dances\n",
        "Dancers, 1994\n\nas of May\n",
    ],
)
@pytest.mark.parametrize("header", ["file;dancer", "Dancer;File Name"])
def test_a_title_may_stand_above_the_header(tmp_path: Path, above: str, header: str) -> None:
    path, name = tmp_path / "groups.csv", "take-000-0a1b2c3d"
    cells = (f"{name}.avi", "ann") if header.startswith("file") else ("ann", f"{name}.avi")
    path.write_text(f"{above}{header}\n{';'.join(cells)}\n")
    given = read_group_file(path, ClipLookup([imported(0, "zumba")]))
    assert (given.rows, given.unknown) == ((Group(f"{name}_0_10000", "ann", "dancer"),), ())


def test_a_list_without_a_column_of_clips_says_which_columns_it_has(tmp_path: Path) -> None:
    path = tmp_path / "groups.csv"
    path.write_text("sep=;\nDatei;Tänzer\na.mp4;ann\n")
    with pytest.raises(InputError, match=r":2: has no column that names clips; .* has 'Datei', 'Tänzer'"):
        read_group_file(path, ClipLookup([]))


@pytest.mark.parametrize("column", ["label", "Split", "subset"])
def test_the_columns_of_a_folder_s_list_are_no_groups(tmp_path: Path, column: str) -> None:
    path = tmp_path / "groups.csv"
    path.write_text(f"file,{column},dancer\na.mp4,waltz,ann\n")
    with pytest.raises(InputError, match=f":1: has the column '{column.lower()}', which would keep"):
        read_group_file(path, ClipLookup([]))


def test_a_kind_that_joins_all_is_left_out(
    archive: Workspace, dance: Callable[..., Ran], tmp_path: Path
) -> None:
    path = tmp_path / "groups.csv"
    lines = [f"take-{i:03d}-0a1b2c3d,d{groups_of(i)},hall\n" for i in range(60)]
    path.write_text("video,dancer,venue\n" + "".join(lines))
    add_groups(archive, read_group_file(path, ClipLookup(clips(archive))).rows)
    refused = dance("split", "--folds", "5")
    assert "--without-groups KIND (kinds: dancer, venue)" in " ".join(refused.err.split())
    refused = dance("split", "--folds", "5", "--without-groups", "place")
    assert (refused.code, "the kinds are dancer, venue" in refused.err) == (1, True)
    ran = dance("split", "--folds", "5", "--without-groups", "venue", "--json")
    assert (ran.code, ran.json["split"]) == (0, "folds5-without-venue")
    assert ran.json["known_groups"]["kinds"] == {"dancer": 60}
    assert {row.kind for row in read_groups(archive)} == {"dancer", "venue"}
    made = tables.read(archive.split("folds5-without-venue"), SplitClip)
    assert torn(tuple(replace(clip, subset=clip.folds) for clip in made), groups_of) == 0
    flags = shlex.split(tables.read_meta(archive.split("folds5-without-venue"))["split.flags"])
    flags[1] = str(archive.split_lock("folds5-without-venue"))
    assert dance("split", *flags, "--json").json["changed"] is False
    assert dance("audit", "--no-files", "--split", "folds5-without-venue").code == 0


def test_groups_of_all_kinds_are_joined(archive: Workspace) -> None:
    ids = [f"take-{i:03d}-0a1b2c3d_0_10000" for i in range(60)]
    rows = [Group(ids[i], f"hall{i // 20}", "venue") for i in range(20)]
    rows += [Group(ids[19], "ann", "dancer"), Group(ids[30], "ann", "dancer")]
    rows += [Group(ids[30], "g", NEAR_DUPLICATE), Group(ids[31], "g", NEAR_DUPLICATE)]
    add_groups(archive, rows)
    subset_of = {clip.clip_id: clip.subset for clip in split(archive, SplitSettings(ratios=RATIOS)).clips}
    assert len({subset_of[ids[i]] for i in (*range(20), 30, 31)}) == 1


def test_clips_of_equal_bytes_are_in_one_subset_without_dedup(workspace: Workspace) -> None:
    fill(workspace, [imported(i, LABELS[i % 2], sha256=f"{i % 20:064x}") for i in range(60)], LABELS)
    assert torn(split(workspace, SplitSettings(ratios=RATIOS)).clips, lambda i: i % 20) == 0


@pytest.mark.parametrize(
    ("text", "row", "what"),
    [
        ("dancer,venue\nann,hall\n", 1, "has no column that names clips"),
        ("file\na.avi\n", 1, "has no named column of groups"),
        ("file,\na.avi,x\n", 1, "has no named column of groups"),
        ("file,near-duplicate\na.avi,x\n", 1, "which is dance dedup's"),
        ("file,dancer\na.avi,x,y\n", 2, "has 3 cells, the header has 2"),
        ("file,dancer,file\na.avi,x,b.avi\n", 1, "has two columns 'file'"),
    ],
)
def test_a_wrong_group_file_is_named_with_its_row(
    archive: Workspace, tmp_path: Path, text: str, row: int, what: str
) -> None:
    path = tmp_path / "groups.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        split(archive, SplitSettings(groups=(path,)))
    assert caught.value.message.startswith(f"{path}:{row}: ")
    assert what in caught.value.message


def test_what_is_not_known_is_said(archive: Workspace, dance: Callable[..., Ran], tmp_path: Path) -> None:
    ran = dance("split", "--ratios", "60/20/20", "--name", "a")
    assert (ran.code, "no groups are known but what the file names tell" in ran.err) == (0, True)
    assert "dance dedup was not run" in ran.err
    audited = dance("audit", "--no-files")
    assert audited.code == 0
    assert "no groups are known but what the file names tell" in audited.err
    assert "no findings: no leak in what is known" in audited.out
    path = write_groups(tmp_path / "groups.csv")
    path.write_text(path.read_text() + "nowhere.avi,d1,\n")
    add_groups(archive, [Group(clip.clip_id, clip.video_id, NEAR_DUPLICATE) for clip in clips(archive)[:50]])
    ran = dance("split", "--ratios", "60/20/20", "--name", "b", "--groups", str(path), "--json")
    assert "no groups are known" not in ran.err
    assert "dance dedup is older than 10 of the 60 clips" in ran.err
    assert "group files: 1 name without a clip: 'nowhere.avi'" in ran.err
    assert ran.json["known_groups"]["kinds"] == {"dancer": 60}


def test_names_of_no_clip_are_said(archive: Workspace, dance: Callable[..., Ran], tmp_path: Path) -> None:
    path = write_groups(tmp_path / "groups.csv")
    path.write_text(path.read_text() + "".join(f"no{i}.avi,d1,\n" for i in range(12)))
    ran = dance("split", "--groups", str(path))
    names = ", ".join(f"'no{i}.avi'" for i in range(10))
    assert f"group files: 12 names without a clip: {names} and 2 more" in ran.err
    assert ran.code == 0


def test_dedup_is_older_than_a_clip_whose_file_changed(archive: Workspace) -> None:
    add_groups(archive, [Group(clip.clip_id, clip.video_id, NEAR_DUPLICATE) for clip in clips(archive)])
    bits = (b"0" * 32, b"0" * 32, b"0" * 8, b"0" * 8)
    hashes = [ClipHashes(clip.clip_id, clip.sha256, *bits) for clip in clips(archive)]
    tables.write(archive.hashes, ClipHashes, hashes)
    assert split(archive, SplitSettings(ratios=RATIOS, name="a")).known.not_compared == 0
    fill(
        archive,
        [replace(clip, sha256="f" * 64) if i < 3 else clip for i, clip in enumerate(clips(archive))],
        LABELS,
    )
    assert split(archive, SplitSettings(ratios=RATIOS, name="b")).known.not_compared == 3


def clips(workspace: Workspace) -> list[Clip]:
    return tables.read(workspace.clips, Clip)


def test_clips_whose_file_is_gone_are_not_counted(archive: Workspace, dance: Callable[..., Ran]) -> None:
    for clip in clips(archive)[:20]:
        (archive.root / clip.path).unlink()
    ran = dance("split", "--json")
    assert (ran.code, sum(ran.json["counts"].values()), len(ran.json["gone"])) == (3, 40, 20)
    assert "20 clips are in no subset: the file is lost" in ran.err
    lines = [
        len((archive.annotations("full") / f"{s}.txt").read_text().splitlines()) for s in ran.json["counts"]
    ]
    assert lines == list(ran.json["counts"].values())
    for clip in clips(archive)[20:]:
        (archive.root / clip.path).unlink()
    with pytest.raises(WorkspaceError, match="the files of all 60 clips are gone"):
        split(archive, SplitSettings())


def test_clips_are_dropped_by_their_content(workspace: Workspace, dance: Callable[..., Ran]) -> None:
    measured = [
        imported(
            i,
            LABELS[i % 2],
            black_share=0.51 if i < 5 else 0.5,
            frozen_share=0.95 if i < 3 or 10 <= i < 13 else 0.9,
            bars_share=0.2 if i == 20 else 0.08,
            damaged_frames=int(i == 21),
        )
        for i in range(60)
    ]
    fill(workspace, measured, LABELS)
    ran = dance("split", "--drop", "static, black", "--json", "--ratios", "60/20/20")
    assert {name: len(ids) for name, ids in ran.json["dropped"].items()} == {"static": 6, "black": 5}
    assert (ran.json["split"], sum(ran.json["counts"].values())) == ("full-60-20-20-no-static-no-black", 52)
    assert "dropped: 6 static clips" in ran.err
    every = split(workspace, SplitSettings(drop=("black", "static", "letterboxed", "damaged")))
    assert len(every.clips) == 50
    audited = dance("audit", "--no-files", "--split", every.name, "--json")
    assert audited.json["content"] == {}
    split(workspace, SplitSettings(name="all"))
    audited = dance("audit", "--no-files", "--split", "all", "--json")
    assert {k: len(v) for k, v in audited.json["content"].items()} == {
        "black": 5,
        "damaged": 1,
        "letterboxed": 1,
        "static": 6,
    }
    counted = dance("stats", "--json", "--split", "all").json["content"]
    assert counted == {"black": 5, "damaged": 1, "letterboxed": 1, "static": 6}
    with pytest.raises(UsageError, match="'boring' is not a condition"):
        parse_conditions("boring")


@pytest.mark.parametrize("what", ["video", "checksum", "group"])
def test_a_lock_that_leaks_by_what_is_known_is_refused(archive: Workspace, what: str) -> None:
    found = list(split(archive, SplitSettings(ratios=RATIOS, name="a")).clips)
    one = next(i for i, clip in enumerate(found) if clip.subset == "train")
    other = next(i for i, clip in enumerate(found) if clip.subset == "test")
    here = clips(archive)
    if what == "video":
        # Neither is here: their ids alone tell that they are of one video.
        found[one] = replace(found[one], clip_id="gone-video_0_10", group="g1")
        found[other] = replace(found[other], clip_id="gone-video_10_20", group="g2")
    elif what == "checksum":
        found[other] = replace(found[other], sha256=found[one].sha256)
    else:
        add_groups(archive, [Group(found[i].clip_id, "ann", "dancer") for i in (one, other)])
    lock = archive.root / "leaky.lock.csv"
    write_lock(lock, found)
    words = {"video": "source video gone-video", "checksum": "file with checksum", "group": "group of this"}
    with pytest.raises(InputError, match=f"{words[what]}.*the split would leak"):
        split(archive, SplitSettings(lock=lock))
    assert here == clips(archive)


def test_a_split_of_other_settings_is_never_replaced(archive: Workspace, dance: Callable[..., Ran]) -> None:
    split(archive, SplitSettings(name="bench", ratios=RATIOS))
    lock = archive.split_lock("bench").read_bytes()
    refused = dance("split", "--name", "bench", "--ratios", "60/20/20", "--seed", "3")
    assert refused.code == 1
    assert "was made with other settings; it and its lock bench.lock.csv are kept" in refused.err
    assert "--name" in refused.err
    assert archive.split_lock("bench").read_bytes() == lock
    # The same settings follow the clips, and the lock before is kept.
    tables.write(archive.clips, Clip, clips(archive)[:50])
    ran = dance("split", "--name", "bench", "--ratios", "60/20/20")
    assert (ran.code, "its lock before is bench." in ran.err) == (0, True)
    kept = list(archive.split_lock("bench").parent.glob("bench.*.lock.csv"))
    assert [p.read_bytes() for p in kept] == [lock]
    assert len(archive.split_lock("bench").read_bytes()) < len(lock)


@pytest.mark.parametrize("broken", ["", "{", "[]", '{"schema": 99}', "\xff"])
def test_a_broken_run_record_does_not_end_split(
    archive: Workspace, dance: Callable[..., Ran], broken: str
) -> None:
    assert dance("split", "--name", "s").code == 0
    record = archive.run("r") / "run.json"
    record.parent.mkdir(parents=True)
    record.write_bytes(broken.encode("latin-1"))
    tables.write(archive.clips, Clip, clips(archive)[:50])
    ran = dance("split", "--name", "s", "--json")
    assert (ran.code, ran.json["changed"]) == (0, True)
    assert "run 'r' was not checked for using split 's'" in ran.err


def test_two_splits_are_compared(archive: Workspace, dance: Callable[..., Ran]) -> None:
    first = split(archive, SplitSettings(name="a", ratios=RATIOS)).clips
    changed = [replace(c, sha256="f" * 64) if i == 0 else c for i, c in enumerate(clips(archive)[:50])]
    tables.write(archive.clips, Clip, changed)
    second = split(archive, SplitSettings(name="b", ratios=RATIOS, seed=1)).clips
    found = diff_splits(archive, "a", str(archive.split_lock("b")))
    gone = {i for ids in found.only_first.values() for i in ids}
    subset_of = {clip.clip_id: clip.subset for clip in second}
    assert (gone, found.only_second) == ({c.clip_id for c in first[50:]}, {})
    assert found.moved == tuple(
        (c.clip_id, c.subset, subset_of[c.clip_id]) for c in first[:50] if c.subset != subset_of[c.clip_id]
    )
    assert found.changed == (first[0].clip_id,)
    assert found.num_same == 50 - len({i for i, *_ in found.moved} | {first[0].clip_id})
    ran = dance("split", "--diff", "a", "b")
    assert (ran.code, f"{found.num_same} clips are the same in a and b" in ran.out) == (0, True)
    assert dance("split", "--diff", "a", "b", "--json").json["changed"] == [first[0].clip_id]
    assert dance("split", "--diff", "a", "nix").code == 1


def official(workspace: Workspace, names: list[str], split_of: Callable[[int], str] = lambda _: "") -> None:
    made = [
        imported(i, LABELS[i % 2], original_path=f"/data/{name}", official_split=split_of(i))
        for i, name in enumerate(names)
    ]
    fill(workspace, made, LABELS)


UCF = [f"TaiChi/v_TaiChi_g{g:02d}_c{c:02d}.avi" for g in range(1, 11) for c in (1, 2)]
HMDB = [f"dance/movie{m}_dance_u_nm_np1_ba_goo_{c}.avi" for m in range(10) for c in (0, 1)]
AIST = [f"gBR_sBM_c{c:02d}_d04_mBR{m}_ch{m:02d}.mp4" for m in range(10) for c in (1, 2)]


def subsets_of(clips: tuple[SplitClip, ...]) -> dict[int, str]:
    return {int(clip.clip_id.split("-")[1]): clip.subset for clip in clips}


def test_the_official_lists_of_ucf101_are_kept(workspace: Workspace, dance: Callable[..., Ran]) -> None:
    official(workspace, UCF)
    folder = workspace.root / "ucfTrainTestlist"
    folder.mkdir()
    (folder / "classInd.txt").write_text("1 TaiChi\n")
    (folder / "trainlist01.txt").write_text("".join(f"{name} 1\r\n" for name in UCF[6:18]))
    (folder / "testlist01.txt").write_text("".join(f"{name}\r\n" for name in UCF[:6]))
    ran = dance("split", "--keep-official", str(folder), "--ratios", "90/10", "--name", "u", "--json")
    assert (ran.code, ran.json["counts"]) == (0, {"train": 12, "val": 0, "test": 6})
    assert len(ran.json["not_official"]) == 2
    assert "2 clips are not in the official lists" in ran.err
    found = subsets_of(tuple(tables.read(workspace.split("u"), SplitClip)))
    assert {i for i, subset in found.items() if subset == "test"} == set(range(6))


def test_the_official_lists_of_hmdb51_are_kept(workspace: Workspace) -> None:
    official(workspace, HMDB)
    path = workspace.root / "dance_test_split1.txt"
    code = [1] * 12 + [2] * 6 + [0] * 2
    path.write_text("".join(f"{Path(n).name} {c} \n" for n, c in zip(HMDB, code, strict=True)))
    settings = SplitSettings(keep_official=True, official_lists=(path,), ratios="90/10")
    found = split(workspace, settings)
    assert subsets_of(found.clips) == {i: "train" if i < 12 else "test" for i in range(18)}
    assert (len(found.left_out.not_official), found.torn, found.moved) == (2, {}, 0)
    path.write_text("a.avi 3\n")
    with pytest.raises(InputError, match=r"dance_test_split1.txt:1: is not NAME.avi 0, 1 or 2"):
        split(workspace, settings)


def test_the_official_lists_of_aist_name_all_cameras_and_have_three_subsets(workspace: Workspace) -> None:
    official(workspace, AIST)
    lists = []
    for subset, takes in (("train", range(6)), ("val", range(6, 8)), ("test", range(8, 10))):
        path = workspace.root / f"pose_{subset}.txt"
        path.write_text("".join(f"gBR_sBM_cAll_d04_mBR{m}_ch{m:02d}\n" for m in takes))
        lists.append(path)
    found = split(workspace, SplitSettings(keep_official=True, official_lists=tuple(lists)))
    assert found.counts == {"train": 12, "val": 4, "test": 4}
    assert subsets_of(found.clips) == {
        i: "train" if i < 12 else "val" if i < 16 else "test" for i in range(20)
    }


@pytest.mark.parametrize(
    ("name", "subset"),
    [
        *(("trainlist01", "train"), ("testlist03", "test"), ("pose_train", "train"), ("cross_val", "val")),
        *(("festival_train", "train"), ("latest_train", "train"), ("Contest-Test", "test")),
        *(("poseTrain", "train"), ("TrainSplit1", "train"), ("TESTING", "test"), ("validation_list", "val")),
        *(("festival", None), ("latest", None), ("trains", None), ("trainval", None), ("interval2", None)),
    ],
)
def test_the_subset_in_a_file_s_name_is_a_word(workspace: Workspace, name: str, subset: str | None) -> None:
    official(workspace, UCF)
    path = workspace.root / f"{name}.txt"
    path.write_text(f"{UCF[0]}\n")
    lookup = ClipLookup(tables.read(workspace.clips, Clip))
    if subset is None:
        with pytest.raises(InputError, match="does not say which subset it lists"):
            official_subsets([path], lookup)
        return
    assert set(official_subsets([path], lookup).values()) == {subset}


def test_a_plain_csv_is_an_official_list_and_torn_groups_are_said(
    workspace: Workspace, dance: Callable[..., Ran]
) -> None:
    official(workspace, UCF)
    path = workspace.root / "official.csv"
    # The second clip of each of the first three groups is on the other side.
    words = ["testing" if i < 6 and i % 2 == 0 else "training" for i in range(20)]
    rows = (f"{Path(n).stem};{w}\n" for n, w in zip(UCF, words, strict=True))
    path.write_text("file;split\n" + "".join(rows))
    ids = [clip.clip_id for clip in clips(workspace)]
    add_groups(workspace, [Group(clip_id, f"g{i // 2}", "recording") for i, clip_id in enumerate(ids)])
    ran = dance("split", "--keep-official", str(path), "--ratios", "90/10", "--json")
    assert (ran.json["counts"], ran.json["moved_from_official"]) == ({"train": 14, "val": 0, "test": 6}, 3)
    assert "3 groups are in several official subsets" in ran.err
    assert "moves 3 clips out of their official subset" in ran.err
    path.write_text("file,split\na.avi,holdout\n")
    refused = dance("split", "--keep-official", str(path))
    assert (refused.code, "split 'holdout' is not train, val or test" in refused.err) == (1, True)


def test_keep_official_alone_means_the_annotation_lists(
    workspace: Workspace, dance: Callable[..., Ran]
) -> None:
    official(workspace, UCF, lambda i: "val" if i < 6 else "train")
    for words in (
        ("--keep-official",),
        ("--keep-official", "--name", "x"),
        ("--name", "y", "--keep-official"),
    ):
        ran = dance("split", "--ratios", "90/10", "--json", *words)
        assert (ran.code, ran.json["counts"]) == (0, {"train": 14, "val": 0, "test": 6})


def test_a_list_that_gives_two_subsets_is_refused(workspace: Workspace) -> None:
    official(workspace, UCF)
    lists = []
    for name in ("trainlist01.txt", "testlist02.txt"):
        lists.append(workspace.root / name)
        lists[-1].write_text(f"{UCF[0]} 1\n")
    with pytest.raises(InputError, match=r"testlist02.txt:1: puts .* in test, which is in train already"):
        split(workspace, SplitSettings(keep_official=True, official_lists=tuple(lists)))
    other = workspace.root / "clips.txt"
    other.write_text("a\n")
    with pytest.raises(InputError, match="does not say which subset it lists"):
        split(workspace, SplitSettings(keep_official=True, official_lists=(other,)))
