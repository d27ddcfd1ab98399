"""Trees of known datasets: labels and groups come from their names, and a split tears no true group."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from dancecli.core.records import Clip, SplitClip
from dancecli.core.video_files import recording_id
from dancecli.dataset.groups import read_groups
from dancecli.dataset.ingest.import_folder import ImportResult, ImportSettings, import_folder
from dancecli.dataset.ingest.importer import ImportOptions
from dancecli.dataset.split.split import SplitSettings, split
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace
from dancecli.video.ffmpeg import run_ffmpeg

NUM = 18


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Short videos, no two alike."""
    folder = tmp_path_factory.mktemp("videos")
    made = []
    for number in range(NUM):
        source = f"testsrc2=size=48x32:rate=5:duration=1,hue=h={number * 20}"
        run_ffmpeg(["-f", "lavfi", "-i", source, str(folder / f"{number}.mp4")])
        made.append((folder / f"{number}.mp4").read_bytes())
    return made


def tree(root: Path, names: list[str], clips: list[bytes]) -> Path:
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(clips[number])
    return root


def imported(workspace: Workspace, folder: Path, **how: object) -> ImportResult:
    options = ImportOptions(workers=2)
    return import_folder(workspace, ImportSettings(folder, options=options, **how))  # type: ignore[arg-type]


def torn(workspace: Workspace, group_of: Callable[[str], str]) -> list[str]:
    """True groups with clips in several subsets of a split, by the files' own names."""
    split(workspace, SplitSettings(ratios="60/20/20", name="s"))
    stems = {clip.clip_id: Path(clip.original_path).stem for clip in tables.read(workspace.clips, Clip)}
    subsets = defaultdict(set)
    for row in tables.read(workspace.split("s"), SplitClip):
        subsets[group_of(stems[row.clip_id])].add(row.subset)
    assert len({subset for found in subsets.values() for subset in found}) == 3
    return [group for group, found in subsets.items() if len(found) > 1]


UCF = [
    f"{label}/v_{label}_g{group:02d}_c{number:02d}.mp4"
    for label in ("Waltz", "Salsa")
    for group in (1, 2, 3)
    for number in (1, 2, 3)
]
HMDB = [
    f"{label}/{source_video}_{label}_{part}_cm_np1_fr_med_{number}.mp4"
    for label, source_videos in (
        ("dance", ("April_09", "Film_X_02", "#7_x")),
        ("hip_hop", ("May_10", "Show_1", "#8_y")),
    )
    for source_video, part in zip(source_videos, "ufh", strict=True)
    for number in (0, 1, 12)
]
AIST = [
    f"g{g}_sBM_c{c:02d}_{d}_m{g}0_ch01.mp4"
    for g, dancers in (("BR", ("d04", "d05", "d06")), ("LO", ("d13", "d14", "d15")))
    for d in dancers
    for c in (1, 2, 9)
]
KINETICS = [
    f"train/{label}/{video}B1cD2eF3gA_{start:06d}_{start + 1:06d}.mp4"
    for label, videos in (("tap dancing", "abc"), ("zumba", "def"))
    for video in videos
    for start in (0, 10, 20)
]
LETS_DANCE = [
    f"{label}/{video}B1cD2eF3gA_{minute}{second:02d}.mp4"
    for label, videos in (("tango", "abc"), ("waltz", "def"))
    for video in videos
    for minute, second in ((0, 5), (1, 30), (12, 59))
]


@pytest.mark.parametrize(
    ("names", "layout", "labels", "group_of"),
    [
        pytest.param(UCF, "ucf101", ["Salsa", "Waltz"], lambda s: s.rpartition("_")[0], id="ucf101"),
        pytest.param(HMDB, "hmdb51", ["dance", "hip hop"], lambda s: s[:5], id="hmdb51"),
        pytest.param(AIST, "aist", ["break", "lock"], lambda s: s.split("_")[3], id="aist"),
        pytest.param(KINETICS, "kinetics", ["tap dancing", "zumba"], lambda s: s[:11], id="kinetics"),
        pytest.param(LETS_DANCE, "letsdance", ["tango", "waltz"], lambda s: s[:11], id="letsdance"),
    ],
)
def test_no_true_group_is_torn(
    workspace: Workspace,
    tmp_path: Path,
    clips: list[bytes],
    names: list[str],
    layout: str,
    labels: list[str],
    group_of: Callable[[str], str],
) -> None:
    result = imported(workspace, tree(tmp_path / "in", names, clips))
    assert (result.layouts, result.left_out) == ({layout: NUM}, {})
    assert sorted(result.clips) == labels
    assert torn(workspace, group_of) == []


def test_patterns_lists_and_files_give_groups(
    workspace: Workspace, tmp_path: Path, clips: list[bytes]
) -> None:
    names = [
        f"{i:02d} {('ann', 'bob', 'cyd', 'dan', 'eve', 'fay')[i % 6]} hall{i % 2}.mp4" for i in range(NUM)
    ]
    folder = tree(tmp_path / "in", names, clips)
    rows = [f"{name},{('waltz', 'tango')[i % 2]},d{i % 6}" for i, name in enumerate(names)]
    (folder / "list.csv").write_text("file,label,dancer\n" + "\n".join(rows))
    (tmp_path / "groups.csv").write_text(f"file,venue\n{names[0]},hall0\nnobody.mp4,hall1\n")
    result = imported(
        workspace, folder, group_patterns=(r"(?P<person>[a-z]{3}) hall",), groups=tmp_path / "groups.csv"
    )
    first = next(row for row in result.files if row.path == names[0])
    assert first.groups == (("dancer", "d0"), ("person", "ann"), ("venue", "hall0"))
    assert result.labels == ("tango", "waltz")
    assert result.left_out == {"not-a-video": 1}
    assert "1 name of no clip in the folder: 'nobody.mp4'" in result.notes[-1]
    assert torn(workspace, lambda stem: stem.split()[1]) == []


def test_spellings_of_one_name_are_one_group(
    workspace: Workspace, tmp_path: Path, clips: list[bytes]
) -> None:
    composed, apart = (unicodedata.normalize(form, "Jürgen") for form in ("NFC", "NFD"))
    names = ["a Max.mp4", "b MAX.mp4", "c Max.mp4", "d max.mp4"]
    folder = tree(tmp_path / "in", names, clips)
    dancers = zip(names, (composed, apart, "JÜRGEN", composed), strict=True)
    rows = [f"{name},waltz,{dancer}" for name, dancer in dancers]
    (folder / "list.csv").write_text("file,label,dancer\n" + "\n".join(rows))
    result = imported(workspace, folder, group_patterns=(r" (?P<person>\w+)",))
    assert {g.group for g in read_groups(workspace)} == {"Max", composed}
    assert "dancer: 'JÜRGEN' is read as 'Jürgen'" in result.notes
    assert "person: 'MAX' is read as 'Max', 'max' is read as 'Max'" in result.notes
    (tmp_path / "later.csv").write_text(f"file,dancer\n{names[1]},JÜRGEN\n")
    again = imported(workspace, folder, groups=tmp_path / "later.csv")
    assert "dancer: 'JÜRGEN' is read as 'Jürgen'" in again.notes
    assert {g.group for g in read_groups(workspace)} == {"Max", composed}


def test_groups_that_are_replaced_are_said(workspace: Workspace, tmp_path: Path, clips: list[bytes]) -> None:
    folder = tree(tmp_path / "in", ["a.mp4", "b.mp4"], clips)
    (folder / "list.csv").write_text("file,label,dancer\na.mp4,waltz,Jan\nb.mp4,tango,Ann\n")
    result = imported(workspace, folder)
    clip = result.files[0].clip_id
    assert result.notes == ()
    later = tmp_path / "later.csv"

    def said(rows: str, *, dry_run: bool = False) -> list[str]:
        later.write_text(f"file,dancer\n{rows}")
        made = split(workspace, SplitSettings(ratios="50/50", groups=(later,)), dry_run=dry_run)
        return [note for note in made.notes if "replaced" in note]

    assert said("b.mp4,ANN\nb.mp4,Cem\n") == []
    keep = "; list a clip with all its names to keep them"
    note = f"dancer of 1 clip replaced: Jan by Zoe (clip {clip}){keep}"
    assert said("a.mp4,Zoe\n", dry_run=True) == said("a.mp4,Zoe\n") == [note]
    assert said("a.mp4,Zoe\n") == []
    for dry_run in (True, False):
        (note,) = imported(workspace, folder, dry_run=dry_run).notes
        assert note.startswith("dancer of 2 clips replaced: ")
        assert f"Zoe by Jan (clip {clip})" in note
        assert "ANN and Cem by Ann (clip" in note or "Ann and Cem by Ann (clip" in note
    assert imported(workspace, folder).notes == ()


def test_a_second_file_of_a_clip_gives_it_its_groups(
    workspace: Workspace, tmp_path: Path, clips: list[bytes]
) -> None:
    names = ["waltz/a.mp4", "tango/b.mp4", "waltz/z ann.mp4"]
    folder = tree(tmp_path / "in", names, [clips[0], clips[1], clips[0]])
    (tmp_path / "groups.csv").write_text("file,venue\nwaltz/z ann.mp4,hall\n")
    pattern = r" (?P<dancer>ann)"
    result = imported(workspace, folder, groups=tmp_path / "groups.csv", group_patterns=(pattern,))
    assert result.left_out == {"repeated": 1}
    assert result.notes == ("2 of 2 clips match no --group-pattern",)
    clip = result.files[1].clip_id
    assert clip == result.files[2].clip_id
    assert {(g.kind, g.group) for g in read_groups(workspace) if g.clip_id == clip} == {
        ("dancer", "ann"),
        ("venue", "hall"),
    }
    later = tmp_path / "later.csv"
    later.write_text("file,piece\nz ann.mp4,gala\n")
    assert split(workspace, SplitSettings(ratios="50/50", groups=(later,))).left_out.unknown_names == ()


def test_a_file_from_another_folder_is_the_clip_that_is_there(
    workspace: Workspace, tmp_path: Path, clips: list[bytes]
) -> None:
    names = ["waltz/a.mp4", "tango/b.mp4"]
    first = imported(workspace, tree(tmp_path / "in", names, clips))
    again = imported(
        workspace, tree(tmp_path / "moved" / "deeper", ["waltz/renamed.mp4", "tango/c.mp4"], clips)
    )
    assert (first.clips, again.there) == ({"tango": 1, "waltz": 1}, {"tango": 1, "waltz": 1})
    assert len(tables.read(workspace.clips, Clip)) == 2


def test_an_import_one_level_too_high_is_warned_about(
    workspace: Workspace, tmp_path: Path, clips: list[bytes]
) -> None:
    folder = tree(tmp_path / "in", ["videos/waltz/a.mp4", "videos/tango/b.mp4"], clips)
    result = imported(workspace, folder, dry_run=True)
    assert result.labels == ("videos",)
    assert "every clip has the label 'videos'" in result.notes[0]
    assert f"dance import {folder / 'videos'}" in result.notes[0]
    below = imported(workspace, folder / "videos", dry_run=True)
    assert (below.labels, below.notes) == (("tango", "waltz"), ())


def test_own_folders_are_not_thrown_out_for_one_known_name(
    workspace: Workspace, tmp_path: Path, clips: list[bytes]
) -> None:
    names = [f"{label}/{number}.mp4" for number, label in enumerate(("salsa dancing", "waltz", "kizomba"))]
    result = imported(workspace, tree(tmp_path / "in", names, clips), dry_run=True)
    assert result.clips == {"kizomba": 1, "salsa dancing": 1, "waltz": 1}
    assert "not all labels are among the 19 default ones" in result.notes[0]


def test_a_misspelt_label_is_told_with_the_nearest_name(
    workspace: Workspace, tmp_path: Path, clips: list[bytes]
) -> None:
    folder = tree(tmp_path / "in", ["waltz/a.mp4", "kizomba/b.mp4"], clips)
    (tmp_path / "labels.txt").write_text("waltz\nkizzomba\n")
    result = imported(workspace, folder, labels=tmp_path / "labels.txt", dry_run=True)
    assert result.left_out == {"no-label": 1}
    assert result.notes == ("labels that no clip has: 'kizzomba' (did you mean 'kizomba'?)",)


def test_a_folder_that_cannot_be_read_is_a_row(
    workspace: Workspace, tmp_path: Path, clips: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    folder = tree(tmp_path / "in", ["waltz/a.mp4", "tango/b.mp4"], clips)
    scandir = os.scandir

    def refusing(path: str) -> object:
        if str(path).endswith("tango"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    result = imported(workspace, folder, dry_run=True)
    assert (result.clips, result.left_out) == ({"waltz": 1}, {"unreadable": 1})
    assert result.files[-1].text == "the folder cannot be read: Permission denied"


def test_a_linked_folder_names_no_label_of_what_lies_here(
    workspace: Workspace, tmp_path: Path, clips: list[bytes]
) -> None:
    folder = tree(tmp_path / "in", ["zouk/a.mp4", "zouk/b.mp4", "tango/c.mp4"], clips)
    (folder / "a_link").symlink_to("zouk")
    result = imported(workspace, folder, dry_run=True)
    assert (result.clips, result.left_out, result.complete) == (
        {"tango": 1, "zouk": 2},
        {"repeated": 1},
        True,
    )
    assert (result.files[-1].path, result.files[-1].text) == ("a_link", "the same folder as zouk")


def test_two_recordings_of_one_name_are_two_clips(
    workspace: Workspace, tmp_path: Path, clips: list[bytes]
) -> None:
    names = [f"salsa/{day}/salsa_class_003.mp4" for day in ("monday", "friday")]
    result = imported(workspace, tree(tmp_path / "in", names, clips), dry_run=True)
    assert (result.clips, result.layouts, result.left_out) == ({"salsa": 2}, {"plain": 2}, {})


def test_only_equal_bytes_are_repeated(workspace: Workspace, tmp_path: Path, clips: list[bytes]) -> None:
    names = [f"salsa/{folder}/dQw4w9WgXcQ_3_4.mp4" for folder in "abc"]
    result = imported(workspace, tree(tmp_path / "in", names, [clips[0], clips[0], clips[1]]), dry_run=True)
    assert (result.left_out, result.complete) == ({"repeated": 1, "other-bytes": 1}, False)
    assert result.files[2].text.startswith("its name is that of the clip of salsa/a/dQw4w9WgXcQ_3_4.mp4")
    assert result.files[2].clip_id == ""


def test_folders_that_are_made_one_label_are_said(
    workspace: Workspace, tmp_path: Path, clips: list[bytes]
) -> None:
    names = ["Salsa/a.mp4", "salsa_/b.mp4", "salsa_/c.mp4", "turn -90/d.mp4", "turn +90/e.mp4", "गरबा/f.mp4"]
    result = imported(workspace, tree(tmp_path / "in", [*names, "गरबी/g.mp4"], clips), dry_run=True)
    assert result.clips == {"salsa": 3, "turn +90": 1, "turn -90": 1, "गरबा": 1, "गरबी": 1}
    (note,) = result.notes
    assert note.startswith("'Salsa': read as the label 'salsa' in another spelling")


def test_labels_that_are_spelled_otherwise_than_the_set_are_said(
    workspace: Workspace, tmp_path: Path, clips: list[bytes]
) -> None:
    (tmp_path / "labels.txt").write_text("tango argentino\nWiener Walzer\n")
    listed = tree(tmp_path / "listed", ["a.mp4", "b.mp4", "c.mp4", "d.mp4"], clips)
    (listed / "files.csv").write_text(
        "file,label\na.mp4,TANGO_ARGENTINO\nb.mp4,wiener walzer\nc.mp4,wiener walzer\nd.mp4,Wiener Walzer\n"
    )
    said = (
        "labels spelled otherwise: wiener walzer -> Wiener Walzer (2), TANGO_ARGENTINO -> tango argentino (1)"
    )
    for dry_run in (True, False):
        result = imported(workspace, listed, labels=tmp_path / "labels.txt", dry_run=dry_run)
        assert said in result.notes
    # Now by the workspace's set; a folder's `_` stands for a blank.
    names = ["tango_argentino/e.mp4", "Wiener-walzer/f.mp4"]
    result = imported(workspace, tree(tmp_path / "folders", names, clips[4:]), dry_run=True)
    assert result.notes == ("labels spelled otherwise: Wiener-walzer -> Wiener Walzer (1)",)


def test_names_that_differ_by_their_unicode_form_are_one_label(
    workspace: Workspace, tmp_path: Path, clips: list[bytes]
) -> None:
    import unicodedata

    names = [f"{unicodedata.normalize(form, 'Šokačko kolo')}/{form}.mp4" for form in ("NFC", "NFD")]
    result = imported(workspace, tree(tmp_path / "in", names, clips), dry_run=True)
    assert result.clips == {"Šokačko kolo": 2}


def test_letters_that_ascii_lacks_are_written_in_ids_as_those_of_recordings_are(
    workspace: Workspace, tmp_path: Path, clips: list[bytes]
) -> None:
    stems = ["Straße", "łódź", "Großer Ball - 1987"]
    result = imported(
        workspace, tree(tmp_path / "in", [f"waltz/{s}.mp4" for s in stems], clips), dry_run=True
    )
    readable = {Path(row.path).stem: row.clip_id.rsplit("-", 1)[0] for row in result.files}
    assert readable == {"Straße": "Strasse", "łódź": "lodz", "Großer Ball - 1987": "Grosser-Ball-1987"}
    assert recording_id("Großer Ball - 1987").startswith("Grosser-Ball-1987-")


def test_a_name_of_files_in_two_folders_is_said_by_import_and_split(
    workspace: Workspace, tmp_path: Path, clips: list[bytes]
) -> None:
    folder = tree(tmp_path / "in", ["waltz/01.mp4", "tango/01.mp4", "tango/02.mp4"], clips)
    groups = tmp_path / "groups.csv"
    groups.write_text("file,dancer\n01.mp4,ann\n")
    said = "2 clips in several folders share 1 name of the list"
    (note,) = (note for note in imported(workspace, folder, groups=groups).notes if "name" in note)
    assert said in note
    assert len(read_groups(workspace)) == 2
    (note, *_) = split(workspace, SplitSettings(ratios="50/50", groups=(groups,))).notes
    assert said in note
    # As the note says.
    groups.write_text(f"file,dancer\n{note.rpartition(' ')[2]},bob\nwaltz/01.mp4,ann\n")
    (note,) = imported(workspace, folder, groups=groups).notes
    assert note.startswith("dancer of 1 clip replaced: ann by bob (clip 01-")
    assert sorted(row.group for row in read_groups(workspace)) == ["ann", "bob"]
