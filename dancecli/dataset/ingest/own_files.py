"""What dance itself writes in a workspace: an import of a folder around it, or in it, leaves that out.

The user's own files there are input as anywhere else, also those in a folder called `clips`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import fields
from functools import cached_property
from pathlib import Path

from dancecli.core.records import Clip
from dancecli.core.text import shown
from dancecli.core.video_files import clip_path, is_video_name
from dancecli.dataset.clips import read_segments
from dancecli.dataset.left_out import LeftOut, left_out_file
from dancecli.storage import tables
from dancecli.storage.corrections import COLUMNS, corrections_file
from dancecli.storage.ledger import ledger_files
from dancecli.storage.removals import Removal, removals_file
from dancecli.storage.workspace import MEDIA_FOLDERS, OWN_FOLDERS, PREVIEWS, Workspace

# SQLite keeps them beside a database that is in use.
_DATABASE_ENDS = ("", "-wal", "-shm", "-journal")


class OwnFiles:
    """Tells which files below a folder are a workspace's own.

    Args:
        workspace: the workspace, which need not exist yet.
        root: the folder that is looked through.
    """

    def __init__(self, workspace: Workspace, root: Path) -> None:
        self._workspace = workspace
        self._place = workspace.root.resolve()
        asked = root.resolve()
        # Clips of others that were put where this workspace keeps its own, and are imported from there.
        self._asks_for_clips = any(asked.is_relative_to(self._place / name) for name in MEDIA_FOLDERS)
        self._notes: list[str] = []

    @property
    def notes(self) -> tuple[str, ...]:
        """Of each folder that was left out although it holds videos, one sentence."""
        return tuple(self._notes)

    def is_folder(self, folder: Path) -> bool:
        """Tell whether a folder is one that dance keeps for what it writes."""
        if folder.name not in OWN_FOLDERS or folder.parent.resolve() != self._place:
            return False
        if any(is_video_name(name) for _, _, names in os.walk(folder) for name in names):
            self._notes.append(
                f"{shown(folder)}: not read, since dance keeps files of its own there; rename it if its "
                "videos are yours"
            )
        return True

    def among(self, folder: Path, names: Iterable[str]) -> set[str]:
        """Return those of a folder's files that dance wrote."""
        place = folder.resolve()
        if not place.is_relative_to(self._place):
            return set()
        kind, *below = place.relative_to(self._place).parts or ("",)
        if not kind:
            return {name for name in names if name in self._tables}
        if kind not in MEDIA_FOLDERS:
            return set()
        if not below:
            return {name for name in names if name in PREVIEWS}
        prefix = "/".join((kind, *below))
        return {
            name
            for name in names
            if f"{prefix}/{name}" == clip_path(kind, name) and self._is_of_own_clip(place / name)
        }

    @cached_property
    def _tables(self) -> frozenset[str]:
        """Files of the workspace's folder itself; the user may have a list of the name of one of them."""
        databases = (path.name for path in ledger_files(self._workspace.root))
        headers = {
            corrections_file(self._workspace): COLUMNS,
            left_out_file(self._workspace): tuple(field.name for field in fields(LeftOut)),
            removals_file(self._workspace): tuple(field.name for field in fields(Removal)),
        }
        return frozenset(
            {
                self._workspace.settings.name,
                *(name + end for name in databases for end in _DATABASE_ENDS),
                *(path.name for path, columns in headers.items() if _begins_with(path, columns)),
            }
        )

    def _is_of_own_clip(self, path: Path) -> bool:
        clip_id = path.name.partition(".")[0]
        original = self._originals.get(clip_id)
        if original is None:
            # A killed import leaves clips that no table names yet, but the list of what it was to make.
            return clip_id in self._requested and not self._asks_for_clips
        return not original or Path(original).resolve() != path

    @cached_property
    def _originals(self) -> dict[str, str]:
        """What each clip was made from, by its id; empty for a download."""
        if not self._workspace.clips.exists():
            return {}
        rows = tables.read_columns(self._workspace.clips, Clip, ("clip_id", "original_path", "parent_id"))
        return {clip_id: original for clip_id, original, parent_id in rows if not parent_id}

    @cached_property
    def _requested(self) -> frozenset[str]:
        return frozenset(read_segments(self._workspace))


def _begins_with(path: Path, columns: Iterable[str]) -> bool:
    """Tell whether a table has the header that dance gives it."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return file.readline().rstrip("\r\n") == ",".join(columns)
    except OSError:
        return False
