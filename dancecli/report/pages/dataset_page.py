"""The dataset as a page: figures, availability by class, and a grid of pictures of each class."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dancecli.core.hashing import keyed_order
from dancecli.core.records import Clip
from dancecli.report.pages.stills import still
from dancecli.report.pages.templating import render
from dancecli.storage import tables
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace

# Pictures a class, and in all: a page of 700 classes is to stay small enough to open.
_PICTURES_A_CLASS = 6
_PICTURES = 280


def write_dataset_page(workspace: Workspace, stats: Mapping[str, Any]) -> Path:
    """Draw `reports/dataset/index.html`.

    Args:
        workspace: the workspace, for the pictures.
        stats: the dataset in figures, as `dance stats --json` prints it.

    Returns:
        The page's path.
    """
    labels = [row["label"] for row in stats["labels"]]
    folds = ["--folds"] if stats["folds"] else []
    page = render(
        "dataset.html",
        ("common.js",),
        {"labels": labels},
        styles=("report.css", "dataset.css"),
        stats=stats,
        pictures=pictures(workspace, labels),
        steps=[
            ("train a model on it:", shlex.join(["dance", "finetune", *folds, "--split", stats["split"]]))
            if stats["split"]
            else ("divide the clips into train, val and test:", "dance split")
        ],
    )
    path = workspace.report("dataset") / "index.html"
    with atomic_file(path) as file:
        file.write(page)
    return path


def pictures(workspace: Workspace, labels: Sequence[str]) -> dict[str, list[str]]:
    """Take a picture from the middle of some clips of each class, as data URIs.

    Which clips is decided by a hash of their ids, so the page is the same when made again. A clip
    that cannot be read has none.
    """
    share = max(1, min(_PICTURES_A_CLASS, _PICTURES // max(1, len(labels))))
    clips: dict[str, list[Clip]] = {label: [] for label in labels}
    for clip in tables.read(workspace.clips, Clip):
        if not clip.parent_id and clip.label in clips:
            clips[clip.label].append(clip)
    found = {}
    for label, members in clips.items():
        drawn = keyed_order(members, lambda c: c.clip_id, seed=0, purpose="dataset page")[:share]
        taken = (still(workspace.root / clip.path, clip.duration_s / 2) for clip in drawn)
        found[label] = [picture for picture in taken if picture]
    return found
