"""What an export says of itself: Croissant metadata, datasheet and card, held to the workspace."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlcroissant
import pytest
from helpers import clip_workspace
from helpers.builders import Ran, fill, make_clip
from hypothesis import given
from hypothesis import strategies as st

from dancecli.core.hashing import sha256_file
from dancecli.core.records import NEAR_DUPLICATE, Clip, Group, SplitClip
from dancecli.dataset.export import card_check
from dancecli.dataset.export.card_check import check_card, differences, facts_in_json, facts_in_markdown
from dancecli.dataset.export.export import DOCUMENTS, ExportSettings, Form, documents_of, export
from dancecli.dataset.export.facts import derive_split_facts
from dancecli.dataset.groups import add_groups
from dancecli.dataset.left_out import LeftOut, replace_left_out
from dancecli.storage import tables
from dancecli.storage.corrections import Correction, append_corrections
from dancecli.storage.workspace import Workspace

clip_files, populated = clip_workspace.clip_files, clip_workspace.populated
LABELS = ("tap | step", "zumba")
# A publisher's to set.
DECISIONS = (
    *("license: other", "task_categories:", "- video-classification", "tags:", "- dance"),
    *("- action-recognition", "# Dance clips", "# Datasheet"),
)
ANSWER = """\
A grant.

| who | paid |
|---|---|
| Ann | 10 EUR |

### Our history

- since 1990

### Export

| fact | value |
|---|---:|
| clips | many |

It was a long way.
"""
PARTS = ("train", "train", "train", "val", "test", "test")


def made_up(root: Path) -> Workspace:
    """A workspace without videos in which every kind of fact is there."""
    workspace = Workspace(root)
    clips = [
        make_clip(
            3 * i,
            LABELS[i % 2],
            num_bytes=0,
            num_frames=200 + i,
            license="Creative Commons Attribution license (reuse allowed)" if i < 2 else "",
            uploader="a studio" if i < 2 else "",
            note="rotated" if i == 1 else "",
            black_share=0.9 if i == 2 else 0.0,
        )
        for i in range(len(PARTS))
    ]
    fill(workspace, clips, LABELS)
    rows = [
        SplitClip(c.clip_id, part, c.video_id, c.label, c.sha256)
        for c, part in zip(clips, PARTS, strict=True)
    ]
    meta = {"split.hash": "", "split.labels": json.dumps(LABELS), "split.removed": '{"test": 1}'}
    tables.write(workspace.split("full"), SplitClip, rows, meta)
    add_groups(workspace, [Group(clip.clip_id, "Ann", "dancer") for clip in clips[2:4]])
    # The group of two videos is one; of those that are one video's, a datasheet says nothing.
    near = [Group(clip.clip_id, str(min(i, 4)), NEAR_DUPLICATE) for i, clip in enumerate(clips)]
    add_groups(workspace, near)
    append_corrections(workspace, [Correction(clips[0].clip_id, "note", "", "two dancers")])
    return workspace


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    made = documents_of(made_up(tmp_path_factory.mktemp("facts")), Form.LISTS, "full", augmented=False)
    return {name: made.text(name) for name in DOCUMENTS}


def facts_of(name: str, text: str, like: str) -> dict[str, str]:
    return (
        facts_in_json(json.loads(text), json.loads(like))
        if name.endswith("json")
        else facts_in_markdown(text, like)
    )


def changed_by_one(value: str, which: int) -> str:
    """One number of the text plus one; of a text without numbers, or of a hash, one character."""
    numbers = [] if re.search(r"[0-9a-f]{64}", value) else list(re.finditer(r"\d+", value))
    if numbers:
        number = numbers[which % len(numbers)]
        return f"{value[: number.start()]}{int(number[0]) + 1}{value[number.end() :]}"
    at = which % max(len(value), 1)
    return f"{value[:at]}{'x' if value[at : at + 1] != 'x' else 'y'}{value[at + 1 :]}"


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    return [leaf for key in keys for leaf in leaves(value[key], (*path, key))] if keys else [path]


@given(data=st.data())
def test_any_value_of_the_metadata_changed_by_one_is_named(
    documents: dict[str, str], data: st.DataObject
) -> None:
    text = documents["croissant.json"]
    changed = json.loads(text)
    path = data.draw(st.sampled_from(leaves(changed)))
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    old = inner[path[-1]]
    if isinstance(old, (int, float)):
        inner[path[-1]] = old + 1
    else:
        inner[path[-1]] = changed_by_one(str(old), data.draw(st.integers(0, 99)))
    own = json.loads(text)
    found = list(differences(facts_in_json(changed, own), facts_in_json(own, own)))
    assert found
    if "@id" not in path:
        (only,) = found
        assert (json.loads(only.says), json.loads(only.gives)) == (inner[path[-1]], old)
        assert only.fact.endswith(str(path[-1])) or isinstance(path[-1], int)


@given(data=st.data())
def test_any_line_of_a_page_changed_by_one_is_named(documents: dict[str, str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["README.md", "DATASHEET.md"]))
    own = documents[name]
    lines = own.splitlines()
    facts = [
        i
        for i, line in enumerate(lines)
        if line and line not in DECISIONS and line != card_check.OPEN and set(line) - set("|-: ")
    ]
    i = data.draw(st.sampled_from(facts))
    lines[i] = changed_by_one(lines[i], data.draw(st.integers(0, 99)))
    if lines[i].startswith("|") == own.splitlines()[i].startswith("|"):
        found = list(differences(*(facts_in_markdown(t, own) for t in ("\n".join(lines), own))))
        assert found, lines[i]


def test_every_cell_of_the_datasheet_is_named_by_its_table_row_and_column(documents: dict[str, str]) -> None:
    gives = facts_in_markdown(documents["DATASHEET.md"], documents["DATASHEET.md"])
    cells = {name: value for name, value in gives.items() if name.count(": ") == 2 and value.isdigit()}
    assert len(cells) > 40
    for name, value in cells.items():
        (only,) = differences({**gives, name: str(int(value) + 1)}, gives)
        assert (only.fact, only.says, only.gives) == (name, str(int(value) + 1), value)
    assert gives["Clips by class: tap \\| step: train"] == "2"
    assert gives["Leaks: dancer in two subsets: found"] == "1"
    assert gives["Removed by request: test: clips"] == "1"
    assert gives["Corrections in force: note: clips"] == "1"


def test_near_duplicates_are_counted_of_several_videos_alone(tmp_path: Path) -> None:
    workspace = made_up(tmp_path)
    clips = tables.read(workspace.clips, Clip)
    rows = tables.read(workspace.split("full"), SplitClip)
    meta = tables.read_meta(workspace.split("full"))
    second = replace(clips[0], clip_id="second", start_ms=99_000, end_ms=100_000, sha256="9")
    tables.write(workspace.clips, Clip, [*clips, second])
    add_groups(workspace, [Group("second", "0", NEAR_DUPLICATE)])
    tables.write(workspace.split("full"), SplitClip, [*rows, replace(rows[0], clip_id="second")], meta)
    (groups,) = (t for t in derive_split_facts(workspace, "full", LABELS).tables if t.title == "Groups")
    assert groups.rows == {"dancer": (1, 2), NEAR_DUPLICATE: (1, 2)}


def test_what_a_publisher_adds_is_no_difference(documents: dict[str, str]) -> None:
    sheet = documents["DATASHEET.md"]
    filled = (
        sheet.replace(card_check.OPEN, ANSWER) + "\n## Contact\n\n| who | at |\n|---|---|\n| Ann | home |\n"
    )
    assert filled.count("10 EUR") > 20
    assert not list(differences(*(facts_in_markdown(text, sheet) for text in (filled, sheet))))
    changed = filled.replace("| clips | 6 |", "| clips | 7 |")
    (only,) = differences(*(facts_in_markdown(text, sheet) for text in (changed, sheet)))
    assert (only.fact, only.says, only.gives) == ("Export: clips: value", "7", "6")
    card = documents["README.md"]
    assert "license: other" in card and "# Dance clips" in card and "- dance\n" in card
    own_card = card.replace("license: other", "license: cc-by-4.0\npretty_name: Waltz")
    own_card = own_card.replace("# Dance clips", "# Waltz").replace("- dance\n", "- waltz\n- vienna\n")
    assert not list(differences(*(facts_in_markdown(text, card) for text in (own_card, card))))
    own = json.loads(documents["croissant.json"])
    more = {**own, "url": "https://example.org", "creator": {"@type": "Person", "name": "Ann"}}
    assert not list(differences(facts_in_json(more, own), facts_in_json(own, own)))


@pytest.mark.parametrize("form", [Form.LISTS, Form.VIDEOFOLDER, Form.WEBDATASET])
def test_mlcroissant_validates_the_metadata_and_reads_the_clips(populated: Workspace, form: Form) -> None:
    folder = Path(export(populated, ExportSettings(form)).folder)
    dataset = mlcroissant.Dataset(jsonld=str(folder / "croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    assert dataset.metadata.data_biases
    records = list(dataset.records("clips"))
    split = {clip.clip_id: clip for clip in tables.read(populated.split("full"), SplitClip)}
    found = {r["clips/clip_id"].decode(): r["clips/subset"].decode() for r in records}
    assert found == {clip_id: clip.subset for clip_id, clip in split.items()}
    document = json.loads((folder / "croissant.json").read_text())
    assert document["distribution"][0]["sha256"] == sha256_file(folder / "clips.csv")
    for pattern in document["distribution"][1]["includes"]:
        assert list(folder.glob(pattern)), pattern


def test_the_command_names_what_differs(populated: Workspace, dance: Callable[..., Ran]) -> None:
    folder = Path(dance("export", "--json").json["folder"])
    assert sorted(path.name for path in folder.glob("*.mp4")) == []
    for name in DOCUMENTS:
        ran = dance("verify", "--card", str(folder / name), "--json")
        assert (ran.code, ran.json["differences"]) == (0, []), name
        assert ran.json["num_facts"] > 20
    sheet = folder / "DATASHEET.md"
    sheet.write_text(sheet.read_text().replace("| clips | 5 |", "| clips | 6 |"))
    ran = dance("verify", "--card", str(sheet))
    assert (ran.code, "Export: clips: value: the card says 6, the workspace gives 5" in ran.out) == (3, True)
    # The workspace changed since, and the card did not.
    clip_id = tables.read(populated.clips, Clip)[0].clip_id
    append_corrections(populated, [Correction(clip_id, "note", "", "two dancers")])
    ran = dance("verify", "--card", str(folder / "croissant.json"))
    assert "facts: Corrections in force: note: clips: the card says 0, the workspace gives 1" in ran.out
    sheet.unlink()
    assert dance("export").code == 0
    assert dance("verify", "--card", str(sheet)).code == 0


def test_a_file_that_is_not_the_one_whose_checksum_the_card_states_is_named(
    populated: Workspace, dance: Callable[..., Ran]
) -> None:
    folder = Path(dance("export", "--json").json["folder"])
    card, listed = folder / "croissant.json", folder / "clips.csv"
    digest = sha256_file(listed)
    whole = dance("verify", "--card", str(card), "--json").json["num_facts"]
    listed.write_text(listed.read_text() + "\n")
    ran = dance("verify", "--card", str(card))
    assert ran.code == 3
    changed = f"sha256 {sha256_file(listed)[:12]}..."
    assert f"clips.csv: the card says sha256 {digest[:12]}..., the file has {changed}" in ran.out
    assert f"1 of the {whole} facts" in ran.out
    assert "if the workspace is right" not in ran.err
    listed.unlink()
    assert "..., the file is missing" in dance("verify", "--card", str(card)).out
    ran = dance("verify", "--card", str(card), "--json")
    (only,) = ran.json["differences"]
    assert (ran.code, only["fact"], only["gives"]) == (3, "clips.csv", "(nothing)")
    # What is elsewhere is not looked at.
    document = json.loads(card.read_text())
    document["distribution"][0]["contentUrl"] = "https://example.org/clips.csv"
    card.write_text(json.dumps(document))
    found = dance("verify", "--card", str(card), "--json").json["differences"]
    assert [one["fact"] for one in found] == ["distribution: clips.csv: contentUrl"]
    # Nor does a list of anything else make a traceback.
    card.write_text(json.dumps({**document, "distribution": ["clips.csv", {"sha256": 1, "contentUrl": []}]}))
    assert dance("verify", "--card", str(card)).code == 3


def test_a_file_that_is_no_card_is_refused(populated: Workspace, dance: Callable[..., Ran]) -> None:
    path = populated.root / "notes.md"
    path.write_text("# Notes\n")
    assert "does not say which dance export made it" in dance("verify", "--card", str(path)).err
    path.write_text("dance export --split other --format lists")
    assert "there is no split 'other'" in dance("verify", "--card", str(path)).err
    path.write_text('{"made by": "dance export --split full --format lists"')
    assert "is not valid JSON" in dance("verify", "--card", str(path)).err


def test_videos_that_must_not_be_published_are_counted(
    populated: Workspace, dance: Callable[..., Ran]
) -> None:
    clips = tables.read(populated.clips, Clip)
    free = replace(clips[0], license="Creative Commons Attribution license (reuse allowed)")
    owned = replace(clips[1], license="All rights reserved")
    tables.write(populated.clips, Clip, [free, owned, *clips[2:]])
    ran = dance("export", "--format", "videofolder")
    assert "do not publish this export: 4 of its videos have no license" in ran.err
    assert (
        "**Do not publish this folder**: 4 of its 5 videos"
        in (populated.root / "exports" / "full-videofolder" / "README.md").read_text()
    )
    ran = dance("export")
    assert (ran.code, "do not publish" in ran.err) == (0, False)
    assert dance("export", "--json").json["not_to_publish"] == 0
    assert check_card(populated, populated.root / "exports" / "full-lists" / "README.md").differences == ()


def test_a_finished_export_says_which_of_its_documents_no_longer_hold(
    populated: Workspace, dance: Callable[..., Ran]
) -> None:
    assert dance("export").code == 0
    folder = populated.root / "exports" / "full-lists"
    with (folder / "DATASHEET.md").open("a") as file:
        file.write("\n## Our own words\n")
    added = (folder / "DATASHEET.md").read_text()
    ran = dance("export", "--json")
    assert (ran.json["new"], ran.json["outdated"]) == (0, [])
    clip = tables.read(populated.clips, Clip)[0].clip_id
    append_corrections(populated, [Correction(clip, "note", "", "two dancers")])
    ran = dance("export", "--json")
    assert ran.json["outdated"] == ["DATASHEET.md", "croissant.json"]
    assert "no longer true in all: DATASHEET.md, croissant.json (dance verify" in " ".join(ran.err.split())
    # A publisher may have written into it, so it is left.
    assert (folder / "DATASHEET.md").read_text() == added
    for name in ran.json["outdated"]:
        (folder / name).unlink()
    assert dance("export", "--json").json["new"] == 2
    assert dance("export", "--json").json["outdated"] == []


def test_files_that_an_import_left_out_are_counted(tmp_path: Path) -> None:
    workspace = made_up(tmp_path)
    reasons = ("unreadable", "no-label", "unreadable")
    rows = [LeftOut(f"/tapes/{i}.mp4", reason, "", "", "", "2026") for i, reason in enumerate(reasons)]
    replace_left_out(workspace, "/tapes", rows)
    made = documents_of(workspace, Form.LISTS, "full", augmented=False)
    sheet = made.text("DATASHEET.md")
    assert "| unreadable | 2 |\n| no-label | 1 |" in sheet
    missing = json.loads(made.text("croissant.json"))["rai:dataCollectionMissingData"]
    assert "Files that imports left out: 2 unreadable, 1 no-label." in missing
    path = tmp_path / "DATASHEET.md"
    path.write_text(sheet)
    assert not check_card(workspace, path).differences
    replace_left_out(workspace, "/tapes", rows[1:])
    (found,) = check_card(workspace, path).differences
    assert (found.fact, found.says, found.gives) == (
        "Files that imports left out: unreadable: files",
        "2",
        "1",
    )
