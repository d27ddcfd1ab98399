"""Damaged run records: one line from every command, and the status of runs whose process died."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.builders import Ran, fill
from helpers.fake_run import make_run
from helpers.fake_study import make_study

from dancecli.cli import app
from dancecli.core.errors import InputError, WorkspaceError
from dancecli.core.records import Clip
from dancecli.storage import tables
from dancecli.storage.runs import read_record, read_records, read_studies, read_study, versions
from dancecli.storage.workspace import Workspace

LABELS = ("tap dancing", "zumba", "tango")
DAMAGES = {
    "truncated": ('{"schema": 1, "name": "ba', "is not valid JSON"),
    "empty": ("", "is empty"),
    "newer": ('{"schema": 99, "name": "bad", "status": "done"}', "written by a newer dance (schema 99"),
    "not-json": ("status: done\n", "is not valid JSON"),
}
# Each command, and whether it can do its work without the damaged run.
COMMANDS: dict[str, tuple[tuple[str, ...], bool]] = {
    "split": (("split", "--name", "other"), True),
    "status": (("status",), True),
    "report": (("report", "--run", "bad"), False),
    "compare": (("compare", "good", "bad"), False),
    "board": (("board",), True),
    "predict": (("predict", "video.mp4", "--run", "bad"), False),
    "evaluate": (("evaluate", "--run", "bad", "--num-clips", "2"), False),
    "reproduce": (("reproduce", "--only", "two-stream", "--dry-run"), False),
    "export": (("export", "--split", "other", "--format", "webdataset", "--to", "out", "--dry-run"), True),
}


@pytest.fixture
def damaged(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace with a good run, and two runs with the same damaged record."""
    workspace = make_run(tmp_path / "space", LABELS, test=30, name="good")
    fill(workspace, tables.read(workspace.clips, Clip), LABELS)
    for clip in tables.read(workspace.clips, Clip):
        (workspace.root / clip.path).write_bytes(bytes(clip.num_bytes))
    monkeypatch.chdir(workspace.root)
    assert run_in_process(("split", "--name", "other"), monkeypatch) == 0
    for name in ("bad", "paper-two-stream-rgb"):
        workspace.run(name).mkdir()
        (workspace.run(name) / "run.json").write_text(DAMAGES[request.param][0])
    return workspace


def run_in_process(arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["dance", *arguments])
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            app.main()
    finally:
        signal.signal(signal.SIGTERM, before)
    return int(ended.value.code or 0)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("damaged", DAMAGES, indirect=True)
def test_a_damaged_record_is_one_line_from_every_command(
    damaged: Workspace,
    command: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (damaged.root / "video.mp4").touch()
    if command == "split":  # a split that would change asks who used it
        fill(damaged, tables.read(damaged.clips, Clip)[1:], LABELS)
    capsys.readouterr()
    arguments, goes_on = COMMANDS[command]
    words = DAMAGES[request.node.callspec.params["damaged"]][1]
    code = run_in_process(arguments, monkeypatch)
    said = capsys.readouterr()
    assert code == (0 if goes_on else 1), said.err
    text = " ".join((said.out + said.err).split())
    if command == "export":  # reads no run
        assert "run.json" not in text
        return
    assert "run.json" in text or "bad" in text
    assert words.removeprefix("is ") in text
    if not goes_on:
        assert [line.split(":")[0] for line in said.err.splitlines() if line] == ["error", "  hint"]
        assert f"move {damaged.root}" in said.err or "upgrade: pip install" in said.err


@pytest.mark.parametrize("damaged", DAMAGES, indirect=True)
def test_unreadable_runs_and_studies_are_listed_apart(damaged: Workspace) -> None:
    records, unreadable = read_records(damaged)
    assert (list(records), sorted(unreadable)) == (["good"], ["bad", "paper-two-stream-rgb"])
    make_study(damaged.root, name="fine")
    damaged.study_folder("torn").mkdir(parents=True)
    (damaged.study_folder("torn") / "study.json").write_text((damaged.run("bad") / "run.json").read_text())
    studies, broken = read_studies(damaged)
    assert (list(studies), list(broken)) == (["fine"], ["torn"])


def test_a_missing_run_or_study_lists_the_known_ones(tmp_path: Path) -> None:
    workspace = make_run(tmp_path / "space", LABELS, test=6, name="good")
    with pytest.raises(WorkspaceError, match="there is no run 'none'") as caught:
        read_record(workspace, "none")
    assert caught.value.hint == "known: good"
    with pytest.raises(WorkspaceError, match="there is no study 'none'") as caught:
        read_study(workspace, "none")
    assert caught.value.hint == "make one: dance tune"
    (workspace.run("good") / "run.json").write_text("[1]")
    with pytest.raises(InputError, match="is not a run record"):
        read_record(workspace, "good")


def test_a_missing_run_is_told_its_near_names_and_how_many_more_there_are(tmp_path: Path) -> None:
    workspace = make_run(tmp_path / "space", LABELS, test=6, name="video")
    for n in range(14):
        make_run(workspace.root, LABELS, test=6, name=f"other{n:02}")
    for at, name in enumerate(["video", *(f"other{n:02}" for n in range(14))]):
        os.utime(workspace.run(name) / "run.json", (at, at))
    with pytest.raises(WorkspaceError) as caught:
        read_record(workspace, "videoo")
    assert caught.value.hint.startswith("did you mean 'video'? known: video, other07, other08, ")
    assert caught.value.hint.endswith("other13, and 7 more")
    with pytest.raises(WorkspaceError) as caught:
        read_record(workspace, "zzz")
    assert caught.value.hint.startswith("known: other06, other07")
    assert caught.value.hint.endswith(", and 7 more")


def test_a_group_is_no_run_and_its_runs_are_named(tmp_path: Path) -> None:
    for seed in range(2):
        workspace = make_run(tmp_path / "space", LABELS, test=6, name=f"g-seed{seed}", salt=str(seed))
        path = workspace.run(f"g-seed{seed}") / "run.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "group": "g", "seed": seed}))
    with pytest.raises(WorkspaceError, match="there is no run 'g'") as caught:
        read_record(workspace, "g")
    assert caught.value.hint == "'g' is a group of g-seed0, g-seed1: name one of them"


def set_running(workspace: Workspace) -> None:
    path = workspace.run("good") / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": "running", "settings": {}}))


def test_a_killed_run_is_interrupted_and_a_live_one_running(
    tmp_path: Path, dance: Callable[..., Ran]
) -> None:
    workspace = make_run(tmp_path / "space", LABELS, test=6, name="good")
    set_running(workspace)
    (workspace.run("good") / "predictions.parquet").unlink()
    code = (
        "import sys, time; from pathlib import Path; from dancecli.storage.workspace import Workspace\n"
        "with Workspace(Path(sys.argv[1])).lock('run-good'): print('held', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(workspace.root)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    assert read_record(workspace, "good")["status"] == "running"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert read_record(workspace, "good")["status"] == "interrupted"
    at = ("--workspace", str(workspace.root))
    status = dance("status", *at)
    assert "1 interrupted" in status.out
    assert "dance finetune --resume --name good" in status.out
    assert "(it is 'interrupted')" in dance("report", "--run", "good", *at).err
    assert "resume it: dance finetune --name good --resume" in dance("report", "--run", "good", *at).err
    watched = dance("board", "--watch", *at, timeout_s=60)
    assert watched.code == 0
    assert "interrupted" in watched.out


def test_a_study_whose_process_died_is_interrupted(tmp_path: Path) -> None:
    import filelock

    workspace = Workspace(tmp_path / "space")
    make_study(workspace.root, name="s")
    path = workspace.study_folder("s") / "study.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": "running"}))
    assert read_study(workspace, "s")["status"] == "interrupted"
    locks = workspace.root / ".locks"
    locks.mkdir(exist_ok=True)
    # A study whose name begins alike is another one.
    with filelock.FileLock(locks / "study-s-more-0123456789ab.lock"):
        assert read_study(workspace, "s")["status"] == "interrupted"
    with filelock.FileLock(locks / "study-s-0123456789ab.lock"):
        assert read_study(workspace, "s")["status"] == "running"


def test_the_versions_are_of_all_that_a_result_depends_on():
    from importlib import metadata

    found = versions("pyarrow")
    for name in ("torch", "scikit-learn", "pyarrow"):
        assert found[name] == metadata.version(name)
    assert any(name.startswith("opencv-") for name in found)
    # It is installed, and computes nothing here.
    assert "openvino" not in found
