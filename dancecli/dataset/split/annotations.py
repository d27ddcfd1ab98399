"""Write a split as the annotation lists that MMAction2's `VideoDataset` reads.

A line is `<path> <class index>`, separated by one space, the path relative to the workspace. The
path contains no space, since `VideoDataset` splits the line at spaces and expects exactly two fields
(mmaction2#2659): clips are named by id, never by label.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
        folder: holds `train.txt`, `val.txt`, `test.txt` and `label_map.txt`; of a cross-validation
            also `fold1/train.txt`, `fold1/test.txt` and so on.
        counts: lines per list.
        num_augmented: augmented clips among the lines of `train.txt`.
        missing: clips of the split whose file is gone; they are left out of the lists.
    """

    split: str
    folder: Path
    counts: dict[str, int]
    num_augmented: int
    missing: tuple[str, ...]


def annotate(
    workspace: Workspace, split_name: str | None = None, *, augmented: bool = True, dry_run: bool = False
) -> AnnotateResult:
    """Write the lists of a split, by default of the latest one; lists that are current stay.

    Args:
        workspace: gets `annotations/<split>/`.
        split_name: the split; None for the latest.
        augmented: put the augmented clips of the training clips into `train.txt`, if there are any.
        dry_run: count, and write nothing.

    Raises:
        WorkspaceError: there is no such split.
    """
    name = workspace.find_split(split_name)
    path = workspace.split(name)
    labels = LabelSet(tuple(json.loads(tables.read_meta(path)["split.labels"])))
    split_clips = tables.read(path, SplitClip)
    files: dict[str, str] = {}
    augmented_of: dict[str, list[str]] = {}
    for clip_id, parent_id, file in tables.read_columns(
        workspace.clips, Clip, ("clip_id", "parent_id", "path")
    ):
        if (workspace.root / file).is_file():
            files[clip_id] = file
            if augmented and parent_id:
                augmented_of.setdefault(parent_id, []).append(file)
    folder, index = workspace.annotations(name), {label: i for i, label in enumerate(labels)}
    counts, num_augmented = {}, 0
    lists = {"label_map.txt": list(labels)}
    for subset in Subset:
        rows = [c for c in split_clips if c.subset == subset and c.clip_id in files]
        lines = [f"{files[c.clip_id]} {index[c.label]}" for c in rows]
        if subset is Subset.TRAIN:
            # The label is the split's, so that an augmented clip and its parent cannot differ.
            lines += [f"{file} {index[c.label]}" for c in rows for file in augmented_of.get(c.clip_id, ())]
            num_augmented = len(lines) - len(rows)
        lists[f"{subset}.txt"] = lines
        counts[subset.value] = len(lines)
    if not dry_run:
        for file, lines in lists.items():
            _write_lines(folder / file, lines)
        _write_folds(folder, [c for c in split_clips if c.folds and c.clip_id in files], files, index)
    missing = tuple(c.clip_id for c in split_clips if c.clip_id not in files)
    return AnnotateResult(name, folder, counts, num_augmented, missing)


def _write_folds(
    folder: Path, clips: Sequence[SplitClip], files: Mapping[str, str], index: Mapping[str, int]
) -> None:
    """Write the two lists of each fold of a cross-validation, for MMAction2's own tools."""
    repeats = clips[0].folds.count("/") + 1 if clips else 0
    for repeat in range(repeats):
        fold_of = {clip.clip_id: clip.folds.split("/")[repeat] for clip in clips}
        for fold in sorted(set(fold_of.values()), key=int):
            name = f"fold{fold}" if repeats == 1 else f"repeat{repeat + 1}-fold{fold}"
            for subset, tested in ((Subset.TRAIN, False), (Subset.TEST, True)):
                rows = [c for c in clips if (fold_of[c.clip_id] == fold) == tested]
                lines = [f"{files[c.clip_id]} {index[c.label]}" for c in rows]
                _write_lines(folder / name / f"{subset}.txt", lines)


def _write_lines(path: Path, lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    if path.is_file() and path.read_bytes() == text.encode():
        return
    with atomic_file(path) as file:
        file.write(text)
