"""The quick form of a reproduction: the experiments' shape, not their size."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from dancecli.core.labels import MANIFESTS
from dancecli.core.recipe import RECIPES
from dancecli.core.records import Clip
from dancecli.demo.choreography import SEPARABLE
from dancecli.demo.corpus import CorpusSettings, plan
from dancecli.demo.pipeline import SITE_FOLDER
from dancecli.storage import tables
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace

# Six styles that differ clearly: too few clips for more.
LABELS = MANIFESTS / "label-sets" / "separable.txt"
CORPUS = CorpusSettings(videos_per_style=12, width=160, height=120, faulty=False, styles=tuple(SEPARABLE))
# Two or three of each video.
CLIPS = round(2.5 * len(CORPUS.styles) * CORPUS.videos_per_style)
# A backbone whose weights come as a package.
QUICK_PRETRAIN = "inception"
_VIEW: dict[str, Any] = {"clip_len": 8, "frame_interval": 4, "short_side": 72, "crop": 64, "views": 1}
# Of the fine-tuned experiments; thirty views per clip would be most of the work.
_ONE_VIEW: dict[str, Any] = {"num_clips": 1, "num_crops": 1}
# Nothing of these is frozen, so every epoch is the whole network's work.
_FROM_SCRATCH: dict[str, Any] = {"epochs": 2, "num_clips": 1, "short_side": 36, "crop": 32}
WHOLE_NETWORK = ("paper-two-stream",)
# Clips of an experiment on all clips, which is one of those: the flow of each is to be computed too.
WHOLE_CLIPS = 60


def quick_changes(recipe: str) -> dict[str, Any]:
    """Give the keys of a recipe that its small form has otherwise."""
    return _VIEW | (_FROM_SCRATCH if recipe in WHOLE_NETWORK else _ONE_VIEW)


def differences() -> str:
    """Say in a sentence what the quick form does otherwise."""
    side, epochs, small = _VIEW["crop"], _FROM_SCRATCH["epochs"], _FROM_SCRATCH["crop"]
    return (
        f"{_VIEW['clip_len']} frames of {side} pixels per view and 1 test view instead of 30, one backbone "
        f"instead of the fine-tuned ones, two streams from random instead of ImageNet weights, for {epochs} "
        f"epochs of {WHOLE_CLIPS} clips of {small} pixels instead of 10 epochs of all at full size"
    )


def quick_recipe(workspace: Workspace, name: str) -> Path:
    """Where the small form of a recipe lies."""
    return workspace.root / "reproduction" / f"{name}.toml"


def write_quick_recipe(workspace: Workspace, name: str) -> None:
    """Write a recipe with small frames and few of them, all else as it is."""
    changes = quick_changes(name)
    text = (RECIPES / f"{name}.toml").read_text(encoding="utf-8")
    kept = [line for line in text.splitlines() if line.partition("=")[0].strip() not in changes]
    with atomic_file(quick_recipe(workspace, name)) as file:
        file.write("\n".join([*kept, *(f"{key} = {value}" for key, value in changes.items())]) + "\n")


def has_clips(workspace: Workspace) -> bool:
    """Tell whether the clips are there, and of an own corpus all of them: an interrupted fetch resumes."""
    if not workspace.clips.exists():
        return False
    annotations = workspace.root / SITE_FOLDER / "annotations.csv"
    if not annotations.exists():
        return True
    with annotations.open(encoding="utf-8", newline="") as file:
        listed = [row["youtube_id"] for row in csv.DictReader(file)]
    if set(listed) != {video.video_id for video in plan(CORPUS)}:
        return True  # another demo's, with videos that are unavailable
    return sum(not clip.parent_id for clip in tables.read(workspace.clips, Clip)) >= len(listed)
