"""Video files: which are taken for videos, how they are opened, and where those of a workspace lie.

A clip's file is `clips/4f/CLIP.mp4`: the folder is a hash of the clip's id. Of 650,000 clips each of
the 256 folders has about 2,500. What comes from a clip (augmented clips, optical flow, poses,
trajectories) lies in folders of the same names.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dancecli.core.hashing import sha256_text
from dancecli.core.records import VIDEO_ID
from dancecli.core.text import in_ascii, slug, unique_slugs

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from numpy.typing import NDArray

    Value = TypeVar("Value", bound=Any)

_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9_]+")
# From this release on PyAV decodes tags leniently by itself, and no longer takes the option for it.
_LENIENT_PYAV = 19

# Up to here a container's guess of a frame rate is believed; beyond, it may be a time base.
EVERYDAY_FPS = 60

# What ffmpeg has a demuxer for and cameras, sites and archives write, elementary streams included.
VIDEO_SUFFIXES = frozenset(
    {
        *(".3g2", ".3gp", ".amv", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gif", ".h264", ".h265"),
        *(".hevc", ".ivf", ".m1v", ".m2p", ".m2t", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv"),
        *(".mod", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogm", ".ogv", ".qt"),
        *(".rm", ".rmvb", ".tod", ".tp", ".trp", ".ts", ".vob", ".webm", ".wmv", ".wtv", ".y4m"),
    }
)


def is_video_name(name: str) -> bool:
    """Tell whether a file's name ends as a video's does, whatever its case."""
    _, dot, suffix = name.rpartition(".")
    return bool(dot) and f".{suffix.lower()}" in VIDEO_SUFFIXES


def recording_stem(name: str) -> str:
    """Return a recording's name without the suffix of a video; other names stay as they are."""
    return name.rpartition(".")[0] if is_video_name(name) else name


def recording_id(stem: str) -> str:
    """Return the video id of a recording that is named as people name them, such as `Gala 1994, 2`.

    A name that is an id already stays as it is; else the name's hash keeps apart those that differ in
    nothing but the characters that an id cannot have. A Mac's form of a name and that of others are one.

    Args:
        stem: the file's name without its suffix.
    """
    stem = unicodedata.normalize("NFC", stem)
    if VIDEO_ID.fullmatch(stem):
        return stem
    return f"{readable_part(stem)}-{sha256_text(stem)[:8]}"


def readable_part(stem: str) -> str:
    """Write a file's name without its suffix in the characters of ids: `Straße 2` becomes `Strasse-2`."""
    return _NOT_IN_IDS.sub("-", in_ascii(stem)).strip("-")[:40] or "video"


def timeline_name(file: str, sha256: str) -> str:
    """Return what the edits of a recording's timeline are named by.

    Args:
        file: the recording, as `dance predict` names it.
        sha256: checksum of the file.
    """
    return f"{slug(Path(file).name)}-{sha256[:8]}"


def result_stems(videos: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return how the names of the files begin that hold the timelines of a prediction's videos.

    Args:
        videos: the rows of a `prediction.json`; those of an earlier version do not say it.
    """
    slugs = unique_slugs([video["file"] for video in videos])
    return [video.get("stem") or found for video, found in zip(videos, slugs, strict=True)]


def open_video(path: Path | str, **options: str) -> InputContainer:
    """Open a file with PyAV; tags that are not UTF-8 do not matter.

    Args:
        path: of the file.
        options: of the demuxer.

    Raises:
        av.FFmpegError: it cannot be read.
    """
    import av

    major = int(av.__version__.partition(".")[0])
    lenient: dict[str, Any] = {} if major >= _LENIENT_PYAV else {"metadata_errors": "ignore"}
    container: InputContainer = av.open(str(path), options=options, **lenient)
    return container


def quarter_turns(frame: VideoFrame) -> int:
    """Count the quarter turns to the left by which a player turns a frame, 0 to 3.

    Phones store their orientation beside the frames; clips of ours stand upright.
    """
    return round(frame.rotation / 90) % 4


def upright(picture: NDArray[Value], frame: VideoFrame) -> NDArray[Value]:
    """Turn a picture as a player shows it.

    Args:
        picture: [height, width] or [height, width, 3], as it is stored.
        frame: whose picture it is.

    Returns:
        Without padding between its rows.
    """
    import numpy as np

    return np.ascontiguousarray(np.rot90(picture, quarter_turns(frame)))


def clip_path(kind: str, name: str) -> str:
    """Return the path of a clip's file, relative to the workspace.

    Args:
        kind: the folder: `clips`, `augmented`, `flow`, `pose` or `trajectories`.
        name: of the file, which begins with the clip's id and a dot.
    """
    return f"{kind}/{sha256_text(name.partition('.')[0])[:2]}/{name}"


def beside(clip: Path, kind: str, name: str) -> Path:
    """Return the path of a file that came from a clip.

    Args:
        clip: path of the clip's, or of the augmented clip's, file.
        kind: see `clip_path`.
        name: see `clip_path`.
    """
    return clip.parents[2] / clip_path(kind, name)


def sizes_in(folder: Path) -> dict[str, int]:
    """Return the sizes of all files below a folder of clips, by name; hidden folders are left out."""
    found: dict[str, int] = {}
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found |= {name: Path(where, name).lstat().st_size for name in names}
    return found
