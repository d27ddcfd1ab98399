"""Sources in order, and shards: the same clips, each with the name of where it came from."""

import json
import os
import shutil
import tarfile
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import video_site
from helpers.archives import TarSite, pack, special, tar_site
from helpers.builders import Ran
from helpers.numbered_video import make_video, numbers
from helpers.video_site import ServedVideos

from dancecli.core.errors import UsageError
from dancecli.core.records import Clip, Segment
from dancecli.dataset.fetch import mirror_worker
from dancecli.dataset.fetch.fetch import fetch
from dancecli.dataset.fetch.jobs import plan_source
from dancecli.dataset.fetch.lacking import lacking_recordings
from dancecli.dataset.fetch.mirror_worker import MirrorJob
from dancecli.dataset.fetch.settings import FetchSettings
from dancecli.dataset.fetch.video_worker import JobResult
from dancecli.demo.video_site import Fault
from dancecli.engine.rate_limit import BreakerSettings, RateLimiter
from dancecli.sources.kinetics_archive import SOURCES
from dancecli.storage import ledger, tables
from dancecli.storage.workspace import Workspace

source_video, served = video_site.source_video, video_site.served
TRAIN_ZUMBA = "/train/700.tar.gz"


@pytest.fixture
def mirror() -> Iterator[TarSite]:
    with tar_site() as site:
        yield site


def clips(workspace: Workspace) -> dict[str, Clip]:
    return {clip.clip_id: clip for clip in tables.read(workspace.clips, Clip)}


def told(workspace: Workspace, clip_id: str) -> list[str]:
    return [f"{o.source} {o.outcome} {o.reason}" for o in ledger.history(workspace.root, clip_id)]


@pytest.fixture
def member(tmp_path: Path) -> bytes:
    """Two seconds, as a mirror holds them."""
    return make_video(tmp_path / "member.mp4", 2, size=(320, 240)).read_bytes()


def test_a_mirror_gives_only_wanted_and_verified_clips(
    served: ServedVideos, workspace: Workspace, mirror: TarSite, member: bytes, source_video: Path
) -> None:
    wanted = ["good", "cutoff", "linked", "device", "absent", "short", "long"]
    served.want(*(f"zumba,{video_id},{10 if video_id != 'short' else 0},12" for video_id in wanted))

    def name(video_id: str, start: int = 10, end: int = 12) -> str:
        return f"k700_train_700/{video_id}_{start:06d}_{end:06d}.mp4"

    mirror.files[TRAIN_ZUMBA] = pack(
        {
            name("unwanted"): member,
            name("good", 11, 13): b"another stretch of the same video",
            name("cutoff"): member[: len(member) // 2],
            name("linked"): special(name("linked"), tarfile.SYMTYPE, "/etc/passwd"),
            name("device"): special(name("device"), tarfile.CHRTYPE),
            "../../../../outside_000010_000012.mp4": member,
            name("short", 0, 12): member,
            name("long"): source_video.read_bytes(),
            f"../../{name('good')}": member,
        }
    )
    result = fetch(workspace, served.settings(sources=("mirror",), mirror_template=mirror.template))
    assert {i: c.length_diff_ms for i, c in clips(workspace).items()} == {
        "good_10000_12000": 0,
        # Clips of another length than their names say are clips.
        "short_0_12000": -10_000,
        "long_10000_12000": 4000,
    }
    assert clips(workspace)["good_10000_12000"].source == "mirror"
    assert numbers(workspace.clip("good_10000_12000")) == list(range(50))
    assert result.reasons == {"not-in-mirror": 3, "unreadable": 1}
    outside = {p.name for p in workspace.root.parent.rglob("*outside*")}
    assert outside == set()
    assert not workspace.temp.exists()


def test_what_the_mirror_lacks_the_next_source_gives(
    served: ServedVideos, workspace: Workspace, mirror: TarSite, member: bytes
) -> None:
    served.want("zumba,a,1,3", "zumba,b,1,3", "tap dancing,c,1,3")
    mirror.files[TRAIN_ZUMBA] = pack({"a_000001_000003.mp4": member})
    settings = served.settings(sources=("mirror", "youtube"), mirror_template=mirror.template)
    assert fetch(workspace, settings).complete
    assert {clip.video_id: clip.source for clip in clips(workspace).values()} == {
        "a": "mirror",
        "b": "url-template",
        "c": "url-template",
    }
    assert told(workspace, "b_1000_3000") == ["mirror permanent not-in-mirror", "url-template done ok"]
    assert told(workspace, "c_1000_3000") == ["mirror permanent http-404", "url-template done ok"]
    asked = len(served.asked), len(mirror.log)
    assert fetch(workspace, settings).num_attempted == 0
    assert (len(served.asked), len(mirror.log)) == asked


def test_a_dead_video_is_still_looked_for_in_a_source_that_is_added(
    served: ServedVideos, workspace: Workspace, mirror: TarSite, member: bytes
) -> None:
    served.want("zumba,a,1,3")
    served.faults["a"] = Fault(status=404)
    fetch(workspace, served.settings())
    mirror.files[TRAIN_ZUMBA] = pack({"a_000001_000003.mp4": member})
    settings = served.settings(sources=("mirror", "youtube"), mirror_template=mirror.template)
    assert fetch(workspace, settings).complete
    assert served.asked == ["a"]


def test_a_mirror_that_is_away_is_passed_over(
    served: ServedVideos, workspace: Workspace, mirror: TarSite
) -> None:
    served.want("zumba,a,1,3")
    gone = mirror.template.replace(mirror.url, "http://127.0.0.1:9")
    result = fetch(workspace, served.settings(sources=("mirror", "youtube"), mirror_template=gone, tries=1))
    assert result.complete
    assert told(workspace, "a_1000_3000") == ["mirror session unreachable", "url-template done ok"]


def test_what_the_only_folder_lacks_is_said(
    served: ServedVideos, workspace: Workspace, tmp_path: Path, member: bytes
) -> None:
    served.want("tap dancing,a,1,3", "tap dancing,b,1,3")
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "a_1_3.mp4").write_bytes(member)
    settings = served.settings(sources=("local",), folder=folder)
    assert fetch(workspace, replace(settings, dry_run=True)).reasons == {"not-tried": 2}
    result = fetch(workspace, settings)
    assert (result.num_done, result.reasons) == (1, {"not-in-folder": 1})
    assert served.asked == []


def test_a_recording_that_the_folder_lacks_is_named_with_the_nearest_names(
    workspace: Workspace, tmp_path: Path, member: bytes, dance: Callable[..., Ran]
) -> None:
    folder, line = tmp_path / "tapes", "start_s,end_s,label,recording\n"
    folder.mkdir()
    for name in ("Gala 1994.mp4", "Ball 2001.mp4"):
        (folder / name).write_bytes(member)
    timeline = tmp_path / "all.csv"
    timeline.write_text(
        f"{line}0,1,zumba,Galla 1994.mp4\n1,2,zumba,Galla 1994.mp4\n0,1,zumba,Ball 2001.mp4\n"
    )
    words = ("fetch", "--annotations", str(timeline), "--source", "local", "--folder", str(folder))
    ran = dance(*words)
    assert ran.code == 3
    assert "not in the folder: 'Galla 1994'; the nearest there: Gala 1994.mp4\n" in ran.err
    assert "not-in-folder" in ran.out
    assert "Ball" not in ran.err.partition("not in the folder")[2]
    lacking = [{"recording": "Galla 1994", "nearest": ["Gala 1994.mp4"]}]
    assert dance(*words, "--json").json["not_in_folder"] == lacking
    assert "not in the folder" not in dance(*words, "--dry-run").err
    # A folder that lacks some is the first advice; of those that no list has any more, none is a fetch.
    assert "2 segments not in the folder, or not tried yet" in dance("status").out
    timeline.write_text(timeline.read_text().replace("Galla", "Gala"))
    assert dance(*words).code == 0
    advice = dance("status", "--json").json["advice"]
    assert not any(one["command"].startswith("dance fetch") for one in advice)
    assert advice[-1]["command"].startswith("dance history Galla-1994-")
    assert advice[-1]["why"].startswith(
        "2 segments of earlier lists not there, and the latest fetch asks for"
    )
    dance("remove", "Galla 1994.mp4", "--reason", "a typing error")
    assert "earlier lists" not in dance("status").out


def test_names_that_are_lacking_are_many(tmp_path: Path) -> None:
    (tmp_path / "recording 07.mp4").touch()
    found = lacking_recordings(tmp_path, [f"recording-{i:02}" for i in range(30)], {"recording-29": "Zumba"})
    assert [one.recording for one in found][::29] == ["Zumba", "recording-28"]
    assert [bool(one.nearest) for one in found] == [False, *[True] * 19, *[False] * 10]
    assert lacking_recordings(tmp_path, [], {}) == ()


def test_a_link_to_nothing_is_a_row_and_is_looked_for_again(
    served: ServedVideos, workspace: Workspace, tmp_path: Path, member: bytes
) -> None:
    served.want("tap dancing,a,1,3", "tap dancing,b,1,3")
    folder = tmp_path / "annex"
    folder.mkdir()
    (folder / "a_1_3.mp4").write_bytes(member)
    (folder / "b.mp4").symlink_to(folder / "objects" / "b")
    settings = served.settings(sources=("local",), folder=folder)
    result = fetch(workspace, settings)
    assert (result.num_done, result.reasons) == (1, {"file-lost": 1})
    assert served.asked == []
    (folder / "b.mp4").unlink()
    shutil.copyfile(served.site.resolve("x") or "", folder / "b.mp4")
    assert fetch(workspace, settings).complete


def test_a_folder_whose_path_is_no_text(
    served: ServedVideos, workspace: Workspace, tmp_path: Path, member: bytes
) -> None:
    served.want("tap dancing,a,1,3", "tap dancing,b,1,3")
    folder = tmp_path / os.fsdecode(b"B\xe4nder")
    folder.mkdir()
    (folder / "a_1_3.mp4").write_bytes(member)
    result = fetch(workspace, served.settings(sources=("local",), folder=folder))
    assert (result.num_done, result.reasons) == (1, {"not-in-folder": 1})
    kept = json.loads(tables.read_meta(workspace.segments)["fetch.options"])
    assert os.fspath(folder) in kept


def test_a_folder_in_any_form(
    served: ServedVideos, workspace: Workspace, tmp_path: Path, member: bytes
) -> None:
    served.want("tap dancing,a,1,3", "tap dancing,b,1,3", "tap dancing,c,1,3", "tap dancing,d,4,6")
    folder = tmp_path / "old"
    for path in ("tap dancing/a_000001_000003.mp4", "tap_dancing/b_1_3.mp4", "whole/c.mp4", "whole/d.mp4"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(tmp_path / "member.mp4", folder / path)
    shutil.copyfile(served.site.resolve("x") or "", folder / "whole" / "c.mp4")
    before = sorted(p.stat().st_mtime_ns for p in folder.rglob("*.mp4"))
    assert fetch(workspace, served.settings(sources=("local", "youtube"), folder=folder)).complete
    found = {clip.video_id: clip.source for clip in clips(workspace).values()}
    assert found == {"a": "folder", "b": "folder", "c": "folder", "d": "url-template"}
    assert numbers(workspace.clip("a_1000_3000")) == list(range(50)), "the clip itself"
    assert numbers(workspace.clip("c_1000_3000")) == list(range(25, 75)), "cut out of the whole video"
    assert told(workspace, "d_4000_6000")[0] == "folder source-short too-short"
    assert sorted(p.stat().st_mtime_ns for p in folder.rglob("*.mp4")) == before
    assert served.asked == ["d"]


def test_shards_together_make_what_one_run_makes(
    served: ServedVideos, workspace: Workspace, tmp_path: Path
) -> None:
    ids = [f"video{i}" for i in range(9)]
    served.want(*(f"zumba,{video_id},0,1" for video_id in ids), "zumba,video3,1,2")
    whole = Workspace(tmp_path / "whole")
    fetch(whole, served.settings())
    asked = len(served.asked)
    sizes = [fetch(workspace, served.settings(shard=(i, 3))).num_asked for i in (1, 2, 3)]
    assert sum(sizes) == 10
    assert min(sizes) > 0
    assert sorted(served.asked[asked:]) == ids
    assert clips(workspace) == clips(whole)
    for clip in clips(whole).values():
        assert (workspace.root / clip.path).read_bytes() == (whole.root / clip.path).read_bytes()
    assert [p.name for p in ledger.ledger_files(workspace.root)] == [f"ledger-{i}of3.db" for i in (1, 2, 3)]
    assert fetch(workspace, served.settings()).num_attempted == 0, "all ledgers are read as one"


def test_the_same_shard_twice_is_refused(served: ServedVideos, workspace: Workspace) -> None:
    served.want("zumba,a,0,1")
    with workspace.lock("fetch-1of2"), pytest.raises(Exception, match="another 'fetch-1of2' is at work"):
        fetch(workspace, served.settings(shard=(1, 2)))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"sources": ("moon",)}, "--source 'moon' is none of local, mirror, youtube"),
        ({"sources": ("youtube", "youtube")}, "names a source twice"),
        ({"sources": ("local",)}, "needs the folder"),
        ({"shard": (3, 2)}, "--shard 3/2 is not"),
        ({"shard": (0, 2)}, "--shard 0/2 is not"),
    ],
)
def test_wrong_settings(
    served: ServedVideos, workspace: Workspace, wrong: dict[str, object], said: str
) -> None:
    served.want("zumba,a,0,1")
    with pytest.raises(UsageError) as caught:
        fetch(workspace, served.settings(**wrong))
    assert said in caught.value.message


def test_where_the_mirror_is_only_the_default_it_is_passed_by(workspace: Workspace) -> None:
    settings = FetchSettings()
    assert settings.source_order == ("mirror", "youtube")
    egg = Segment("a", 0, 1000, "cooking egg", "train")
    assert plan_source("mirror", workspace.root, workspace.temp, settings, [egg]).jobs == []


def test_a_mirror_without_the_label(served: ServedVideos, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cooking egg\n")
    served.want("cooking egg,a,0,1")
    with pytest.raises(UsageError, match="the mirror has no tar for the labels, such as 'cooking egg'"):
        fetch(workspace, served.settings(sources=("mirror",), labels=tmp_path / "labels.txt"))


def test_whole_tars_are_answers_to_the_breaker(
    served: ServedVideos, workspace: Workspace, mirror: TarSite, member: bytes
) -> None:
    """Refused tars between whole ones are not refusals in a row; a whole one after a pause ends it."""
    numbers_of = tomllib.loads(SOURCES.read_text(encoding="utf-8"))["mirror"]["numbers"]
    labels = sorted(numbers_of)[:8]
    for i, label in enumerate(labels):
        number = numbers_of[label]
        mirror.files[f"/train/{number:03d}.tar.gz"] = pack({f"x/v{i}_000010_000012.mp4": member})
    rows = (Segment(f"v{i}", 10_000, 12_000, label, "train") for i, label in enumerate(labels))
    settings = served.settings(sources=("mirror",), mirror_template=mirror.template, labels=None, workers=1)
    plan = plan_source("mirror", workspace.root, workspace.temp, settings, list(rows))
    limiter = RateLimiter(breaker=BreakerSettings(streak=2, first_wait_s=60))
    for i, job in enumerate(plan.jobs):
        whole = list(mirror_parts(job))
        assert whole[-1].answered, "the last part is empty, and an answer all the same"
        assert all(part.answered for part in whole if part.clips), "each clip is an answer"
        if i % 2:
            limiter.report(job, i, answered=whole[-1].answered, session=False)
        else:
            limiter.report(job, i, answered=False, session=True)
    assert limiter.paused_until_s() is None


def mirror_parts(job: MirrorJob) -> Iterator[JobResult]:
    """The parts of a job's result, the last one included, as the pool gives them."""
    doing = mirror_worker.work(job, lambda: None)
    while True:
        try:
            yield next(doing)
        except StopIteration as end:
            yield end.value
            return


def test_a_tar_that_ends_early_leaves_no_tombstone(
    served: ServedVideos, workspace: Workspace, mirror: TarSite, member: bytes
) -> None:
    served.want("zumba,a,10,12", "zumba,b,10,12")
    whole = pack({"x/a_000010_000012.mp4": member, "x/b_000010_000012.mp4": member}, compressed=False)
    mirror.files[TRAIN_ZUMBA] = whole[: 512 + -(-len(member) // 512) * 512]
    settings = served.settings(sources=("mirror",), mirror_template=mirror.template, tries=1)
    result = fetch(workspace, settings)
    assert (result.num_done, result.reasons) == (1, {"truncated": 1})
    mirror.files[TRAIN_ZUMBA] = whole
    assert fetch(workspace, settings).complete, "it is tried again, and found"
