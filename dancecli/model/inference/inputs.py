"""Which files of what a user named are videos, and what their results are called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dancecli.core.hashing import sha256_text
from dancecli.core.video_files import is_video_name


def find_videos(paths: Sequence[Path]) -> tuple[tuple[tuple[str, Path], ...], int]:
    """List the videos with their names in the result, folders searched through.

    Returns:
        The videos; and how many files of the folders have another ending.
    """
    found: list[tuple[str, Path]] = []
    left_out = 0
    for given in paths:
        if not given.is_dir():
            found.append((given.name if len(paths) == 1 else str(given), given))
            continue
        files = sorted(p for p in given.rglob("*") if p.is_file() and not p.name.startswith("."))
        videos = [p for p in files if is_video_name(p.name)]
        found += [(str(p.relative_to(given)), p) for p in videos]
        left_out += len(files) - len(videos)
    return tuple(found), left_out


def slug(name: str) -> str:
    """Make a name that may stand in a path, of any."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:60]
    return plain or sha256_text(name)[:8]
