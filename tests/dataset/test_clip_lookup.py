"""The clips that a list names: a row that gives a folder names a file in that folder, or none."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from dancecli.core.video_files import recording_id
from dancecli.dataset.clip_lookup import ClipLookup, NamedFile
from dancecli.dataset.groups import read_group_file


def lookup(*files: str, roots: tuple[str, ...] = ()) -> ClipLookup:
    """Index files, each of whose clips is called after its number."""
    return ClipLookup([NamedFile(f"c{i}_0_10", f"c{i}", file) for i, file in enumerate(files)], roots)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("waltz/01.mp4", True),
        ("waltz/01", True),
        ("01.mp4", True),
        ("01", True),
        ("/home/me/tapes/waltz/01.mp4", True),
        # Lists of another machine, and of one with more folders above.
        (r"D:\videos\waltz\01.mp4", True),
        ("/mnt/archive/waltz/01.mp4", True),
        ("./waltz/01.mp4", True),
        ("c0_0_10", True),
        ("anywhere/c0_0_10.mp4", True),
        ("c0", True),
        # Files that are not here.
        ("tango/01.mp4", False),
        (r"D:\videos\tango\01.mp4", False),
        ("/home/me/tapes/tango/01.mp4", False),
        ("waltz/2019/01.mp4", False),
        ("02.mp4", False),
        ("", False),
    ],
)
@pytest.mark.parametrize("roots", [("/home/me/tapes",), ()])
def test_a_folder_in_a_list_is_that_of_the_file(text: str, found: bool, roots: tuple[str, ...]) -> None:
    assert lookup("/home/me/tapes/waltz/01.mp4", roots=roots).find(text) == (("c0_0_10",) if found else ())


def test_what_lies_right_in_the_imported_folder_is_named_by_any_folder_that_is_not_here() -> None:
    files = ("/home/me/waltz/01.mp4", "/home/me/tango/02.mp4")
    index = lookup(*files, roots=("/home/me/waltz", "/home/me/tango"))
    assert index.find("/mnt/archive/01.mp4") == index.find("ApplyEyeMakeup/01.mp4") == ("c0_0_10",)
    assert index.find("tango/01.mp4") == ()


def test_the_folders_of_a_list_go_down_to_the_imported_one() -> None:
    index = lookup("/home/me/tapes/train/waltz/01.mp4", roots=("/home/me/tapes",))
    assert index.find("train/waltz/01.mp4") == index.find("waltz/01.mp4") == ("c0_0_10",)
    assert index.find("test/waltz/01.mp4") == ()
    assert index.find_anywhere("/data/upload/3/01.mp4") == ("c0_0_10",)


def test_the_file_of_a_recording_names_the_clips_that_were_cut_from_it() -> None:
    gala = recording_id("Gala Frühjahr 1994")
    cut = [NamedFile(f"{gala}_{start}_{start + 10}", gala, "") for start in (0, 10)]
    whole = NamedFile("g_0_10", "g", "/tapes/Gala Frühjahr 1994.avi")
    ids, both = tuple(clip.clip_id for clip in cut), ClipLookup([*cut, whole], ("/tapes",))
    index = ClipLookup([*cut, NamedFile("c0_0_10", "c0", "/tapes/waltz/01.mp4")], ("/tapes",))
    apart = unicodedata.normalize("NFD", "Gala Frühjahr 1994")
    for name in ("Gala Frühjahr 1994.mp4", apart, f"{apart}.MOV", "D:\\old\\Gala Frühjahr 1994.mp4", gala):
        assert index.find(name) == ids
    assert index.find("Gala Frühjahr 1995.mp4") == index.find("gala frühjahr 1994.mp4") == ()
    assert both.find("Gala Frühjahr 1994.avi") == (*ids, "g_0_10")
    assert both.find("tapes/Gala Frühjahr 1994.avi") == ("g_0_10",)


def test_the_row_of_a_file_that_is_not_here_gives_no_group(tmp_path: Path) -> None:
    index = lookup("/tapes/waltz/01.mp4", "/tapes/tango/02.mp4", roots=("/tapes",))
    path = tmp_path / "groups.csv"
    path.write_text("file,dancer\nwaltz/01.mp4,ann\ntango/01.mp4,bob\ntango/02.mp4,bob\n")
    given = read_group_file(path, index)
    assert {(row.clip_id, row.group) for row in given.rows} == {("c0_0_10", "ann"), ("c1_0_10", "bob")}
    assert given.unknown == ("tango/01.mp4",)


def test_a_name_of_files_in_several_folders_groups_them_all_and_is_said(tmp_path: Path) -> None:
    files = (
        "waltz/01.mp4",
        "tango/01.mp4",
        "tango/02.mp4",
        "tango/02.avi",
        "cam/a_c01_b.avi",
        "c2/a_c02_b.avi",
    )
    index = lookup(*(f"/tapes/{file}" for file in files), roots=("/tapes",))
    path = tmp_path / "groups.csv"
    path.write_text("file,dancer\n01.mp4,ann\n01.mp4,bob\n02,cleo\na_cAll_b,dora\n")
    given = read_group_file(path, index)
    assert {row.clip_id for row in given.rows if row.group == "bob"} == {"c0_0_10", "c1_0_10"}
    assert given.notes == (
        f"{path}: 2 clips in several folders share 1 name of the list, so each of them has the groups of its "
        "name: '01.mp4'; to mean one file, write its path, such as tango/01.mp4",
    )
    path.write_text("file,dancer\nwaltz/01.mp4,ann\ntango/01.mp4,bob\n01.mp4,\n")
    assert read_group_file(path, index).notes == ()


def test_equal_files_in_several_folders_are_one_clip(tmp_path: Path) -> None:
    files = [NamedFile("c0_0_10", "c0", f"/tapes/{folder}/01.mp4") for folder in ("waltz", "tango")]
    path = tmp_path / "groups.csv"
    path.write_text("file,dancer\n01.mp4,ann\n")
    assert read_group_file(path, ClipLookup(files, ("/tapes",))).notes == ()


def test_the_path_that_means_one_file_is_as_long_as_it_must_be() -> None:
    index = lookup("/a/tapes/waltz/01.mp4", "/b/tapes/waltz/01.mp4", roots=("/a", "/b"))
    path = index.path_of_one("waltz/01.mp4")
    assert path == "a/tapes/waltz/01.mp4"
    assert index.find(path) == ("c0_0_10",)
