"""Attributes of clips, from the manifests and from anybody's CSV file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.builders import Ran, make_clip
from helpers.fake_run import make_run

from dancecli.core.errors import InputError
from dancecli.core.records import NEAR_DUPLICATE, Clip, Group, Prediction
from dancecli.report.results.attributes import OTHER, read_attributes
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace


@pytest.fixture
def clips(workspace: Workspace) -> list[Clip]:
    found = [
        make_clip(0, source_width=640, source_height=360, upload_date="20110203", num_frames=40),
        make_clip(1, has_audio=False, width=1920, height=1080, frozen_share=0.95, dataset="letsdance"),
        make_clip(2, black_share=0.6, num_frames=250),
        make_clip(3, parent_id="x", op="flip"),
    ]
    tables.write(workspace.clips, Clip, found)
    return found


def test_the_manifests_give_what_they_know(workspace: Workspace, clips: list[Clip]) -> None:
    tables.write(workspace.clips, Clip, [clips[0], replace(clips[1], video_id="copy"), *clips[2:]])
    alone = Group(clips[2].clip_id, "alone", NEAR_DUPLICATE)
    near = [Group(clip.clip_id, "near", NEAR_DUPLICATE) for clip in clips[:2]]
    tables.write(workspace.groups, Group, [Group(clips[0].clip_id, "Ana", "dancer"), alone, *near])
    found = read_attributes(workspace).of([clip.clip_id for clip in clips[:3]])
    assert found["dataset"] == ["kinetics700", "letsdance", "kinetics700"]
    assert found["source resolution"] == ["360-479p", "1080p and more", "240-359p"]
    assert found["length"] == ["below 2 s", "9.5 s and more", "9.5 s and more"]
    assert found["year of upload"] == ["2011", "", ""]
    assert found["sound"] == ["yes", "no", "yes"]
    assert (found["static"], found["black"]) == (["no", "yes", "no"], ["no", "no", "yes"])
    assert found["group: dancer"] == ["Ana", "", ""]
    assert found["near-duplicates"] == ["yes", "yes", "no"]
    assert [name for name in found if name.startswith("group:")] == ["group: dancer"]


def test_a_file_may_name_clips_or_videos(workspace: Workspace, clips: list[Clip], tmp_path: Path) -> None:
    by_clip, by_video = tmp_path / "clip.csv", tmp_path / "video.tsv"
    by_clip.write_text(f"clip_id;Camera\n{clips[0].clip_id};fixed\nnobody_0_1;fixed\n")
    by_video.write_text(f"video\tplace\n{clips[1].video_id}\tstage\n")
    found = read_attributes(workspace, (by_clip, by_video))
    of = found.of([clip.clip_id for clip in clips[:3]])
    assert of["camera"] == ["fixed", "", ""]
    same_video = [clip.video_id == clips[1].video_id for clip in clips[:3]]
    assert of["place"] == ["stage" if same else "" for same in same_video]
    assert found.notes == (
        "clip.csv: camera of 1 row; 1 names nothing of this workspace",
        "video.tsv: place of 1 row",
    )


def test_numbers_are_put_into_quarters(workspace: Workspace, tmp_path: Path) -> None:
    many = [make_clip(i) for i in range(40)]
    tables.write(workspace.clips, Clip, many)
    path = tmp_path / "a.csv"
    rows = [f"{clip.clip_id},{60 + i},{i % 3}\n" for i, clip in enumerate(many)]
    path.write_text("clip_id,bpm,beats\n" + "".join(rows))
    found = read_attributes(workspace, (path,)).of([clip.clip_id for clip in many])
    assert {value: found["bpm"].count(value) for value in found["bpm"]} == {
        "60 to 70": 10, "70 to 80": 10, "80 to 90": 10, "90 to 99": 10,
    }  # fmt: skip
    assert set(found["beats"]) == {"0", "1", "2"}


@pytest.mark.parametrize("kinds", [40, 3])
def test_numbers_that_are_not_finite_are_no_values(workspace: Workspace, tmp_path: Path, kinds: int) -> None:
    many = [make_clip(i) for i in range(43)]
    tables.write(workspace.clips, Clip, many)
    path = tmp_path / "a.csv"
    cells = [*(str(60 + i % kinds) for i in range(40)), "nan", "-inf", "Infinity"]
    rows = [f"{clip.clip_id},{cell}\n" for clip, cell in zip(many, cells, strict=True)]
    path.write_text("clip_id,bpm\n" + "".join(rows))
    found = read_attributes(workspace, (path,))
    of = found.of([clip.clip_id for clip in many])["bpm"]
    assert of[40:] == ["", "", ""]
    quarters = {"60 to 70", "70 to 80", "80 to 90", "90 to 99"}
    assert set(of[:40]) == (quarters if kinds == 40 else {"60", "61", "62"})
    assert found.notes == ("a.csv: bpm of 43 rows; 3 cells are not finite and left out",)


def test_rare_values_of_many_are_joined(workspace: Workspace, tmp_path: Path) -> None:
    many = [make_clip(i) for i in range(60)]
    tables.write(workspace.clips, Clip, many)
    path = tmp_path / "a.csv"
    path.write_text("clip_id,name\n" + "".join(f"{c.clip_id},d{min(i, 40)}\n" for i, c in enumerate(many)))
    found = read_attributes(workspace, (path,)).of([clip.clip_id for clip in many])["name"]
    assert len(set(found)) == 24
    assert found.count("d40") == 20
    assert found.count(OTHER) == 18


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("name,camera\nx,y\n", "is no table of attributes"),
        ("clip_id\nx\n", "is no table of attributes"),
        ("clip_id,camera\nx,y\n", ":2: no row names a clip of this workspace"),
        ("", "is no table of attributes"),
    ],
)
def test_another_file_is_refused(
    text: str, why: str, workspace: Workspace, clips: list[Clip], tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=why):
        read_attributes(workspace, (path,))


LABELS = ("wave", "spin", "bounce", "robot")


def test_the_command_names_the_worst_slice_and_the_levels(
    workspace: Workspace, dance: Callable[..., Ran]
) -> None:
    make_run(workspace.root, LABELS, test=120, name="run-1", skill=3.0)
    rows = tables.read(workspace.run("run-1") / "predictions.parquet", Prediction)
    hit = {p.clip_id: max(p.scores) == p.scores[p.label_index] for p in rows}
    light = {clip: "bright" if ok or i % 9 == 0 else "dark" for i, (clip, ok) in enumerate(hit.items())}
    (workspace.root / "light.csv").write_text(
        "clip_id,light\n" + "".join(f"{clip},{value}\n" for clip, value in light.items())
    )
    (workspace.root / "family.csv").write_text(
        "label,family\nwave,arms\nspin,arms\nbounce,legs\nrobot,legs\nother,legs\n"
    )
    ran = dance("report", "--attributes", "light.csv", "--hierarchy", "family.csv")
    assert "worse than the rest: light dark: 0/" in ran.out
    assert "light.csv: light of 120 rows" in ran.err
    told = json.loads((workspace.report("run-1") / "metrics.json").read_text())["subsets"]["test"]
    dark = next(s for s in told["slices"] if s["value"] == "dark")
    assert (dark["top1"]["k"], dark["p_adjusted"] < 0.01) == (0, True)
    (level,) = told["levels"]
    assert level["top1"]["k"] > told["top1"]["k"]
    assert [(m["name"], m["recall"]["n"]) for m in level["members"]] == [("arms", 60), ("legs", 60)]
    assert level["chance"] == 0.5
    page = (workspace.report("run-1") / "index.html").read_text()
    assert "<b>light dark</b>" in page
    assert '<section id="levels">' in page


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("label,family\nwave,a\nspin,a\n", "lacks 2 of the 4 classes, the first is 'bounce'"),
        ("label\nwave\n", "is no hierarchy of classes"),
        ("label,family\nwave,a\nwave,b\n", ":3: names the class 'wave' a second time"),
        ("label,family\nwave,\n", ":2: the class 'wave' has no family"),
    ],
)
def test_a_hierarchy_that_is_none_is_refused(
    text: str, why: str, workspace: Workspace, dance: Callable[..., Ran]
) -> None:
    make_run(workspace.root, LABELS, test=12, name="run-1")
    (workspace.root / "family.csv").write_text(text)
    ran = dance("report", "--hierarchy", "family.csv")
    assert ran.code == 1
    assert why in " ".join(ran.err.split())
