"""One correction of many clips, over the app's server: all of them, as many as were seen, and back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from helpers import clip_workspace
from helpers.app_server import Site, served
from helpers.clip_workspace import LABELS

from dancecli.app.explore.bulk import undo_rows
from dancecli.core.records import Clip
from dancecli.storage import tables
from dancecli.storage.corrections import Correction, append_corrections, current, read_corrections
from dancecli.storage.workspace import Workspace

clip_files, populated = clip_workspace.clip_files, clip_workspace.populated
ONE, OTHER = LABELS


@pytest.fixture
def site(populated: Workspace) -> Iterator[Site]:
    with served(populated) as address:
        yield Site(address, populated)


def correct(site: Site, **changed: object) -> object:
    body = {
        "who": "ana",
        "why": "seen",
        "query": {"subset": "train"},
        "field": "label",
        "new": ONE,
        "expected": 3,
    }
    return site.ask("/api/bulk", "POST", body | changed)


def test_the_clips_of_a_query_are_relabeled_and_that_is_taken_back(site: Site) -> None:
    listed = {clip.clip_id: clip.label for clip in tables.read(site.workspace.clips, Clip)}
    answer = correct(site).json
    # Of three clips one has the label already.
    assert (answer["saved"], answer["unchanged"]) == (1, 2)
    (row,) = read_corrections(site.workspace)
    assert (row.old, row.new, row.who, row.why, row.when_utc) == (OTHER, ONE, "ana", "seen", answer["moment"])
    assert site.ask(f"/api/clips?label={ONE}&subset=train").json["total"] == 3
    undone = site.ask("/api/bulk/undo", "POST", {"who": "ana", "moment": answer["moment"]}).json
    assert undone == {"saved": 1, "kept": 0}
    assert current(read_corrections(site.workspace)) == {}
    assert site.ask("/api/clips?label=" + listed[row.clip_id].replace(" ", "%20")).json["total"] == 2


@pytest.mark.parametrize("field", ["exclude", "confirmed"])
def test_clips_are_excluded_and_confirmed(site: Site, field: str) -> None:
    answer = correct(site, field=field, new="yes").json
    assert answer["saved"] == 3
    assert {tuple(values.items()) for values in current(read_corrections(site.workspace)).values()} == {
        ((field, "yes"),)
    }
    assert correct(site, field=field, new="yes").json["unchanged"] == 3
    assert correct(site, field=field, new="").json["saved"] == 3
    assert current(read_corrections(site.workspace)) == {}


def test_a_group_is_given_and_undo_gives_the_earlier_one_back(site: Site) -> None:
    clip_id = site.ask("/api/clips?subset=train").json["rows"][0]["clip_id"]
    append_corrections(site.workspace, [Correction(clip_id, "group", "", "before")])
    site.ask("/api/bulk", "POST", {"query": {"subset": "val"}, "field": "group", "new": "x", "expected": 1})
    moment = correct(site, field="group", new="troupe").json["moment"]
    groups = {i: values["group"] for i, values in current(read_corrections(site.workspace)).items()}
    assert sorted(groups.values()) == ["troupe", "troupe", "troupe", "x"]
    site.ask("/api/bulk/undo", "POST", {"moment": moment})
    assert current(read_corrections(site.workspace))[clip_id] == {"group": "before"}
    assert len(current(read_corrections(site.workspace))) == 2


def test_more_or_fewer_clips_than_were_seen_are_not_corrected(site: Site) -> None:
    answer = correct(site, expected=2)
    assert answer.status == 409
    assert b"were 2 clips, and are 3 now" in answer.body
    assert read_corrections(site.workspace) == []


BAD = [
    {"field": "color"}, {"field": "start_ms", "new": "1"}, {"field": "note", "new": "x"}, {"new": "walz"},
    {"field": "exclude", "new": "perhaps"}, {"expected": "many"}, {"query": 3}, {"new": "a\u0000b"},
    {"field": "group", "new": "x" * 3000},
]  # fmt: skip


@pytest.mark.parametrize("changed", BAD, ids=range(len(BAD)))
def test_what_is_no_correction_is_refused(site: Site, changed: dict[str, object]) -> None:
    assert correct(site, **changed).status == 400
    assert read_corrections(site.workspace) == []


def test_another_page_corrects_nothing(site: Site) -> None:
    body = {"query": {}, "field": "exclude", "new": "yes", "expected": 5}
    for path in ("/api/bulk", "/api/bulk/undo"):
        assert site.ask(path, "POST", body, Origin="http://evil.example").status == 403
        assert site.ask(path, "POST", body, Cookie="").status == 403
    assert read_corrections(site.workspace) == []


def test_what_was_corrected_since_stays() -> None:
    rows = [
        Correction("a", "label", "x", "y", when_utc="1"),
        Correction("a", "label", "y", "z", when_utc="2"),
        Correction("b", "label", "x", "z", when_utc="2"),
        Correction("c", "label", "x", "z", when_utc="2"),
        Correction("c", "note", "", "n", when_utc="3"),
        Correction("b", "label", "z", "w", when_utc="4"),
    ]
    undone, kept = undo_rows(rows, "2", "ana")
    assert [(row.clip_id, row.field, row.old, row.new, row.who) for row in undone] == [
        ("a", "label", "z", "y", "ana"),
        ("c", "label", "z", "", "ana"),
    ]
    assert kept == 1
    assert undo_rows(rows, "9", "ana") == ([], 0)
