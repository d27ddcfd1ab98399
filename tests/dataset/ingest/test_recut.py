"""Clips whose start or end was corrected are cut again, and take the place of the earlier ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import video_site
from helpers.builders import Ran
from helpers.numbered_video import make_video, numbers
from helpers.video_site import ServedVideos

from dancecli.core.records import Clip
from dancecli.dataset.cutting import STANDARD_RULES
from dancecli.dataset.fetch.fetch import fetch
from dancecli.dataset.ingest.recut import recut
from dancecli.dataset.upkeep.remove import remove
from dancecli.storage import tables
from dancecli.storage.corrections import Correction, append_corrections, current, read_corrections
from dancecli.storage.workspace import Workspace

source_video, served = video_site.source_video, video_site.served
OLD = "a_1000_4000"


@pytest.fixture
def fetched(served: ServedVideos, workspace: Workspace) -> Workspace:
    served.want("zumba,a,1,4", "zumba,b,0,1")
    fetch(workspace, served.settings())
    return workspace


def correct(workspace: Workspace, clip_id: str = OLD, **values: int | str) -> None:
    append_corrections(workspace, [Correction(clip_id, name, "", str(v)) for name, v in values.items()])


def clips(workspace: Workspace) -> dict[str, Clip]:
    return {clip.clip_id: clip for clip in tables.read(workspace.clips, Clip)}


def test_inwards_it_is_cut_from_the_clip_itself(fetched: Workspace) -> None:
    correct(fetched, start_ms=1800, end_ms=3200, label="tap dancing", group="ana", note="starts late")
    before = clips(fetched)
    planned = recut(fetched, dry_run=True)
    assert clips(fetched) == before
    assert recut(fetched).made == planned.made == {OLD: "a_1800_3200"}
    found = clips(fetched)
    assert numbers(fetched.clip("a_1800_3200")) == list(range(45, 80))
    assert before.items() <= found.items(), "the earlier clip stays as it is"
    new, old = found["a_1800_3200"], found[OLD]
    assert (new.label, new.official_split, new.source_codec) == ("tap dancing", "train", old.source_codec)
    assert (new.width, new.height, new.title) == (old.width, old.height, old.title)
    changes = current(read_corrections(fetched))
    assert changes[OLD]["exclude"] == "yes"
    assert changes["a_1800_3200"] == {"group": "ana", "note": "starts late"}
    # Once is enough.
    rows = read_corrections(fetched)
    assert recut(fetched).made == {}
    assert read_corrections(fetched) == rows


def test_outwards_it_is_cut_from_a_kept_source(served: ServedVideos, workspace: Workspace) -> None:
    served.want("zumba,a,1,4", "zumba,b,1,4")
    rules = replace(STANDARD_RULES, keep_source=True)
    fetch(workspace, served.settings(rules=rules))
    next(workspace.root.glob("sources/b.*")).unlink()
    correct(workspace, start_ms=400)
    correct(workspace, "b_1000_4000", end_ms=5000)
    result = recut(workspace)
    assert result.made == {OLD: "a_400_4000"}
    assert list(result.refused) == ["b_1000_4000"]
    assert "is not kept" in result.refused["b_1000_4000"]
    assert numbers(workspace.clip("a_400_4000")) == list(range(10, 100))
    assert "exclude" not in current(read_corrections(workspace))["b_1000_4000"]


def test_a_killed_one_is_completed(fetched: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    correct(fetched, end_ms=3000)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("dancecli.dataset.ingest.recut.append_corrections", killed)
        with pytest.raises(KeyboardInterrupt):
            recut(fetched)
    made = clips(fetched)["a_1000_3000"]
    assert recut(fetched).made == {OLD: "a_1000_3000"}
    assert clips(fetched)["a_1000_3000"] == made
    assert current(read_corrections(fetched))[OLD]["exclude"] == "yes"


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"start_ms": 3000, "end_ms": 2000}, "is not before its end"),
        ({"start_ms": 1000}, "its times are those that it has"),
        ({"end_ms": 9000}, "more than the clip"),
        ({"start_ms": "soon"}, "labels.csv gives it the time 'soon': write whole milliseconds"),
        ({"end_ms": "3.5"}, "the time '3.5'"),
        ({"start_ms": -1, "end_ms": 3000}, "the time '-1'"),
    ],
)
def test_times_that_cannot_be(fetched: Workspace, values: dict[str, int | str], why: str) -> None:
    correct(fetched, **values)
    result = recut(fetched)
    assert (result.made, list(result.refused)) == ({}, [OLD])
    assert why in result.refused[OLD]


def test_the_file_it_was_cut_from_stays_its_own_clip(
    workspace: Workspace, dance: Callable[..., Ran], tmp_path: Path
) -> None:
    source = tmp_path / "in" / "zumba" / "tape.mp4"
    source.parent.mkdir(parents=True)
    make_video(source, seconds=3)
    assert dance("import", str(tmp_path / "in")).code == 0
    (old,) = clips(workspace)
    video_id = old.removesuffix("_0_3000")
    correct(workspace, old, start_ms=1000, end_ms=2000)
    assert recut(workspace).made == {old: f"{video_id}_1000_2000"}
    correct(workspace, old, start_ms=0, end_ms=2500, exclude="")
    assert recut(workspace).made == {old: f"{video_id}_0_2500"}
    source.rename(source.with_name("other.mp4"))
    (file,) = dance("import", str(tmp_path / "in"), "--json").json["files"]
    assert (file["clip_id"], file["status"]) == (old, "there")
    # Not under the id of a cut one that is lost, either.
    workspace.clip(f"{video_id}_1000_2000").unlink()
    assert dance("import", str(tmp_path / "in"), "--json").json["outcomes"]["new_ids"] == []


def test_what_was_removed_does_not_come_back_by_it(fetched: Workspace) -> None:
    correct(fetched, start_ms=2000)
    remove(fetched, [OLD], "a request")
    assert recut(fetched).made == {}
    assert "a_2000_4000" not in clips(fetched)


def test_the_command(fetched: Workspace, dance: Callable[..., Ran], tmp_path: Path) -> None:
    assert dance("corrections").out == ""
    correct(fetched, start_ms=2000)
    correct(fetched, "b_0_1000", end_ms=9000)
    assert "2 clips to be cut again: dance corrections --recut" in dance("corrections").err
    ran = dance("corrections", "--recut")
    assert ran.code == 3
    assert "a_2000_4000" in ran.out
    assert "not cut: b_0_1000: it would show more than the clip" in ran.err
    assert "1 clip cut again" in ran.err
    assert dance("corrections", "--recut", "--take-back", OLD).code == 2
