"""Annotation lists: every published form, and one clear line for what is wrong."""

import gzip
import json
import os
import unicodedata
from dataclasses import replace
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
        pytest.param("sep=,\r\n" + HEADER + "tap dancing,-5qSkAhM6Y0,205,215,val\n", id="excel"),
        pytest.param(
            "# a list\nsep=;\n" + (HEADER + "tap dancing,-5qSkAhM6Y0,205,215,val\n").replace(",", ";"),
            id="excel-semicolon",
        ),
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
    assert (listing.num_repeated, listing.num_rows) == (2, 4)
    assert listing.conflicts == [f"{path}:4: a_0_10000 is 'tap dancing' here and 'zumba' before"]


def test_several_lists_are_one(tmp_path: Path) -> None:
    for name, rows in (("one", "zumba,a,0,10,train\n"), ("two", "zumba,a,0,10,train\nzumba,b,0,10,train\n")):
        (tmp_path / f"{name}.csv").write_text(HEADER + rows)
    listing = read_lists([tmp_path / "one.csv", tmp_path / "two.csv"], LABELS)
    assert [(s.video_id, s.dataset) for s in listing.segments] == [("a", "one"), ("b", "two")]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("zumba,a,ten,20,val", "list.csv:3: time_start 'ten' is not a time in seconds or HH:MM:SS"),
        ("zumba,a,0,nan,val", "list.csv:3: time_end 'nan' is not a time in seconds or HH:MM:SS"),
        ("zumba,a,0,inf,val", "list.csv:3: time_end 'inf' is not a time in seconds or HH:MM:SS"),
        ("zumba,a,-1,20,val", "list.csv:3: time_start '-1' is not a time in seconds or HH:MM:SS"),
        ("zumba,a,20,10,val", "list.csv:3: time_end '10' is not after time_start '20'"),
        ("zumba,a,20,20,val", "list.csv:3: time_end '20' is not after time_start '20'"),
        ("zumba,a/b,0,10,val", "list.csv:3: video id 'a/b' must consist of"),
        ("zumba,..,0,10,val", "list.csv:3: video id '..' must consist of"),
        ("zumba,,0,10,val", "list.csv:3: video id '' must consist of"),
        ("zumba,a b,0,10,val", "list.csv:3: video id 'a b' must consist of"),
        ("zumba,a\0b,0,10,val", r"list.csv:3: video id 'a\x00b' must consist of"),
        ('zumba,"a\nb",0,10,val', r"list.csv:4: video id 'a\nb' must consist of"),
        ("zumba,-1.0E+5,0,10,val", "list.csv:3: video id '-1.0E+5' was changed by a spreadsheet program"),
        (
            "zumba,a,2000,12000,val",
            "list.csv:3: 2000 to 12000 is a clip of 10,000 s; are these milliseconds?",
        ),
        ("zumba,a,0", "list.csv:3: has 3 cells where 5 are named"),
        ("zumba,a,3,5,13,5", "list.csv:3: has 6 cells where 5 are named: quote cells that hold ','"),
        ("zumba, fast,a,3,5,val,", "list.csv:3: has 7 cells where 5 are named: quote cells that hold ','"),
        ("sit, up,a,3,5,val", "list.csv:3: has 6 cells where 5 are named: quote cells that hold ','"),
        (",,,,,zumba", "list.csv:3: has 6 cells where 5 are named: quote cells that hold ','"),
        ('zumba,"a,0,10,val', "list.csv:3: is not CSV"),
    ],
)
def test_a_wrong_row_is_refused_and_the_others_are_read(path: Path, row: str, said: str) -> None:
    path.write_text(f"{HEADER}tap dancing,ok,0,10,val\n{row}\nzumba,last,0,10,val\n", newline="")
    listing = read_lists([path], LABELS)
    (refused,) = listing.refused
    assert said in str(refused)
    assert "\n" not in str(refused)
    assert [s.video_id for s in listing.segments] == ["ok", "last"]
    assert listing.num_rows == 3


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("12,000", "22,000", "time_start '12,000' is 12 or 12000 milliseconds"),
        ("12.500", "22000", "time_start '12.500' is 12.5 or 12500 milliseconds"),
        ("500", "10.500", "time_end '10.500' is 10.5 or 10500 milliseconds"),
        ("1.200.000", "1.210.000", "time_start '1.200.000' is not a time"),
    ],
)
def test_milliseconds_that_may_be_thousands_are_refused(path: Path, start: str, end: str, said: str) -> None:
    path.write_text(f"label;youtube_id;start_ms;end_ms\nzumba;a;0.000;10000.000\nzumba;b;{start};{end}\n")
    listing = read_lists([path], LABELS)
    assert [s.clip_id for s in listing.segments] == ["a_0_10000"]
    (refused,) = listing.refused
    assert said in str(refused)


def test_seconds_that_may_be_thousands_are_refused_if_they_make_no_clip(path: Path) -> None:
    times = ["1,200;1,210", "1.200;1.299", "1,200;1,300", "0,960;1,000", "1,20;1,21", "999;1.000,5"]
    rows = [f"zumba;v{i};{pair}" for i, pair in enumerate(times)]
    path.write_text("label;youtube_id;time_start;time_end\n" + "\n".join(rows))
    listing = read_lists([path], LABELS)
    assert [s.clip_id for s in listing.segments] == ["v2_1200_1300", "v3_960_1000", "v4_1200_1210"]
    assert [str(row).removeprefix(f"{path}:") for row in listing.refused] == [
        "2: '1,200' to '1,210' is a clip of 0.010 or of 10 s",
        "3: '1.200' to '1.299' is a clip of 0.099 or of 99 s",
        "7: time_end '1.000,5' is not a time in seconds or HH:MM:SS",
    ]


def test_empty_cells_behind_the_last_column_are_none(path: Path) -> None:
    path.write_text(f"{HEADER}zumba,a,0,10,val,,\nzumba,b,0,10,val, \n,,,,,,\n")
    listing = read_lists([path], LABELS)
    assert [s.video_id for s in listing.segments] == ["a", "b"]
    assert listing.num_rows == 2


def test_a_list_of_wrong_rows_alone_is_an_error(path: Path) -> None:
    path.write_text(HEADER + "zumba,a,ten,20,val\nzumba,b,0,10\n")
    with pytest.raises(InputError, match=r"list\.csv:2: time_start 'ten'.* none of 1 other row") as caught:
        read_lists([path], LABELS)
    assert caught.value.hint


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
        ("[]", "has no rows"),
        ("3", "is not a JSON object"),
        ('{"a": {"annotations": {"segment": [0, 1]}}}', "entry 'a': lacks a label or a segment"),
        (
            '{"a": {"annotations": {"label": "zumba", "segment": [3, 1]}}}',
            "entry 'a': time_end 1 is not after",
        ),
        ('{"a": {"annotations": {"label": ["zumba"], "segment": [0, 1]}}}', "entry 'a': lacks a label"),
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


@pytest.mark.parametrize("nothing", ["null", "NaN"])
def test_nothing_in_json_is_no_name(path: Path, nothing: str) -> None:
    row = '{{"label": {}, "youtube_id": {}, "time_start": 0, "time_end": 10, "split": {}}}'
    rows = [row.format('"zumba"', '"a"', nothing), row.format('"zumba"', nothing, '"val"')]
    path.write_text(f"[{', '.join(rows)}, {row.format(nothing, 1, 1)}]")
    listing = read_lists([path], LABELS)
    assert [(s.clip_id, s.official_split) for s in listing.segments] == [("a_0_10000", "")]
    assert [str(row) for row in listing.refused] == [
        f"{path}: entry number 2: video id '' must consist of 1 to 64 letters, digits, '-' and '_'"
    ]
    assert dict(listing.other_labels) == {"(no label)": 1}
    path.write_text(
        f'{{"a": {{"annotations": {{"label": "zumba", "segment": [0, 10]}}, "subset": {nothing}}}}}'
    )
    listing = read_lists([path], LABELS)
    assert [s.clip_id for s in listing.segments] == ["a_0_10000"]
    assert not any("split" in note for note in listing.notes)


def test_the_name_of_a_list_is_told_by_its_end_whatever_its_letters(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"list-\xe4.JSON")
    path.write_text('{"a": {"annotations": {"label": "zumba", "segment": [0, 1]}}}')
    (segment,) = read_lists([path], LABELS).segments
    assert segment.dataset == "list-?"


def test_the_labels_that_ship_are_the_19() -> None:
    assert len(LabelSet.read(DEFAULT_LABELS)) == 19


ONE = Segment("-5qSkAhM6Y0", 2_000, 12_000, "tap dancing", "train")
FORMS = {
    "semicolons": (
        "label;youtube_id;time_start;time_end;split\ntap dancing;-5qSkAhM6Y0;2,0;12;train\n",
        "semicolons",
    ),
    "tabs": (
        "label\tyoutube_id\ttime_start\ttime_end\tsplit\ntap dancing\t-5qSkAhM6Y0\t2\t12\ttrain\n",
        "tabs",
    ),
    "cr": (HEADER.strip() + "\rtap dancing,-5qSkAhM6Y0,2,12,train\r", ""),
    "clock": (HEADER + "tap dancing,-5qSkAhM6Y0,00:00:02,0:12.0,train\n", "HH:MM:SS"),
    "address": (
        HEADER + "tap dancing,https://www.youtube.com/watch?t=3&v=-5qSkAhM6Y0,2,12,train\n",
        "addresses",
    ),
    "short-address": (HEADER + "tap dancing,youtu.be/-5qSkAhM6Y0?si=x,2,12,train\n", "addresses"),
    "activitynet-id": (HEADER + "tap dancing,v_-5qSkAhM6Y0,2,12,train\n", "ActivityNet"),
    "milliseconds": (
        "label,id,start_ms,end_ms,subset\ntap dancing,-5qSkAhM6Y0,2000,12000,training\n",
        "start_ms",
    ),
    "other-names": (
        "Class,Video ID,Start Time,End Time,Set\ntap dancing, -5qSkAhM6Y0 ,2,12,Train\n",
        "Class as label",
    ),
    "comment": ("# made by hand\n\n" + HEADER + "tap dancing,-5qSkAhM6Y0,2,12,train\n,,,,\n", ""),
    "spelling": (HEADER + " Tap_Dancing ,-5qSkAhM6Y0,2,12,train\n", ""),
    "rows": (
        '[{"label": "tap dancing", "youtube_id": "-5qSkAhM6Y0", "time_start": 2, "time_end": 12, '
        '"split": "train"}]',
        "",
    ),
    "activitynet": (
        '{"database": {"-5qSkAhM6Y0": {"subset": "training", "annotations": '
        '[{"label": "Tap dancing", "segment": [2.0, 12.0]}]}, '
        '"b": {"subset": "testing", "annotations": []}}}',
        "training",
    ),
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gzip"])
@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_list_gives_the_same_segment(path: Path, form: str, encoding: str) -> None:
    text, note = FORMS[form]
    path.write_bytes(gzip.compress(text.encode()) if encoding == "gzip" else text.encode(encoding))
    listing = read_lists([path], LABELS)
    assert [replace(segment, dataset="") for segment in listing.segments] == [ONE]
    assert not listing.refused
    assert note in " ".join(listing.notes)


@pytest.mark.parametrize(
    ("word", "subset"),
    [
        *(("training", "train"), ("TRAIN", "train"), ("Validation", "val"), ("valid", "val"), ("dev", "val")),
        *(
            ("testing", "test"),
            ("holdout_test", "test"),
            ("val_1", "val"),
            ("test-set", "test"),
            ("fold3", ""),
        ),
    ],
)
def test_a_subset_is_known_in_any_common_spelling(path: Path, word: str, subset: str) -> None:
    path.write_text(f"{HEADER}zumba,a,0,10,{word}\n")
    listing = read_lists([path], LABELS)
    assert listing.segments[0].official_split == subset
    assert ("not known" in " ".join(listing.notes)) == (subset == "")


def test_every_segment_of_a_video_is_read_from_json(path: Path) -> None:
    annotations = [{"label": "zumba", "segment": [i, i + 5]} for i in (0, 10, 20)]
    entry = json.dumps({"annotations": annotations[0], "subset": "train"})
    path.write_text(
        '{"a": {"annotations": ' + json.dumps(annotations) + '}, "b": ' + entry + ', "b": ' + entry + "}"
    )
    listing = read_lists([path], LABELS)
    assert [s.clip_id for s in listing.segments] == ["a_0_5000", "a_10000_15000", "a_20000_25000", "b_0_5000"]
    assert (listing.num_repeated, listing.num_rows) == (1, 5)


def test_a_clip_in_two_subsets_is_a_conflict(path: Path) -> None:
    path.write_text(HEADER + "zumba,a,0,10,train\nzumba,a,0,10,test\n")
    listing = read_lists([path], LABELS)
    assert listing.conflicts == [f"{path}:3: a_0_10000 is 'test' here and 'train' before"]


def test_a_label_that_no_list_has_is_told_with_the_nearest(path: Path) -> None:
    path.write_text(HEADER + "petting animal (not cat),a,0,10,train\nzumba,b,0,10,train\n")
    labels = LabelSet(("peting animal (not cat)", "zumba", "tango"))
    listing = read_lists([path], labels)
    assert listing.missing_labels(labels) == {
        "peting animal (not cat)": "petting animal (not cat)",
        "tango": "",
    }


def test_names_that_differ_by_their_unicode_form_are_one(path: Path) -> None:
    path.write_text(HEADER + unicodedata.normalize("NFD", "Šokačko kolo") + ",a,0,10,train\n")
    (segment,) = read_lists([path], LabelSet(("Šokačko kolo",))).segments
    assert segment.label == "Šokačko kolo"


def test_one_open_quotation_mark_costs_one_row(path: Path) -> None:
    rows = [f"zumba,a{i},0,10,train" for i in range(20)]
    rows[4], rows[11] = '"' + rows[4], 'zumba,"' + rows[11]
    path.write_text(HEADER + "\n".join(rows))
    listing = read_lists([path], LABELS)
    assert [refused.row for refused in listing.refused] == [6, 13]
    assert (len(listing.segments), listing.num_rows) == (18, 20)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<!DOCTYPE html>\n<html>", "is a web page"),
        ("salsa/a_000002_000012.mp4 13\n", "is a list of MMAction2"),
        ("PK\x03\x04rest", "is a spreadsheet"),
    ],
)
def test_what_is_no_list_is_named(path: Path, text: str, says: str) -> None:
    path.write_text(text)
    with pytest.raises(InputError, match=says) as caught:
        read_lists([path], LABELS)
    assert caught.value.hint


def test_a_broken_gzip_file_is_named(path: Path) -> None:
    path.write_bytes(gzip.compress((HEADER + "zumba,a,0,10,train\n" * 500).encode())[:-20])
    with pytest.raises(InputError, match="is a broken gzip file"):
        read_lists([path], LABELS)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("label,youtube_id,time_start,time_end,label", "1: has two columns 'label'"),
        ("label,youtube_id,time_start,time_end," + "x" * 200_000, "1: is not CSV"),
        (",,,", "1: lacks the column"),
    ],
)
def test_a_header_that_cannot_be_read_is_one_line(tmp_path: Path, header: str, says: str) -> None:
    (tmp_path / "list.csv").write_text(f"{header}\nzumba,a,0,1,waltz\n")
    with pytest.raises(InputError, match=rf"list\.csv:{says}"):
        read_lists([tmp_path / "list.csv"], LabelSet(("zumba",)))
