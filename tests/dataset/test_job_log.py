"""The resumable job that every per-clip step uses."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dancecli.core.errors import WorkspaceError
from dancecli.core.progress import Progress, Reporter
from dancecli.dataset.job_log import JobLog, JobOutcome, ResumableJob
from dancecli.engine.pool import Finished
from dancecli.storage.workspace import Workspace

Row = tuple[str, int]


def log_at(path: Path) -> JobLog[Row]:
    return JobLog(
        path,
        key_of=lambda row: row[0],
        to_json=lambda row: {"name": row[0], "value": row[1]},
        from_json=lambda row: (row["name"], row["value"] + 0),
    )


def double(job: Row, _: Any) -> Generator[int, None, int | None]:
    """Work of a job's own length, a unit at a time; a negative one fails."""
    for _ in range(job[1]):
        yield 1
    return 2 * job[1] if job[1] >= 0 else None


def outcome_of(finished: Finished[Row, int | None]) -> JobOutcome[Row]:
    name, value = finished.job
    if finished.result is None:
        return JobOutcome(failed=((name, "negative"),))
    return JobOutcome(made=((name, finished.result),), disk_full=value == 99)


def step(workspace: Workspace) -> ResumableJob[Row, Row]:
    temp = workspace.root / "half-made"
    log = log_at(workspace.root / "manifests" / "log.jsonl")
    return ResumableJob(
        workspace, "double", log, double, 60.0, outcome_of, units_of=lambda job: abs(job[1]) + 1, temp=temp
    )


def test_the_last_line_about_a_key_counts_and_broken_lines_are_skipped(tmp_path: Path) -> None:
    log = log_at(tmp_path / "log.jsonl")
    assert log.read() == {}
    text = log.lines([("a", 1), ("b", 2)]) + log.lines([], [("b", "why")]) + log.lines([("a", 3), ("c", 4)])
    cut_short = '\n[]\n3\n"x"\nnull\n{"name": "d"}\n{"name": "e", "value": "text"}\n{"name": "w\udcc3'
    log.path.write_bytes((text + cut_short).encode(errors="surrogateescape"))
    assert log.read() == {"a": ("a", 3), "c": ("c", 4)}
    assert list(log.stream()) == [("a", 1), ("b", 2), ("a", 3), ("c", 4)]
    log.rewrite([("a", 3)], [("b", "why")])
    assert log.path.read_text() == '{"name": "a", "value": 3}\n{"failed": "b", "reason": "why"}\n'


def test_what_is_done_is_in_the_log_before_it_is_told(workspace: Workspace) -> None:
    seen: list[Progress] = []
    job = step(workspace)
    names = []
    with (
        job.exclusively(),
        closing(job.run([("a", 3), ("b", -1)], workers=1, reporter=Reporter(seen.append))) as run,
    ):
        for outcome in run:
            names += [name for name, _ in (*outcome.made, *outcome.failed)]
            text = job.log.path.read_text()
            assert all(f'"{name}"' in text for name in names)
    assert job.log.read() == {"a": ("a", 6)}
    # Each unit counts once, within a job and at its end.
    assert [now.done for now in seen] == [1, 2, 3, 4, 6]
    assert {now.total for now in seen} == {6}
    assert seen[-1].text == "1 made, 1 failed"


def test_a_full_disk_ends_the_run_and_keeps_what_was_made(workspace: Workspace) -> None:
    job = step(workspace)
    made = []
    with (
        pytest.raises(OSError, match="No space left"),
        closing(job.run([("a", 99), ("b", 1)], workers=1)) as run,
    ):
        for outcome in run:
            made += outcome.made
    assert made == [("a", 198)]
    assert job.log.read() == {"a": ("a", 198)}


def test_one_of_a_name_is_at_work_and_half_made_files_are_removed(workspace: Workspace) -> None:
    job = step(workspace)
    assert job.temp is not None
    (job.temp / "left").mkdir(parents=True)
    with job.exclusively():
        assert not job.temp.exists()
        (job.temp / "new").mkdir(parents=True)
        with pytest.raises(WorkspaceError, match="another 'double'"), step(workspace).exclusively():
            pass
    assert not job.temp.exists()
