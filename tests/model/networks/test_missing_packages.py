"""A package that is missing is one line with what to install, on every command that trains or predicts."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

BLOCK = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {packages}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from dancecli.cli.app import main
main()
"""
COMMANDS = {
    ("finetune", "--weights", "none", "--json"): 1,
    ("train", "--stream", "rgb", "--init", "none"): 1,
    ("tune", "--weights", "none", "--trials", "1"): 1,
    # A plan needs no network.
    ("finetune", "--dry-run"): 0,
}


def test_a_package_of_an_extra_is_named_with_that_extra(corpus):
    done = subprocess.run(
        [sys.executable, "-c", BLOCK.format(packages=("starlette",)), "app", "--no-browser"],
        cwd=corpus().root, capture_output=True, text=True, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-2:] == [
        "error: the package starlette is not installed",
        "  hint: install what it belongs to: pip install 'dancecli[app]'",
    ]


@pytest.mark.parametrize("package", ["torch", "mmaction", "mmcv"])
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_missing_package_is_one_line(corpus, package: str, words: tuple[str, ...]):
    root = corpus().root
    done = subprocess.run(
        [sys.executable, "-c", BLOCK.format(packages=(package,)), *words],
        cwd=root, capture_output=True, text=True, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert done.returncode == COMMANDS[words], done.stderr
    if done.returncode:
        (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert "not installed" in error or "cannot be imported" in error
        assert "pip install 'dancecli[train]'" in done.stderr
    if "--json" in words:
        assert "pip install" in json.loads(done.stdout)["hint"]
