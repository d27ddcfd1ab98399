"""The list of a folder: labels, groups and subsets of its files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dancecli.core.errors import InputError
from dancecli.dataset.ingest.folder_list import FolderList, find_list, read_list
from dancecli.dataset.ingest.folder_scan import FoundFile
from dancecli.dataset.ingest.import_plan import NamePatterns, label_files, rows_of_entries
from dancecli.sources.layouts import Layout, NamedFile


def test_a_list_names_label_groups_and_subset(tmp_path: Path) -> None:
    text = "File Name;Class;Dancer;group_level;notes;Split\na.mp4;waltz;ann;easy;good;Training\n"
    path = tmp_path / "list.csv"
    path.write_bytes((text + "sub\\b.mp4;tango;;;;\nsub\\b.mp4;tango;bob;;;\n\n").encode("utf-16"))
    listed = find_list(tmp_path)
    assert listed is not None
    one, other = listed.files["a.mp4"], listed.files["sub/b.mp4"]
    assert (one.row, one.labels, one.official_split) == (2, ("waltz",), "train")
    assert one.groups == (("dancer", "ann"), ("level", "easy"))
    assert (other.labels, other.groups) == (("tango",), (("dancer", "bob"),))
    assert "columns not used: 'notes' (a column of groups is named group_notes)" in listed.notes[0]
    # Without its folder or its suffix, a name that is there once is found as well.
    assert [listed.find(name) for name in ("a.mp4", "x/a.mp4", "a", "c.mp4")] == [
        "a.mp4",
        "a.mp4",
        None,
        None,
    ]


def test_other_tables_are_no_lists(tmp_path: Path) -> None:
    (tmp_path / "times.csv").write_text("label,youtube_id,time_start,time_end\nwaltz,a,0,1\n")
    (tmp_path / "empty.csv").write_text("\n")
    assert find_list(tmp_path) is None
    for name in ("one.csv", "two.tsv"):
        (tmp_path / name).write_text("file\tlabel\na.mp4\twaltz\n")
    with pytest.raises(InputError, match=r"several lists of files: one\.csv, two\.tsv"):
        find_list(tmp_path)


def test_two_labels_of_one_file_are_kept_apart(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("file,label\na.mp4,waltz\na.mp4,tango\n")
    listed = read_list(tmp_path / "list.csv")
    assert listed is not None
    assert listed.files["a.mp4"].labels == ("waltz", "tango")


@pytest.mark.parametrize(
    ("content", "row"),
    [
        ("file,label\na.mp4,waltz\nÜbung 1.mp4,waltz\n", 3),
        ("file;label\n\na.mp4;Danse française\n", 3),
        ("file,label,dancer\na.mp4,waltz,Zoë\n", 2),
        ("file,label,group_Größe\na.mp4,waltz,x\n", 1),
    ],
)
def test_what_is_no_text_is_named_before_the_work(tmp_path: Path, content: str, row: int) -> None:
    (tmp_path / "list.csv").write_text(content, encoding="cp1252")
    with pytest.raises(InputError, match=rf"list\.csv:{row}: is not UTF-8 text") as caught:
        find_list(tmp_path)
    assert caught.value.hint == "save the list as UTF-8 (in Excel: CSV UTF-8)"


def test_bytes_that_are_not_read_need_not_be_text(tmp_path: Path) -> None:
    content = "file,label,Größe\na.mp4,waltz,weiß\n"
    (tmp_path / "list.csv").write_text(content, encoding="cp1252")
    (tmp_path / "other.csv").write_text("Größe;Maß\nä;ö\n", encoding="cp1252")
    listed = find_list(tmp_path)
    assert listed is not None
    assert listed.files["a.mp4"].labels == ("waltz",)
    assert listed.notes[0].endswith(r"'Gr\udcf6\udcdfe' (a column of groups is named group_Gr\xf6\xdfe)")


def test_rows_end_outside_quotes_only(tmp_path: Path) -> None:
    rows = 'a.mp4,waltz,"one\ntwo"\nb\u2028c.mp4,tango,x\x0by\n'
    (tmp_path / "list.csv").write_text(f"\nfile,label,notes\n{rows}")
    listed = find_list(tmp_path)
    assert listed is not None
    assert {name: (one.row, one.labels) for name, one in listed.files.items()} == {
        "a.mp4": (4, ("waltz",)),
        "b\u2028c.mp4": (5, ("tango",)),
    }


@pytest.mark.parametrize(
    ("content", "row"),
    [
        ('file,label\na.mp4,"waltz\nb.mp4,tango\n', 2),
        ("file,label\na.mp4,tango\nb.mp4," + "x" * 200_000 + "\n", 3),
        ('file,label,"notes\na.mp4,waltz\n', 1),
        # Of a table that is no list, nothing is asked.
        ('id,mood\na.mp4,"waltz\n', None),
        ('id,"mood\na.mp4,waltz\n', None),
        ("x" * 200_000, None),
    ],
)
def test_a_list_that_is_no_csv_is_named_with_its_row(tmp_path: Path, content: str, row: int | None) -> None:
    (tmp_path / "list.csv").write_text(content)
    if row is None:
        assert find_list(tmp_path) is None
        return
    with pytest.raises(InputError, match=rf"list\.csv:{row}: "):
        find_list(tmp_path)


@pytest.mark.parametrize(
    ("above", "row"),
    [
        ("Gala 2024;;;\n", 3),
        ("sep=;\r\n", 3),
        ("# made by ann, 2024\n# file and label, as agreed\n", 4),
        ('sep=;\n\nGala 2024;;;\nof "May;;;\n', 6),
    ],
)
def test_a_header_need_not_be_the_first_line(tmp_path: Path, above: str, row: int) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"{above}file;label;dancer\n#1.mp4;waltz;ann\n", newline="")
    listed = find_list(tmp_path)
    assert listed is not None
    assert {name: (one.row, one.labels, one.groups) for name, one in listed.files.items()} == {
        "#1.mp4": (row, ("waltz",), (("dancer", "ann"),))
    }


def test_a_separator_that_is_stated_counts(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("sep=\t\nfile\tlabel\na, b.mp4\twaltz\n")
    (tmp_path / "other.csv").write_text("sep=;\nfile,label\na.mp4,waltz\n")
    listed = find_list(tmp_path)
    assert listed is not None
    assert (listed.name, list(listed.files)) == ("list.csv", ["a, b.mp4"])


def test_a_table_that_is_no_list_is_said(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("\n".join("12345") + "\nfile,label\na.mp4,waltz\n")
    said: list[str] = []
    assert find_list(tmp_path, on_other=said.append) is None
    assert said == [
        "table.csv is not read as a list: no row of its first five names the columns file and label"
    ]
    (tmp_path / "list.csv").write_text("# file,label\na.mp4,waltz\n")
    listed = find_list(tmp_path, on_other=said.append)
    assert (listed is not None, len(said)) == (True, 1)


def test_a_label_that_holds_the_separator_is_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text('file,label\na.mp4,"waltz, slow"\nb.mp4,tango,, \n')
    listed = find_list(tmp_path)
    assert listed is not None
    assert [one.labels for one in listed.files.values()] == [("waltz, slow",), ("tango",)]
    path.write_text("file,label\na.mp4,waltz, slow\n")
    with pytest.raises(InputError, match=r"list\.csv:2: has 3 cells, the header has 2") as caught:
        find_list(tmp_path)
    assert caught.value.hint == "quote cells that contain the separator"


def listed_of(tmp_path: Path, rows: str) -> FolderList:
    (tmp_path / "list.csv").write_text(f"file,label,split\n{rows}")
    listed = find_list(tmp_path)
    assert listed is not None
    return listed


def video(relative: str) -> FoundFile:
    named = NamedFile(Layout.PLAIN)
    return FoundFile(relative, Path(relative), named, digest=relative.encode().hex()[:12], length_ms=1000)


def test_a_name_that_several_files_have_names_none_of_them(tmp_path: Path) -> None:
    listed = listed_of(tmp_path, "x.mp4,waltz,\ny.mp4,tango,\nz,tango,\nb/w.mp4,waltz,\n")
    found = [
        video(name) for name in ("a/x.mp4", "b/x.mp4", "a/y.mp4", "b/y.mov", "z.mp4", "a/z.mp4", "b/w.mp4")
    ]
    files = {file.file.relative: file for file in label_files(found, listed, NamePatterns())}
    assert {name: file.labels for name, file in files.items() if not file.problem} == {
        "a/y.mp4": ("tango",),
        "z.mp4": ("tango",),
        "b/w.mp4": ("waltz",),
    }
    says = "list.csv:2 names 'x.mp4', and several files are called so: write its path below the folder there"
    assert {(files[name].problem, files[name].text) for name in ("a/x.mp4", "b/x.mp4")} == {
        ("name-not-unique", says)
    }
    assert files["a/z.mp4"].text == files["b/y.mov"].text == "list.csv does not name it"
    (entry,) = (one.row for one in rows_of_entries(listed, found))
    assert (entry.path, entry.status, entry.text) == ("x.mp4", "name-not-unique", says)


def test_what_is_no_video_does_not_stand_for_one_that_is_missing(tmp_path: Path) -> None:
    listed = listed_of(tmp_path, "clip1,waltz,\nclip2.mp4,tango,\nclip3,tango,\nnotes.txt,tango,\n")
    found = [
        replace(video(name), problem="not-a-video")
        for name in ("clip1.json", "clip2.jpg", "sub/clip3.jpg", "notes.txt")
    ]
    found += [video("clip3.mp4"), replace(video("clip4.mp4"), problem="unreadable")]
    rows = [one.row for one in rows_of_entries(listed, found)]
    assert [(row.path, row.status, row.text) for row in rows] == [
        ("clip1", "no-file", "list.csv:2 names it"),
        ("clip2.mp4", "no-file", "list.csv:3 names it"),
    ]


def test_two_subsets_of_one_file_are_said_with_both_rows(tmp_path: Path) -> None:
    listed = listed_of(tmp_path, "a.mp4,waltz,train\nb.mp4,waltz,\na.mp4,waltz,test\nb.mp4,waltz,val\n")
    (note,) = listed.notes
    assert note == (
        f"{tmp_path}/list.csv:4: puts 'a.mp4' into test, but one before (from row 2 on) into train, which "
        "counts: delete one"
    )
    assert {name: one.official_split for name, one in listed.files.items()} == {
        "a.mp4": "train",
        "b.mp4": "val",
    }
