"""The download history of a clip: the row that requested it, every attempt, and whether it is on disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dancecli.core.errors import InputError
from dancecli.core.records import Outcome, Segment
from dancecli.core.text import without_dots
from dancecli.core.video_files import recording_id, recording_stem
from dancecli.dataset.clips import clips_there, read_segments
from dancecli.dataset.left_out import read_copies
from dancecli.storage import ledger
from dancecli.storage.removals import read_removals, video_of
from dancecli.storage.workspace import Workspace

_SHOWN = 3


@dataclass(frozen=True)
class ClipHistory:
    """The history of one clip.

    Attributes:
        segment: the row that requested it; None if no list of this workspace does.
        there: its file is on disk, as recorded.
        original_path: the user's own file that it was made from; empty for a download.
        attempts: the first one first.
    """

    clip_id: str
    segment: Segment | None
    there: bool
    original_path: str
    attempts: list[Outcome]


def clip_history(workspace: Workspace, name: str) -> list[ClipHistory]:
    """Return the history of a clip, or of all clips of a video.

    Args:
        workspace: where to look.
        name: a clip id, a video id, or the path or name of an imported file or of a recording.

    Raises:
        InputError: no such clip was ever requested.
    """
    segments, removed = read_segments(workspace), read_removals(workspace)
    known = segments.keys() | ledger.latest(workspace.root).keys() | removed.rows.keys()
    found = [name] if name in known else _of_video(known, name) or _imported_from(workspace, name)
    # The recording of a timeline: clips that were cut of it bear the id that its name gives.
    found = found or _of_video(known, recording_id(recording_stem(PurePosixPath(name).name)))
    if not found:
        near = sorted(i for i in known if name.lower() in i.lower())[:_SHOWN]
        raise InputError(
            f"no clip {name[:80]!r} was ever requested in {workspace.root}",
            f"did you mean {', '.join(near)}?"
            if near
            else "`dance history` without a clip shows all by class",
        )
    there = clips_there(workspace)
    paths = {clip.clip_id: clip.original_path for clip in ledger.done_clips(workspace.root)}
    return [
        ClipHistory(
            clip_id=i,
            segment=segments.get(i),
            there=i in there,
            original_path=paths.get(i, ""),
            # A removed clip has its tombstone alone.
            attempts=[removed.rows[i].outcome] if i in removed else ledger.history(workspace.root, i),
        )
        for i in found
    ]


def _of_video(known: Iterable[str], video_id: str) -> list[str]:
    return sorted(i for i in known if video_of(i) == video_id)


def _imported_from(workspace: Workspace, name: str) -> list[str]:
    """Find the clips that a file holds, by its path, the end of its path, or its stem."""
    files = [(clip.original_path, clip.clip_id) for clip in ledger.done_clips(workspace.root)]
    files += [(row.path, row.clip_id) for row in read_copies(workspace)]
    found = [
        clip_id
        for path, clip_id in ((without_dots(Path(path)), clip_id) for path, clip_id in files if path)
        if name in (str(path), path.stem) or str(path).endswith(f"/{name}")
    ]
    return list(dict.fromkeys(found))
