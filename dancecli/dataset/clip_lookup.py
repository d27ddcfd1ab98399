"""Find the clips that a user's list names: by clip id, source video, or file.

Lists of published datasets name files as the dataset is given out, such as
`ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi` (UCF-101) or `gBR_sBM_cAll_d04_mBR0_ch01` (AIST, all
cameras of a performance).
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

from dancecli.core.video_files import recording_id, recording_stem

# Columns of a list that name clips, in the order in which they are looked for.
KEY_COLUMNS = (
    "clip_id",
    "clip",
    "file",
    "file_name",
    "filename",
    "path",
    "video",
    "video_id",
    "youtube_id",
)
_ALL_CAMERAS = "_cAll_"
_CAMERA = re.compile(r"_c\d\d_")


class NamedClip(Protocol):
    """The names of a clip."""

    @property
    def clip_id(self) -> str:
        """Its id."""

    @property
    def video_id(self) -> str:
        """The id of its source video."""

    @property
    def original_path(self) -> str:
        """The file that it was imported from; empty for a download."""


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that holds a clip; of files of equal bytes each has one."""

    clip_id: str
    video_id: str
    original_path: str


class ClipLookup:
    """An index of clips by every name that a list may use.

    Args:
        clips: the clips; of one that several files hold, each file.
        roots: the folders that were imported. Of a file elsewhere, its own folder must be in a list's path.
    """

    def __init__(self, clips: Iterable[NamedClip], roots: Iterable[str] = ()) -> None:
        self._by_id: dict[str, tuple[str, ...]] = {}
        # By every end of a file's path, and by the ends that hold all of it below the imported folder.
        self._by_end: dict[str, set[str]] = defaultdict(set)
        self._by_place: dict[str, set[str]] = defaultdict(set)
        # Files right in an imported folder, and the names of all folders.
        self._by_bare_name: dict[str, set[str]] = defaultdict(set)
        self._folders: set[str] = set()
        self._by_video: dict[str, set[str]] = defaultdict(set)
        self._paths: dict[str, list[str]] = defaultdict(list)
        depths = {folder: len(path_parts(folder)) for folder in roots}
        for clip in clips:
            self._by_id[clip.clip_id] = (clip.clip_id,)
            self._by_video[clip.video_id].add(clip.clip_id)
            # Its own file is called so too, wherever it lies.
            for index in (self._by_end, self._by_place):
                index[clip.clip_id].add(clip.clip_id)
                index[clip.video_id].add(clip.clip_id)
            if clip.original_path:
                self._add_file(clip, depths)

    def _add_file(self, clip: NamedClip, depths: Mapping[str, int]) -> None:
        ends = _ends(clip.original_path)
        self._paths[clip.clip_id].append(clip.original_path)
        self._folders.update(path_parts(clip.original_path)[-2:-1])
        above = [d for root, d in depths.items() if clip.original_path.startswith(root.rstrip("/") + "/")]
        below = len(ends) - max(above) if above else 2
        for size, names in zip(range(len(ends), 0, -1), ends, strict=True):
            for name in {*names, *(_CAMERA.sub(_ALL_CAMERAS, name, count=1) for name in names)}:
                self._by_end[name].add(clip.clip_id)
                if size >= max(below, 2):
                    self._by_place[name].add(clip.clip_id)
                if size == below == 1:
                    self._by_bare_name[name].add(clip.clip_id)

    def find(self, text: str) -> tuple[str, ...]:
        """Return the ids of the clips that a text names, sorted; none if it names no clip here.

        A path names a file in the folder that it gives: it is the end of the file's path, or ends with the
        file's path below the folder that was imported, as in lists made on another machine. The suffix may
        be missing. The name of a recording names the clips that were cut from it, in any folder.
        """
        if text in self._by_id:
            return self._by_id[text]
        ends = _ends(text)
        found = _first(ends[:1], self._by_end) or _first(ends[1:], self._by_place)
        # Of a folder that is known here, the file is known to lie elsewhere.
        if not found and self._folders.isdisjoint(path_parts(text)[-2:-1]):
            found = _first(ends[-1:], self._by_bare_name)
        cut = self._cut_from(text)
        return tuple(sorted(found | cut if len(ends) == 1 else found or cut))

    def path_of_one(self, text: str) -> str:
        """Of a name that files in several folders have, return a path that names one; empty for any other.

        A name for all cameras (`_cAll_`) means several files, and equal files are one clip.
        """
        found, ends = self.find(text), _ends(text)
        if len(found) < 2 or _ALL_CAMERAS in text:
            return ""
        paths = [p for i in found for p in self._paths[i] if not {*ends[-1]}.isdisjoint(_ends(p)[-1])]
        if len({path_parts(path)[:-1] for path in paths}) < 2:
            return ""
        return next((end for end, _ in reversed(_ends(min(paths))) if len(self.find(end)) == 1), min(paths))

    def _cut_from(self, text: str) -> set[str]:
        """Return the ids of the clips that were cut from a recording, by its file's name or path."""
        name = "".join(path_parts(text)[-1:])
        return self._by_video.get(recording_id(recording_stem(name)), set())

    def find_anywhere(self, text: str) -> tuple[str, ...]:
        """Return the same where the folders of a path are a tool's own: the longest end that names a clip."""
        if text in self._by_id:
            return self._by_id[text]
        return tuple(sorted(_first(_ends(text), self._by_end)))


def _first(ends: Iterable[tuple[str, str]], index: Mapping[str, set[str]]) -> set[str]:
    return next((index[name] for names in ends for name in names if name in index), set())


def path_parts(path: str) -> tuple[str, ...]:
    """Return the parts of a path; a Mac's form of a name and that of others are one."""
    plain = path if path.isascii() else unicodedata.normalize("NFC", path)
    return PurePosixPath(plain.replace("\\", "/")).parts


def _ends(path: str) -> list[tuple[str, str]]:
    """Return the ends of a path, the longest first, each with and without the file's suffix."""
    parts = path_parts(path)
    ends = ["/".join(parts[i:]) for i in range(len(parts))]
    return [(end, end[: len(end) - len(PurePosixPath(end).suffix)]) for end in ends]
