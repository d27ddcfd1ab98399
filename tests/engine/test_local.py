"""The pool: nothing is lost, nothing hangs, nothing stays behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import engine_jobs as jobs
from helpers.processes import alive, wait_for

from dancecli.engine import local
from dancecli.engine.local import LocalPool
from dancecli.engine.rate_limit import BreakerSettings, RateLimiter


def test_every_job_has_its_result() -> None:
    with LocalPool[int, int](jobs.double, 3, 60) as pool:
        done = {f.job: f.result for f in pool.run(range(200)) if f}
    assert done == {i: 2 * i for i in range(200)}


def test_jobs_are_drawn_one_by_one() -> None:
    drawn = 0

    def endless() -> Iterator[int]:
        nonlocal drawn
        while True:
            drawn += 1
            yield drawn

    with LocalPool[int, int](jobs.double, 2, 60) as pool:
        finished = [f for f, _ in zip((f for f in pool.run(endless()) if f), range(10), strict=False)]
    assert len(finished) == 10
    assert drawn <= 10 + 2


def test_a_dead_worker_costs_one_attempt(tmp_path: Path) -> None:
    outcomes = []
    with LocalPool[Path, str](jobs.dies_once, 1, 60) as pool:
        for finished in pool.run([tmp_path / "mark"]):
            if finished:
                outcomes.append((finished.result, finished.lost, finished.detail))
                if finished.lost:
                    pool.requeue(finished.job, 0.1)
    assert outcomes == [(None, "worker-died", "its process ended with status -9"), ("survived", "", "")]


def test_the_deadline_kills_the_worker_and_its_child(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    with LocalPool[Path, None](jobs.hangs_with_a_child, 1, 1.5) as pool:
        finished = [f for f in pool.run([note]) if f]
    assert [(f.lost, f.result) for f in finished] == [("timeout", None)]
    assert wait_for(lambda: not any(alive(int(pid)) for pid in note.read_text().split()))


def test_each_job_may_have_a_limit_of_its_own(tmp_path: Path) -> None:
    limits_s = {tmp_path / "patient": 60.0, tmp_path / "hasty": 1.0}
    with LocalPool[Path, None](jobs.hangs_with_a_child, 2, limits_s.__getitem__) as pool:
        first = next(f for f in pool.run(list(limits_s)) if f)
    assert (first.job, first.lost, first.detail) == (tmp_path / "hasty", "timeout", "took longer than 1 s")


def test_leaving_early_leaves_nothing_behind(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), LocalPool[Path, None](jobs.hangs_with_a_child, 1, 60) as pool:
        for _ in pool.run([note]):
            if note.exists() and note.read_text():
                started = time.monotonic()
                raise KeyboardInterrupt
    assert time.monotonic() - started < 2
    assert wait_for(lambda: not any(alive(int(pid)) for pid in note.read_text().split()))


def test_workers_die_with_a_killed_parent(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    program = (
        f"import sys; sys.path[:0] = [{str(Path(jobs.__file__).parents[1])!r}]\n"
        "import pathlib\nfrom helpers import engine_jobs as jobs\n"
        "from dancecli.engine.local import LocalPool\n"
        "with LocalPool(jobs.hangs_with_a_child, 1, 60) as pool:\n"
        f"    list(pool.run([pathlib.Path({str(note)!r})]))"
    )
    parent = subprocess.Popen([sys.executable, "-c", program])
    assert wait_for(lambda: note.exists() and note.read_text())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    assert wait_for(lambda: not any(alive(int(pid)) for pid in note.read_text().split()))


def test_a_worker_is_killed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = local.WorkerProcess()
    status = worker.kill()
    killed: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda group, _: killed.append(group))
    assert worker.kill() == status == -signal.SIGKILL
    assert not killed, "the number of a process that is gone may be another's"


def test_one_rate_for_all_workers() -> None:
    with LocalPool[int, float](jobs.asking, 4, 60, RateLimiter(3600 * 10)) as pool:
        times = sorted(f.result for f in pool.run(range(12)) if f and f.result)
    assert times[-1] - times[0] > 11 * 0.1 - 0.05


def test_waiting_for_permission_is_not_working() -> None:
    with LocalPool[int, float](jobs.asking, 2, 0.8, RateLimiter(3600)) as pool:
        finished = [f for f in pool.run(range(3)) if f]
    assert [f.lost for f in finished] == [""] * 3


def test_when_the_gate_gives_up_the_run_ends() -> None:
    limiter = RateLimiter(breaker=BreakerSettings(streak=2, first_wait_s=0.1, trips=1))
    finished = []
    with LocalPool[int, float](jobs.asking, 1, 60, limiter) as pool:
        for done in pool.run(range(100)):
            if done:
                finished.append(done)
                limiter.report(done.job, time.monotonic(), answered=False, session=True)
    assert limiter.given_up
    assert len(finished) == 3, "two that opened the breaker, and one probe"


def test_a_bug_in_a_job_costs_that_job_alone() -> None:
    with LocalPool[int, int](jobs.fails_at_three, 2, 60) as pool:
        finished = {f.job: f for f in pool.run(range(20)) if f}
    assert {job: f.result for job, f in finished.items() if job != 3} == {i: i for i in range(20) if i != 3}
    assert (finished[3].result, finished[3].lost) == (None, "crash")
    first, *tail = finished[3].detail.splitlines()
    assert first.startswith("ValueError: a bug (in fails_at_three, engine_jobs.py:")
    assert tail[-1] == "ValueError: a bug"
    assert pool.num_crashes == 1


def test_a_crash_after_a_part_of_the_result_is_told_and_hides_secrets() -> None:
    with LocalPool[int, object](jobs.crashes_after_a_part, 1, 60) as pool:
        finished = [(f.result, f.more, f.lost, f.detail) for f in pool.run([1]) if f]
    assert [f[:3] for f in finished] == [("part", True, ""), (None, False, "crash")]
    assert "pa55" not in finished[1][3]
    assert "https://***@host/a?***" in finished[1][3]


def test_what_the_system_refuses_a_job_is_said_as_the_system_says_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(NotADirectoryError) as caught,
        LocalPool[Path, str](jobs.dies_once, 1, 60) as pool,
    ):
        list(pool.run([tmp_path / "file" / "below"]))
    assert caught.value.filename == str(tmp_path / "file" / "below")


def test_a_result_in_parts_renews_the_deadline() -> None:
    with LocalPool[int, object](jobs.counts, 1, 0.8) as pool:
        finished = [(f.result, f.more, f.lost) for f in pool.run([5]) if f]
    assert finished == [(i, True, "") for i in range(5)] + [("all", False, "")]


def test_a_worker_that_dies_while_it_starts_costs_one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_START", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with LocalPool[int, int](jobs.double, 1, 60) as pool:
        finished = [(f.result, f.lost) for f in pool.run([1]) if f]
    assert finished == [(None, "worker-died")]


def test_a_worker_that_ends_while_it_starts_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_START", "raise SystemExit(3)")
    pool = LocalPool[int, int](jobs.double, 1, 60)
    with pytest.raises(RuntimeError, match="ended with status 3 before its first job"), pool:
        list(pool.run([1]))


def test_starting_a_process_is_no_part_of_its_first_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_START", f"import time; time.sleep(1)\n{local._START}")
    with LocalPool[int, int](jobs.double, 1, 0.9) as pool:
        assert [(f.result, f.lost) for f in pool.run([1]) if f] == [(2, "")]
