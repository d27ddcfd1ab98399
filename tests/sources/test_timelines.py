"""Timelines of recordings as lists: what `dance predict` writes is read back, as are those of others."""

from __future__ import annotations

import gzip
import os
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest
from helpers import video_site
from helpers.numbered_video import make_video, numbers
from helpers.video_site import ServedVideos
from hypothesis import given
from hypothesis import strategies as st

from dancecli.core.errors import InputError
from dancecli.core.labels import LabelSet
from dancecli.core.records import VIDEO_ID
from dancecli.core.video_files import recording_id
from dancecli.dataset.fetch.fetch import fetch
from dancecli.dataset.fetch.history import clip_history
from dancecli.model.inference.timeline_files import elan, write_timeline
from dancecli.sources.kinetics import Listing, read_lists
from dancecli.sources.list_format import RowError, read_times
from dancecli.sources.timelines import read_stretches
from dancecli.storage.workspace import Workspace

source_video, served = video_site.source_video, video_site.served
LABELS = LabelSet(("tango dancing", "salsa & swing", "zumba"))
MADE = datetime(2026, 1, 1, tzinfo=UTC)
NAME = "Gala 1994, 2"


def stretch(start_s: float, end_s: float, label: str) -> dict[str, Any]:
    return {"start_s": start_s, "end_s": end_s, "label": label, "probability": 0.876}


def read(path: Path) -> Listing:
    return read_lists([path], LABELS)


SEEN = [stretch(0, 1.5, "zumba"), stretch(1.5, 61.04, "salsa & swing"), stretch(3600, 3661.001, "zumba")]


@pytest.mark.parametrize("suffix", [".eaf", ".vtt", ".csv"])
def test_what_predict_writes_is_read_back(tmp_path: Path, suffix: str) -> None:
    write_timeline(tmp_path / NAME, tmp_path / "films" / f"{NAME}.mp4", SEEN, MADE, {})
    listing = read(tmp_path / f"{NAME}{suffix}")
    found = [(one.start_ms, one.end_ms, one.label) for one in listing.segments]
    assert found == [(round(1000 * s["start_s"]), round(1000 * s["end_s"]), s["label"]) for s in SEEN]
    assert {one.video_id for one in listing.segments} == {recording_id(NAME)}
    assert not listing.refused
    assert any(f"timeline of the recording '{NAME}'" in note for note in listing.notes)


@pytest.mark.parametrize("suffix", [".eaf", ".vtt", ".csv"])
@pytest.mark.parametrize("written", ["Gala-1994-2.mp4", "other"])
@pytest.mark.parametrize(
    "film", [f"{NAME}.mp4", "Gala (Teil 1).MP4", "Fest --> 2.mkv", "A &amp;  B.mkv", "v1.0"]
)
def test_a_timeline_names_its_recording_whatever_it_is_called(
    tmp_path: Path, suffix: str, written: str, film: str
) -> None:
    segments = [{**one, "set": [one["label"]], "unknown": False} for one in SEEN]
    write_timeline(tmp_path / written, tmp_path / "films" / film, segments, MADE, {})
    listing = read(tmp_path / f"{written}{suffix}")
    stem = film if film == "v1.0" and suffix != ".eaf" else Path(film).stem
    assert {one.video_id for one in listing.segments} == {recording_id(stem)}
    assert len(listing.segments) == len(SEEN)


@pytest.mark.parametrize(
    ("recording", "label"),
    [("Gala \u2013 1994.mp4", "zumba"), ("Gala 1994.mp4", "Fächertanz"), ("ä.mp4", "ä")],
)
def test_a_row_of_another_encoding_is_refused_and_its_neighbors_go_on(
    tmp_path: Path, recording: str, label: str
) -> None:
    rows = f"0;1;{label};0,9;{recording}\n1;2;zumba;0,9;Gala.mp4\n"
    path = tmp_path / "windows.csv"
    path.write_text(f"start_s;end_s;label;probability;recording\n{rows}", "cp1252")
    listing = read(path)
    assert [one.clip_id for one in listing.segments] == ["Gala_1000_2000"]
    assert [str(row) for row in listing.refused] == [f"{path}:2: is not UTF-8 text"]
    assert listing.refused[0].hint == "save the list as UTF-8 (in Excel: CSV UTF-8)"
    assert not listing.other_labels
    cue = f"00:0{{}}.000 --> 00:09.000\n{label}\n"
    path = tmp_path / "Gala.vtt"
    path.write_text(f"WEBVTT\n\nNOTE recording: {recording}\n\n{cue.format(0)}\n", "cp1252")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        read(path)


@pytest.mark.parametrize(
    ("start", "end", "read_ms"),
    [
        ("5,5", "12", (5500, 12_000)),
        ("5", "12,5", (5000, 12_500)),
        ("0:05", "12", (5000, 12_000)),
        ("5", "00:00:12,5", (5000, 12_500)),
        # A recording of one style.
        ("0.0", "3600.0", (0, 3_600_000)),
    ],
)
def test_times_of_a_table_are_seconds_however_they_are_spelled(
    tmp_path: Path, start: str, end: str, read_ms: tuple[int, int]
) -> None:
    path = tmp_path / "Gala.csv"
    path.write_text(f"start_s;end_s;label;probability\n{start};{end};zumba;0,9\n")
    assert [(one.start_ms, one.end_ms) for one in read(path).segments] == [read_ms]
    (stretch,) = read_stretches(path.read_text(), path)
    assert read_times(stretch.start, stretch.end, stretch.units) == read_ms


@pytest.mark.parametrize(
    ("more", "cells"), [("", ""), (",recording", ",Gala.mp4"), (",remark,recording", ",fast,Gala.mp4")]
)
def test_a_table_that_a_person_wrote_needs_no_probability(tmp_path: Path, more: str, cells: str) -> None:
    path = tmp_path / "Gala.csv"
    path.write_text(f"start_s,end_s,label{more}\n0,1,zumba{cells}\n")
    assert [one.clip_id for one in read(path).segments] == ["Gala_0_1000"]


def test_a_list_that_names_its_videos_in_an_unknown_way_is_no_timeline(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("file,start_s,end_s,label\na.mp4,0,1,zumba\n")
    with pytest.raises(InputError, match="lacks the column 'youtube_id'") as caught:
        read(path)
    assert "a timeline with start_s,end_s,label,recording" in str(caught.value.hint)


def test_a_timeline_whose_name_is_no_text_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"B\xe4nd.csv")
    path.write_text("start_s,end_s,label,probability\n0,1,zumba,0.9\n")
    with pytest.raises(InputError, match="the name is not text in UTF-8"):
        read(path)


def test_the_words_of_a_cue_name_no_recording(tmp_path: Path) -> None:
    (tmp_path / "Gala.vtt").write_text(
        "WEBVTT\n\n00:01.000 --> 00:02.000\nNOTE recording: x\n\n00:03.000 --> 00:04.000\nzumba\n"
    )
    assert {one.video_id for one in read(tmp_path / "Gala.vtt").segments} == {"Gala"}


@pytest.mark.parametrize("suffix", [".vtt", ".csv"])
def test_a_timeline_without_a_name_in_it_is_of_the_recording_that_it_is_named_after(
    tmp_path: Path, suffix: str
) -> None:
    write_timeline(tmp_path / NAME, tmp_path / "x.mp4", SEEN, MADE, {})
    text = (tmp_path / f"{NAME}{suffix}").read_text()
    for name in (f"Gala{suffix}", f"Gala.mp4{suffix}"):
        (tmp_path / name).write_text(text.replace("NOTE recording: x.mp4\n\n", "").replace("x.mp4", ""))
        assert {one.video_id for one in read(tmp_path / name).segments} == {"Gala"}


@given(
    st.lists(
        # In seconds, 1.234 to 1.239 may be meant as thousands.
        st.tuples(st.integers(0, 80_000_000), st.integers(100, 600_000), st.sampled_from(LABELS.names)),
        min_size=1,
        unique_by=lambda row: row[:2],
    )
)
def test_any_timeline_is_read_back(rows: list[tuple[int, int, str]]) -> None:
    segments = [stretch(start / 1000, (start + length) / 1000, label) for start, length, label in rows]
    with tempfile.TemporaryDirectory() as folder:
        for path in write_timeline(Path(folder) / "film", Path("film.mp4"), segments, MADE, {}).files:
            found = [(one.start_ms, one.end_ms - one.start_ms, one.label) for one in read(path).segments]
            assert found == rows


def test_a_file_that_was_corrected_in_elan(tmp_path: Path) -> None:
    text = elan(Path("/films/x.mp4"), SEEN, MADE)
    text = text.replace(
        'MEDIA_URL="file:///films/x.mp4"', 'MEDIA_URL="file:///C:/Films/Gala%201994,%202.MTS"'
    )
    text = text.replace("<ANNOTATION_VALUE>zumba</ANNOTATION_VALUE>", "<ANNOTATION_VALUE/>", 1)
    text = text.replace('TIME_SLOT_ID="ts6" TIME_VALUE="3661001"', 'TIME_SLOT_ID="ts6"')
    path = tmp_path / "corrected.eaf.gz"
    path.write_bytes(gzip.compress(text.encode()))
    listing = read(path)
    assert [(one.video_id, one.label) for one in listing.segments] == [(recording_id(NAME), "salsa & swing")]
    assert dict(listing.other_labels) == {"(no label)": 1}
    assert str(listing.refused[0]).startswith(f"{path}: entry annotation a3: ")


def test_cues_as_others_write_them(tmp_path: Path) -> None:
    path = tmp_path / "film.vtt"
    path.write_text(
        "\ufeffWEBVTT - dances\n\nSTYLE\n::cue { color: red }\n\nNOTE 00:00:01.000 is the overture\n\n"
        "1\n00:02.000 --> 00:04.500 align:start\n<v Ann><b>Tango</b> dancing\n\n"
        "00:00:05.000 --> 00:00:06.000\nsalsa &amp; swing\n\n00:00:09.000 --> 00:00:08.000\nzumba",
        encoding="utf-8",
        newline="\r\n",
    )
    listing = read(path)
    found = [(one.start_ms, one.end_ms, one.label, one.video_id) for one in listing.segments]
    assert found == [(2000, 4500, "tango dancing", "film"), (5000, 6000, "salsa & swing", "film")]
    assert [row.row for row in listing.refused] == [15]


def test_a_cue_ends_where_the_next_one_begins(tmp_path: Path) -> None:
    path = tmp_path / "film.vtt"
    path.write_text(
        "WEBVTT\n00:01.000 --> 00:02.000\nzumba\n00:02.000 --> 00:03.000\ntango\ndancing\n"
        "00:03.000 --> 00:04.000\nzumba\n"
    )
    listing = read(path)
    found = [(one.start_ms, one.end_ms, one.label) for one in listing.segments]
    assert found == [(1000, 2000, "zumba"), (2000, 3000, "tango dancing"), (3000, 4000, "zumba")]


@pytest.mark.parametrize(
    "times",
    ["00:00:01,000 --> 00:00:02,500", "00:01.000-->00:02.500", " 0:01.0\t-->0:02,5 align:start\tline:0"],
)
def test_cues_of_other_programs_are_read(tmp_path: Path, times: str) -> None:
    path = tmp_path / "film.vtt"
    path.write_text(f"WEBVTT\n\n1\n{times}\nzumba\n\n2\n00:05.000 --> 00:06.000\nzumba\n", newline="\r\n")
    listing = read(path)
    assert [(one.start_ms, one.end_ms) for one in listing.segments] == [(1000, 2500), (5000, 6000)]
    assert not listing.refused


@pytest.mark.parametrize(
    ("times", "says"),
    [
        ("00:00:01:12 --> 00:00:02:12", "time_start '00:00:01:12' is not a time"),
        ("00:01.000 --> soon", "time_end 'soon' is not a time"),
        ("00:01.000 -->", "time_end '' is not a time"),
        ("--> 00:01.000", "time_start '' is not a time"),
    ],
)
def test_a_cue_without_times_is_refused_with_its_line(tmp_path: Path, times: str, says: str) -> None:
    path = tmp_path / "film.vtt"
    path.write_text(f"WEBVTT\n\nNOTE 1 --> 2\n\n{times}\nzumba\n00:05.000 --> 00:06.000\nzumba\n")
    listing = read(path)
    assert [one.start_ms for one in listing.segments] == [5000]
    (refused,) = listing.refused
    assert str(refused).startswith(f"{path}:5: {says}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('<!DOCTYPE x [<!ENTITY a "b">]><ANNOTATION_DOCUMENT/>', "document type"),
        ("<ANNOTATION_DOCUMENT>", "is not XML"),
        ("<html/>", "is XML, but not of ELAN"),
        ("<ANNOTATION_DOCUMENT/>", "has no rows"),
    ],
)
def test_what_is_no_elan_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.eaf"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read(path)


@pytest.mark.parametrize("address", ["file:///C:/vids/{}", "./{}", "file:///home/ann/{}"])
@pytest.mark.parametrize("film", ["Tango #2.mp4", "Tango#2.mp4", "Who?.mp4", "100% salsa.mp4"])
def test_elan_names_a_recording_as_it_is_called(tmp_path: Path, address: str, film: str) -> None:
    (tmp_path / "x.eaf").write_text(elan_of(escape(address.format(film), {'"': "&quot;"})))
    assert {one.video_id for one in read(tmp_path / "x.eaf").segments} == {recording_id(Path(film).stem)}


@pytest.mark.parametrize(("origin", "offset_ms"), [("", 0), ("2500", 2500), ("-400", -400), ("soon", 0)])
def test_times_of_elan_begin_where_its_medium_does(tmp_path: Path, origin: str, offset_ms: int) -> None:
    text = elan_of("file:///home/ann/Gala.mp4", f'TIME_ORIGIN="{origin}"' if origin else "")
    (tmp_path / "x.eaf").write_text(text)
    (found,) = read(tmp_path / "x.eaf").segments
    assert (found.start_ms, found.end_ms) == (1000 + offset_ms, 3000 + offset_ms)


def elan_of(address: str, more: str = "") -> str:
    """An ELAN file of one stretch, from the first to the third second."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT><HEADER TIME_UNITS="milliseconds">
<MEDIA_DESCRIPTOR MEDIA_URL="{address}" MIME_TYPE="video/mp4" {more}/></HEADER><TIME_ORDER>
<TIME_SLOT TIME_SLOT_ID="a" TIME_VALUE="1000"/><TIME_SLOT TIME_SLOT_ID="b" TIME_VALUE="3000"/></TIME_ORDER>
<TIER TIER_ID="dance"><ANNOTATION>
<ALIGNABLE_ANNOTATION ANNOTATION_ID="1" TIME_SLOT_REF1="a" TIME_SLOT_REF2="b">
<ANNOTATION_VALUE>zumba</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER></ANNOTATION_DOCUMENT>"""


@given(st.text(min_size=1))
def test_any_name_gives_an_id(stem: str) -> None:
    assert VIDEO_ID.fullmatch(recording_id(stem))
    assert recording_id(recording_id(stem)) == recording_id(stem)


def test_names_that_differ_give_ids_that_differ() -> None:
    assert recording_id("Größenwahn in Łódź, Ævar").startswith("Grossenwahn-in-Lodz-AEvar-")
    assert len({recording_id(name) for name in ("a b", "a-b", "a_b", "a  b", "ä b", "日本", "日 本")}) == 7


def test_corrected_stretches_become_clips(served: ServedVideos, workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    make_video(folder / f"{NAME}.mp4", 4)
    (tmp_path / "labels.txt").write_text("".join(f"{name}\n" for name in LABELS))
    seen = [stretch(0.4, 1.4, "zumba"), stretch(2, 3, "salsa & swing")]
    (tmp_path / "gala.eaf").write_text(elan(folder / f"{NAME}.mp4", seen, MADE))
    settings = served.settings(
        annotations=(tmp_path / "gala.eaf",),
        labels=tmp_path / "labels.txt",
        url_template="",
        sources=("local",),
        folder=folder,
    )
    result = fetch(workspace, settings)
    assert (result.num_done, result.complete) == (2, True)
    known = {found.clip_id for found in clip_history(workspace, f"{NAME}.mp4")}
    assert known == {f"{recording_id(NAME)}_400_1400", f"{recording_id(NAME)}_2000_3000"}
    assert numbers(workspace.clip(f"{recording_id(NAME)}_400_1400")) == list(range(10, 35))
    assert numbers(workspace.clip(f"{recording_id(NAME)}_2000_3000")) == list(range(50, 75))


def test_seconds_of_a_table_that_may_be_thousands_stay_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "Gala.csv"
    path.write_text('start_s,end_s,label\n"1,200","1,210",zumba\n1.200,900.000,zumba\n1.2,1.21,zumba\n')
    thousands, *others = read_stretches(path.read_text(), path)
    with pytest.raises(RowError, match=r"'1,200' to '1,210' is a clip of 0\.010 or of 10 s"):
        read_times(thousands.start, thousands.end, thousands.units)
    found = [read_times(stretch.start, stretch.end, stretch.units) for stretch in others]
    assert found == [(1200, 900_000), (1200, 1210)]
    assert [(one.start_ms, one.end_ms) for one in read(path).segments] == found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("start_s,end_s,label\n0,1," + "x" * 200_000, "2: is not CSV"),
        ('start_s,end_s,label\n0,1,"zumba\n1,2,zumba\n', "2: has a quotation mark that is not closed"),
        ("start_s,end_s,label,label\n0,1,a,b\n", "1: has two columns 'label'"),
    ],
)
def test_a_table_that_would_lose_rows_or_cells_is_no_timeline(text: str, says: str) -> None:
    with pytest.raises(InputError, match=rf"t\.csv:{says}"):
        list(read_stretches(text, Path("t.csv")))


def test_a_cue_is_not_torn_at_what_ends_no_line() -> None:
    text = "WEBVTT\r\n\r\n00:00.000 --> 00:01.000\r\nzumba\u2028\u2028fitness\r\n"
    (found,) = read_stretches(text, Path("t.vtt"))
    assert found.label == "zumba\u2028\u2028fitness"
