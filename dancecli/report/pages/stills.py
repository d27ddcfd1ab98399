"""Frames of clips that a page holds itself, so that they are seen wherever it is sent."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote

from dancecli.core.video_files import open_video, quarter_turns, upright
from dancecli.storage.workspace import Workspace

# Of one page: about 4 kB and 7 ms each.
MOST = 48
HEIGHT = 96
_UP = "../../"


def stills_of(workspace: Workspace, clips: Iterable[str], links: Mapping[str, str]) -> dict[str, str]:
    """Take a frame of the first clips whose files are there, as data URIs by clip id.

    Args:
        workspace: where the files are.
        clips: the clips, those that matter most first; repeated ones count once.
        links: for each clip its link from a report's folder.
    """
    found: dict[str, str] = {}
    for clip in dict.fromkeys(clips):
        if len(found) == MOST:
            break
        link = links.get(clip, "")
        if link.startswith(_UP) and (taken := still(workspace.root / unquote(link.removeprefix(_UP)), 0.5)):
            found[clip] = taken
    return found


def still(path: Path, at_s: float, height: int = HEIGHT) -> str:
    """Give a frame as a data URI: of the key frame at or before a time; empty if it cannot be read."""
    if not path.is_file():
        return ""
    import av
    from PIL import Image

    try:
        with open_video(path) as container:
            stream = container.streams.video[0]
            stream.thread_count = 1  # of one frame the others would wait
            container.seek(int(at_s * 1_000_000))
            frame = next(container.decode(stream))
    except (av.FFmpegError, OSError, IndexError, StopIteration):
        return ""
    scale = height / (frame.width if quarter_turns(frame) % 2 else frame.height)
    width, height = (max(1, round(side * scale)) for side in (frame.width, frame.height))
    small = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA")
    file = io.BytesIO()
    Image.fromarray(upright(small.to_ndarray(), frame)).save(file, "JPEG", quality=72, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
