"""A preview of augmented clips before they are made: some clips, one row each, on one sheet."""

from __future__ import annotations

import shutil
from pathlib import Path

from dancecli.core.augmentation import describe, parse_chains
from dancecli.core.errors import MediaError, WorkspaceError
from dancecli.core.progress import SILENT, Reporter
from dancecli.dataset.clips import varied
from dancecli.dataset.derived.augment import AugmentSettings, targets_of, training_clips
from dancecli.dataset.derived.augment_worker import AugmentJob, make_augmented
from dancecli.storage.workspace import Workspace
from dancecli.video.contact_sheet import Cell, write_sheet

_NUM_CLIPS = 6


def preview(workspace: Workspace, settings: AugmentSettings, reporter: Reporter = SILENT) -> Path:
    """Draw `augmented/preview.png`: clips of different labels, and what augment would make of them.

    They are made as augment makes them, encoder included, and removed again.

    Raises:
        UsageError: as `augment`.
        WorkspaceError: there is no such split, or it has no training clips.
        MediaError: a clip cannot be augmented.
    """
    chains = parse_chains(settings.ops)
    clips, _ = training_clips(workspace, settings)
    if not clips:
        raise WorkspaceError(f"{workspace.root}: the split has no training clips", "run dance split first")
    chosen = varied(clips, _NUM_CLIPS, settings.seed)
    temp = workspace.root / "augmented" / ".preview"
    sheet = workspace.root / "augmented" / "preview.png"
    rows = []
    with workspace.lock("preview"):
        try:
            for done, clip in enumerate(chosen, start=1):
                job = AugmentJob(
                    workspace.root, temp, clip, targets_of(workspace, clip, chains, settings.seed)
                )
                temp.mkdir(parents=True, exist_ok=True)
                row = [Cell(workspace.root / clip.path, f"{clip.label}: {clip.clip_id}")]
                for wanted, outcome in make_augmented(job):
                    if isinstance(outcome, str):
                        raise MediaError(outcome)
                    row.append(Cell(temp / f"{wanted.clip_id}.mp4", describe(wanted.ops)))
                rows.append(row)
                reporter.progress(done, len(chosen))
            write_sheet(sheet, rows)
        finally:
            shutil.rmtree(temp, ignore_errors=True)
    return sheet
