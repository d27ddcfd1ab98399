"""A workspace that takes long to make, made once and copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from dancecli.storage.workspace import Workspace


def furnish(workspace: Workspace, kept: Path, make: Callable[[Workspace], object]) -> Workspace:
    """Let the first test make what is missing in a workspace, and copy that for the others.

    Args:
        workspace: as it is without.
        kept: a folder of its own, empty at first.
        make: adds what is missing.
    """
    if not any(kept.iterdir()):
        make(workspace)
        shutil.copytree(workspace.root, kept / "workspace")
    shutil.copytree(kept / "workspace", workspace.root, dirs_exist_ok=True)
    return workspace
