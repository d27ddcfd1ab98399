"""The list of a folder: labels, groups and subsets of its files."""

from __future__ import annotations

from pathlib import Path

import pytest

from dancecli.core.errors import InputError
from dancecli.dataset.ingest.folder_list import find_list, read_list


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
