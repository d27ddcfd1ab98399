"""Runs in the app: what the list, the curves and the comparison say, the report, and how one is stopped."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
from helpers import clip_workspace
from helpers.app_server import Site, served
from helpers.fake_run import make_run
from helpers.locked_run import locked_run
from helpers.runs_workspace import with_runs

from dancecli.app.calls import calls_of
from dancecli.app.stopping import stop_run
from dancecli.core.errors import WorkspaceError
from dancecli.core.records import Prediction
from dancecli.storage import tables
from dancecli.storage.runs import RunFolder, read_record
from dancecli.storage.workspace import Workspace

clip_files, populated = clip_workspace.clip_files, clip_workspace.populated


@pytest.fixture
def site(populated: Workspace) -> Iterator[Site]:
    with_runs(populated)
    with served(populated) as address:
        yield Site(address, populated)


ONE, OTHER, RUNNING = "inception-full-1", "nonlocal-full-2", "resnet50-full-3"


def test_a_tie_counts_against_the_model_as_in_its_report(workspace: Workspace) -> None:
    make_run(workspace.root, ("tap", "waltz"), test=10, name="one-1")
    path = RunFolder(workspace.run("one-1")).predictions
    rows, meta = tables.read(path, Prediction), tables.read_meta(path)
    tables.write(path, Prediction, [replace(row, scores=(0.5, 0.5)) for row in rows], meta)
    calls = calls_of(workspace, "one-1")
    assert (len(calls), calls["right"].sum()) == (10, 0)


def test_every_run_is_listed_the_latest_first(site: Site) -> None:
    rows = site.ask("/api/runs").json["rows"]
    assert [row["run"] for row in rows] == [RUNNING, OTHER, ONE]
    # Nobody holds its lock.
    assert rows[0]["status"] == "interrupted"
    assert (rows[0]["epoch"], rows[0]["epochs"], rows[0]["predictions"]) == (10, 30, False)
    assert rows[0]["command"] == "dance finetune -w /old/place --pretrain inception --split demo"
    assert [row["predictions"] for row in rows[1:]] == [True, True]


def test_curves_are_read_from_the_logs_as_far_as_they_are_written(site: Site) -> None:
    log = site.workspace.run(ONE) / "metrics.jsonl"
    with log.open("a") as file:
        file.write('{"kind": "val", "epoch": 11, "lo')
    curves = site.ask(f"/api/runs/curves?run={ONE}&run={RUNNING}&run=..%2f..&run=none").json
    assert list(curves) == [ONE, RUNNING]
    assert [x for x, _ in curves[ONE]["val top1"]] == [float(x) for x in range(1, 11)]
    assert curves[RUNNING]["train loss"][0][1] == pytest.approx(
        1.4 * curves[ONE]["train loss"][0][1], rel=0.01
    )


def test_what_the_comparison_counts_is_what_the_grid_shows(site: Site) -> None:
    found = site.ask(f"/api/runs/compare?a={ONE}&b={OTHER}").json
    assert found["counts"] == {"both": 0, "a": 1, "b": 0, "neither": 0}
    shown = site.ask(f"/api/clips?a={ONE}&b={OTHER}").json
    assert shown["between"] == found["counts"]
    for side, count in found["counts"].items():
        assert site.ask(f"/api/clips?a={ONE}&b={OTHER}&between={side}").json["total"] == count
    (row,) = site.ask(f"/api/clips?a={ONE}&b={OTHER}&between=a").json["rows"]
    assert (row["subset"], row["by_a"] == row["label"], row["by_b"] == row["label"]) == ("test", True, False)
    assert (row["right_a"], row["right_b"]) == (True, False)
    alone = site.ask(f"/api/clips?a={OTHER}&b={OTHER}&between=neither").json
    assert alone["total"] == 1
    assert site.ask("/api/clips").json["between"] == {}


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (f"/api/clips?a={ONE}&b=none", "there is no run 'none'"),
        (f"/api/clips?a={ONE}&b={RUNNING}", "has no predictions"),
        (f"/api/clips?a={ONE}&b=..%2f..%2fx", "cannot be used"),
        (f"/api/runs/compare?a={ONE}&b={ONE}", "the same as itself"),
        (f"/api/runs/compare?a={ONE}&b=none", "there is no run 'none'"),
        (f"/api/runs/compare?a={ONE}", "cannot be used"),
        ("/reports/none/", "there is no run 'none'"),
        (f"/reports/{RUNNING}/", RUNNING),
    ],
)
def test_what_cannot_be_compared_or_shown_is_said(site: Site, path: str, said: str) -> None:
    answer = site.ask(path)
    assert answer.status == 409
    assert said in answer.body.decode()


def test_runs_of_other_labels_are_compared_in_the_grid_by_those_in_force(site: Site) -> None:
    """The first was scored by the label that was listed then, the other by the corrected one."""
    path = RunFolder(site.workspace.run(OTHER)).predictions
    rows, meta = tables.read(path, Prediction), tables.read_meta(path)
    rows = [replace(row, label_index=1 - row.label_index) if row.subset == "test" else row for row in rows]
    tables.write(path, Prediction, rows, meta)
    counts = site.ask(f"/api/clips?a={ONE}&b={OTHER}").json["between"]
    assert counts == {"both": 0, "a": 1, "b": 0, "neither": 0}


def test_controls_and_corrections_since_are_on_the_page(site: Site) -> None:
    site.ask(f"/reports/{ONE}/")
    page = site.workspace.report(ONE) / "index.html"
    drawn = page.stat().st_mtime_ns
    labels = site.workspace.root / "labels.csv"
    labels.write_text("clip_id,field,old,new,who,when_utc,why\n")
    os.utime(labels, ns=(drawn + 10**9, drawn + 10**9))
    site.ask(f"/reports/{ONE}/")
    assert page.stat().st_mtime_ns != drawn


def test_a_run_s_page_is_its_report_drawn_when_it_is_stale(site: Site) -> None:
    answer = site.ask(f"/reports/{ONE}/")
    page = site.workspace.report(ONE) / "index.html"
    assert answer.body == page.read_bytes()
    policy = answer.headers["content-security-policy"]
    assert "script-src 'sha256-" in policy
    assert policy.split("script-src ")[1].split(";")[0] in page.read_text()
    drawn = page.stat().st_mtime_ns
    site.ask(f"/reports/{ONE}/")
    assert page.stat().st_mtime_ns == drawn
    record = site.workspace.run(ONE) / "run.json"
    os.utime(record, ns=(drawn + 10**9, drawn + 10**9))
    site.ask(f"/reports/{ONE}/")
    assert page.stat().st_mtime_ns != drawn
    # A page that somebody else put there is not shown.
    page.write_text("<script>alert(1)</script>")
    assert b"alert(1)" not in site.ask(f"/reports/{ONE}/").body


def test_beside_a_report_its_files_are_sent_and_no_others(site: Site) -> None:
    site.ask(f"/reports/{ONE}/")
    (site.workspace.report(ONE) / "x.html").write_text("<p>")
    (site.workspace.report(ONE) / "out.json").symlink_to(site.workspace.run(ONE) / "run.json")
    assert json.loads(site.ask(f"/reports/{ONE}/metrics.json").body)
    for name in ("x.html", "none.json", "..%2f..%2fruns%2finception-full-1%2frun.json", "out.json"):
        assert site.ask(f"/reports/{ONE}/{name}").status == 404, name
    assert site.ask("/reports/..%2fruns/inception-full-1/run.json").status in (404, 409)


def test_a_copy_that_a_file_manager_made_is_said_to_be_no_run(site: Site) -> None:
    shutil.copytree(site.workspace.run(ONE), site.workspace.root / "runs" / f"{ONE} (copy)")
    rows = {row["run"]: row for row in site.ask("/api/runs").json["rows"]}
    assert rows.keys() == {RUNNING, OTHER, ONE, f"{ONE} (copy)"}
    copy = rows[f"{ONE} (copy)"]
    assert (copy["status"], copy["predictions"]) == ("unreadable", False)
    assert f"run name '{ONE} (copy)' cannot be used" in copy["error"]
    assert set(site.workspace.runs()) == {RUNNING, OTHER, ONE}


@pytest.mark.parametrize("background", [False, True])
def test_a_run_is_stopped_as_by_ctrl_c(site: Site, background: bool) -> None:
    with locked_run(site.workspace, RUNNING, background=background) as process:
        assert site.ask("/api/runs").json["rows"][0]["status"] == "running"
        assert site.ask(f"/api/runs/{RUNNING}/stop", "POST", {}).json == {"process": process.pid}
        assert process.wait(20) == 130
    assert read_record(site.workspace, RUNNING)["status"] == "interrupted"


def test_another_page_stops_nothing(site: Site) -> None:
    with locked_run(site.workspace, RUNNING) as process:
        for headers in ({"Origin": "http://evil.example"}, {"Content_Type": "text/plain"}, {"Cookie": ""}):
            assert site.ask(f"/api/runs/{RUNNING}/stop", "POST", {}, **headers).status == 403
        assert site.ask(f"/api/runs/{RUNNING}/stop").status == 405
        assert process.poll() is None


def test_a_process_that_only_has_the_number_of_a_run_is_left_alone(populated: Workspace) -> None:
    with_runs(populated)
    with (
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as other,
        locked_run(populated, RUNNING) as process,
    ):
        pid_file = populated.root / ".locks" / f"run-{RUNNING}.pid"
        pid_file.write_text(f"{other.pid}\n")
        with pytest.raises(WorkspaceError, match=f"process {other.pid} is not proven to be run"):
            stop_run(populated, RUNNING)
        assert (other.poll(), process.poll()) == (None, None)
        for text in ("", "x", "-1", "99999999999"):
            pid_file.write_text(text)
            with pytest.raises(WorkspaceError, match=r"is not known here|is gone"):
                stop_run(populated, RUNNING)
        other.kill()


def test_a_run_of_another_machine_or_one_that_does_not_train_is_left_alone(populated: Workspace) -> None:
    with_runs(populated)
    with pytest.raises(WorkspaceError, match="is not training: it is done"):
        stop_run(populated, ONE)
    with pytest.raises(WorkspaceError, match="is not training: it is interrupted"):
        stop_run(populated, RUNNING)
    with pytest.raises(WorkspaceError, match="there is no run 'none'"):
        stop_run(populated, "none")
    with locked_run(populated, RUNNING) as process:
        path = populated.run(RUNNING) / "run.json"
        record = json.loads(path.read_text())
        record["process"]["host"] = "elsewhere"
        path.write_text(json.dumps(record))
        with pytest.raises(WorkspaceError, match="trains on another machine, elsewhere"):
            stop_run(populated, RUNNING)
        assert process.poll() is None
