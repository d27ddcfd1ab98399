"""What is printed on stdout and stderr, whatever happens and wherever they lead."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.builders import Ran, fill, make_clip
from rich.console import Console

from dancecli.cli import app, console
from dancecli.core.progress import Progress
from dancecli.dataset.split.split import SplitSettings, split
from dancecli.storage.workspace import Workspace

Dance = Callable[..., Ran]
LABELS = ("tap dancing", "wälzer/舞蹈")


@pytest.fixture
def filled(workspace: Workspace) -> Workspace:
    fill(workspace, [make_clip(i, LABELS[i % 2]) for i in range(20)], LABELS)
    return workspace


@pytest.mark.parametrize(
    ("args", "code", "text", "hint"),
    [
        (("split", "--json"), 1, "there are no clips yet", "run dance fetch"),
        (("split", "--json", "--seed", "x"), 2, "Invalid value for '--seed'", ""),
        (("fetch", "--json", "--url-template", "http://x/"), 2, "must contain {video_id} once", "braces"),
    ],
)
def test_an_error_is_a_json_document_too(
    dance: Dance, args: tuple[str, ...], code: int, text: str, hint: str
) -> None:
    ran = dance(*args)
    assert ran.code == code
    assert text in ran.json["error"]
    assert hint in ran.json["hint"]
    assert text in ran.err


def test_an_interrupted_command_leaves_one_document(workspace: Workspace) -> None:
    pipe = workspace.root / "list.csv"
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "dancecli", "fetch", "--json", "--dry-run", "--annotations", str(pipe)]
    running = subprocess.Popen(
        command, cwd=workspace.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    # The command waits for the list, whose pipe opens and never delivers.
    with pipe.open("w"):
        time.sleep(0.2)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert json.loads(out)["error"] == "interrupted; finished work is kept"
    assert err.splitlines()[-1] == "interrupted; finished work is kept"


def test_characters_outside_the_encoding_are_escaped(filled: Workspace, dance: Dance) -> None:
    ran = dance("history", PYTHONIOENCODING="ascii")
    assert ran.code == 0, ran.err
    assert ran.err.splitlines()[1:] == [], "no warning about missing glyphs"
    ran = dance("stats", "--dry-run", "--json", PYTHONIOENCODING="ascii")
    assert [row["label"] for row in ran.json["labels"]] == list(LABELS)


def test_a_folder_whose_name_is_not_utf8_is_shown(workspace: Workspace, dance: Dance) -> None:
    folder = os.fsdecode(os.fsencode(workspace.root) + b"/w\xe4")
    Path(folder).mkdir()
    ran = dance("status", "--workspace", folder, PYTHONIOENCODING="utf-8")
    assert ran.code == 0
    assert "contains no dataset yet" in ran.out
    assert dance("status", "--json", "--workspace", folder).json["workspace"] == folder


def test_a_line_of_progress_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress("export") as on_progress:
        for done in (0, 2, 2, 2):
            on_progress(Progress(done, 2))
    assert capsys.readouterr().err.splitlines() == ["export: 0/2", "export: 2/2"]


def test_lines_of_progress_say_what_time_is_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: clock[0])
    with console.progress("fetch") as on_progress:
        # The first hundred were there already; after five minutes the pace is another.
        for clock[0], done in ((0, 100), (20, 120), (25, 125), (300, 400), (620, 560), (700, 1000)):
            on_progress(Progress(done, 1000, "3 missing"))
    assert capsys.readouterr().err.splitlines() == [
        "fetch: 100/1000  3 missing",
        "fetch: 120/1000  3 missing · 15 min left",
        "fetch: 400/1000  3 missing · 10 min left",
        "fetch: 560/1000  3 missing · 15 min left",
        "fetch: 1000/1000  3 missing",
    ]


@pytest.mark.parametrize("columns", [120, 80, 60])
def test_the_progress_bar_keeps_bar_count_and_time(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Console(file=io.StringIO(), force_terminal=True, width=columns)
    monkeypatch.setattr(console, "_stderr", lambda: shown)
    with console.progress("train") as on_progress:
        on_progress(Progress(198, 400, "epoch 198/400 · loss 0.123 · val 100 % (6/6) · 0.3 clips/s"))
    assert isinstance(shown.file, io.StringIO)
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.file.getvalue()).splitlines()
    last = [line for line in lines if line.startswith("train")][-1]
    assert len(last) <= columns
    assert "━" * 5 in last
    assert "198/400 0:00:00 left " in last
    assert "epoch 198" in last


def test_nothing_is_colored_where_there_is_no_terminal(filled: Workspace, dance: Dance) -> None:
    ran = dance("stats", "--dry-run", COLUMNS="40")
    assert "\x1b" not in ran.out + ran.err
    table = [line for line in ran.out.splitlines() if not line.startswith(("outcomes", "sources", "reasons"))]
    assert max(map(len, table)) <= 40


def test_the_help_shows_a_metavar_only_for_options_with_a_value(dance: Dance) -> None:
    helped = dance("fetch", "--help").out
    assert "<bool>" not in helped
    assert "--annotations" in helped
    assert "FILE" in helped


def test_a_workspace_below_a_file_is_an_error(workspace: Workspace, dance: Dance, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ran = dance("status", "--workspace", str(tmp_path / "file" / "below"))
    assert ran.code == 1
    assert "Not a directory" in ran.err


def test_a_dry_run_writes_nothing(filled: Workspace, dance: Dance) -> None:
    split(filled, SplitSettings())
    before = {path: path.stat().st_mtime_ns for path in [filled.root, *filled.root.rglob("*")]}
    for command in ("stats", "history", "annotate"):
        assert dance(command, "--dry-run").code == 0
    assert {path: path.stat().st_mtime_ns for path in [filled.root, *filled.root.rglob("*")]} == before


@pytest.mark.parametrize(
    "code", [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EXDEV, errno.EFBIG]
)
def test_an_os_error_comes_with_a_hint(code: int, capsys: pytest.CaptureFixture[str]) -> None:
    error = OSError(code, os.strerror(code), "clips/a.mp4")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as caught:
        patch.setattr(app, "app", lambda *_, **__: (_ for _ in ()).throw(error))
        app.main()
    assert caught.value.code == 1
    printed = capsys.readouterr().err.splitlines()
    assert printed[0] == f"error: clips/a.mp4: {os.strerror(code)}"
    assert printed[1].startswith("  hint: ")
