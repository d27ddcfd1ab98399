"""The clips that a split may contain: originals whose file exists.

Only the columns that a split needs are read, so that many hundred thousand clips fit into memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from dancecli.core.errors import WorkspaceError
from dancecli.core.records import Clip
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Candidate:
    """The columns of a clip that decide where it goes; see `dancecli.core.records.Clip`."""

    clip_id: str
    video_id: str
    start_ms: int
    label: str
    official_split: str
    dataset: str
    path: str
    sha256: str
    source: str
    original_path: str = ""
    black_share: float = 0.0
    frozen_share: float = 0.0
    bars_share: float = 0.0
    damaged_frames: int = 0


def read_candidates(workspace: Workspace) -> tuple[list[Candidate], list[str]]:
    """Read the clips without their augmented clips.

    Returns:
        Those whose file exists, and the ids of those whose file is gone.

    Raises:
        WorkspaceError: there are no clips, or no clip has its file.
    """
    clips = list(_originals(workspace)) if workspace.clips.exists() else []
    if not clips:
        raise WorkspaceError(f"{workspace.root}: there are no clips yet", "run dance fetch or dance import")
    present = [clip for clip in clips if (workspace.root / clip.path).is_file()]
    if not present:
        raise WorkspaceError(
            f"{workspace.root}: the files of all {len(clips)} clips are gone",
            "run dance fetch or dance import again",
        )
    kept = {clip.clip_id for clip in present}
    return present, [clip.clip_id for clip in clips if clip.clip_id not in kept]


def _originals(workspace: Workspace) -> Iterator[Candidate]:
    names = [field.name for field in fields(Candidate)]
    for values in tables.read_columns(workspace.clips, Clip, (*names, "parent_id")):
        if not values[-1]:
            yield Candidate(*values[:-1])
