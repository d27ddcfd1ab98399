"""Timelines in the app: edited, taken back, exported, imported, and lost by nothing."""

from __future__ import annotations

import csv
import io
import json
import os
import unicodedata
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from helpers import clip_workspace
from helpers.app_server import Answer, Site, served
from helpers.clip_workspace import LABELS
from helpers.predicted import make_recording, predicted
from hypothesis import given
from hypothesis import strategies as st

from dancecli.app.timelines import Recording, Span, as_segments, edit, import_spans, read_timeline, undo
from dancecli.core.errors import DanceError, InputError, WorkspaceError
from dancecli.model.inference.timeline_files import checksum, webvtt
from dancecli.sources.kinetics import LabelSet, read_lists
from dancecli.storage.workspace import Workspace

clip_files, populated = clip_workspace.clip_files, clip_workspace.populated
FIRST, SECOND = LABELS
FOUND = [
    [0, 20_000, FIRST, 0.9, False],
    [20_000, 40_000, SECOND, 0.6, False],
    [40_000, 60_000, FIRST, 0.75, False],
]


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_recording(tmp_path_factory.mktemp("films") / "An evening #2.mp4")


@pytest.fixture
def site(populated: Workspace, film: Path) -> Iterator[Site]:
    predicted(populated, film)
    with served(populated) as address:
        yield Site(address, populated)


@pytest.fixture
def place(site: Site) -> str:
    (row,) = site.ask("/api/timelines").json["rows"]
    assert row["title"] == "An evening #2.mp4"
    return f"/api/timelines/{row['name']}"


def save(site: Site, place: str, base: int, spans: list[list[Any]], why: str = "edited") -> Answer:
    sent = {"base": base, "who": "ana", "action": "edit", "spans": spans, "why": why}
    return site.ask(place, "POST", sent)


def test_a_timeline_is_shown_as_it_was_predicted(site: Site, place: str) -> None:
    shown = site.ask(place).json
    assert shown["spans"] == FOUND
    assert (shown["revision"], shown["last"], shown["media"]) == (0, [], True)
    assert shown["windows"][0] == [0.0, 10.0, FIRST, 0.9]
    assert not list((site.workspace.root).glob("timelines/*"))


def test_edits_are_rows_and_are_taken_back_in_turn(site: Site, place: str) -> None:
    relabeled = [FOUND[0], [20_000, 40_000, "a talk", None, True], FOUND[2]]
    assert save(site, place, 0, relabeled, "relabeled").json["revision"] == 2
    moved = [[0, 18_500, FIRST, 0.9, True], *relabeled[1:]]
    after = save(site, place, 2, moved, "moved").json
    assert (after["revision"], after["spans"], after["last"]) == (3, moved, ["ana", "moved"])
    taken = site.ask(place, "POST", {"base": 3, "who": "ben", "action": "undo"}).json
    assert (taken["spans"], taken["last"]) == (relabeled, ["ana", "relabeled"])
    taken = site.ask(place, "POST", {"base": 4, "who": "ben", "action": "undo"}).json
    assert (taken["spans"], taken["last"]) == (FOUND, [])
    refused = site.ask(place, "POST", {"base": 5, "who": "ben", "action": "undo"})
    assert (refused.status, refused.body) == (409, b"there is nothing to undo")
    (file,) = (site.workspace.root / "timelines").glob("*.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["who"] for row in rows] == ["", "ana", "ana", "ben", "ben"]
    # A row holds what it changed, not the whole timeline.
    assert rows[2]["added"] == [moved[0]]


def test_an_edit_of_what_somebody_else_changed_is_refused(site: Site, place: str) -> None:
    assert save(site, place, 0, FOUND[:2]).status == 200
    late = save(site, place, 0, FOUND[1:])
    assert (late.status, late.body) == (412, b"somebody else changed this timeline meanwhile")
    assert site.ask(place).json["spans"] == FOUND[:2]


def test_of_many_at_once_one_is_saved(site: Site, place: str) -> None:
    def write(i: int) -> int:
        return save(site, place, 0, [[0, 1000 + i, FIRST, None, True]]).status

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(write, range(16)))
    assert sorted(found) == [200] + 15 * [412]


@pytest.mark.parametrize(
    "spans",
    [
        [[0, 0, FIRST, None, True]],
        [[5, 4, FIRST, None, True]],
        [[-1, 4, FIRST, None, True]],
        [[0, 62_000, FIRST, None, True]],
        [[0, 4, "", None, True]],
        [[0, 4, " x", None, True]],
        [[0, 4, "a\nb", None, True]],
        [[0, 4, "x" * 201, None, True]],
        [[0, 4, FIRST, 1.5, True]],
        [[0, 5, FIRST, None, True], [4, 9, FIRST, None, True]],
        [[4, 9, FIRST, None, True], [0, 3, FIRST, None, True]],
        [[0, 4.5, FIRST, None, True]],
        [[0, 4, FIRST, None]],
        "x",
        [{"start": 0}],
    ],
)
def test_what_is_no_timeline_is_refused_and_not_written(site: Site, place: str, spans: Any) -> None:
    answer = save(site, place, 0, spans)
    assert answer.status == 409, answer.body
    assert answer.body
    assert site.ask(place).json["revision"] == 0


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"{}",
        b'{"base": "x", "who": "", "action": "undo"}',
        b'{"base": 0, "who": "", "action": "drop"}',
        b'{"base": 0, "who": "\\u0000", "action": "undo"}',
    ],
)
def test_what_is_no_edit_is_refused(site: Site, place: str, body: bytes) -> None:
    assert site.ask(place, "POST", body).status == 400


@pytest.mark.parametrize(
    "path", ["/api/timelines/x", "/api/timelines/..%2f..%2flabels", "/recordings/..%2f..%2fdance.toml"]
)
def test_no_other_file_is_shown(site: Site, path: str) -> None:
    (site.workspace.root / "dance.toml").write_text("version = 1\n")
    answer = site.ask(path)
    assert answer.status == 404
    assert b"version" not in answer.body


def test_a_result_that_names_another_file_does_not_show_it(site: Site, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("a secret")
    predicted(site.workspace, secret, name="other")
    names = [row["name"] for row in site.ask("/api/timelines").json["rows"] if row["title"] == "secret.txt"]
    assert site.ask(f"/recordings/{names[0]}").status == 404


def test_the_recording_is_sent_by_range(site: Site, place: str, film: Path) -> None:
    part = site.ask(place.replace("/api/timelines", "/recordings"), Range="bytes=100-199")
    assert (part.status, part.body) == (206, film.read_bytes()[100:200])


def test_of_two_files_of_one_name_each_is_shown_its_own(site: Site, film: Path, tmp_path: Path) -> None:
    for folder, seconds in (("card1", 20.0), ("card2", 30.0)):
        video = make_recording(tmp_path / folder / "00001.mp4", seconds)
        predicted(site.workspace, video, name=folder)
        path = site.workspace.report(f"predict-{folder}") / "prediction.json"
        document = json.loads(path.read_text())
        document["inputs"] = [str(tmp_path / "card1"), str(tmp_path / "card2")]
        path.write_text(json.dumps(document))
    rows = [row for row in site.ask("/api/timelines").json["rows"] if row["title"] == "00001.mp4"]
    shown = {site.ask(f"/recordings/{row['name']}").body for row in rows}
    assert shown == {(tmp_path / folder / "00001.mp4").read_bytes() for folder in ("card1", "card2")}


def test_a_file_in_the_place_of_the_recording_is_not_shown(site: Site, tmp_path: Path) -> None:
    video = make_recording(tmp_path / "00001.mp4", 20.0)
    predicted(site.workspace, video, name="card")
    (row,) = (row for row in site.ask("/api/timelines").json["rows"] if row["title"] == "00001.mp4")
    name, was = row["name"], video.read_bytes()
    video.write_bytes(was * 2)
    assert site.ask(f"/recordings/{name}").status == 404
    assert not site.ask(f"/api/timelines/{name}").json["media"]
    save(site, f"/api/timelines/{name}", 0, [[0, 20_000, FIRST, None, True]])
    assert site.ask(f"/api/timelines/{name}/clips", "POST", {}).json["command"].endswith("--folder FOLDER")
    # As it is when the card is in again.
    video.write_bytes(was)
    assert site.ask(f"/recordings/{name}").body == was


def exported(site: Site, place: str, kind: str, more: str = "") -> str:
    answer = site.ask(f"{place}/export.{kind}{more}")
    assert answer.status == 200
    assert answer.headers["content-disposition"].endswith(f'.{kind}"')
    return answer.body.decode()


EDITED = [
    [0, 18_503, 'rock & roll <"fast"> --> 1', None, True],
    [20_000, 40_000, "盆踊り 7 %", None, True],
    [41_000, 60_000, FIRST, 0.75, False],
]


def test_exports_are_accepted_by_the_parsers_of_their_formats(site: Site, place: str, tmp_path: Path) -> None:
    import webvtt as webvtt_py
    from pympi.Elan import Eaf

    save(site, place, 0, EDITED)
    (tmp_path / "x.eaf").write_text(exported(site, place, "eaf"), encoding="utf-8")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*EAF.*")
        tier = Eaf(str(tmp_path / "x.eaf")).get_annotation_data_for_tier("dance")
    assert sorted(tier) == [tuple(row[:3]) for row in EDITED]
    cues = webvtt_py.from_string(exported(site, place, "vtt"))
    assert [(cue.start, cue.end) for cue in cues] == [
        ("00:00:00.000", "00:00:18.503"),
        ("00:00:20.000", "00:00:40.000"),
        ("00:00:41.000", "00:01:00.000"),
    ]
    rows = list(csv.DictReader(io.StringIO(exported(site, place, "csv"))))
    assert [(row["start_s"], row["label"], row["probability"]) for row in rows][1:] == [
        ("20.0", "盆踊り 7 %", ""),
        ("41.0", FIRST, "0.75"),
    ]


def test_a_file_that_was_corrected_on_disk_is_named_until_it_is_imported(site: Site, place: str) -> None:
    document_file = site.workspace.report("predict-evening") / "prediction.json"
    eaf = document_file.with_name("An-evening-2.mp4.eaf")
    eaf.write_text(exported(site, place, "eaf"), encoding="utf-8")
    document = json.loads(document_file.read_text())
    document["timelines"] = {eaf.name: checksum(eaf.read_text(encoding="utf-8"))}
    document_file.write_text(json.dumps(document))
    assert site.ask(place).json["changed"] == []
    eaf.write_text(text := eaf.read_text(encoding="utf-8").replace(FIRST, SECOND), encoding="utf-8")
    os.utime(eaf, (1_800_000_000, 1_800_000_000))
    told = {"path": str(eaf), "changed_utc": "2027-01-15T08:00:00+00:00", "problem": ""}
    assert site.ask(place).json["changed"] == [told]
    assert [row["changed"] for row in site.ask("/api/timelines").json["rows"]] == [1]
    sent = {"base": 0, "who": "ana", "action": "import", "file": eaf.name, "text": text}
    assert site.ask(place, "POST", sent).json["changed"] == []
    # What was imported is not told again after a later edit, nor after it was taken back.
    assert save(site, place, 2, EDITED).json["changed"] == []
    for base in (3, 4):
        undone = site.ask(place, "POST", {"base": base, "who": "ana", "action": "undo"}).json
        assert undone["changed"] == []
    eaf.write_text(text[:300], encoding="utf-8")
    assert "is not XML" in site.ask(place).json["changed"][0]["problem"]
    eaf.unlink()
    assert site.ask(place).json["changed"] == []


@pytest.mark.parametrize("kind", ["eaf", "vtt", "csv"])
def test_what_is_exported_is_read_back_the_same(site: Site, place: str, kind: str) -> None:
    save(site, place, 0, EDITED)
    text = exported(site, place, kind)
    back = {"base": 2, "who": "ana", "action": "import", "file": f"x.{kind}", "text": text}
    assert site.ask(place, "POST", back).json["revision"] == 2  # nothing changed
    changed = {**back, "text": text.replace(FIRST, SECOND)}
    assert site.ask(place, "POST", changed).json["spans"][2] == [41_000, 60_000, SECOND, None, True]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.eaf", "<html/>", "not of ELAN"),
        ("x.csv", "a,b\n1,2\n", "columns start_s, end_s and label"),
        ("x.csv", "start_s,end_s,label\n1,x,zumba\n", "x.csv: 2: time_end"),
        ("x.csv", "start_s,end_s,label\n1,2,\n", "has no label"),
        ("x.csv", "start_s,end_s,label\n1,5,a\n4,6,b\n", "two stretches overlap at 4.00 s"),
        ("x.vtt", "WEBVTT\n", "has no stretches"),
        (
            "x.vtt",
            "WEBVTT\n\nNOTE recording: Another one.mp4\n\n00:01.000 --> 00:02.000\nzumba\n",
            "is a timeline of 'Another one', and this is 'An evening #2.mp4'",
        ),
    ],
)
def test_what_cannot_be_imported_is_refused_with_its_place(
    site: Site, place: str, name: str, text: str, said: str
) -> None:
    sent = {"base": 0, "who": "", "action": "import", "file": f"../{name}", "text": text}
    answer = site.ask(place, "POST", sent)
    assert answer.status == 409
    assert said in answer.body.decode()
    assert site.ask(place).json["revision"] == 0


def test_remarks_on_a_tier_of_their_own_are_left_alone(site: Site, place: str) -> None:
    save(site, place, 0, EDITED)
    text = exported(site, place, "eaf")
    tier = ElementTree.fromstring(text).find("TIER")
    assert tier is not None
    remark = ElementTree.tostring(tier, "unicode").replace('TIER_ID="dance"', 'TIER_ID="Bemerkung"')
    both = text.replace("<LINGUISTIC_TYPE ", f"{remark}<LINGUISTIC_TYPE ", 1)
    sent = {"base": 2, "who": "ana", "action": "import", "file": "x.eaf", "text": both}
    assert site.ask(place, "POST", sent).json["revision"] == 2  # nothing changed
    unnamed = {**sent, "text": both.replace('TIER_ID="dance"', 'TIER_ID="Tanz"')}
    assert "has the tiers 'Tanz', 'Bemerkung', and none" in site.ask(place, "POST", unnamed).body.decode()


def test_checked_stretches_become_a_list_of_clips(site: Site, place: str, film: Path) -> None:
    refused = site.ask(f"{place}/clips", "POST", {})
    assert (refused.status, b"no stretch was checked yet" in refused.body) == (409, True)
    save(site, place, 0, [FOUND[0], [20_500, 40_000, FIRST, None, True], FOUND[2]])
    made = site.ask(f"{place}/clips", "POST", {}).json
    assert (made["stretches"], made["left"]) == (1, 2)
    words = f"dance fetch --annotations {made['file']} --source local --folder {film.parent}"
    assert made["command"] == words
    (segment,) = read_lists([Path(made["file"])], LabelSet(LABELS)).segments
    assert (segment.start_ms, segment.end_ms, segment.label) == (20_500, 40_000, FIRST)


def recording(spans: tuple[Span, ...]) -> Recording:
    return Recording("film-00000000", "film.mp4", None, 0, "0" * 64, 100.0, 25.0, LABELS, "", spans, ())


def test_what_a_killed_program_left_is_not_there_yet(workspace: Workspace) -> None:
    of = recording((Span(0, 1000, "a", 0.5), Span(1000, 2000, "b", 0.5)))
    edit(workspace, of, 0, [Span(0, 900, "a")], "ana", "")
    path = workspace.root / "timelines" / f"{of.name}.jsonl"
    whole = path.read_bytes()
    edit(workspace, of, 2, [Span(0, 800, "a")], "ana", "")
    written = path.read_bytes()
    # Its end is all that the last one lacks.
    for length in range(len(whole), len(written) - 1):
        path.write_bytes(written[:length])
        assert read_timeline(workspace, of).spans == (Span(0, 900, "a"),)
    assert edit(workspace, of, 2, [Span(0, 700, "a")], "ana", "").spans == (Span(0, 700, "a"),)
    path.write_bytes(b"{}\n" + whole)
    with pytest.raises(InputError, match=r"film-00000000\.jsonl:1: is no edit"):
        read_timeline(workspace, of)


def test_an_edit_without_the_end_of_its_line_counts_and_stays(workspace: Workspace) -> None:
    of = recording((Span(0, 1000, "a", 0.5),))
    edit(workspace, of, 0, [Span(0, 900, "a")], "ana", "")
    path = workspace.root / "timelines" / f"{of.name}.jsonl"
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert read_timeline(workspace, of).spans == (Span(0, 900, "a"),)
    edit(workspace, of, 2, [Span(0, 800, "a")], "ana", "")
    assert undo(workspace, of, 3, "ana").spans == (Span(0, 900, "a"),)


LABEL = (
    st.text(min_size=1, max_size=30)
    .map(lambda t: " ".join(t.split()))
    .filter(lambda t: t and t.isprintable())
)


@st.composite
def timelines(draw: st.DrawFn) -> list[Span]:
    times = draw(st.lists(st.integers(0, 100_000), min_size=2, max_size=12, unique=True).map(sorted))
    pairs = zip(times[::2], times[1::2], strict=False)
    return [Span(a, b, draw(LABEL), draw(st.none() | st.floats(0, 1)), draw(st.booleans())) for a, b in pairs]


@given(timelines())
def test_any_label_is_read_back_from_webvtt(spans: list[Span]) -> None:
    text = webvtt(Path("film.mp4"), as_segments(spans))
    read = import_spans(recording(()), [], text, Path("x.vtt"))
    assert [(s.start_ms, s.end_ms, s.label) for s in read] == [(s.start_ms, s.end_ms, s.label) for s in spans]


@pytest.mark.parametrize(("title", "named"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_a_mac_s_form_of_a_name_and_that_of_others_are_one_recording(title: str, named: str) -> None:
    file, other = (unicodedata.normalize(form, "Café.mp4") for form in (title, named))
    text = f"WEBVTT\n\nNOTE recording: {other}\n\n00:01.000 --> 00:02.000\nzumba\n"
    assert len(import_spans(replace(recording(()), title=file), [], text, Path("x.vtt"))) == 1


@given(states=st.lists(timelines(), min_size=1, max_size=6))
def test_any_edits_are_replayed_and_taken_back(
    tmp_path_factory: pytest.TempPathFactory, states: list[list[Span]]
) -> None:
    workspace = Workspace(tmp_path_factory.mktemp("space"))
    of = recording((Span(0, 50_000, "a", 0.5), Span(50_000, 90_000, "b", 0.5)))
    seen = [of.spans]
    for spans in states:
        now = read_timeline(workspace, of)
        if edit(workspace, of, now.revision, spans, "ana", "x").spans != seen[-1]:
            seen.append(tuple(spans))
        assert read_timeline(workspace, of).spans == tuple(spans)
    for before in seen[-2::-1]:
        assert undo(workspace, of, read_timeline(workspace, of).revision, "ben").spans == before
    now = read_timeline(workspace, of)
    with pytest.raises(WorkspaceError, match="nothing to undo"):
        undo(workspace, of, now.revision, "ben")


def test_a_full_disk_changes_nothing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    of = recording((Span(0, 1000, "a", 0.5),))
    edit(workspace, of, 0, [Span(0, 900, "a")], "ana", "")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        edit(workspace, of, 2, [Span(0, 800, "a")], "ana", "")
    assert read_timeline(workspace, of).spans == (Span(0, 900, "a"),)


def test_spans_of_a_page_must_be_whole() -> None:
    from dancecli.app.timelines import parse_spans

    with pytest.raises(DanceError):
        parse_spans([[0, True, "a", None, True, 1]])
