"""The files that imports left out, in `left-out.csv` beside the ledger: path, reason, time.

One row per file, as the last import of its folder found it; a file that came in since is in it no more.
A copy of a clip that was there before an import has a row too: nothing else records its name.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from dancecli.core.csv_files import csv_records, read_text
from dancecli.dataset.clip_lookup import NamedClip, NamedFile
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace


@dataclass(frozen=True, slots=True, order=True)
class LeftOut:
    """A file that is no clip of the workspace.

    Attributes:
        path: the file.
        reason: a short stable word.
        text: what is wrong with it, in words.
        clip_id: the clip that it would have been; empty if that cannot be told.
        label: its label; empty if that cannot be told.
        time_utc: of the import, ISO 8601.
    """

    path: str
    reason: str
    text: str
    clip_id: str
    label: str
    time_utc: str


_COLUMNS = tuple(field.name for field in fields(LeftOut))


def left_out_file(workspace: Workspace) -> Path:
    """The file of a workspace."""
    return workspace.root / "left-out.csv"


def read_left_out(workspace: Workspace) -> list[LeftOut]:
    """Read the rows, sorted by path; none if there is no file.

    Raises:
        InputError: it is not UTF-8, or not CSV.
    """
    path = left_out_file(workspace)
    if not path.exists():
        return []
    records = csv_records(path, read_text(path, "list of files left out"), ",")
    _, header = next(records, (1, []))
    rows = (dict(zip(header, cells, strict=False)) for _, cells in records)
    return [LeftOut(*(row.get(name, "") for name in _COLUMNS)) for row in rows]


def read_copies(workspace: Workspace) -> list[LeftOut]:
    """Read the rows of files that hold the same clip as another file, which is the clip.

    Raises:
        InputError: the file is not UTF-8, or not CSV.
    """
    return [row for row in read_left_out(workspace) if row.reason == "repeated" and row.clip_id]


def files_of_clips(workspace: Workspace, clips: Iterable[NamedClip]) -> list[NamedFile]:
    """Give the files that were left out because another one is the clip: a list may name either."""
    video_of = {clip.clip_id: clip.video_id for clip in clips}
    return [
        NamedFile(row.clip_id, video_of[row.clip_id], row.path)
        for row in read_left_out(workspace)
        if row.clip_id in video_of
    ]


def replace_left_out(workspace: Workspace, folder: str, rows: Iterable[LeftOut]) -> None:
    """Make these the rows of the files below a folder; those of other folders stay."""
    before = read_left_out(workspace)
    prefix = folder.rstrip("/") + "/"
    after = sorted([*(row for row in before if not row.path.startswith(prefix)), *rows])
    if after == before:
        return
    with atomic_file(left_out_file(workspace)) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(astuple(row) for row in after)


def find_left_out(workspace: Workspace, name: str) -> list[LeftOut]:
    """Find rows by their path, the end of their path, their file's name, its stem, or their clip."""
    wanted = name.rstrip("/")
    return [
        row
        for row in read_left_out(workspace)
        if wanted in (row.path, row.clip_id, Path(row.path).stem)
        or row.path.endswith(f"/{wanted}")
        or row.path.startswith(f"{wanted}/")
    ]
