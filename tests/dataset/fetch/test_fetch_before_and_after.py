"""`dance plan` before a fetch, `dance history` after it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers import video_site
from helpers.builders import Ran
from helpers.video_site import ServedVideos

from dancecli.core.errors import InputError
from dancecli.core.labels import DEFAULT_LABELS, LabelSet
from dancecli.core.records import Segment
from dancecli.dataset.fetch.estimate import plan
from dancecli.dataset.fetch.fetch import fetch
from dancecli.dataset.fetch.history import clip_history
from dancecli.demo.video_site import Fault
from dancecli.engine.rate_limit import hours_of
from dancecli.report.plots.availability import survival, write_survival
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace

source_video, served = video_site.source_video, video_site.served
Dance = Callable[..., Ran]


@pytest.fixture
def fetched(served: ServedVideos, workspace: Workspace) -> Iterator[Workspace]:
    served.want("zumba,good,0,2", "zumba,good,2,4", "tap dancing,dead,0,2", "tap dancing,-late,0,2")
    served.faults["dead"] = Fault(status=404)
    served.faults["-late"] = Fault(status=403, times=1)
    fetch(workspace, served.settings())
    served.want("zumba,good,0,2", "zumba,new,0,2")
    yield workspace


def test_plan_counts_what_is_missing(served: ServedVideos, fetched: Workspace) -> None:
    found = plan(fetched, served.settings(rate_per_hour=0.5))
    assert found.labels == {"zumba": (1, 2)}
    assert (found.num_videos, found.num_clips, found.rate_per_hour) == (1, 1, 0.5)
    assert found.hours == hours_of(1, 0.5)
    assert found.gigabytes == pytest.approx(2 * 74e-6)
    assert found.survival == (0.892, 0.92)


def test_plan_of_what_has_a_tombstone(served: ServedVideos, fetched: Workspace) -> None:
    served.want("tap dancing,dead,0,2")
    assert plan(fetched, served.settings()).num_clips == 0
    assert plan(fetched, served.settings(retry="permanent")).num_clips == 1


def test_plan_looks_into_the_folder_and_counts_what_is_left_for_the_site(
    served: ServedVideos, workspace: Workspace, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "a.mp4").touch()
    served.want("zumba,a,0,10", "zumba,b,0,10", "zumba,c,0,10")
    only = served.settings(sources=("local",), folder=folder, rate_per_hour=1.0)
    found = plan(workspace, only)
    assert (found.num_videos, found.num_clips, found.rate_per_hour) == (1, 1, None)
    assert found.hours < 0.1, "no site is asked"
    both = plan(workspace, served.settings(sources=("local", "youtube"), folder=folder, rate_per_hour=1.0))
    assert (both.num_videos, both.num_clips) == (3, 3)
    assert both.hours == hours_of(2, 1.0)


def test_plan_learns_from_enough_answers(
    served: ServedVideos, fetched: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dancecli.dataset.fetch.estimate.ENOUGH", 4)
    found = plan(fetched, served.settings())
    assert found.survival == (0.75, 0.75)
    assert found.evidence == "3 of 4 clips tried in this workspace"


def test_clips_of_a_folder_say_nothing_of_a_site(
    served: ServedVideos,
    source_video: Path,
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dancecli.dataset.fetch.estimate.ENOUGH", 1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.mp4").write_bytes(source_video.read_bytes())
    served.want("zumba,a,0,1", "zumba,b,0,1")
    fetch(workspace, served.settings(sources=("local",), folder=tmp_path / "mine"))
    assert plan(workspace, served.settings()).survival == (0.892, 0.92)


def test_plan_as_a_command(served: ServedVideos, workspace: Workspace, dance: Dance) -> None:
    served.want(*(f"zumba,v{i},0,10" for i in range(600)))
    ran = dance("plan", "--annotations", str(served.list), "--source", "youtube")
    assert ran.code == 0
    assert "600 clips of 600 videos would be fetched" in ran.out
    assert "hours      2.2  (at 300 an hour)" in ran.out
    assert "gigabytes  0.44" in ran.out
    assert "available  535 to 552" in ran.out
    assert not list(workspace.root.iterdir())
    ran = dance("plan", "--annotations", str(served.list), "--limit", "7", "--json")
    assert ran.json["num_clips"] == 7


def test_plan_has_the_defaults_of_fetch(served: ServedVideos, workspace: Workspace, dance: Dance) -> None:
    served.want(*(f"zumba,v{i},0,10" for i in range(600)))
    (workspace.root / "dance.toml").write_text(
        f'[fetch]\nannotations = ["{served.list}"]\nrate = 100\nmin-free = 2.0\nsource = "youtube"\n'
    )
    assert "hours      6.6  (at 100 an hour)" in dance("plan").out
    assert "(at 300 an hour)" in dance("plan", "--rate", "300").out
    (workspace.root / "dance.toml").write_text("[plan]\nrate = 100\n")
    assert "unknown table 'plan'" in dance("plan").err


def test_the_whole_history_of_a_clip(fetched: Workspace) -> None:
    (story,) = clip_history(fetched, "-late_0_2000")
    assert story.there
    assert [f"{a.attempt} {a.outcome} {a.reason}" for a in story.attempts] == [
        "1 transient http-403",
        "2 done ok",
    ]
    assert story.segment is not None
    assert story.segment.label == "tap dancing"


def test_all_clips_of_a_video(fetched: Workspace) -> None:
    assert [story.clip_id for story in clip_history(fetched, "good")] == ["good_0_2000", "good_2000_4000"]


def test_a_video_whose_id_begins_like_another_one_is_another(
    served: ServedVideos, workspace: Workspace
) -> None:
    served.want("zumba,dance,0,2", "zumba,dance_2,0,2", "zumba,dance_2_0,0,2")
    fetch(workspace, served.settings())
    for video in ("dance", "dance_2", "dance_2_0"):
        assert [story.clip_id for story in clip_history(workspace, video)] == [f"{video}_0_2000"]


def test_a_clip_nobody_asked_for(fetched: Workspace) -> None:
    with pytest.raises(InputError, match="no clip 'LATE' was ever requested") as caught:
        clip_history(fetched, "LATE")
    assert caught.value.hint == "did you mean -late_0_2000?"


def test_survival_by_class(fetched: Workspace) -> None:
    rows = {row.label: row for row in survival(fetched)}
    assert rows["zumba"].counts["done"] == 2
    assert rows["tap dancing"].counts["permanent"] == 1
    everything = rows[""]
    assert (everything.num_asked, everything.counts["done"], everything.num_settled) == (4, 3, 4)
    assert everything.interval == pytest.approx((0.3006, 0.9544), abs=1e-3)
    picture = write_survival(fetched, survival(fetched))
    assert picture.read_bytes().startswith(b"\x89PNG")
    lines = (picture.parent / "survival.csv").read_text().splitlines()
    assert lines[0].startswith("label,asked,done,session,transient,permanent,source-short,corrupt,pending")
    assert lines[-1].startswith("all,4,3,0,0,1,0,0,0")


def test_history_as_a_command(fetched: Workspace, dance: Dance) -> None:
    ran = dance("history", "--", "-late_0_2000")
    assert ran.code == 0
    assert "-late_0_2000: on disk (tap dancing, list train)" in ran.out
    assert "http-403" in ran.out
    ran = dance("history", "dead", "--json")
    assert json.loads(ran.out)[0]["attempts"][0]["reason"] == "http-404"
    ran = dance("history", "nothing")
    assert (ran.code, ran.out) == (1, "")
    ran = dance("history")
    assert ran.code == 0
    assert "tap dancing" in ran.out
    assert (fetched.root / "reports" / "survival" / "survival.png").exists()


def test_history_before_a_fetch(workspace: Workspace, dance: Dance) -> None:
    ran = dance("history")
    assert ran.code == 1
    assert "nothing was asked for yet" in ran.err


def test_the_picture_of_nineteen_classes(workspace: Workspace, tmp_path: Path) -> None:
    labels = LabelSet.read(DEFAULT_LABELS)
    tables.write(
        workspace.segments, Segment, [Segment("v", i, i + 1, label) for i, label in enumerate(labels)]
    )
    rows = survival(workspace)
    assert len(rows) == 20
    assert write_survival(workspace, rows).stat().st_size > 5000


def test_a_workspace_keeps_its_label_set(served: ServedVideos, workspace: Workspace, dance: Dance) -> None:
    served.want("tap dancing,a,0,10", "rumba,b,0,10")
    tables.write(workspace.segments, Segment, [], {"labels": '["rumba"]'})
    for command in (("plan",), ("fetch", "--dry-run")):
        told = dance(*command, "--annotations", str(served.list), "--source", "youtube", "--json").json
        assert list(told["labels"]) == ["rumba"]
        assert (told["rows"]["asked"], told["rows"]["other_labels"]) == (1, 1)


def test_every_row_is_accounted_for(served: ServedVideos, workspace: Workspace, dance: Dance) -> None:
    rows = ["zumba,a,0,10", "Zumba ,b,0,10", "zumba,c,0,10", "zumba,a,0,10", "zumba,d,x,10", "zumbaa,e,0,10"]
    served.want(*rows, "zumba,f,0,10", "tap dancing,a,0,10")
    labels = workspace.root / "labels.txt"
    labels.write_text("zumba\ntap dancin\n")
    args = ("--annotations", str(served.list), "--labels", str(labels), "--limit", "3", "--source", "youtube")
    for command in (("plan",), ("fetch", "--dry-run")):
        ran = dance(*command, *args, "--json")
        assert ran.code == 3
        told = ran.json["rows"]
        counts = ("asked", "over_limit", "other_shards", "other_labels", "repeated", "refused")
        assert {name: told[name] for name in counts} == {
            "asked": 3,
            "over_limit": 1,
            "other_shards": 0,
            "other_labels": 2,
            "repeated": 1,
            "refused": 1,
        }
        assert told["given"] == sum(told[name] for name in counts) == 8
        assert told["missing_labels"] == {"tap dancin": "tap dancing"}
        assert told["refused_rows"][0]["row"] == 6
        shown = dance(*command, *args)
        assert "rows given: 8 = 3 asked for + 1 over the limit + 2 of other labels" in shown.out
        assert "commonest other labels: zumbaa (1), tap dancing (1)" in shown.out
        assert "'tap dancin' (did you mean 'tap dancing'?)" in shown.err
        assert "labels spelled otherwise: Zumba  -> zumba (1)" in shown.err
