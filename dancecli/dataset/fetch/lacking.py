"""What a folder lacks that is the only source of a fetch, and which of its names come nearest."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from dancecli.core.text import shown
from dancecli.sources.local import scan

# Names are compared for so many recordings: each is held against all names of the folder.
SHOWN = 20
_NEAREST = 3


@dataclass(frozen=True)
class Lacking:
    """A recording, or a video of a site, that is not in the folder.

    Attributes:
        recording: what was looked for: the recording's name in its timeline, else the video's id.
        nearest: up to three names of videos in the folder; none beyond the first 20 recordings.
    """

    recording: str
    nearest: tuple[str, ...]


def lacking_recordings(
    folder: Path, video_ids: Iterable[str], recordings: Mapping[str, str]
) -> tuple[Lacking, ...]:
    """Say which names of a folder come nearest to those that it lacks.

    Args:
        folder: that was searched.
        video_ids: of what it lacks.
        recordings: names of recordings by their video id, as timelines give them.

    Raises:
        InputError: there is no such folder.
    """
    lacking = sorted({recordings.get(video_id, video_id) for video_id in video_ids})
    if not lacking:
        return ()
    there: dict[str, str] = {}
    for video in scan(folder):
        there.setdefault(_plain(shown(video.path.stem)), shown(video.path.name))
    return tuple(
        Lacking(name, tuple(there[near] for near in get_close_matches(_plain(name), there, _NEAREST)))
        if number < SHOWN
        else Lacking(name, ())
        for number, name in enumerate(lacking)
    )


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
