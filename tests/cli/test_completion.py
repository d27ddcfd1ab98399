"""Shell completion."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.builders import Ran

from dancecli.cli import loader, registry
from dancecli.storage.workspace import Workspace

Dance = Callable[..., Ran]
# Lets a shell be named; otherwise it is the shell that runs the tests.
NAMED = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}


def completions(dance: Dance, line: str) -> set[str]:
    """Return bash's completions for a line whose last word is being typed."""
    words = line.split(" ")
    ran = dance(_DANCE_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(len(words) - 1))
    assert ran.err == ""
    return set(ran.out.split())


def test_commands_and_flags_are_completed(dance: Dance) -> None:
    assert completions(dance, "dance ") == set(registry.COMMANDS)
    assert completions(dance, "dance fi") == {"finetune"}
    known = {flag for p in loader.load("split").params for flag in (*p.opts, *p.secondary_opts)}
    assert completions(dance, "dance split --") == {"--help"} | {f for f in known if f.startswith("--")}


def test_a_wrong_setting_prints_nothing_during_completion(workspace: Workspace, dance: Dance) -> None:
    workspace.settings.write_text("[split]\nsed = 3\n")
    assert completions(dance, "dance split --se") == {"--seed"}


ZSH = {"_TYPER_COMPLETE_ARGS": "dance fi"}
FISH = {**ZSH, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}


@pytest.mark.parametrize(
    ("shell", "variables", "line"),
    [("zsh", ZSH, '"finetune":"Fine-tune a pre'), ("fish", FISH, "finetune\tFine-tune a pre")],
)
def test_other_shells_get_their_own_format(
    dance: Dance, shell: str, variables: dict[str, str], line: str
) -> None:
    assert line in dance(_DANCE_COMPLETE=f"complete_{shell}", **variables).out
    assert f"_DANCE_COMPLETE=complete_{shell}" in dance("--show-completion", shell, **NAMED).out


def test_bash_itself_completes_with_the_script(dance: Dance, tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if not bash:
        pytest.skip("no bash here")
    # The program on the user's path; the script calls it by name.
    (tmp_path / "dance").write_text(f'#!/bin/sh\nexec {sys.executable} -m dancecli "$@"\n')
    (tmp_path / "dance").chmod(0o755)
    script = dance("--show-completion", "bash", **NAMED).out
    typed = 'COMP_WORDS=(dance ver); COMP_CWORD=1; _dance_completion dance; echo "${COMPREPLY[@]}"'
    done = subprocess.run(
        [bash, "--norc", "-c", f'PATH="{tmp_path}:$PATH"\n{script}\n{typed}'],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "verify\n", done.stderr
