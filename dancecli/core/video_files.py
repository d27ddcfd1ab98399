"""Which files are taken for videos by their ending: one list for import, fetch and predict."""

from __future__ import annotations

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
