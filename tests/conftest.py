"""What all rooms' tests share: a workspace, and `dance` as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.builders import Ran
from hypothesis import settings

from dancecli.storage.workspace import Workspace

# What the tests compute is so small that a second thread costs more than it gives; workers inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine makes an example slow; how long it may take is pytest-timeout's business.
settings.register_profile("dance", deadline=None)
settings.load_profile("dance")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace folder."""
    root = tmp_path / "space"
    root.mkdir()
    return Workspace(root)


@pytest.fixture
def dance(workspace: Workspace) -> Callable[..., Ran]:
    """Run `dance ARGS` in the workspace's folder, in a process of its own."""

    def run(*args: str, timeout_s: float = 300, **env: str) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "dancecli", *args],
            check=False,
            cwd=workspace.root,
            env={**os.environ, "COLUMNS": "100", **env},
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    return run
