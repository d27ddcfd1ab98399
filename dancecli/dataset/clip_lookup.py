"""Find the clips that a user's list names: by clip id, source video, or file.

Lists of published datasets name files as the dataset is given out, such as
`ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi` (UCF-101) or `gBR_sBM_cAll_d04_mBR0_ch01` (AIST, all
cameras of a performance).
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

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
    """An index of clips by every name that a list may use."""

    def __init__(self, clips: Iterable[NamedClip]) -> None:
        self._by_id: dict[str, tuple[str, ...]] = {}
        self._by_name: dict[str, set[str]] = defaultdict(set)
        for clip in clips:
            self._by_id[clip.clip_id] = (clip.clip_id,)
            # Its own file is called so too, wherever it lies.
            self._by_name[clip.clip_id].add(clip.clip_id)
            self._by_name[clip.video_id].add(clip.clip_id)
            if clip.original_path:
                for name in _names(clip.original_path):
                    self._by_name[name].add(clip.clip_id)
                    self._by_name[_CAMERA.sub(_ALL_CAMERAS, name, count=1)].add(clip.clip_id)

    def find(self, text: str) -> tuple[str, ...]:
        """Return the ids of the clips that a text names, sorted; none if it names no clip here.

        Of a path, the longest end that names a clip decides, with or without its suffix.
        """
        if text in self._by_id:
            return self._by_id[text]
        found: Iterable[str] = next((self._by_name[n] for n in _names(text) if n in self._by_name), ())
        return tuple(sorted(found))


def _names(path: str) -> list[str]:
    """Return the ends of a path, the longest first, each with and without the file's suffix.

    A Mac's form of a name and that of others are one.
    """
    plain = path if path.isascii() else unicodedata.normalize("NFC", path)
    parts = PurePosixPath(plain.replace("\\", "/")).parts
    ends = ["/".join(parts[i:]) for i in range(len(parts))]
    stems = [end[: len(end) - len(PurePosixPath(end).suffix)] for end in ends]
    return list(dict.fromkeys(name for pair in zip(ends, stems, strict=True) for name in pair if name))
