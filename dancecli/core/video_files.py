"""Which files are taken for videos by their ending, and how a file of any origin is opened by PyAV."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from av.container import InputContainer

# From this release on PyAV decodes tags leniently by itself, and no longer takes the option for it.
_LENIENT_PYAV = 19

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
