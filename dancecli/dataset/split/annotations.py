"""Write a split as the lists that MMAction2's `VideoDataset` reads.

A line is `<path> <class index>`, parted by one space, the path relative to the workspace. The
path holds no space, since `VideoDataset` cuts the line at spaces and wants exactly two fields
(mmaction2#2659): clips are named by id, never by label.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from dancecli.core.labels import LabelSet
from dancecli.core.records import Clip, SplitClip, Subset
from dancecli.storage import tables
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace


@dataclass(frozen=True)
class AnnotateResult:
    """What was written.

    Attributes:
        folder: holds `train.txt`, `val.txt`, `test.txt` and `label_map.txt`.
        counts: lines a list.
        num_copies: augmented copies among the lines of `train.txt`.
        missing: clips of the split whose file is gone; they are left out of the lists.
    """

    split: str
    folder: Path
    counts: dict[str, int]
    num_copies: int
    missing: tuple[str, ...]


def annotate(
    workspace: Workspace, split_name: str | None = None, *, augmented: bool = True, dry_run: bool = False
) -> AnnotateResult:
    """Write the lists of a split, by default of the one made last; those that say so already stay.

    Args:
        workspace: gets `annotations/<split>/`.
        split_name: the split.
        augmented: put the augmented copies of the training clips into `train.txt`, if there are any.
        dry_run: count, and write nothing.

    Raises:
        WorkspaceError: there is no such split.
    """
    name = workspace.find_split(split_name)
    path = workspace.split(name)
    labels = LabelSet(tuple(json.loads(tables.read_meta(path)["split.labels"])))
    parts = tables.read(path, SplitClip)
    clips = tables.read(workspace.clips, Clip)
    files = {clip.clip_id: clip.path for clip in clips}
    present = {clip_id for clip_id, file in files.items() if (workspace.root / file).is_file()}
    copies: dict[str, list[str]] = {}
    for clip in clips:
        if augmented and clip.parent_id and clip.clip_id in present:
            copies.setdefault(clip.parent_id, []).append(clip.path)
    folder = workspace.annotations(name)
    counts, of_copies = {}, list[str]()
    lists = {"label_map.txt": list(labels)}
    for part in Subset:
        rows = [p for p in parts if p.subset == part and p.clip_id in present]
        lines = [f"{files[p.clip_id]} {labels.index(p.label)}" for p in rows]
        if part is Subset.TRAIN:
            # The label is the split's, so that a copy and its parent cannot differ.
            of_copies = [
                f"{path} {labels.index(p.label)}" for p in rows for path in copies.get(p.clip_id, ())
            ]
            lines += of_copies
        lists[f"{part}.txt"] = lines
        counts[part.value] = len(lines)
    if not dry_run:
        for file, lines in lists.items():
            _write_lines(folder / file, lines)
    lost = tuple(p.clip_id for p in parts if p.clip_id not in present)
    return AnnotateResult(name, folder, counts, len(of_copies), lost)


def _write_lines(path: Path, lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    if path.is_file() and path.read_bytes() == text.encode():
        return
    with atomic_file(path) as file:
        file.write(text)
