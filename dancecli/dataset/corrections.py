"""`dance corrections`: import corrections from other tools, and take corrections back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dancecli.core.errors import WorkspaceError
from dancecli.core.records import Clip
from dancecli.dataset.clips import workspace_labels
from dancecli.dataset.label_lists import LabelList, match_changes, read_changes
from dancecli.dataset.left_out import files_of_clips
from dancecli.storage import tables
from dancecli.storage.corrections import Correction, append_corrections, latest, read_corrections
from dancecli.storage.workspace import Workspace

# Who made a correction, where no person is named.
BY_COMMAND = "dance corrections"


def import_corrections(workspace: Workspace, files: Sequence[Path], *, dry_run: bool = False) -> LabelList:
    """Add the corrections of lists, in the order in which they are given, by whom a list names.

    Args:
        workspace: whose clips are corrected.
        files: the lists; see `label_lists.read_changes`.
        dry_run: only say what would be added.

    Raises:
        InputError: a list cannot be read; nothing is added then, from no list.
        WorkspaceError: there are no clips.
    """
    listed = [row for path in files for row in read_changes(path)]
    labels = workspace_labels(workspace)
    if labels is None or not workspace.clips.exists():
        raise WorkspaceError(f"{workspace.root}: there are no clips yet", "run dance fetch or dance import")
    clips = [clip for clip in tables.read(workspace.clips, Clip) if not clip.parent_id]
    found = match_changes(
        listed, clips, labels, read_corrections(workspace), files_of_clips(workspace, clips)
    )
    found = replace(found, rows=tuple(replace(row, who=row.who or BY_COMMAND) for row in found.rows))
    if found.rows and not dry_run:
        append_corrections(workspace, found.rows)
    return found


def take_corrections_back(
    workspace: Workspace, clip_ids: Sequence[str], *, dry_run: bool = False
) -> list[Correction]:
    """Take all corrections of clips back, by rows that say so.

    Returns:
        The rows.

    Raises:
        WorkspaceError: a clip has no corrections.
    """
    in_force = latest(read_corrections(workspace))
    corrected = {row.clip_id for row in in_force}
    if missing := [clip_id for clip_id in clip_ids if clip_id not in corrected]:
        raise WorkspaceError(f"clip {missing[0]} has no corrections", "list them: dance corrections")
    rows = [
        Correction(row.clip_id, row.field, row.new, "", BY_COMMAND, why="taken back")
        for row in in_force
        if row.clip_id in set(clip_ids)
    ]
    if not dry_run:
        append_corrections(workspace, rows)
    return rows
