"""Timelines are read back by the libraries of the tools that they are for."""

from __future__ import annotations

import csv
import os
import warnings
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote
from xml.etree import ElementTree

import pytest

from dancecli.core.records import RECORDING_COLUMN, RECORDING_NOTE
from dancecli.model.inference.timeline_files import TIER, Written, elan, write_timeline

SEGMENTS = [
    {"start_s": 0.0, "end_s": 61.5, "label": "salsa dancing", "probability": 0.914},
    {"start_s": 61.5, "end_s": 3723.004, "label": 'rock & roll <"fast"> --> 1', "probability": 0.5},
    {"start_s": 3723.004, "end_s": 3730.25, "label": "盆踊り", "probability": 1.0},
]


@pytest.fixture
def written(tmp_path: Path) -> dict[str, Path]:
    video = tmp_path / "an evening #2.mp4"
    files = write_timeline(
        tmp_path / "evening.v2", video, SEGMENTS, datetime(2026, 1, 2, tzinfo=UTC), {}
    ).files
    return {path.suffix: path for path in files}


def test_elan(written: dict[str, Path]) -> None:
    from pympi.Elan import Eaf

    with warnings.catch_warnings():
        # pympi warns of every version of the format but the one it was written for.
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*EAF.*")
        read = Eaf(str(written[".eaf"]))
    found = sorted(read.get_annotation_data_for_tier(TIER))
    assert found == [(round(1000 * s["start_s"]), round(1000 * s["end_s"]), s["label"]) for s in SEGMENTS]
    (media,) = read.get_linked_files()
    assert media["MEDIA_URL"].endswith("/an%20evening%20%232.mp4")
    assert media["MIME_TYPE"] == "video/mp4"


@pytest.mark.parametrize(
    ("name", "seen"), [(b"B\xe4nd.mp4", "B\\xe4nd.mp4"), (b"two\nlines.mp4", "two\\nlines.mp4")]
)
def test_a_recording_whose_name_is_no_text(tmp_path: Path, name: bytes, seen: str) -> None:
    video = tmp_path / os.fsdecode(name)
    eaf, vtt, table = write_timeline(
        tmp_path / "t", video, SEGMENTS, datetime(2026, 1, 2, tzinfo=UTC), {}
    ).files
    assert quote(name) in eaf.read_text(encoding="utf-8")
    assert f"{RECORDING_NOTE}{seen}\n" in vtt.read_text(encoding="utf-8")
    with table.open(encoding="utf-8", newline="") as file:
        assert {row[RECORDING_COLUMN] for row in csv.DictReader(file)} == {seen}


def test_elan_of_a_label_that_xml_cannot_hold(tmp_path: Path) -> None:
    segments = [{"start_s": 0.0, "end_s": 1.0, "label": "salsa\x00 \x07\ud800\U0001f483", "probability": 1.0}]
    text = elan(tmp_path / "a.mp4", segments, datetime(2026, 1, 2, tzinfo=UTC))
    (value,) = ElementTree.fromstring(text).iter("ANNOTATION_VALUE")
    assert value.text == "salsa\ufffd \ufffd\ufffd\U0001f483"


def test_webvtt(written: dict[str, Path]) -> None:
    import webvtt

    cues = list(webvtt.read(str(written[".vtt"])))
    assert [(cue.start_in_seconds, cue.end_in_seconds) for cue in cues] == [(0, 61), (61, 3723), (3723, 3730)]
    assert (cues[1].start, cues[1].end) == ("00:01:01.500", "01:02:03.004")
    assert [cue.raw_text for cue in cues] == [
        "salsa dancing 91 %",
        'rock &amp; roll &lt;"fast"&gt; --&gt; 1 50 %',
        "盆踊り 100 %",
    ]


def test_csv(written: dict[str, Path]) -> None:
    with written[".csv"].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{**row, "label": row["label"]} for row in rows] == [
        {key: str(value) for key, value in segment.items()} | {"recording": "an evening #2.mp4"}
        for segment in SEGMENTS
    ]


def test_a_timeline_without_segments_is_a_file_too(tmp_path: Path) -> None:
    for path in write_timeline(
        tmp_path / "none", tmp_path / "v.mp4", [], datetime(2026, 1, 2, tzinfo=UTC), {}
    ).files:
        assert path.stat().st_size > 5


def test_what_a_person_changed_stays_and_another_timeline_goes_beside_it(tmp_path: Path) -> None:
    known: dict[str, str] = {}

    def write(count: int, day: int = 2) -> Written:
        made = datetime(2026, 1, day, tzinfo=UTC)
        return write_timeline(tmp_path / "v.mp4", tmp_path / "v.mp4", SEGMENTS[:count], made, known)

    eaf, vtt, table = write(3).files
    assert write(2) == write(2, day=3) == ((eaf, vtt, table), (), ())
    eaf.write_bytes(b"corrected \xe4")
    assert write(2) == ((eaf, vtt, table), (eaf,), (vtt, table))
    # Nobody changed the new one, so the next may replace it.
    for count in (1, 3):
        new, changed, beside = write(count)
        assert [path.name for path in new] == ["v.mp4.new.eaf", "v.mp4.new.vtt", "v.mp4.new.csv"]
        assert (changed, beside) == ((eaf,), (vtt, table))
    new[2].write_text("mine")
    assert write(1).files[0].name == "v.mp4.new-2.eaf"
    assert write(1)[1:] == ((eaf, new[2]), (vtt, table, new[0], new[1]))
    assert (eaf.read_bytes(), new[2].read_text()) == (b"corrected \xe4", "mine")
    # What a stopped command wrote and did not record is as it would be written.
    eaf.unlink()
    write(1)
    known.clear()
    assert write(1, day=3) == ((eaf, vtt, table), (), ())
