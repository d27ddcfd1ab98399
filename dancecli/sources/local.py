"""Videos that are already on disk: their names in every form in which Kinetics is distributed.

Crawlers and mirrors name a clip by its video and its times, in seconds padded to six digits
(`<id>_000010_000020.mp4`) or not (`<id>_10_20.mp4`), this tool in milliseconds
(`<id>_10000_20000.mp4`), in folders named by label (`tap dancing`, `tap_dancing`), with or without
a folder of the official split above them (`train`, `val_256`, `videos_test`), or in one flat folder.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dancecli.core.errors import InputError
from dancecli.core.video_files import VIDEO_SUFFIXES, is_video_name, recording_id
from dancecli.sources.list_format import read_subset

_CLIP_NAME = re.compile(r"(?P<video_id>[A-Za-z0-9_-]{1,64})_(?P<start>\d{1,9})_(?P<end>\d{1,9})")
_ACTIVITYNET_NAME = re.compile(r"v_([A-Za-z0-9_-]{11})")
SPLIT_FOLDER = re.compile(
    r"(?:videos_)?(train|training|val|valid|validate|validation|test|testing)(?:_\d+)?", re.IGNORECASE
)
# Unpadded times this far apart are milliseconds: no clip is ten minutes long.
_LONGEST_CLIP_S = 600
# 64 bits in eleven characters of six: the last one takes one of sixteen values.
EXACT_YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{10}[AEIMQUYcgkosw048]")


@dataclass(frozen=True, slots=True, order=True)
class FoundVideo:
    """A video file below a folder.

    Attributes:
        path: where it lies.
        folder: name of the folder it lies in, which may name its label; empty if that folder
            names an official split.
        official_split: `train`, `val` or `test` if a folder above says so; else empty.
    """

    path: Path
    folder: str
    official_split: str


def parse_clip_name(name: str) -> tuple[str, int, int] | None:
    """Read a clip's file name, with or without its suffix.

    Times are milliseconds if they are 600 or more apart and have no leading zero, else seconds.

    Args:
        name: such as `-a_B3456789_000010_000020.mp4`.

    Returns:
        Video id, start and end in milliseconds; None if the name is in no known form.
    """
    stem, dot, suffix = name.rpartition(".")
    match = _CLIP_NAME.fullmatch(stem if f"{dot}{suffix}".lower() in VIDEO_SUFFIXES else name)
    if match is None:
        return None
    start, end = int(match["start"]), int(match["end"])
    if start >= end:
        return None
    padded = any(len(text) > 1 and text.startswith("0") for text in (match["start"], match["end"]))
    unit_ms = 1000 if padded or end - start < _LONGEST_CLIP_S else 1
    return match["video_id"], start * unit_ms, end * unit_ms


def scan(root: Path) -> Iterator[FoundVideo]:
    """Give the video files below a folder, in order; see `walk`.

    Raises:
        InputError: there is no such folder.
    """
    for parent, files in walk(root):
        split = subset_of(root, parent)
        folder = "" if SPLIT_FOLDER.fullmatch(parent.name) else parent.absolute().name
        for name in files:
            if is_video_name(name):
                yield FoundVideo(parent / name, folder, split)


def walk(
    root: Path,
    on_error: Callable[[OSError], None] | None = None,
    leave_out: Callable[[Path], bool] | None = None,
    on_repeat: Callable[[Path, Path], None] | None = None,
) -> Iterator[tuple[Path, list[str]]]:
    """Give each folder below one, itself included, with the names of its files, in order.

    Links are followed after all real folders, since a folder that is reached twice is read once, and its
    name may be a label; hidden ones are left out.

    Args:
        root: the folder.
        on_error: called with what a folder that cannot be read raises; it is left out.
        leave_out: called with each folder below the root; True if it is not to be read.
        on_repeat: called with a folder that is left out since it was read, and where that was.

    Raises:
        InputError: there is no such folder.
    """
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "there is no such folder"
        raise InputError.at(root, None, what)
    seen: dict[tuple[int, int], Path] = {}
    waiting = deque([root])
    while waiting:
        for place, folders, files in os.walk(waiting.popleft(), onerror=on_error):
            folder, here = Path(place), os.stat(place)  # noqa: PTH116 - one call for a folder of 100,000 files
            before = seen.setdefault((here.st_dev, here.st_ino), folder)
            if before is not folder:
                folders.clear()
                if on_repeat is not None:
                    on_repeat(folder, before)
                continue
            folders[:] = sorted(
                name
                for name in folders
                if not (name.startswith(".") or (leave_out is not None and leave_out(folder / name)))
            )
            # `os.walk` itself goes into none of them.
            waiting += (folder / name for name in folders if (folder / name).is_symlink())
            yield folder, sorted(name for name in files if not name.startswith("."))


def subset_of(root: Path, folder: Path) -> str:
    """Give the subset that a folder, or the lowest one above it up to the root, is named after."""
    names = (root.absolute().name, *folder.relative_to(root).parts)
    words = [match[1] for match in map(SPLIT_FOLDER.fullmatch, names) if match]
    if not words:
        return ""
    return read_subset(words[-1]) or ""


@dataclass
class FolderIndex:
    """An index of a folder, by clip and by video.

    Attributes:
        clips: files that are named as clips, by (video id, start_ms, end_ms).
        videos: whole sources, by the id that their name is or gives. A file that is named as a clip is one
            too, unless its name begins with an id of YouTube: many recordings are named by date and time.
        namesakes: by video id, files of whole videos that are named like the one in `videos`.
    """

    clips: dict[tuple[str, int, int], FoundVideo] = field(default_factory=dict)
    videos: dict[str, FoundVideo] = field(default_factory=dict)
    namesakes: dict[str, list[FoundVideo]] = field(default_factory=dict)

    @classmethod
    def read(cls, root: Path) -> FolderIndex:
        """Look through a folder once.

        Raises:
            InputError: there is no such folder.
        """
        index = cls()
        for found in scan(root):
            name = parse_clip_name(found.path.name)
            if name is not None:
                index.clips.setdefault(name, found)
            if name is None or not EXACT_YOUTUBE_ID.fullmatch(name[0]):
                # ActivityNet's videos are named `v_<id>`.
                activitynet = _ACTIVITYNET_NAME.fullmatch(found.path.stem)
                video_id = activitynet[1] if activitynet else recording_id(found.path.stem)
                kept = index.videos.setdefault(video_id, found)
                if kept is not found:
                    index.namesakes.setdefault(video_id, []).append(found)
        return index

    def clip(self, video_id: str, start_ms: int, end_ms: int) -> Path | None:
        """Give the file that holds exactly this stretch of a video, if there is one."""
        found = self.clips.get((video_id, start_ms, end_ms))
        return found.path if found else None

    def video(self, video_id: str) -> Path | None:
        """Give the file of a whole source video, if there is one.

        An id of YouTube means one video wherever its files lie. Of recordings with one name nobody can
        tell which is meant, unless they are of one size, as copies are.

        Raises:
            InputError: several recordings have this name.
        """
        found = self.videos.get(video_id)
        if found is None:
            return None
        # A link to what is not here, as of a git-annex folder, is of no size; it is given if all are.
        paths = [one.path for one in (found, *self.namesakes.get(video_id, ()))]
        here = [path for path in paths if path.exists()]
        path = here[0] if here else found.path
        differing = [other for other in here[1:] if other.stat().st_size != path.stat().st_size]
        if differing and not EXACT_YOUTUBE_ID.fullmatch(video_id):
            named = ", ".join(map(str, (path, *differing)[:3]))
            raise InputError(
                f"several recordings have the name {path.stem!r}: {named}",
                "give each a name of its own, and link it again in ELAN",
            )
        return path
