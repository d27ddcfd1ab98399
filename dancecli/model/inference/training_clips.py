"""Which videos a run was trained on: its accuracy on these says nothing of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from dancecli.core.hashing import content_digest, digest_in
from dancecli.core.records import Clip
from dancecli.core.text import shown, without_dots
from dancecli.storage import runs as rec
from dancecli.storage import tables
from dancecli.storage.removals import video_of
from dancecli.storage.workspace import Workspace


class Evidence(StrEnum):
    """What tells that training clips are of a video, the surest first.

    `BYTES`: the video has the checksum of a training clip, or of an augmented one, or the bytes of the file
    that they were imported from. `PATH`: they were imported from the file of this path. `NAME`: the video has
    the name of their source video, or of a clip.
    """

    BYTES = "bytes"
    PATH = "path"
    NAME = "name"


@dataclass(frozen=True)
class TrainingClips:
    """The training clips of a run, by what a video can be known by.

    Attributes:
        count: number of clips, without augmented ones; None where they are not known.
        ids: their ids, by kind of evidence and then by checksum or `content_digest`, path or name.
    """

    count: int | None = None
    ids: Mapping[Evidence, Mapping[str, Sequence[str]]] = field(default_factory=dict)

    def of_video(self, path: Path, sha256: str) -> dict[str, Any] | None:
        """Give the training clips that are of a video, and by which evidence; None if none is known."""
        keys = {
            Evidence.BYTES: (sha256, _digest(path)),
            Evidence.PATH: (shown(without_dots(path.absolute())),),
            Evidence.NAME: (path.name if path.is_dir() else path.stem,),
        }
        for evidence, of in self.ids.items():
            if found := next((of[key] for key in keys[evidence] if key in of), None):
                return {"by": evidence.value, "clips": list(found)}
        return None


def _digest(path: Path) -> str:
    """Give what the ids of clips would end in that were imported from a file; empty of pictures."""
    try:
        return content_digest(path)
    except OSError:
        return ""


def read_training_clips(workspace: Workspace, record: Mapping[str, Any]) -> TrainingClips:
    """Read what a run was trained on.

    Args:
        workspace: of the run, and of its split.
        record: its `run.json`; empty for a checkpoint without a run.

    Returns:
        Without clips if the run is not known, or its split has changed since.
    """
    trained = rec.training_clips(workspace, record) if record else None
    if trained is None:
        return TrainingClips()
    ids = {clip.clip_id for clip in trained}
    found: dict[Evidence, dict[str, list[str]]] = {kind: defaultdict(list) for kind in Evidence}
    for clip in trained:
        found[Evidence.BYTES][clip.sha256].append(clip.clip_id)
        if digest := digest_in(video_of(clip.clip_id)):
            found[Evidence.BYTES][digest].append(clip.clip_id)
        found[Evidence.NAME][clip.clip_id].append(clip.clip_id)
    for row in tables.read(workspace.clips, Clip) if workspace.clips.exists() else ():
        if row.parent_id in ids:
            found[Evidence.BYTES][row.sha256].append(row.clip_id)
        elif row.clip_id in ids:
            found[Evidence.NAME][row.video_id].append(row.clip_id)
            if row.original_path:
                found[Evidence.PATH][str(without_dots(Path(row.original_path)))].append(row.clip_id)
    return TrainingClips(len(trained), {kind: dict(of) for kind, of in found.items()})
