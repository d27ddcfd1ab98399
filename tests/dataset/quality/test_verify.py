from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.builders import Ran, fill, make_clip

from dancecli.core.errors import EngineError, WorkspaceError
from dancecli.core.progress import Progress, Reporter
from dancecli.core.records import Clip, Flow
from dancecli.dataset.quality.verify import StoredFile, check_files, verify
from dancecli.engine.pool import Finished
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace


@pytest.fixture
def clips(workspace: Workspace) -> list[Clip]:
    made = []
    for i in range(30):
        content = f"clip {i}".encode() * (i + 1)
        clip = make_clip(i, num_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        made.append(clip)
    fill(workspace, made, ["tap dancing"])
    for i, clip in enumerate(made):
        (workspace.root / clip.path).write_bytes(f"clip {i}".encode() * (i + 1))
    return made


def test_intact_files_pass(workspace: Workspace, clips: list[Clip]) -> None:
    result = verify(workspace)
    assert (result.num_clips, result.num_skipped, result.missing, result.changed) == (30, 0, (), ())
    assert not (workspace.root / "manifests" / "verified.txt").exists()


def test_every_kind_of_damage_is_named(
    workspace: Workspace, clips: list[Clip], dance: Callable[..., Ran]
) -> None:
    gone, cut, flipped = (workspace.root / clip.path for clip in clips[:3])
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:-1])
    flipped.write_bytes(b"X" + flipped.read_bytes()[1:])
    ran = dance("verify", "--json")
    assert ran.code == 3
    assert ran.json["missing"] == [clips[0].clip_id]
    assert ran.json["changed"] == sorted([clips[1].clip_id, clips[2].clip_id])
    assert "27 of 30 clips are intact" in dance("verify").out


def test_what_cannot_be_read_is_not_called_missing(
    workspace: Workspace, clips: list[Clip], dance: Callable[..., Ran]
) -> None:
    path = workspace.root / clips[0].path
    path.unlink()
    path.symlink_to(path)
    ran = dance("verify", "--json")
    assert (ran.code, ran.json["unreadable"], ran.json["missing"]) == (3, [clips[0].clip_id], [])
    ran = dance("verify")
    assert f"unreadable: {clips[0].clip_id}" in ran.out
    assert "check its permissions" in ran.err
    assert "delete the changed files" not in ran.err


def test_optical_flow_is_checked_too(
    workspace: Workspace, clips: list[Clip], dance: Callable[..., Ran]
) -> None:
    rows = []
    for method in ("dis", "tvl1"):
        path = workspace.root / "flow" / f"{clips[0].clip_id}.{method}.mp4"
        path.parent.mkdir(exist_ok=True)
        path.write_text(method)
        made = hashlib.sha256(method.encode()).hexdigest()
        found = (clips[0].clip_id, method, f"flow/{path.name}", made, len(method), clips[0].sha256)
        rows.append(Flow(*found, 249, 128, 128, 1.0, 25, 20, 0.01, "1"))
    tables.write(workspace.flows, Flow, rows)
    assert "32 of 32 files of 30 clips and their flow are intact" in dance("verify").out
    (workspace.root / rows[1].path).write_text("tvl2")
    ran = dance("verify", "--json")
    assert (ran.code, ran.json["changed"]) == (3, [f"{clips[0].clip_id}.tvl1"])


def test_an_interrupted_pass_resumes(workspace: Workspace, clips: list[Clip]) -> None:
    def stop_at_ten(now: Progress) -> None:
        if now.done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(workspace, Reporter(stop_at_ten))
    # What was read before the stop is not read again, even if it is gone since.
    (workspace.root / clips[0].path).unlink()
    result = verify(workspace)
    assert result.num_skipped == 10
    assert result.missing == ()
    assert verify(workspace).missing == (clips[0].clip_id,)


def test_a_clip_that_was_committed_anew_is_read_again(workspace: Workspace, clips: list[Clip]) -> None:
    def stop(now: Progress) -> None:
        if now.done == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        verify(workspace, Reporter(stop))
    fill_again = [replace(clips[0], sha256="0" * 64), *clips[1:]]
    contents = {clip.path: (workspace.root / clip.path).read_bytes() for clip in clips}
    fill(workspace, fill_again, ["tap dancing"])
    for path, content in contents.items():
        (workspace.root / path).write_bytes(content)
    assert verify(workspace).changed == (clips[0].clip_id,)


class Elsewhere:
    """A pool of another engine, here: batches of ten, of which one may be lost."""

    lost = -1

    def __init__(
        self, engine: str, work: Callable[..., Any], workers: int, deadline_s: float, *, root: Path
    ) -> None:
        assert (engine, workers) == ("ray", 0)
        assert deadline_s > 60
        self.work, self.root = work, root

    def __enter__(self) -> Elsewhere:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, jobs: list[Any]) -> Iterator[Finished[Any, Any] | None]:
        assert [len(job.files) for job in jobs] == [10] * len(jobs)
        for i, job in enumerate(jobs):
            yield None
            if i == self.lost:
                yield Finished(job, None, "worker-died", "signal 9")
            else:
                yield Finished(job, self.work(job, None))


def test_another_engine_checks_the_same_clips_and_loses_none(
    workspace: Workspace, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dancecli.dataset.quality.verify._BATCH", 10)
    monkeypatch.setattr("dancecli.dataset.quality.verify.check_engine", lambda _: None)
    monkeypatch.setattr("dancecli.dataset.quality.verify.open_pool", Elsewhere)
    (workspace.root / clips[0].path).unlink()
    (workspace.root / clips[29].path).write_bytes(b"another clip")
    seen: list[Progress] = []
    result = verify(workspace, Reporter(seen.append), engine="ray")
    assert seen[0] == Progress(1, 30, "1 faulty")
    assert seen[-1] == Progress(30, 30, "2 faulty")
    assert (result.num_clips, result.missing, result.changed) == (
        30,
        (clips[0].clip_id,),
        (clips[29].clip_id,),
    )

    monkeypatch.setattr(Elsewhere, "lost", 2)
    with pytest.raises(EngineError, match=r"10 files could not be checked: signal 9"):
        verify(workspace, engine="ray")
    # What the workers that came back had found intact is noted.
    assert verify(workspace).num_skipped == 19


def test_without_clips_the_next_step_is_reported(workspace: Workspace) -> None:
    with pytest.raises(WorkspaceError, match="no clips to verify"):
        verify(workspace)


def test_files_are_drawn_as_they_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    drawn = 0

    def endless() -> Iterator[StoredFile]:
        nonlocal drawn
        for i in range(100_000):
            drawn += 1
            yield StoredFile(str(i), f"{i}.mp4", 1, "0")

    checked = check_files(tmp_path, endless())
    found = [next(checked) for _ in range(10)]
    assert [stored.name for stored, _ in found] == [str(i) for i in range(10)]
    # Sixteen files wait for each of the two threads.
    assert drawn <= 2 * 16 + 10
    checked.close()  # type: ignore[attr-defined]
