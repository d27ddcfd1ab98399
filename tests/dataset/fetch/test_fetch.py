"""Fetch: every row has its outcome, nothing is done twice, nothing half-made has a real name."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest
from helpers import video_site
from helpers.builders import Ran
from helpers.numbered_video import numbers
from helpers.video_site import ServedVideos

from dancecli.core.errors import UsageError, WorkspaceError
from dancecli.core.hashing import sha256_file
from dancecli.core.progress import Progress, Reporter
from dancecli.core.records import Clip, OutcomeClass, Segment
from dancecli.core.video_files import clip_path
from dancecli.dataset import cutting
from dancecli.dataset.cutting import ClipRules, Cutter
from dancecli.dataset.fetch.fetch import fetch
from dancecli.dataset.fetch.jobs import plan_source
from dancecli.dataset.fetch.settings import FetchSettings, choose
from dancecli.dataset.fetch.video_worker import SourceJob, work
from dancecli.demo.video_site import Fault
from dancecli.engine.rate_limit import BreakerSettings
from dancecli.sources.youtube import Download
from dancecli.storage import ledger, tables
from dancecli.storage.workspace import Workspace, clips_lock

source_video, served = video_site.source_video, video_site.served


def clips(workspace: Workspace) -> list[Clip]:
    return tables.read(workspace.clips, Clip)


def files(workspace: Workspace) -> set[str]:
    """Everything in the workspace but manifests, ledger, settings and locks."""
    found = (p.relative_to(workspace.root).as_posix() for p in workspace.root.rglob("*") if p.is_file())
    return {
        name for name in found if not name.startswith(("manifests/", "ledger.db", "dance.toml", ".locks/"))
    }


def reason(workspace: Workspace, clip_id: str) -> str:
    standing = ledger.latest(workspace.root)[clip_id]
    return f"{standing.outcome} {standing.reason} {standing.attempts}"


def test_good_bad_and_short_all_have_their_row(served: ServedVideos, workspace: Workspace) -> None:
    served.want(
        "zumba,-good,1,3", "tap dancing,-good,3,6", "zumba,dead,0,2", "zumba,short,3,9", "zumba,broken,4,6"
    )
    served.faults["dead"] = Fault(status=404)
    served.faults["broken"] = Fault(length_factor=0.6)
    seen: list[Progress] = []
    result = fetch(workspace, served.settings(), Reporter(seen.append))
    assert {k: v for k, v in result.outcomes.items() if v} == {
        "done": 2,
        "permanent": 1,
        "source-short": 1,
        "corrupt": 1,
    }
    assert result.reasons == {"http-404": 1, "too-short": 1, "unreadable": 1}
    assert result.labels == {
        "tap dancing": {"done": 1},
        "zumba": {"done": 1, "permanent": 1, "source-short": 1, "corrupt": 1},
    }
    assert (result.complete, result.num_new, result.stopped) == (False, 2, "")
    assert files(workspace) == {
        clip_path("clips", f"-good_{times}.mp4") for times in ("1000_3000", "3000_6000")
    }
    assert served.asked.count("-good") == 1, "one download, two clips"
    assert (seen[-1].done, seen[-1].total, seen[-1].text) == (5, 5, "2 done · 3 missing")
    assert not workspace.temp.exists()


def test_a_clip_is_what_was_asked_for(served: ServedVideos, workspace: Workspace) -> None:
    served.want("zumba,good,2,5")
    fetch(workspace, served.settings())
    (clip,) = clips(workspace)
    path = workspace.root / clip.path
    assert numbers(path) == list(range(50, 125))
    assert clip == Clip(
        clip_id="good_2000_5000",
        video_id="good",
        start_ms=2000,
        end_ms=5000,
        label="zumba",
        official_split="train",
        dataset="list",
        path=clip_path("clips", "good_2000_5000.mp4"),
        num_frames=75,
        fps_num=25,
        fps_den=1,
        width=342,
        height=256,
        has_audio=True,
        num_bytes=path.stat().st_size,
        sha256=sha256_file(path),
        source="url-template",
        source_width=160,
        source_height=120,
        source_fps=25.0,
        source_codec="h264",
        source_format="mov",
        loudness_lufs=clip.loudness_lufs,
    )
    # A sine of an eighth of the full scale, whose energy is half its square.
    assert clip.loudness_lufs == pytest.approx(-21.8, abs=0.5)
    assert tables.read(workspace.segments, Segment) == [Segment("good", 2000, 5000, "zumba", "train", "list")]


def test_without_sound(served: ServedVideos, workspace: Workspace) -> None:
    served.want("zumba,good,0,1")
    fetch(workspace, served.settings(keep_audio=False))
    assert [clip.has_audio for clip in clips(workspace)] == [False]


def test_a_second_run_asks_for_nothing(served: ServedVideos, workspace: Workspace) -> None:
    served.want("zumba,a,0,1", "zumba,b,0,1", "zumba,dead,0,1")
    served.faults["dead"] = Fault(status=404)
    first = fetch(workspace, served.settings())
    asked, changed = len(served.asked), workspace.clips.stat().st_mtime_ns
    second = fetch(workspace, served.settings())
    assert len(served.asked) == asked
    assert second.outcomes == first.outcomes
    assert (second.num_new, second.num_attempted) == (0, 0)
    assert workspace.clips.stat().st_mtime_ns == changed


def test_a_longer_list_adds_to_the_manifests(served: ServedVideos, workspace: Workspace) -> None:
    served.want("zumba,a,0,1")
    fetch(workspace, served.settings())
    served.want("zumba,b,0,1", "tap dancing,a,0,1")
    result = fetch(workspace, served.settings())
    assert (result.num_asked, result.num_new) == (2, 1)
    assert [(c.video_id, c.label) for c in clips(workspace)] == [("a", "tap dancing"), ("b", "zumba")]
    assert len(tables.read(workspace.segments, Segment)) == 2


def test_rows_of_other_steps_stay(served: ServedVideos, workspace: Workspace) -> None:
    from helpers.builders import make_clip

    served.want("zumba,a,0,1")
    fetch(workspace, served.settings())
    others = [make_clip(7), make_clip(8, parent_id="a_0_1000", op="hflip")]
    tables.write(workspace.clips, Clip, [*clips(workspace), *others])
    served.want("zumba,b,0,1")
    fetch(workspace, served.settings())
    assert {clip.clip_id for clip in clips(workspace)} == {
        "a_0_1000",
        "b_0_1000",
        *(c.clip_id for c in others),
    }


def test_published_but_not_recorded_is_adopted(served: ServedVideos, workspace: Workspace) -> None:
    served.want("zumba,a,0,1", "zumba,a,2,3", "zumba,b,0,1")
    fetch(workspace, served.settings())
    before, asked = clips(workspace), len(served.asked)
    workspace.ledger.unlink()
    workspace.clips.unlink()
    # One that a crash of the machine left without its end.
    whole = workspace.clip("b_0_1000").read_bytes()
    workspace.clip("b_0_1000").write_bytes(whole[: len(whole) // 2])
    assert fetch(workspace, served.settings()).complete
    # An adopted file says nothing of its source.
    unknown = {
        "source_width": 0,
        "source_height": 0,
        "source_fps": 0.0,
        "source_codec": "",
        "source_format": "",
    }
    known = [replace(clip, **unknown) if clip.video_id == "a" else clip for clip in before]
    assert clips(workspace) == known
    assert served.asked[asked:] == ["b"]
    assert reason(workspace, "a_0_1000") == "done adopted 1"


def test_a_broken_file_does_not_keep_its_name(served: ServedVideos, workspace: Workspace) -> None:
    served.want("zumba,a,0,1")
    served.faults["a"] = Fault(status=404)
    workspace.clip("a_0_1000").parent.mkdir(parents=True)
    workspace.clip("a_0_1000").write_bytes(b"half a clip")
    fetch(workspace, served.settings())
    assert files(workspace) == set()


@pytest.mark.parametrize("refusal", [av.error.PermissionError, av.error.OSError, av.error.MemoryError])
def test_a_file_that_cannot_be_read_now_stays(
    served: ServedVideos, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, refusal: type[Exception]
) -> None:
    served.want("zumba,a,0,1")
    fetch(workspace, served.settings())
    (segment,) = tables.read(workspace.segments, Segment)
    path = workspace.clip("a_0_1000")
    before = path.read_bytes()

    def refused(*_: object, **__: object) -> None:
        raise refusal(5, "the disk says no")

    monkeypatch.setattr("dancecli.video.source.open_video", refused)
    cutter = Cutter(workspace.root, workspace.temp, "youtube", keep_audio=True)
    result = cutter.adopt(segment)
    assert result is not None
    assert (result.outcome, result.reason) == (OutcomeClass.TRANSIENT, "file-unreadable")
    assert result.text == f"a_0_1000.mp4 does not decode: the disk says no; the file stays: {path}"
    assert path.read_bytes() == before


def test_refused_files_do_not_replace_each_other(served: ServedVideos, workspace: Workspace) -> None:
    served.want("zumba,a,0,1")
    fetch(workspace, served.settings())
    (segment,) = tables.read(workspace.segments, Segment)
    path = workspace.clip("a_0_1000")
    whole = path.read_bytes()
    rules = ClipRules(min_length_s=9)
    strict = Cutter(workspace.root, workspace.temp, "youtube", keep_audio=True, rules=rules)
    for more in (b"", b" again", b" and again"):
        path.write_bytes(whole + more)
        assert strict.adopt(segment) is None
    assert {file.name: file.read_bytes()[len(whole) :] for file in workspace.root.glob("refused/*")} == {
        "a_0_1000.mp4": b"",
        "a_0_1000.2.mp4": b" again",
        "a_0_1000.3.mp4": b" and again",
    }


def test_a_file_that_was_lost_is_fetched_again(served: ServedVideos, workspace: Workspace) -> None:
    served.want("zumba,a,0,1", "zumba,b,0,1")
    fetch(workspace, served.settings())
    workspace.clip("a_0_1000").unlink()
    # As an adopted clip may be: a link to what is gone.
    workspace.clip("a_0_1000").symlink_to("nowhere")
    result = fetch(workspace, served.settings(dry_run=True))
    assert (result.num_done, result.reasons) == (1, {"file-lost": 1})
    assert fetch(workspace, served.settings()).complete
    assert served.asked.count("a") == 2
    assert reason(workspace, "a_0_1000") == "done ok 2"


def test_dry_run_writes_nothing(served: ServedVideos, workspace: Workspace) -> None:
    served.want("zumba,a,0,1")
    result = fetch(workspace, served.settings(dry_run=True))
    assert (result.num_asked, result.reasons) == (1, {"not-tried": 1})
    assert not list(workspace.root.iterdir())
    assert served.asked == []


def test_transient_faults_are_tried_three_times_and_again_next_time(
    served: ServedVideos, workspace: Workspace
) -> None:
    served.want("zumba,a,0,1", "zumba,b,0,1")
    served.faults["a"] = Fault(status=403)
    served.faults["b"] = Fault(status=403, times=2)
    fetch(workspace, served.settings())
    assert reason(workspace, "a_0_1000") == "transient http-403 3"
    assert reason(workspace, "b_0_1000") == "done ok 3"
    del served.faults["a"]
    assert fetch(workspace, served.settings(retry="none")).num_new == 0
    assert fetch(workspace, served.settings()).complete
    assert [o.reason for o in ledger.history(workspace.root, "a_0_1000")] == ["http-403"] * 3 + ["ok"]


@pytest.mark.parametrize(
    ("retry", "again"),
    [("none", ""), ("transient", "flaky"), ("permanent", "dead"), ("all", "dead flaky short")],
)
def test_what_is_tried_again(served: ServedVideos, workspace: Workspace, retry: str, again: str) -> None:
    served.want("zumba,dead,0,1", "zumba,flaky,0,1", "zumba,short,4,9", "zumba,good,0,1")
    served.faults["dead"] = Fault(status=410)
    served.faults["flaky"] = Fault(status=403)
    fetch(workspace, served.settings(tries=1))
    asked = len(served.asked)
    fetch(workspace, served.settings(tries=1, retry=retry))
    assert sorted(served.asked[asked:]) == again.split()


def test_a_stalled_source_ends_at_the_limit(served: ServedVideos, workspace: Workspace) -> None:
    served.want("zumba,slow,0,1", "zumba,good,0,1")
    served.faults["slow"] = Fault(stall_at=0.3)
    started = time.monotonic()
    result = fetch(workspace, served.settings(timeout_s=4.0, tries=1))
    assert time.monotonic() - started < 15
    assert result.reasons == {"timeout": 1}
    assert result.num_done == 1
    assert not workspace.temp.exists()


def test_a_refusing_site_is_left_alone_and_nothing_is_marked_dead(
    served: ServedVideos, workspace: Workspace
) -> None:
    served.want(*(f"zumba,video{i},0,1" for i in range(30)))
    served.site.everywhere = Fault(status=429)
    breaker = BreakerSettings(streak=3, first_wait_s=0.2, trips=2)
    seen: list[Progress] = []
    result = fetch(workspace, served.settings(breaker=breaker), Reporter(seen.append))
    assert result.stopped.startswith(
        "source url-template stopped answering (http-429); the rest is pending. "
    )
    assert "lower --rate" in result.stopped
    assert any("paused, no answers (http-429), next try in" in progress.text for progress in seen)
    assert set(result.reasons) <= {"http-429", "not-tried"}
    # Three opened the breaker while another was at work; then two probes.
    assert len(served.asked) <= 3 + 1 + 2
    served.site.everywhere = None
    assert fetch(workspace, served.settings()).complete


def test_a_bug_in_a_job_is_a_row_and_not_the_end(
    served: ServedVideos,
    workspace: Workspace,
    dance: Callable[..., Ran],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """A module that fails on one video, as a file of a kind that nobody thought of would make it fail."""
    served.want(*(f"zumba,{name},0,1" for name in ("good", "odd", "fine")))
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "from dancecli.dataset import cutting\n"
        "cut = cutting.Cutter.cut\n"
        "def failing(self, video, facts, segment, *args, **more):\n"
        "    if segment.video_id == 'odd':\n"
        "        raise AttributeError('no attribute of http://u:pa55@host/?k=pa55')\n"
        "    return cut(self, video, facts, segment, *args, **more)\n"
        "cutting.Cutter.cut = failing\n"
    )
    ran = dance(
        *(
            "fetch",
            "--annotations",
            str(served.list),
            "--url-template",
            served.site.url_template,
            "--min-free",
            "0",
        ),
        PYTHONPATH=f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}",
    )
    assert ran.code == 3
    assert "1 jobs ended with an unexpected error, a bug in dance" in ran.err
    assert {clip.video_id for clip in clips(workspace)} == {"good", "fine"}
    (row,) = ledger.history(workspace.root, "odd_0_1000")
    assert (row.outcome, row.reason, row.attempt) == (OutcomeClass.TRANSIENT, "crash", 1)
    assert row.text.startswith(
        "AttributeError: no attribute of http://***@host/?*** (in failing, sitecustomize.py"
    )
    assert "Traceback" in row.text
    assert (
        dance("fetch", "--annotations", str(served.list), "--url-template", served.site.url_template).code
        == 0
    )


def test_full_disk_is_a_clean_stop(
    served: ServedVideos, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.want("zumba,a,0,1")
    with pytest.raises(WorkspaceError, match="less than the 1000000 GB of --min-free") as caught:
        fetch(workspace, served.settings(min_free_gb=1e6))
    assert "free some space" in caught.value.hint
    assert served.asked == []
    assert clips(workspace) == []


def test_full_disk_in_a_job_keeps_what_was_made(
    served: ServedVideos, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.want("zumba,a,0,1", "zumba,a,2,3")
    workspace.root.joinpath("tmp").mkdir()
    job = SourceJob(
        cutter=Cutter(workspace.root, workspace.temp / "a", "url-template", keep_audio=True),
        segments=(Segment("a", 0, 1000, "zumba"), Segment("a", 2000, 3000, "zumba")),
        origin=Download(url_template=served.site.url_template),
    )
    trim = cutting.trim
    calls: list[int] = []

    def full_at_the_second(*args: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return trim(*args)

    monkeypatch.setattr(cutting, "trim", full_at_the_second)
    result = work(job, lambda: None)
    assert result.disk_full
    assert [clip.reason for clip in result.clips] == ["ok"]
    assert files(workspace) == {clip_path("clips", "a_0_1000.mp4")}


def test_two_at_once_are_refused(served: ServedVideos, workspace: Workspace) -> None:
    served.want("zumba,a,0,1")
    for shard in (None, (1, 2)):
        with (
            clips_lock(workspace, "import"),
            pytest.raises(WorkspaceError, match=r"another command writes clips in .*: 'import'"),
        ):
            fetch(workspace, served.settings(shard=shard))
    assert fetch(workspace, served.settings()).complete


def test_limit_is_per_class_stable_and_nested() -> None:
    segments = [Segment(f"v{i}", 0, 1000, f"label{i % 3}") for i in range(90)]
    picks = {n: {s.video_id for s in choose(segments, n)} for n in (1, 5, 20)}
    assert {n: len(ids) for n, ids in picks.items()} == {1: 3, 5: 15, 20: 60}
    assert picks[1] < picks[5] < picks[20]
    assert {s.video_id for s in choose(segments[::-1], 5)} == picks[5]
    assert sorted(picks[1]) == ["v4", "v44", "v81"], "the same on any machine, for ever"
    assert choose(segments, None) == segments


@pytest.mark.parametrize(("wrong", "said"), [({"retry": "some"}, "--retry"), ({"limit": 0}, "--limit")])
def test_wrong_settings(
    served: ServedVideos, workspace: Workspace, wrong: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        fetch(workspace, served.settings(**wrong))


def test_the_default_rate_is_a_guests(workspace: Workspace) -> None:
    def rate(kind: str = "youtube", **changed: object) -> float | None:
        settings = FetchSettings(**changed)  # type: ignore[arg-type]
        return plan_source(kind, workspace.root, workspace.temp, settings, []).rate_per_hour

    assert rate() == 300
    assert rate(url_template="http://x/{video_id}") is None
    assert rate(rate_per_hour=0) is None
    assert rate(rate_per_hour=7) == 7
    assert rate("mirror") is None


class TestCommand:
    """`dance fetch` as a user types it."""

    def test_table_json_and_exit_code(
        self, served: ServedVideos, workspace: Workspace, dance: Callable[..., Ran]
    ) -> None:
        served.want("zumba,a,0,1", "zumba,private,0,1")
        served.faults["private"] = Fault(status=404)
        flags = ("fetch", "--annotations", str(served.list), "--url-template", served.site.url_template)
        ran = dance(*flags, "--min-free", "0")
        assert ran.code == 3
        assert "1 done · 1 missing · 1 new" in ran.out
        assert "http-404" in ran.out
        again = dance(*flags, "--min-free", "0", "--json")
        assert again.code == 3
        assert again.json["outcomes"] == {
            "done": 1,
            "session": 0,
            "transient": 0,
            "permanent": 1,
            "source-short": 0,
            "corrupt": 0,
            "pending": 0,
        }
        assert again.json["labels"] == {"zumba": {"asked": 2, "done": 1, "permanent": 1}}

    def test_all_there_is_0(
        self, served: ServedVideos, workspace: Workspace, dance: Callable[..., Ran]
    ) -> None:
        served.want("zumba,a,0,1")
        (workspace.root / "dance.toml").write_text(
            f'version = 1\n[fetch]\nurl-template = "{served.site.url_template}"\nrate = 36000\nmin-free = 0\n'
        )
        assert dance("fetch", "--annotations", str(served.list)).code == 0

    @pytest.mark.parametrize(
        ("flags", "code", "said"),
        [
            (("--annotations", "absent.csv"), 1, "absent.csv: there is no such annotation file"),
            (("--rate", "fast"), 2, "is not a number of requests per hour"),
            (("--url-template", "http://x/"), 2, "must contain {video_id} once"),
            (("--labels", "twice.txt"), 1, "twice.txt:2: label 'zumba' repeats line 1"),
            (("--retry", "some"), 2, "--retry 'some' is none of"),
            (("--cookies", "absent.txt"), 1, "absent.txt: there is no such cookie file"),
            (
                ("--extractor-args", "web"),
                2,
                "--ytdlp extractor-args is not an option of yt-dlp with such a value",
            ),
            (("--shard", "3"), 2, "is not I/N"),
            (("--shard", f"1/{'9' * 5000}"), 2, "is not I/N"),
            (("--source", "local", "--folder", "absent"), 1, "absent: there is no such folder"),
            (("--edition", "900"), 1, "there is no Kinetics edition '900'"),
        ],
    )
    def test_wrong_input(
        self, workspace: Workspace, dance: Callable[..., Ran], flags: tuple[str, ...], code: int, said: str
    ) -> None:
        (workspace.root / "twice.txt").write_text("zumba\nzumba\n")
        ran = dance("fetch", *flags)
        assert ran.code == code
        assert said in " ".join(ran.err.split())
        assert [path.name for path in workspace.root.iterdir()] == ["twice.txt"]

    def test_a_label_file_without_labels_that_clips_bear_is_refused(
        self, served: ServedVideos, workspace: Workspace, dance: Callable[..., Ran]
    ) -> None:
        served.want("zumba,a,0,1", "waltz,a,1,2")
        (workspace.root / "both.txt").write_text("zumba\nwaltz\n")
        (workspace.root / "one.txt").write_text("zumba\n")
        flags = ("fetch", "--annotations", str(served.list), "--url-template", served.site.url_template)
        assert "created workspace" in dance(*flags, "--labels", "both.txt").err
        before = workspace.segments.read_bytes()
        ran = dance(*flags, "--labels", "one.txt")
        assert (ran.code, "one.txt: lacks the label 'waltz', which clips" in ran.err) == (1, True)
        assert workspace.segments.read_bytes() == before
        # A list that gives these clips another label takes the old one out of use.
        served.want("zumba,a,0,1", "zumba,a,1,2")
        assert dance(*flags, "--labels", "one.txt").code == 0

    def test_from_a_newer_version(
        self, served: ServedVideos, workspace: Workspace, dance: Callable[..., Ran]
    ) -> None:
        served.want("zumba,a,0,1")
        with sqlite3.connect(workspace.ledger) as db:
            db.execute("PRAGMA user_version = 99")
        ran = dance("fetch", "--annotations", str(served.list), "--url-template", served.site.url_template)
        assert ran.code == 1
        assert "written by a newer dance" in ran.err

    def test_ctrl_c_stops_at_once_and_the_next_run_goes_on(
        self, served: ServedVideos, workspace: Workspace
    ) -> None:
        ids = [f"video{i}" for i in range(8)]
        served.want(*(f"zumba,{video_id},0,1" for video_id in ids))
        for video_id in ids[4:]:
            served.faults[video_id] = Fault(stall_at=0.5)
        flags = (
            "--annotations",
            str(served.list),
            "--url-template",
            served.site.url_template,
            "--workers",
            "2",
        )
        # A shell that runs the tests in the background has them ignore Ctrl-C, which is inherited.
        inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
        running = subprocess.Popen(
            [sys.executable, "-m", "dancecli", "fetch", *flags, "--min-free", "0"],
            cwd=workspace.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        signal.signal(signal.SIGINT, inherited)
        stalled = set(ids[4:])
        end = time.monotonic() + 30
        # Both workers hang on stalled videos; some clips may be done before.
        while len(stalled & set(served.asked)) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.3)
        started = time.monotonic()
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=20)
        assert time.monotonic() - started < 3
        assert running.returncode == 130, said
        assert "Traceback" not in said
        assert not workspace.temp.exists()
        assert not _children_of(workspace.root)
        done = {clip.video_id for clip in clips(workspace)}
        served.faults.clear()
        asked = len(served.asked)
        assert fetch(workspace, served.settings()).complete
        assert set(served.asked[asked:]) == set(ids) - done


def _children_of(root: Path) -> list[str]:
    """Command lines of processes that work in a workspace."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(root) in line and entry.parent.name != str(os.getpid()):
            found.append(line)
    return found
