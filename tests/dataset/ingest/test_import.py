from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dancecli.core.records import Clip, OutcomeClass, Segment
from dancecli.dataset.clips import read_imports
from dancecli.dataset.ingest import importer
from dancecli.dataset.ingest.import_folder import ImportSettings, import_folder
from dancecli.dataset.ingest.importer import ImportOptions
from dancecli.dataset.left_out import read_left_out
from dancecli.storage import ledger, tables
from dancecli.storage.workspace import Workspace
from dancecli.video.ffmpeg import run_ffmpeg

Dance = Callable[..., object]


def video(path: Path, seconds: float = 1, *, size: str = "96x64", rate: int = 10, more: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = f"testsrc2=size={size}:rate={rate}:duration={seconds}"
    run_ffmpeg(["-f", "lavfi", "-i", picture, *more.split(), str(path)])
    return path


def pictures(folder: Path, clip: str, count: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pattern = str(folder).replace("%", "%%") + f"/{clip}_%04d.jpg"
    run_ffmpeg(["-f", "lavfi", "-i", "testsrc2=size=64x48:rate=24", "-frames:v", str(count), pattern])


@pytest.fixture(scope="module")
def kinetics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("kinetics")
    video(root / "train" / "tap dancing" / "-b_dE4gHi0k_000010_000011.mp4")
    video(root / "val" / "tap_dancing" / "aBc1dEf2gHk_3_4.mkv", size="64x96")
    video(root / "val" / "zumba" / "aBc_00_1_10_5000_6000.mp4")
    video(root / "val" / "zumba" / "tooshortabc_000000_000009.mp4")
    video(root / "val" / "juggling balls" / "jjjjjjjjjjj_000000_000001.mp4")
    broken = root / "val" / "zumba" / "brokeNbr0kE_000001_000002.mp4"
    broken.write_bytes((root / "val" / "zumba" / "tooshortabc_000000_000009.mp4").read_bytes()[:3000])
    # The same clip under a second label.
    (root / "val" / "krumping").mkdir()
    shutil.copy(root / "val/zumba/aBc_00_1_10_5000_6000.mp4", root / "val/krumping/aBc_00_1_10_5_6.mp4")
    return root


def test_what_a_shard_beside_it_does_stays(dance, workspace: Workspace, tmp_path: Path) -> None:
    video(tmp_path / "in" / "zumba" / "aaaaaaaaaaa_0_1.mp4")
    beside = workspace.temp / "fetch-1of2" / "bbbbbbbbbbb" / "bbbbbbbbbbb_0_1000.mp4"
    killed = workspace.temp / "import" / "ccccccccccc_0_1000" / "ccccccccccc_0_1000.mp4"
    for path in (beside, killed):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"half")
    assert dance("import", str(tmp_path / "in")).code == 0
    assert (beside.exists(), killed.exists()) == (True, False)


def test_a_kinetics_download_is_imported_once(dance, workspace: Workspace, kinetics: Path) -> None:
    planned = dance("import", str(kinetics), "--dry-run", "--json")
    assert planned.code == 3
    assert planned.json["clips"] == {"krumping": 1, "tap dancing": 2, "zumba": 1}
    assert not workspace.clips.exists()

    ran = dance("import", str(kinetics), "--json")
    assert ran.code == 3
    assert ran.json["files"] == planned.json["files"]
    assert ran.json["given"] == 7 == sum(ran.json["clips"].values()) + sum(ran.json["left_out"].values())
    assert ran.json["left_out"] == {"no-label": 1, "unreadable": 1, "two-labels": 1}
    assert ran.json["layouts"] == {"kinetics": 3, "plain": 1}
    (conflict,) = ran.json["conflicts"]
    assert "aBc_00_1_10_5000_6000 is 'zumba' here and 'krumping' before" in conflict
    clips = {clip.clip_id: clip for clip in tables.read(workspace.clips, Clip)}
    # A file much shorter than its name says is no such clip, and is imported whole.
    (short,) = (clip for clip in clips.values() if clip.video_id.startswith("tooshortabc"))
    assert (short.start_ms, short.end_ms, short.num_frames, short.dataset) == (0, 1000, 10, "plain")
    del clips[short.clip_id]
    assert {i: (c.label, c.official_split, c.dataset) for i, c in clips.items()} == {
        "-b_dE4gHi0k_10000_11000": ("tap dancing", "train", "kinetics"),
        "aBc1dEf2gHk_3000_4000": ("tap dancing", "val", "kinetics"),
        "aBc_00_1_10_5000_6000": ("krumping", "val", "kinetics"),
    }
    normal, tall = clips["-b_dE4gHi0k_10000_11000"], clips["aBc1dEf2gHk_3000_4000"]
    assert (normal.width, normal.height, normal.num_frames, normal.source) == (384, 256, 10, "folder")
    assert (tall.width, tall.height) == (256, 384)
    assert normal.original_path == str(kinetics / "train/tap dancing/-b_dE4gHi0k_000010_000011.mp4")
    assert all((workspace.root / clip.path).stat().st_size == clip.num_bytes for clip in clips.values())
    assert ledger.latest(workspace.root)["brokeNbr0kE_1000_2000"].outcome is OutcomeClass.CORRUPT
    assert len(json.loads(tables.read_meta(workspace.segments)["labels"])) == 19
    assert len(tables.read(workspace.segments, Segment)) == 4

    before = workspace.clips.read_bytes()
    again = dance("import", str(kinetics), "--json")
    assert again.json["outcomes"]["new_ids"] == []
    assert again.json["there"] == {"krumping": 1, "tap dancing": 2, "zumba": 1}
    assert workspace.clips.read_bytes() == before


def test_a_long_recording_has_more_time(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video(tmp_path / "in" / "waltz" / "gala.mp4", 6)
    how = ImportSettings(tmp_path / "in", options=ImportOptions(workers=1, timeout_s=0))
    monkeypatch.setattr(importer, "_TIMES_LENGTH", 0)
    (row,) = import_folder(workspace, how).files
    assert (row.status, row.text) == (
        "timeout",
        "took longer than 0 s: run it again with fewer --workers, or cut the file into shorter ones",
    )
    monkeypatch.undo()
    assert import_folder(workspace, how).left_out == {}


def test_the_folder_of_an_import_is_remembered(dance, workspace: Workspace, tmp_path: Path) -> None:
    video(tmp_path / "in" / "zumba" / "a.mp4")
    flags = ("--label-pattern", "(zumba)", "--layout", "plain", "--link")
    assert dance("import", str(tmp_path / "in"), *flags).code == 0
    (words,) = read_imports(workspace)["plain"]
    assert words == [str(tmp_path / "in"), "--layout", "plain", "--label-pattern", "(zumba)", "--link"]


def test_a_path_is_stored_without_dots_and_found_however_it_is_written(
    dance, workspace: Workspace, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    film = video(own / "zumba" / "a.mp4")
    (own / "zumba" / "notes.txt").write_text("text")
    typed = os.path.relpath(own, workspace.root)
    assert ".." in typed
    assert dance("import", typed, "--link").code == 0
    [clip] = ledger.done_clips(workspace.root)
    assert clip.original_path == str(film)
    assert [row.path for row in read_left_out(workspace)] == [str(own / "zumba" / "notes.txt")]
    assert read_imports(workspace)["plain"] == [[str(own), "--link"]]
    for name in (str(film), f"{typed}/zumba/a.mp4"):
        assert f"made from {film}" in dance("history", name).out.replace("\n", "")
        assert clip.clip_id in dance("remove", name, "--reason", "asked", "--dry-run", "--json").out
    assert "not-a-video" in dance("history", f"{typed}/zumba/notes.txt").out


@pytest.mark.parametrize("harm", ["cut short", "emptied"])
def test_a_clip_outlives_its_source(dance, workspace: Workspace, tmp_path: Path, harm: str) -> None:
    source = video(tmp_path / "in" / "zumba" / "aBc1dEf2gHk_000010_000011.mp4")
    video(tmp_path / "in" / "zumba" / "mM1mM2mM3mM_000000_000001.mp4")
    assert dance("import", str(tmp_path / "in")).code == 0
    before = tables.read(workspace.clips, Clip)
    source.write_bytes(source.read_bytes()[:3000] if harm == "cut short" else b"")
    again = dance("import", str(tmp_path / "in"), "--json")
    assert (again.code, again.json["left_out"]) == (3, {"unreadable": 1})
    assert tables.read(workspace.clips, Clip) == before
    assert ledger.latest(workspace.root)["aBc1dEf2gHk_10000_11000"].outcome is OutcomeClass.DONE
    # Once its own file is gone, that of its source is why it is not there.
    workspace.clip("aBc1dEf2gHk_10000_11000").unlink()
    assert dance("import", str(tmp_path / "in")).code == 3
    assert [clip.video_id for clip in tables.read(workspace.clips, Clip)] == ["mM1mM2mM3mM"]


def test_a_linked_clip_is_the_file_itself(dance, workspace: Workspace, tmp_path: Path) -> None:
    original = video(tmp_path / "in" / "zumba" / "aBc1dEf2gHk_0_1.mp4")
    other = video(tmp_path / "in" / "zumba" / "mM1mM2mM3mM_0_1.mkv")
    original.chmod(0o600)
    assert dance("import", str(tmp_path / "in"), "--link").code == 0
    linked, made = workspace.clip("aBc1dEf2gHk_0_1000"), workspace.clip("mM1mM2mM3mM_0_1000")
    assert linked.samefile(original)
    assert original.stat().st_mode & 0o777 == 0o600
    assert made.read_bytes() != other.read_bytes()  # Matroska cannot go by the name of .mp4


def test_frames_become_a_clip_at_their_true_rate(dance, workspace: Workspace, tmp_path: Path) -> None:
    rgb = tmp_path / "100% dance" / "rgb"
    pictures(rgb / "tango", "-b_dE4gHi0k_952", 241)
    (rgb / "tango" / "-b_dE4gHi0k_952_0100.jpg").unlink()
    pictures(rgb / "waltz", "aBc1dEf2gHk_003", 121)
    for number in range(20, 60):
        (rgb / "waltz" / f"aBc1dEf2gHk_003_{number:04d}.jpg").unlink()
    ran = dance("import", str(rgb.parent), "--json")
    assert ran.code == 3
    assert ran.json["labels"] == ["tango", "waltz"]
    assert ran.json["labels_from"] == "the folders' names"
    assert ran.json["outcomes"]["reasons"] == {"frames-missing": 1}
    (clip,) = tables.read(workspace.clips, Clip)
    assert (clip.clip_id, clip.label, clip.dataset) == ("-b_dE4gHi0k_592000_602000", "tango", "lets-dance")
    assert (clip.num_frames, clip.fps_num, clip.fps_den, clip.height) == (240, 24, 1, 256)


def test_any_folder_per_class_will_do(dance, workspace: Workspace, tmp_path: Path) -> None:
    video(tmp_path / "in" / "belly_laughs" / "My Café #1.mov", 1.5)
    video(tmp_path / "in" / "knitting" / "2019" / "aBc1dEf2gHk.mp4")
    (tmp_path / "in" / "knitting" / "noise.mp4").write_bytes(b"no video")
    ran = dance("import", str(tmp_path / "in"), "--json", "--dry-run")
    assert ran.json["left_out"] == {"unreadable": 1}
    ran = dance("import", str(tmp_path / "in"), "--json")
    assert ran.code == 3
    assert ran.json["left_out"] == {"unreadable": 1}
    assert ran.json["labels"] == ["belly laughs", "knitting"]
    assert ran.json["outcomes"]["reasons"] == {"unreadable": 1}
    first, second = tables.read(workspace.clips, Clip)
    assert first.video_id.startswith("My-Cafe-1-")
    assert (first.end_ms, first.label, first.dataset) == (1500, "belly laughs", "plain")
    assert second.video_id.startswith("aBc1dEf2gHk-")
    attempts = len(
        ledger.history(workspace.root, next(k for k in ledger.latest(workspace.root) if "noise" in k))
    )
    dance("import", str(tmp_path / "in"))
    assert (
        attempts
        == 1
        == len(ledger.history(workspace.root, next(k for k in ledger.latest(workspace.root) if "noise" in k)))
    )


@pytest.mark.parametrize("name", [b"w\xe4lzer", b"two\nlines"])
def test_a_name_that_is_no_text_is_one_row(dance, workspace: Workspace, tmp_path: Path, name: bytes) -> None:
    source = video(tmp_path / "in" / "waltz" / "dance.mp4")
    folder = tmp_path / "in" / os.fsdecode(name)
    folder.mkdir()
    shutil.copy(source, folder / "other.mp4")
    ran = dance("import", str(tmp_path / "in"), "--json")
    assert ran.code == 3
    assert (ran.json["clips"], ran.json["left_out"]) == ({"waltz": 1}, {"name-not-text": 1})
    source.unlink()
    ran = dance("import", str(tmp_path / "in"), "--workspace", str(tmp_path / "other"))
    assert ran.code == 1
    assert "other.mp4: the name is not text in UTF-8" in ran.err


def test_a_folder_whose_path_is_no_text_is_shown_escaped(dance, workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"B\xe4nder")
    source = video(tmp_path / "waltz.mp4")
    (folder / "waltz").mkdir(parents=True)
    shutil.copy(source, folder / "waltz" / "a.mp4")
    (folder / "waltz" / "b.mp4").write_bytes(b"no video")
    (folder / "waltz" / "c.mp4").write_bytes(source.read_bytes()[:-9000])
    listed = "file,label,mood\na.mp4,waltz,x\nb.mp4,waltz,\nd.mp4,waltz,\n"
    (folder / os.fsdecode(b"l\xefst.csv")).write_text(listed)
    (folder / "groups.csv").write_text("file,dancer\na.mp4,ann\nz.mp4,bob\n")
    flags = ("--groups", str(folder / "groups.csv"), "--json")
    ran = dance("import", str(folder), *flags)
    assert (ran.code, ran.json["clips"]) == (3, {"waltz": 1})
    assert ran.json["left_out"] == {"not-a-video": 2, "unreadable": 2, "no-file": 1}
    assert "l\\xefst.csv: columns not used: 'mood'" in ran.json["notes"][0]
    (clip,) = tables.read(workspace.clips, Clip)
    assert clip.original_path == f"{tmp_path}/B\\xe4nder/waltz/a.mp4"
    assert "B\\xe4nder/waltz/b.mp4: left out" in dance("history", "b.mp4").out
    assert dance("import", str(folder)).code == 3


def test_the_workspace_s_own_labels_hold(dance, workspace: Workspace, tmp_path: Path) -> None:
    video(tmp_path / "in" / "knitting" / "aBc1dEf2gHk_0_1.mp4")
    video(tmp_path / "dances" / "zumba" / "aBc1dEf2gHk_0_1.mp4")
    assert dance("import", str(tmp_path / "in")).code == 0
    ran = dance("import", str(tmp_path / "dances"))
    assert ran.code == 1
    assert "none of its folders bears one of the 1 labels; it has 'zumba' (1)" in ran.err
    (tmp_path / "labels.txt").write_text("zumba\n")
    ran = dance("import", str(tmp_path / "dances"), "--labels", str(tmp_path / "labels.txt"))
    assert ran.code == 1
    assert "lacks the label 'knitting'" in ran.err


@pytest.mark.parametrize(
    ("made", "says"),
    [("", "there is no such folder"), ("in/", "holds no folder of clips"), ("in/a.mp4", "holds no folder")],
)
def test_a_folder_without_clips_is_said(dance, tmp_path: Path, made: str, says: str) -> None:
    if made:
        (tmp_path / "in").mkdir()
    if made.endswith("mp4"):
        (tmp_path / made).touch()
    ran = dance("import", str(tmp_path / "in"))
    assert ran.code == 1
    assert says in ran.err


def test_what_is_left_out_is_found_by_its_path(dance, workspace: Workspace, tmp_path: Path) -> None:
    source = video(tmp_path / "in" / "waltz" / "tape.MPG", more="-c:v mpeg2video", rate=25)
    (source.parent / "notes.txt").write_text("no video")
    (source.parent / "broken.mov").write_bytes(b"no video")
    (source.parent / "link.mp4").symlink_to(tmp_path / "nowhere")
    os.mkfifo(source.parent / "pipe.mp4")
    ran = dance("import", str(tmp_path / "in"))
    assert ran.code == 3
    assert "files given: 5 = 1 clip + 3 unreadable + 1 not-a-video" in ran.out
    assert "waltz/link.mp4: unreadable, is a link to nothing" in ran.err
    text = (workspace.root / "left-out.csv").read_text()
    assert [line.split(",")[:2] for line in text.splitlines()[1:]] == [
        [str(source.parent / name), reason]
        for name, reason in (
            ("broken.mov", "unreadable"),
            ("link.mp4", "unreadable"),
            ("notes.txt", "not-a-video"),
            ("pipe.mp4", "unreadable"),
        )
    ]
    (workspace.root / "left-out.csv").write_text(text + 'a,b,"c\n')
    ran = dance("history", "broken.mov")
    assert (ran.code, "left-out.csv:6: has a quotation mark that is not closed" in ran.err) == (1, True)
    (workspace.root / "left-out.csv").write_text(text)
    shown = dance("history", "broken.mov")
    assert (shown.code, f"{source.parent}/broken.mov: left out" in shown.out) == (0, True)
    assert f"made from {source}" in dance("history", "tape").out
    assert dance("history", "waltz/tape.MPG", "--json").json[0]["original_path"] == str(source)
    # What comes in later is in that file no more.
    (source.parent / "broken.mov").unlink()
    video(source.parent / "broken.mov", 2)
    dance("import", str(tmp_path / "in"))
    assert "broken.mov" not in (workspace.root / "left-out.csv").read_text()


def test_a_copy_in_a_later_import_is_known_by_its_name(dance, workspace: Workspace, tmp_path: Path) -> None:
    band = video(tmp_path / "in" / "waltz" / "Band.avi")
    video(tmp_path / "in" / "tango" / "b.avi", 2)
    copy = tmp_path / "more" / "waltz" / "Kopie von Band.avi"
    copy.parent.mkdir(parents=True)
    shutil.copy(band, copy)
    assert dance("import", str(tmp_path / "in")).code == 0
    # The same files by another way to their folder are no copies.
    assert dance("import", f"{tmp_path}/more/../in").code == 0
    assert not (workspace.root / "left-out.csv").exists()
    for _ in range(2):
        ran = dance("import", str(tmp_path / "more"), "--json")
        assert (ran.code, ran.json["there"], ran.json["left_out"]) == (0, {"waltz": 1}, {})
        assert (workspace.root / "left-out.csv").read_text().count("\n") == 2
    (clip_id,) = (row.clip_id for row in tables.read(workspace.clips, Clip) if row.label == "waltz")
    shown = dance("history", copy.name)
    assert shown.code == 0
    assert f"{clip_id}: on disk" in shown.out
    assert f"{copy}: left out of the import" in shown.out
    assert f"repeated, the same clip as {band}" in shown.out
    (tmp_path / "groups.csv").write_text(f"file,dancer\n{copy.name},ann\nb.avi,bob\n")
    ran = dance("split", "--ratios", "50/50", "--groups", str(tmp_path / "groups.csv"), "--json")
    assert ran.json["unknown_names"] == []
    ran = dance("remove", copy.name, "--reason", "asked", "--dry-run", "--json")
    assert ran.code == 0
    assert clip_id in ran.out


@pytest.mark.parametrize(
    ("flags", "says", "code"),
    [
        (("--label-pattern", "("), "--label-pattern '(' is not a regular expression", 2),
        (("--group-pattern", "(?P<"), "--group-pattern '(?P<' is not a regular expression", 2),
        (("--layout", "ucf"), "'ucf' is none of kinetics, ucf101", 2),
        (("--groups", "nowhere.csv"), "nowhere.csv: there is no such group file", 1),
        (("--labels", "nowhere.txt"), "nowhere.txt: label file not found", 1),
    ],
)
def test_a_wrong_flag_is_one_line(
    dance, tmp_path: Path, flags: tuple[str, ...], says: str, code: int
) -> None:
    video(tmp_path / "in" / "waltz" / "a.mp4")
    ran = dance("import", str(tmp_path / "in"), "--dry-run", *flags)
    assert ran.code == code
    assert says in " ".join(ran.err.replace("│", " ").split())
