"""Find the clips of a file that somebody asks to remove, by its name or its path."""

from __future__ import annotations

from collections.abc import Mapping, Set
from pathlib import Path, PurePosixPath

from dancecli.core.errors import InputError
from dancecli.core.text import shown, without_dots
from dancecli.core.video_files import is_video_name, recording_id, recording_stem
from dancecli.dataset.clip_lookup import path_parts
from dancecli.dataset.left_out import read_copies
from dancecli.storage import ledger
from dancecli.storage.workspace import Workspace

_SHOWN = 10


def clips_of_file(workspace: Workspace, name: str, of_video: Mapping[str, Set[str]]) -> frozenset[str]:
    """Find the clips of a file: an imported one, or a recording that clips were cut from.

    What is removed does not come back, so a name without its suffix, or a path whose folders are others
    than those of the import, is not taken for that file's.

    Args:
        workspace: where the clips are.
        name: the file's name or its path, or the end of its path.
        of_video: the clips of each source video.

    Returns:
        None of them if there is no such file.

    Raises:
        InputError: several files have this name, and are not the same clips.
    """
    found = _imported(workspace, name)
    video_id = recording_id(recording_stem(PurePosixPath(name).name))
    if is_video_name(name) and video_id in of_video and not (found and "/" in name):
        # Clips of an import may bear that id themselves.
        elsewhere = of_video[video_id] - frozenset().union(*found.values())
        found |= {f"the recording {video_id}": frozenset(elsewhere)} if elsewhere else {}
    if len(set(found.values())) > 1:
        files = sorted(found)
        more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
        raise InputError(
            f"{name[:80]!r} names {len(files)} files: {', '.join(files[:_SHOWN])}{more}",
            "give the path of one, or the id of its clip: dance history FILE names it",
        )
    return next(iter(found.values()), frozenset())


def _imported(workspace: Workspace, name: str) -> dict[str, frozenset[str]]:
    """Give the imported files that a name or path may mean, each with its clips."""
    files = [(clip.original_path, clip.clip_id) for clip in ledger.done_clips(workspace.root)]
    there = {clip_id for _, clip_id in files}
    files += [(row.path, row.clip_id) for row in read_copies(workspace)]
    wanted = (path_parts(name), path_parts(shown(without_dots(Path(name).absolute()))))
    found: dict[str, set[str]] = {}
    for path, clip_id in files:
        parts = path_parts(str(without_dots(Path(path))))
        if path and clip_id in there and any(parts[-len(one) :] == one for one in wanted if one):
            found.setdefault(path, set()).add(clip_id)
    return {path: frozenset(ids) for path, ids in found.items()}
