"""Which of the named files are videos, and how a result names them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dancecli.core.text import shown
from dancecli.core.video_files import is_video_name

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def find_videos(paths: Sequence[Path]) -> tuple[tuple[tuple[str, Path], ...], int]:
    """List the videos with their names in the result; folders are searched recursively.

    A folder that holds several images and no video is a video itself: its frames, in the order of the
    numbers in their names.

    Returns:
        The videos, and how many other files the folders hold.
    """
    found: list[tuple[str, Path]] = []
    left_out = 0
    for given in paths:
        if not given.is_dir():
            found.append((shown(given.name if len(paths) == 1 else given), given))
            continue
        inside: list[Path] = []
        for folder in sorted([given, *(p for p in given.rglob("*") if p.is_dir())]):
            # A link to nothing, too: what is named as a video has a row.
            files = sorted(p for p in folder.iterdir() if not p.is_dir() and not p.name.startswith("."))
            videos = [p for p in files if is_video_name(p.name)]
            images = frames_of(folder)
            if not videos and len(images) > 1:
                videos = [folder]
                left_out += len(files) - len(images)
            else:
                left_out += len(files) - len(videos)
            inside += videos
        found += [(_name(path, given), path) for path in sorted(inside)]
    return tuple(found), left_out


def _name(path: Path, given: Path) -> str:
    return shown(path.name if path == given else path.relative_to(given))


def frames_of(folder: Path) -> list[Path]:
    """List the images of a folder, frame 2 before frame 10."""
    files = (p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    return sorted((p for p in files if p.suffix.lower() in IMAGE_SUFFIXES), key=lambda p: _natural(p.name))


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
