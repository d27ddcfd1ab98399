"""The contract of the command line: exit codes, streams, settings."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.builders import Ran, fill, make_clip

from dancecli.cli import loader, registry
from dancecli.cli.loader import default_settings
from dancecli.storage.workspace import Workspace

Dance = Callable[..., Ran]
LABELS = ("tap dancing", "zumba")


@pytest.fixture
def filled(workspace: Workspace) -> Workspace:
    fill(workspace, [make_clip(i, LABELS[i % 2]) for i in range(100)], LABELS)
    return workspace


@pytest.mark.parametrize("name", registry.COMMANDS)
def test_the_overview_shows_each_command_s_summary(name: str) -> None:
    command = loader.load(name)
    assert (command.help or "").splitlines()[0] == registry.COMMANDS[name].summary
    assert "Example: `dance " in (command.help or "")
    undocumented = [p.name for p in command.params if not getattr(p, "help", None)]
    assert not undocumented


def test_results_go_to_stdout_and_messages_to_stderr(filled: Workspace, dance: Dance) -> None:
    ran = dance("split", "--json")
    assert ran.code == 0
    assert ran.json["counts"] == {"train": 90, "val": 5, "test": 5}
    again = dance("split", "--json")
    assert "nothing changed" in again.err
    assert again.json == {**ran.json, "changed": False}


def test_the_human_readable_table(filled: Workspace, dance: Dance) -> None:
    ran = dance("split", "--seed", "4")
    assert ran.code == 0
    assert "split full-seed4 (90/5/5, seed 4)" in ran.out
    assert "groups in more than one" in ran.out


def test_an_error_is_one_line_with_a_hint_and_exit_code_1(workspace: Workspace, dance: Dance) -> None:
    ran = dance("split")
    assert ran.code == 1
    assert ran.out == ""
    assert (
        ran.err
        == f"error: {workspace.root}: there are no clips yet\n  hint: run dance fetch or dance import\n"
    )


@pytest.mark.parametrize(
    ("args", "what"),
    [
        (("splt",), "No such command 'splt'. Did you mean 'split'?"),
        (("version",), "No such command 'version'. Did you mean 'dance --version'?"),
        (("help", "split"), "No such command 'help'. Did you mean 'dance --help'?"),
        (("finetune", "--set", "epochs"), "--set epochs: is not KEY=VALUE"),
        (("finetune", "--freeze", "5"), "freeze"),
        (("report", "demo-1"), "Got unexpected extra argument(s) (demo-1). Did you mean --run demo-1?"),
        (("stats", "demo"), "Got unexpected extra argument(s) (demo)."),
        (("split", "--sed", "1"), "No such option"),
        (("split", "--seed", "x"), "Invalid value for '--seed'"),
        (("split", "--ratios", "50/60"), "ratios '50/60' must be"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    filled: Workspace, dance: Dance, args: tuple[str, ...], what: str
) -> None:
    ran = dance(*args)
    assert ran.code == 2
    assert what in re.sub(r"\s+", " ", ran.err.replace("│", ""))


def test_something_missing_is_exit_code_3(filled: Workspace, dance: Dance) -> None:
    assert dance("split").code == 0
    next((filled.root / "clips").rglob("*.mp4")).unlink()
    ran = dance("annotate", "--json")
    assert ran.code == 3
    assert len(ran.json["missing"]) == 1


def test_settings_are_defaults_and_options_override_them(filled: Workspace, dance: Dance) -> None:
    filled.settings.write_text('[split]\nseed = 7\nratios = "80/20"\n')
    assert dance("split", "--json").json["split"] == "full-80-20-seed7"
    assert dance("split", "--json", "--seed", "2").json["split"] == "full-80-20-seed2"


def test_a_path_in_the_settings_starts_at_their_folder(filled: Workspace, dance: Dance) -> None:
    (filled.root / "sets").mkdir()
    (filled.root / "sets" / "labels.txt").write_text("\n".join(LABELS))
    (filled.root / "list.csv").write_text("label,youtube_id,time_start,time_end\nzumba,abc,0,1\n")
    filled.settings.write_text('[fetch]\nannotations = ["list.csv"]\nlabels = "sets/labels.txt"\n')
    ran = subprocess.run(
        [sys.executable, "-m", "dancecli", "fetch", "--dry-run", "--json"],
        cwd=filled.root / "clips",
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["labels"] == {"zumba": {"asked": 1, "pending": 1}}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[split]\nsed = 3\n", "unknown key in [split] 'sed'\n  hint: did you mean 'seed'?"),
        ("[splits]\n", "unknown table 'splits'\n  hint: did you mean 'split'?"),
        ('[split]\nseed = "x"\n', "[split] seed = 'x': Input should be a valid integer"),
        ("[split]\nratios = [1]\n", "[split] ratios = [1]: "),
        ("split = 3\n", "'split' must be a table: [split]"),
        ("version = 9\n", "from a newer dance (version 9"),
    ],
)
def test_a_wrong_setting_is_named_with_its_file(
    filled: Workspace, dance: Dance, text: str, what: str
) -> None:
    filled.settings.write_text(text)
    ran = dance("split")
    assert ran.code == 1
    assert f"error: {filled.settings}: " in ran.err
    assert what in ran.err


def test_the_settings_of_a_new_workspace_name_every_flag_and_are_valid(
    filled: Workspace, dance: Dance
) -> None:
    text = default_settings()
    for name in registry.COMMANDS:
        for option in loader.load(name).settings():
            assert f"# {option.opts[0].removeprefix('--')} =" in text
    filled.settings.write_text(text)
    assert dance("split").code == 0
    # Uncommented, the values are the built-in defaults, where there is one.
    given = re.sub(r"^# (?=\S+ = (?!\[\]$))", "", text, flags=re.MULTILINE)
    filled.settings.write_text(given)
    ran = dance("split", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["changed"] is False


def test_an_error_of_the_file_system_is_one_line(filled: Workspace, dance: Dance, tmp_path: Path) -> None:
    (filled.root / "manifests" / "splits").write_text("in the way")
    ran = dance("split")
    assert ran.code == 1
    assert ran.err.startswith("error: ")
    assert "exists" in ran.err or "Not a directory" in ran.err


def test_the_workspace_is_found_from_a_folder_below(filled: Workspace, dance: Dance) -> None:
    filled.settings.write_text("version = 1\n")
    ran = dance("split", "--json", "--workspace", str(filled.root / "clips" / ".."))
    assert ran.code == 0


def test_new_files_follow_the_umask(filled: Workspace, dance: Dance) -> None:
    old = os.umask(0o027)
    try:
        dance("split")
    finally:
        os.umask(old)
    assert stat.S_IMODE(filled.split("full").stat().st_mode) == 0o640


@pytest.mark.parametrize("args", [(), ("split",)])
def test_help_has_a_short_option(dance: Dance, args: tuple[str, ...]) -> None:
    assert dance(*args, "-h").out == dance(*args, "--help").out != ""


def test_a_workspace_that_does_not_exist_has_no_status(dance: Dance) -> None:
    ran = dance("status", "--workspace", "/nosuch")
    assert (ran.code, ran.err.splitlines()[0]) == (1, "error: /nosuch: folder not found")


def test_the_version_is_printed(dance: Dance) -> None:
    assert re.fullmatch(r"dance \d+\.\d+\.\d+\n", dance("--version").out)


# Signals every process of its group, as a scheduler does at its time limit, while a child is there
# whose end raises an error, as torch has it. Its signal comes second, during the clean-up.
_SIGNALED = """
import os, signal, subprocess, sys
from dancecli.cli.app import _handle_sigterm
def ended(*_):
    raise RuntimeError("a worker is gone")
_handle_sigterm()
signal.signal(signal.SIGCHLD, ended)
child = subprocess.Popen(["sleep", "60"])
both = {signal.SIGTERM, signal.SIGCHLD}
signal.pthread_sigmask(signal.SIG_BLOCK, both)
os.killpg(0, signal.SIGTERM)
os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
try:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
except KeyboardInterrupt:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    sys.exit(130)
"""


def test_workers_that_are_signaled_too_do_not_turn_an_interruption_into_an_error() -> None:
    process = subprocess.run(
        [sys.executable, "-c", _SIGNALED], start_new_session=True, capture_output=True, text=True, check=False
    )
    assert (process.returncode, process.stderr) == (130, "")


def test_a_file_whose_name_begins_with_a_dash_is_explained(workspace: Workspace, dance: Dance) -> None:
    (workspace.root / "-short.mp4").touch()
    ran = dance("predict", "-short.mp4")
    assert ran.code == 2
    assert "hint: write the file as ./-short.mp4" in ran.err
