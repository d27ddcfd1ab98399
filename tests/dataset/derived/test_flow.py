from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from helpers import clip_workspace
from helpers.builders import Ran

from dancecli.core.errors import MissingDependencyError, UsageError, WorkspaceError
from dancecli.core.flow_format import FlowMethod
from dancecli.core.hashing import sha256_file
from dancecli.core.progress import Progress, Reporter
from dancecli.core.records import Clip, Flow
from dancecli.core.video_files import clip_path
from dancecli.dataset.derived.flow import FlowSettings, flow
from dancecli.dataset.derived.flow_worker import FlowJob, FlowOutcome, work
from dancecli.model.dataloading.flow import count_fields
from dancecli.model.dataloading.flow_data import require_flow
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace
from dancecli.video.decode import decode

clip_files, populated = clip_workspace.clip_files, clip_workspace.populated

DIS = FlowSettings(workers=1)


def clips(workspace: Workspace) -> list[Clip]:
    return tables.read(workspace.clips, Clip)


def rows(workspace: Workspace) -> dict[tuple[str, str], Flow]:
    return {(row.clip_id, row.method): row for row in tables.read(workspace.flows, Flow)}


def stamps(workspace: Workspace) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (workspace.root / "flow").rglob("*.mp4")}


def test_flow_is_recorded_with_its_facts(populated: Workspace) -> None:
    seen: list[Progress] = []
    result = flow(populated, replace(DIS, workers=2), Reporter(seen.append))
    assert (result.num_clips, result.made, result.failed) == (5, 5, ())
    assert result.error_px <= 0.05
    assert seen[-1] == Progress(sum(19 + i for i in range(5)), sum(19 + i for i in range(5)), "5 made")
    found = rows(populated)
    for clip in clips(populated):
        row = found[clip.clip_id, "dis"]
        path = populated.root / row.path
        assert row.path == clip_path("flow", f"{clip.clip_id}.dis.mp4")
        assert (row.sha256, row.num_bytes) == (sha256_file(path), path.stat().st_size)
        assert (row.of_sha256, row.frames) == (clip.sha256, clip.num_frames - 1)
        assert (row.width, row.height, row.scale) == (clip.width, clip.height, 1.0)
        assert count_fields(path) == row.frames
        assert decode(path).fps == Fraction(25)
    require_flow(populated, {clip.clip_id: clip.sha256 for clip in clips(populated)}, "dis")


def test_running_again_is_free_and_other_methods_stay(populated: Workspace) -> None:
    flow(populated, DIS)
    before, written = stamps(populated), populated.flows.stat().st_mtime_ns
    again = flow(populated, DIS)
    assert (again.made, again.num_fields) == (0, 105)
    assert (stamps(populated), populated.flows.stat().st_mtime_ns) == (before, written)
    assert flow(populated, replace(DIS, method="farneback", split="full")).made == 5
    assert before.items() <= stamps(populated).items()
    assert len(rows(populated)) == 10


def test_lines_of_the_log_that_cannot_be_read_cost_their_clip_alone(populated: Workspace) -> None:
    flow(populated, DIS)
    log = populated.root / "manifests" / "flow.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[1:]) + b'{"clip_id": "a", "method": "dis"}\n[]\n3\n{"clip_id": "w\xc3')
    assert flow(populated, DIS).made == 1
    assert flow(populated, DIS).made == 0


def test_a_changed_clip_a_lost_file_and_a_cut_one_are_done_again(
    populated: Workspace, clip_files: list[Path]
) -> None:
    flow(populated, DIS)
    changed, lost, cut, *_ = clips(populated)
    shutil.copyfile(clip_files[4], populated.clip(changed.clip_id))
    facts = {
        "num_frames": 24,
        "num_bytes": clip_files[4].stat().st_size,
        "sha256": sha256_file(clip_files[4]),
    }
    renewed = [replace(c, **facts) if c == changed else c for c in clips(populated)]
    tables.write(populated.clips, Clip, renewed)
    (populated.root / clip_path("flow", f"{lost.clip_id}.dis.mp4")).unlink()
    os.truncate(populated.root / clip_path("flow", f"{cut.clip_id}.dis.mp4"), 500)
    assert flow(populated, replace(DIS, dry_run=True)).made == 3
    before = stamps(populated)
    assert flow(populated, DIS).made == 3
    kept = {name for name, stamp in stamps(populated).items() if before.get(name) == stamp}
    assert kept == {f"{c.clip_id}.dis.mp4" for c in clips(populated)[3:]}
    assert rows(populated)[changed.clip_id, "dis"].frames == 23


def test_a_failure_is_a_row_and_others_continue(populated: Workspace) -> None:
    gone, other, *_ = clips(populated)
    populated.clip(gone.clip_id).unlink()
    populated.clip(other.clip_id).write_bytes(b"not a video")
    result = flow(populated, DIS)
    assert result.made == 3
    assert [clip_id for clip_id, _ in result.failed] == sorted([gone.clip_id, other.clip_id])
    assert all("is missing or was changed" in reason for _, reason in result.failed)
    lines = [json.loads(line) for line in (populated.root / "manifests" / "flow.jsonl").open()]
    assert {line["failed"] for line in lines if "failed" in line} == {
        f"{c.clip_id}.dis" for c in (gone, other)
    }
    assert len(rows(populated)) == 3


def test_a_split_has_its_clips_and_their_augmented_clips(populated: Workspace) -> None:
    parent = clips(populated)[0]
    copy = replace(parent, clip_id=f"{parent.clip_id}.hflip", parent_id=parent.clip_id, op="hflip")
    stranger = replace(parent, clip_id="stranger_0_1000")
    tables.write(populated.clips, Clip, [*clips(populated), copy, stranger])
    result = flow(populated, replace(DIS, split="full", dry_run=True))
    assert (result.num_clips, result.num_augmented) == (6, 1)


def test_errors_are_one_sentence(populated: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="'lucas' is not a flow method"):
        flow(populated, replace(DIS, method="lucas"))
    with pytest.raises(WorkspaceError, match="no split 'nix'"):
        flow(populated, replace(DIS, split="nix"))
    with pytest.raises(WorkspaceError, match="no clips"):
        flow(Workspace(populated.root / "empty"), DIS)
    with populated.lock("flow"), pytest.raises(WorkspaceError, match="another 'flow'"):
        flow(populated, DIS)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingDependencyError, match="OpenCV"):
        flow(populated, DIS)


def test_a_full_disk_is_reported_and_leaves_nothing(populated: Workspace) -> None:
    clip, temp = clips(populated)[0], populated.root / "flow" / ".tmp" / "clip"
    temp.mkdir(parents=True)
    (temp / f"{clip.clip_id}.dis.mp4").symlink_to("/dev/full")
    job = FlowJob(populated.root, temp, clip, FlowMethod.DIS)
    running = work(job, lambda: None)
    with pytest.raises(StopIteration) as ended:
        while True:
            next(running)
    assert ended.value.value == FlowOutcome(disk_full=True)
    assert not temp.exists()
    assert not stamps(populated)


KILLED = """
import os, signal, sys
from pathlib import Path
from dancecli.core.progress import Reporter
from dancecli.dataset.derived.flow import FlowSettings, flow
from dancecli.storage.workspace import Workspace

def kill_after_two(now):
    if now.text.startswith("2 made"):
        os.kill(os.getpid(), signal.SIGKILL)

flow(Workspace(Path(sys.argv[1])), FlowSettings(workers=1), Reporter(kill_after_two))
"""


def test_a_killed_run_resumes(populated: Workspace) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(populated.root)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not populated.flows.exists()
    # The worker may have committed a third before it noticed; what is not logged is made again.
    noted = [
        json.loads(line) for line in (populated.root / "manifests" / "flow.jsonl").open() if line.strip()
    ]
    done = {Path(line["path"]).name: stamps(populated)[Path(line["path"]).name] for line in noted}
    result = flow(populated, replace(DIS, workers=2))
    assert (len(done), result.made, result.failed) == (2, 3, ())
    assert done.items() <= stamps(populated).items()
    assert not (populated.root / "flow" / ".tmp").exists()
    assert len(rows(populated)) == 5


def test_the_command_reports_the_state(populated: Workspace, dance: Callable[..., Ran]) -> None:
    populated.clip(clips(populated)[0].clip_id).unlink()
    ran = dance("flow", "--workers", "1")
    assert ran.code == 3
    assert "dis flow of 5 clips: 4 computed now" in ran.out
    assert "clips without flow: 1" in ran.err
    assert "trained on tvl1 flow" in ran.err
    ran = dance("flow", "--json", "--dry-run")
    assert (ran.code, ran.json["num_clips"], ran.json["made"]) == (0, 5, 1)
