from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.builders import Ran
from helpers.fake_run import make_run

from dancecli.core.errors import InputError, WorkspaceError
from dancecli.core.records import Clip, Segment
from dancecli.dataset.corrections import import_corrections, take_corrections_back
from dancecli.dataset.left_out import LeftOut, replace_left_out
from dancecli.storage import tables
from dancecli.storage.corrections import Correction, append_corrections, current, read_corrections
from dancecli.storage.workspace import Workspace

LABELS = ("wave", "spin", "salsa dancing")


@pytest.fixture
def made(workspace: Workspace) -> Workspace:
    make_run(workspace.root, LABELS, test=6, train=3)
    tables.write(workspace.segments, Segment, [], {"labels": json.dumps(LABELS)})
    return workspace


def ids(workspace: Workspace) -> list[str]:
    return sorted(clip.clip_id for clip in tables.read(workspace.clips, Clip))


def wave(workspace: Workspace) -> list[str]:
    return sorted(clip.clip_id for clip in tables.read(workspace.clips, Clip) if clip.label == "wave")


def test_a_wide_table_changes_what_its_cells_say(made: Workspace, tmp_path: Path) -> None:
    one, two, three = wave(made)
    path = tmp_path / "list.csv"
    path.write_text(
        f"clip_id;label;exclude;note;who\n{one};SPIN;;twice;ana\n{two}.mp4;wave;yes;;ana\n{three};;no;;\n"
    )
    found = import_corrections(made, [path])
    assert current(read_corrections(made)) == {
        one: {"label": "spin", "note": "twice"},
        two: {"exclude": "yes"},
    }
    # The label of the second and `exclude` of the third are in force already.
    assert (found.unchanged, found.refused) == (2, ())
    assert {row.who for row in found.rows} == {"ana"}
    again = import_corrections(made, [path])
    assert (again.rows, again.unchanged) == ((), 5)


def test_a_list_that_names_nobody_is_signed_by_the_command(made: Workspace, tmp_path: Path) -> None:
    one, two, _ = wave(made)
    (tmp_path / "wide.csv").write_text(f"clip_id,label,who\n{one},spin,ana\n{two},spin,\n")
    (tmp_path / "plain.csv").write_text(f"clip_id,exclude\n{one},yes\n")
    import_corrections(made, [tmp_path / "wide.csv", tmp_path / "plain.csv"])
    take_corrections_back(made, [two])
    signed = [(row.clip_id, row.who) for row in read_corrections(made)]
    mine = "dance corrections"
    assert signed == [(one, "ana"), (two, mine), (one, mine), (two, mine)]


def test_a_copy_of_a_clip_is_named_as_well_as_the_clip(made: Workspace, tmp_path: Path) -> None:
    one, two, _ = wave(made)
    copies = (
        LeftOut(f"/disk/{name}", "repeated", "the same clip", one, "wave", "2026")
        for name in ("b.mp4", f"{two}.mp4")
    )
    replace_left_out(made, "/disk", copies)
    path = tmp_path / "list.csv"
    # Another clip has the name of the second copy, and is meant.
    path.write_text(f"file,label,note\nb.mp4,spin,\n{two}.mp4,,looked at\n")
    found = import_corrections(made, [path])
    assert {(row.clip_id, row.new) for row in found.rows} == {(one, "spin"), (two, "looked at")}


def test_the_listed_label_takes_an_earlier_correction_back(made: Workspace, tmp_path: Path) -> None:
    clip, path = wave(made)[0], tmp_path / "list.csv"
    for label in ("spin", "wave"):
        path.write_text(f"file,label\n{clip}.mp4,{label}\n")
        import_corrections(made, [path])
    assert current(read_corrections(made)) == {}
    assert len(read_corrections(made)) == 2


def test_our_own_table_of_another_workspace(made: Workspace, tmp_path: Path) -> None:
    clip, path = wave(made)[0], tmp_path / "labels.csv"
    path.write_text(
        "clip_id,field,old,new,who,when_utc,why\n"
        f"{clip},label,wave,spin,ana,2026-01-02T03:04:05.678+00:00,\"a spin, clearly\"\n"
    )  # fmt: skip
    (row,) = import_corrections(made, [path]).rows
    assert (row.old, row.new, row.when_utc) == ("wave", "spin", "2026-01-02T03:04:05.678+00:00")
    assert row.why == "a spin, clearly"
    # The label that is listed here is no correction, and takes one back.
    other = tmp_path / "other.csv"
    other.write_text(f"clip_id,field,old,new\n{clip},label,spin,wave\n{wave(made)[1]},label,spin,wave\n")
    found = import_corrections(made, [other])
    assert ([(row.old, row.new) for row in found.rows], found.unchanged) == ([("spin", "")], 1)
    assert current(read_corrections(made)) == {}


def test_what_is_in_force_in_the_table_of_another_workspace(made: Workspace, tmp_path: Path) -> None:
    one, two, three = wave(made)
    path = tmp_path / "labels.csv"
    rows = (
        f"{one},label,wave,spin",
        f"{one},exclude,,yes",
        f"{one},label,spin,",
        f"{two},start_ms,0,400",
        f"{one},exclude,yes,",
        f"{two},label,wave,spin",
        f"{two},label,spin,salsa dancing",
        f"{three},speed,,slow",
        f"{three},end_ms,900,800",
        f"{three},end_ms,800,",
        f"{three},note,,seen",
    )
    path.write_text("\n".join(("clip_id,field,old,new", *rows, "")))
    # What this workspace excluded stays excluded.
    append_corrections(made, [Correction(one, "exclude", "", "yes")])
    found = import_corrections(made, [path])
    assert current(read_corrections(made)) == {
        one: {"exclude": "yes"},
        two: {"label": "salsa dancing"},
        three: {"note": "seen"},
    }
    assert (len(found.rows), found.superseded, found.unchanged) == (2, 7, 0)
    assert [(where, reason.split(";")[0]) for where, _, reason in found.refused] == [
        ("line 5", "'start_ms' is given in dance app alone"),
        ("line 9", "'speed' is no field"),
    ]


@pytest.mark.parametrize("prefix", ["", "/data/upload/3/1a2b3c4d-", "/data/local-files/?d=clips/", "s3://b/"])
def test_label_studio(made: Workspace, tmp_path: Path, prefix: str) -> None:
    one, two, three = wave(made)

    def annotation(when: str, *choices: str, cancelled: bool = False) -> dict[str, object]:
        return {
            "completed_by": {"email": "ana@example.org"},
            "updated_at": when,
            "was_cancelled": cancelled,
            "result": [{"type": "choices", "value": {"choices": list(choices)}}],
        }

    tasks = [
        {
            "id": 7,
            "data": {"video": f"{prefix}{one}.mp4"},
            "annotations": [
                annotation("2026-02-01", "spin"),
                annotation("2026-03-01", "salsa dancing", "spin"),
                annotation("2026-04-01", "wave", cancelled=True),
            ],
        },
        {"id": 8, "data": {"video": f"{prefix}{two}.mp4"}, "annotations": []},
        {"id": 9, "data": {"video": f"{prefix}{three}.mp4"}, "annotations": [annotation("2026", "polka")]},
    ]
    path = tmp_path / "export.json"
    path.write_text(json.dumps(tasks))
    found = import_corrections(made, [path])
    assert current(read_corrections(made)) == {one: {"label": "salsa dancing", "second_label": "spin"}}
    assert {(row.who, row.when_utc) for row in found.rows} == {("ana@example.org", "2026-03-01")}
    ((where, _, reason),) = found.refused
    assert (where, reason) == (
        "task 9",
        "'polka' is not a label of this dataset, which has wave, spin, salsa dancing",
    )


def test_label_studio_s_short_form(made: Workspace, tmp_path: Path) -> None:
    clip, path = wave(made)[0], tmp_path / "export.json"
    path.write_text(json.dumps([{"id": 1, "video": f"{clip}.mp4", "choice": "spin", "annotator": 3}]))
    assert [row.who for row in import_corrections(made, [path]).rows] == ["3"]
    assert current(read_corrections(made)) == {clip: {"label": "spin"}}


def test_cvat(made: Workspace, tmp_path: Path) -> None:
    one, two, _ = wave(made)
    path = tmp_path / "annotations.xml"
    path.write_text(
        "<annotations><meta><dumped>2026-05-01 10:00:00</dumped></meta>"
        f'<image id="0" name="{one}.mp4"><tag label="spin"/></image>'
        '<image id="1" name="other.mp4"><tag label="spin"/></image></annotations>'
    )
    found = import_corrections(made, [path])
    assert found.refused == (("image 1", "other.mp4", "no clip of this workspace has this name"),)
    path.write_text(
        f"<annotations><meta><task><id>4</id><source>{two}.mp4</source></task></meta>"
        '<tag label="salsa dancing" frame="0"/><tag label="salsa dancing" frame="9"/></annotations>'
    )
    import_corrections(made, [path])
    assert current(read_corrections(made)) == {one: {"label": "spin"}, two: {"label": "salsa dancing"}}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "[1, 2]", "is no export of Label Studio"),
        ("a.json", "[{", "is not JSON"),
        ("a.xml", "<annotations><image></annotations>", "is not XML"),
        ("a.xml", "<osm/>", "is no export of CVAT"),
        ("a.xml", '<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', "declares entities"),
        ("a.csv", "clip,wrong\nx,y\n", "needs a column that names clips and one to correct"),
    ],
)
def test_what_is_no_list_is_one_line_and_adds_nothing(
    made: Workspace, tmp_path: Path, name: str, text: str, message: str
) -> None:
    good, bad = tmp_path / "good.csv", tmp_path / name
    good.write_text(f"clip_id,label\n{wave(made)[0]},spin\n")
    bad.write_text(text)
    with pytest.raises(InputError, match=message):
        import_corrections(made, [good, bad])
    assert read_corrections(made) == []


def test_hostile_values_are_refused_and_the_neighbors_go_on(made: Workspace, tmp_path: Path) -> None:
    one, two, _ = wave(made)
    path = tmp_path / "export.json"
    choices = [("\x1b[31mspin", one), ("spin", two)]
    tasks = [{"id": i, "video": f"{clip}.mp4", "choice": choice} for i, (choice, clip) in enumerate(choices)]
    path.write_text(json.dumps(tasks))
    found = import_corrections(made, [path])
    assert [reason for _, _, reason in found.refused] == ["the value holds control characters"]
    assert current(read_corrections(made)) == {two: {"label": "spin"}}


def test_of_a_refused_row_nothing_is_taken_and_all_its_faults_are_named(
    made: Workspace, tmp_path: Path
) -> None:
    one, two, three = wave(made)
    path, other = tmp_path / "list.csv", tmp_path / "other.csv"
    path.write_text(
        f"clip_id,label,exclude,note\n{one},wlatz,,twice\n{two},wlatz,maybe,look\nnobody,wlatz,,\n"
        f"{three},spin,,good\n"
    )
    # The same line of another list is a row of its own.
    other.write_text(f"clip_id,note\n{one},seen\n")
    found = import_corrections(made, [path, other])
    assert current(read_corrections(made)) == {
        three: {"label": "spin", "note": "good"},
        one: {"note": "seen"},
    }
    fault = "'wlatz' is not a label of this dataset, which has wave, spin, salsa dancing"
    assert found.refused == (
        ("line 2", one, fault),
        ("line 3", two, f"{fault}; exclude must be yes or no, not 'maybe'"),
        ("line 4", "nobody", f"{fault}; no clip of this workspace has this name"),
    )


def test_a_label_in_another_spelling_is_taken_in_that_of_the_dataset(made: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    rows = zip(wave(made), ("Salsa_Dancing", " salsa  DANCING", "salsadancing"), strict=True)
    path.write_text("clip_id,label\n" + "".join(f"{clip},{label}\n" for clip, label in rows))
    assert import_corrections(made, [path]).refused == ()
    assert {fields["label"] for fields in current(read_corrections(made)).values()} == {"salsa dancing"}


def test_the_labels_of_a_refusal_are_few(made: Workspace, tmp_path: Path) -> None:
    labels = [f"step {chr(97 + i)}" for i in range(12)] + ["Tap-Dance", "tap dance"]
    tables.write(made.segments, Segment, [], {"labels": json.dumps(labels)})
    path = tmp_path / "list.csv"
    # Of labels that differ by their spelling alone, each is meant by its own alone.
    path.write_text(f"clip_id,label\n{wave(made)[0]},TAP DANCE\n{wave(made)[1]},tap dance\n")
    found = import_corrections(made, [path])
    ((_, _, reason),) = found.refused
    assert reason.endswith(f"which has {', '.join(labels[:10])} and 4 more")
    assert [row.new for row in found.rows] == ["tap dance"]


def test_corrections_of_a_clip_are_taken_back(made: Workspace, tmp_path: Path) -> None:
    one, two, _ = wave(made)
    path = tmp_path / "list.csv"
    path.write_text(f"clip_id,label,note\n{one},spin,look\n{two},spin,\n")
    import_corrections(made, [path])
    rows = take_corrections_back(made, [one])
    assert [(row.field, row.old, row.new) for row in rows] == [("label", "spin", ""), ("note", "look", "")]
    assert current(read_corrections(made)) == {two: {"label": "spin"}}
    with pytest.raises(WorkspaceError, match=f"clip {one} has no corrections"):
        take_corrections_back(made, [one])


def test_the_command(made: Workspace, tmp_path: Path, dance: Callable[..., Ran]) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"clip_id,label\n{wave(made)[0]},spin\nnobody,spin\n")
    tried = dance("corrections", str(path), "--dry-run")
    assert tried.code == 3
    assert "refused: line 3: nobody: no clip of this workspace has this name" in tried.err
    assert "1 would be added, 0 in force already, 1 refused" in tried.err
    assert "no corrections" in dance("corrections").err
    assert dance("corrections", str(path)).code == 3
    (row,) = dance("corrections", "--json").json
    assert (row["clip_id"], row["new"]) == (wave(made)[0], "spin")
    assert dance("corrections", "--take-back", row["clip_id"]).code == 0
    assert dance("corrections", "--json").json == []
    assert len(dance("corrections", "--all", "--json").json) == 2
