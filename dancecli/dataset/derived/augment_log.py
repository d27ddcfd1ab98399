"""The log of augmented clips, `manifests/augmented.jsonl`.

It holds what the manifest of clips has no column for: the parent's checksum and the encoding, which
tell whether a file is current.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from dancecli.core.records import Clip
from dancecli.dataset.job_log import JobLog
from dancecli.storage.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Logged:
    """An augmented clip that was made.

    Attributes:
        clip: its record, with the label that its parent had then.
        parent_sha256: of the file that it was made from.
        encoding: how it was encoded, see `video.augment.ENCODING`.
    """

    clip: Clip
    parent_sha256: str
    encoding: str


def log_of(workspace: Workspace) -> JobLog[Logged]:
    """The log of the augmented clips of a workspace."""
    return JobLog(
        path=workspace.root / "manifests" / "augmented.jsonl",
        key_of=lambda row: row.clip.clip_id,
        to_json=asdict,
        from_json=lambda row: Logged(Clip(**row["clip"]), row["parent_sha256"], row["encoding"]),
    )
