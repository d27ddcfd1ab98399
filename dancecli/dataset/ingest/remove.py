"""Remove clips from the workspace: a row in the ledger with the reason, then everything else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dancecli.core.records import Outcome, OutcomeClass
from dancecli.dataset.clips import forget_segments, rebuild_clips
from dancecli.dataset.ingest.worker import SOURCE
from dancecli.storage import ledger
from dancecli.storage.workspace import Workspace, clips_lock


@dataclass(frozen=True, slots=True)
class Removal:
    """Why a clip is removed: a short stable word, and the raw text behind it."""

    reason: str
    text: str


def remove_clips(workspace: Workspace, removals: Mapping[str, Removal]) -> None:
    """Remove clips, by clip id: they keep their history, and lose their manifest rows and file.

    Raises:
        WorkspaceError: a fetch is at work here.
    """
    if not removals:
        return
    with clips_lock(workspace, "remove"):
        latest = ledger.latest(workspace.root)
        rows = [
            Outcome(
                clip_id=clip_id,
                video_id=clip_id.rsplit("_", 2)[0],
                outcome=OutcomeClass.PERMANENT,
                reason=why.reason,
                text=why.text,
                attempt=latest[clip_id].attempts if clip_id in latest else 0,
                time_utc=ledger.utc_now(latest[clip_id].time_utc if clip_id in latest else ""),
                num_bytes=0,
                source=SOURCE,
            )
            for clip_id, why in sorted(removals.items())
        ]
        # The files first: killed after them, the same command decides the same again and goes on. A file
        # that outlives its rows would never be looked at again.
        for clip_id in removals:
            workspace.clip(clip_id).unlink(missing_ok=True)
        with ledger.LedgerWriter(workspace.ledger) as writer:
            writer.record((row, None) for row in rows)
        forget_segments(workspace, removals)
        rebuild_clips(workspace)
