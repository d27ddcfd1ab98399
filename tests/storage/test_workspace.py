from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import filelock
import pytest

from dancecli.core.errors import InputError, WorkspaceError
from dancecli.storage.workspace import Workspace, checked_name, clips_lock


def test_the_given_folder_wins_then_the_variable_then_the_folder_above_then_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    above, below, other, named = (tmp_path / n for n in ("above", "above/a/b", "other", "named"))
    for folder in (below, other, named):
        folder.mkdir(parents=True)
    monkeypatch.delenv("DANCE_WORKSPACE", raising=False)
    monkeypatch.chdir(below)
    assert Workspace.locate(None).root == below
    (above / "dance.toml").touch()
    assert Workspace.locate(None).root == above
    monkeypatch.setenv("DANCE_WORKSPACE", str(named))
    assert Workspace.locate(None).root == named
    assert Workspace.locate(other).root == other


def test_a_file_is_no_workspace(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WorkspaceError, match="is a file"):
        Workspace.locate(tmp_path / "file")


@pytest.mark.parametrize(
    ("text", "error", "what"),
    [
        ("version = 2\n", WorkspaceError, "from a newer dance (version 2, this one reads 1)"),
        ("version = 'x'\n", InputError, "not a whole number"),
        ("[fetch\n", InputError, "is not valid TOML"),
        ("caf\udce9", InputError, "is not valid TOML"),
    ],
)
def test_settings_that_cannot_be_read_are_said(
    workspace: Workspace, text: str, error: type[Exception], what: str
) -> None:
    workspace.settings.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(error) as caught:
        workspace.read_settings()
    assert what in str(caught.value)
    assert str(workspace.settings) in str(caught.value)


def test_settings_that_an_editor_marked_as_utf8_are_read(workspace: Workspace) -> None:
    workspace.settings.write_bytes(b"\xef\xbb\xbf[fetch]\nlimit = 5\n")
    assert workspace.read_settings() == {"fetch": {"limit": 5}}


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "-x", ".hidden", "a b", "x" * 101, "é", "a\n"]
)
def test_a_name_that_could_leave_its_folder_is_refused(workspace: Workspace, name: str) -> None:
    with pytest.raises(InputError, match="cannot be used"):
        checked_name(name, "run")
    for place in (workspace.run, workspace.split, workspace.report, workspace.study, workspace.annotations):
        with pytest.raises(InputError):
            place(name)


def test_a_second_holder_of_a_lock_is_refused_and_the_first_is_named(workspace: Workspace) -> None:
    with workspace.lock("fetch"):
        code = (
            "from pathlib import Path; from dancecli.storage.workspace import Workspace\n"
            f"with Workspace(Path({str(workspace.root)!r})).lock('fetch'): pass"
        )
        second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert f"another 'fetch' is at work in {workspace.root} (process {os.getpid()})" in second.stderr
    with workspace.lock("fetch"), workspace.lock("run-a"):
        pass


def test_who_only_looks_at_a_lock_is_in_nobodys_way(workspace: Workspace) -> None:
    with workspace.lock("run-a"):
        pass
    looked = filelock.FileLock(workspace.root / ".locks" / "run-a.lock", thread_local=False)
    looked.acquire()
    # As `read_record` does, which finds it free.
    release = threading.Timer(0.1, looked.release)
    release.start()
    with workspace.lock("run-a"):
        pass
    release.join()


def test_shards_of_one_number_write_clips_together_and_nothing_beside_them(workspace: Workspace) -> None:
    with clips_lock(workspace, "fetch", (1, 2)), clips_lock(workspace, "fetch", (2, 2)):
        for what, shard in (("fetch", None), ("fetch", (1, 4)), ("import", None), ("remove", None)):
            with pytest.raises(WorkspaceError) as caught, clips_lock(workspace, what, shard):
                pass
            assert "another command writes clips in" in caught.value.message
            assert f"a shard of 2 of 'fetch' (process {os.getpid()})" in caught.value.message
        with pytest.raises(WorkspaceError, match="another 'fetch-1of2' is at work"):
            clips_lock(workspace, "fetch", (1, 2)).__enter__()
    with clips_lock(workspace, "import"):
        for what, shard in (("fetch", None), ("fetch", (1, 2)), ("remove", None)):
            with (
                pytest.raises(WorkspaceError, match=r"'import' \(process"),
                clips_lock(workspace, what, shard),
            ):
                pass
    with clips_lock(workspace, "fetch", (3, 4)), clips_lock(workspace, "fetch", (4, 4)):
        pass


def test_the_last_of_the_shards_opens_the_workspace_for_others(workspace: Workspace) -> None:
    first, second = clips_lock(workspace, "fetch", (1, 2)), clips_lock(workspace, "fetch", (2, 2))
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    with pytest.raises(WorkspaceError), clips_lock(workspace, "import"):
        pass
    second.__exit__(None, None, None)
    with clips_lock(workspace, "import"):
        pass


def test_splits_and_runs_come_in_the_order_in_which_they_were_made(workspace: Workspace) -> None:
    for i, name in enumerate(["zeta", "alpha", "mid"]):
        for path in (workspace.split(name), workspace.run(name) / "run.json"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            os.utime(path, (1000 + i, 1000 + i))
    assert workspace.splits() == workspace.runs() == ["zeta", "alpha", "mid"]


def test_the_split_that_is_not_named_is_the_latest(workspace: Workspace) -> None:
    with pytest.raises(WorkspaceError, match="there is no split") as caught:
        workspace.find_split()
    assert caught.value.hint == "run dance split first"
    for age, name in enumerate(("late", "early")):
        workspace.split(name).parent.mkdir(parents=True, exist_ok=True)
        workspace.split(name).touch()
        os.utime(workspace.split(name), ns=(-age, -age))
    assert workspace.find_split() == "late"
    assert workspace.find_split("early") == "early"
    with pytest.raises(WorkspaceError, match="there is no split 'other'") as caught:
        workspace.find_split("other")
    assert caught.value.hint == "known splits: early, late"
