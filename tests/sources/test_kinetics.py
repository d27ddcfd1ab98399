"""Annotation lists: every published form, and one clear line for what is wrong."""

import json
import os
from pathlib import Path

import pytest

from dancecli.core.errors import InputError
from dancecli.core.labels import DEFAULT_LABELS, LabelSet
from dancecli.core.records import Segment
from dancecli.sources.kinetics import read_lists

LABELS = LabelSet(("tap dancing", "zumba"))
HEADER = "label,youtube_id,time_start,time_end,split\n"
TAP = Segment("-5qSkAhM6Y0", 205_000, 215_000, "tap dancing", "val", "list")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "list.csv"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(HEADER + "tap dancing,-5qSkAhM6Y0,205,215,val\n", id="k700"),
        pytest.param(HEADER + "tap dancing,-5qSkAhM6Y0,205,215,validate\n", id="k700-2020"),
        pytest.param(
            'label,youtube_id,time_start,time_end,split,is_cc\n"tap dancing",-5qSkAhM6Y0,205,215,val,0\n',
            id="k400",
        ),
        pytest.param("\ufeff" + HEADER + "tap dancing,-5qSkAhM6Y0,205,215,val\n", id="bom"),
        pytest.param((HEADER + "tap dancing,-5qSkAhM6Y0,205,215,val\n").replace("\n", "\r\n"), id="crlf"),
        pytest.param(HEADER + "tap dancing,-5qSkAhM6Y0,205.000,2.15e2,val", id="fractions-no-last-newline"),
        pytest.param(
            "split,time_end,time_start,youtube_id,label\nval,215,205,-5qSkAhM6Y0,tap dancing\n", id="order"
        ),
        pytest.param(HEADER + "\ntap dancing,-5qSkAhM6Y0,205,215,val\n\n", id="empty-lines"),
        pytest.param(HEADER + "cooking egg,../x,a,b,c\ntap dancing,-5qSkAhM6Y0,205,215,val\n", id="others"),
    ],
)
def test_every_csv_form(path: Path, text: str) -> None:
    path.write_bytes(text.encode())
    assert read_lists([path], LABELS).segments == [TAP]


def test_json_form(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text(
        json.dumps(
            {
                "-5qSkAhM6Y0": {
                    "annotations": {"label": "tap dancing", "segment": [205.0, 215.0]},
                    "duration": 10.0,
                    "subset": "validate",
                    "url": "https://www.youtube.com/watch?v=-5qSkAhM6Y0",
                },
                "abcdefghijk": {
                    "annotations": {"label": "cooking egg", "segment": [0, 1]},
                    "subset": "train",
                },
            }
        )
    )
    listing = read_lists([path], LABELS)
    assert listing.segments == [TAP]
    assert listing.num_rows == 2


def test_no_split_column_and_no_split(path: Path) -> None:
    path.write_text("label,youtube_id,time_start,time_end\nzumba,a,0,10\n")
    assert read_lists([path], LABELS).segments == [Segment("a", 0, 10_000, "zumba", "", "list")]


def test_repeated_rows_collapse_and_two_labels_are_told(path: Path) -> None:
    rows = ["zumba,a,0,10,val", "zumba,a,0,10,val", "tap dancing,a,0,10,val", "zumba,a,10,20,val"]
    path.write_text(HEADER + "\n".join(rows))
    listing = read_lists([path], LABELS)
    assert [(s.clip_id, s.label) for s in listing.segments] == [
        ("a_0_10000", "zumba"),
        ("a_10000_20000", "zumba"),
    ]
    assert listing.num_repeated == 1
    assert listing.conflicts == [f"{path}:4: a_0_10000 is 'tap dancing' here and 'zumba' before"]


def test_several_lists_are_one(tmp_path: Path) -> None:
    for name, rows in (("one", "zumba,a,0,10,train\n"), ("two", "zumba,a,0,10,train\nzumba,b,0,10,train\n")):
        (tmp_path / f"{name}.csv").write_text(HEADER + rows)
    listing = read_lists([tmp_path / "one.csv", tmp_path / "two.csv"], LABELS)
    assert [(s.video_id, s.dataset) for s in listing.segments] == [("a", "one"), ("b", "two")]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("zumba,a,ten,20,val", "list.csv:3: time_start 'ten' is not a number of seconds"),
        ("zumba,a,0,nan,val", "list.csv:3: time_end 'nan' is not a number of seconds"),
        ("zumba,a,0,inf,val", "list.csv:3: time_end 'inf' is not a number of seconds"),
        ("zumba,a,-1,20,val", "list.csv:3: time_start '-1' is not a number of seconds"),
        ("zumba,a,20,10,val", "list.csv:3: time_end 10 is not after time_start 20"),
        ("zumba,a,20,20,val", "list.csv:3: time_end 20 is not after time_start 20"),
        ("zumba,a/b,0,10,val", "list.csv:3: video id 'a/b' must consist of"),
        ("zumba,..,0,10,val", "list.csv:3: video id '..' must consist of"),
        ("zumba,,0,10,val", "list.csv:3: video id '' must consist of"),
        ("zumba,a b,0,10,val", "list.csv:3: video id 'a b' must consist of"),
        ("zumba,a\0b,0,10,val", r"list.csv:3: video id 'a\x00b' must consist of"),
        ('zumba,"a\nb",0,10,val', r"list.csv:4: video id 'a\nb' must consist of"),
        ("zumba,a,0,10,holdout", "list.csv:3: split 'holdout' is not train, val, validate or test"),
        ("zumba,a,0", "list.csv:3: has 3 columns where 5 are named"),
        ('zumba,"a,0,10,val', "list.csv:3: is not CSV"),
    ],
)
def test_a_wrong_row_is_named(path: Path, row: str, said: str) -> None:
    path.write_text(f"{HEADER}tap dancing,ok,0,10,val\n{row}\n", newline="")
    with pytest.raises(InputError) as caught:
        read_lists([path], LABELS)
    assert said in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        (HEADER, "has no rows"),
        ("youtube_id,time_start,time_end,split\na,0,10,test\n", "list.csv:1: has no column 'label'"),
        ("label,youtube_id,time_start\nzumba,a,0\n", "list.csv:1: lacks the column 'time_end'"),
        ("just some text\n", "list.csv:1: lacks the column 'label'"),
        (
            HEADER + "cooking egg,a,0,10,val\n" * 2,
            "none of its 2 rows has one of the 2 labels; it has 'cooking egg' (2)",
        ),
    ],
)
def test_a_wrong_list_is_named(path: Path, text: str, said: str) -> None:
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_lists([path], LABELS)
    assert said in caught.value.message
    assert caught.value.hint


def test_not_utf8_not_there_not_a_file(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes(HEADER.encode() + b"zumba,\xe9,0,10,val\n")
    for name, said in (
        ("latin.csv", "latin.csv:2: is not UTF-8"),
        ("absent.csv", "no such"),
        (".", "is a folder"),
    ):
        with pytest.raises(InputError, match=said):
            read_lists([tmp_path / name], LABELS)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ("{", "list.json:1: is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"a": {"annotations": {"segment": [0, 1]}}}', "entry 'a' lacks a label or a segment"),
        (
            '{"a": {"annotations": {"label": "zumba", "segment": [3, 1]}}}',
            "entry 'a': time_end 1 is not after",
        ),
        ('{"a": {"annotations": {"label": ["zumba"], "segment": [0, 1]}}}', "none of its 1 rows"),
        (
            f'{{"a": {{"annotations": {{"label": "zumba", "segment": [0, 1{"0" * 400}]}}}}}}',
            "entry 'a': time_end 1000",
        ),
        (f'{{"a": 1{"0" * 5000}}}', "is not JSON of a list"),
        ("[" * 100_000, "is not JSON of a list"),
        ('{"../a": {"annotations": {"label": "zumba", "segment": [0, 1]}}}', "entry '../a': video id"),
    ],
)
def test_wrong_json(tmp_path: Path, document: str, said: str) -> None:
    path = tmp_path / "list.json"
    path.write_text(document)
    with pytest.raises(InputError) as caught:
        read_lists([path], LABELS)
    assert said in caught.value.message


def test_the_name_of_a_list_is_told_by_its_end_whatever_its_letters(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"list-\xe4.JSON")
    path.write_text('{"a": {"annotations": {"label": "zumba", "segment": [0, 1]}}}')
    (segment,) = read_lists([path], LABELS).segments
    assert segment.dataset == "list-?"


def test_the_labels_that_ship_are_the_19() -> None:
    assert len(LabelSet.read(DEFAULT_LABELS)) == 19
