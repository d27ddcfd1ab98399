"""All commands with their one-line summaries; a command's module is imported when it is run.

`dance --help` lists this table and imports none of them: that is what keeps it fast. A test
holds each summary to the first line of the command's own help.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A command's place in the overview.

    Attributes:
        panel: the subpackage of `dancecli.cli` that holds its module; see `PANELS`.
        summary: its first line of help.
        settings_of: the command whose table of `dance.toml` it reads; empty for its own.
    """

    panel: str
    summary: str
    settings_of: str = ""


# Headings of the overview, by the subpackage that holds the commands below them.
PANELS = {
    "start": "Start here",
    "dataset": "Dataset",
    "inspect": "Inspect and export",
    "models": "Models",
    "reports": "Reports",
}

COMMANDS = {
    "demo": Entry("start", "Run the whole chain, offline, on a corpus it makes itself, to a report."),
    "status": Entry("start", "Say what this workspace holds, and what to type next."),
    "doctor": Entry("start", "Say what works on this machine, and what mends the rest."),
    "plan": Entry("dataset", "Say what a fetch would be: clips, hours, gigabytes, survivors.", "fetch"),
    "fetch": Entry("dataset", "Download the videos of the annotation lists and cut their clips."),
    "import": Entry("dataset", "Take in clips that are already on disk."),
    "merge": Entry("dataset", "Bring Let's Dance into the labels, by a reviewed map."),
    "dedup": Entry("dataset", "Group the clips that look the same, so that split keeps them together."),
    "split": Entry("dataset", "Divide the clips into train, val and test, by source video."),
    "augment": Entry("dataset", "Make augmented copies of the training clips of a split."),
    "annotate": Entry("dataset", "Write the MMAction2 lists of a split again."),
    "flow": Entry("dataset", "Compute the optical flow of the clips, for models that look at motion."),
    "stats": Entry("inspect", "Show the dataset in figures, and write its card and page."),
    "history": Entry("inspect", "Tell why a clip is there or not: its whole history."),
    "audit": Entry("inspect", "Look for leaks, label conflicts and changed files."),
    "verify": Entry("inspect", "Check every file of a clip, and of its optical flow, against its checksum."),
    "export": Entry("inspect", "Write a split in the form that another tool reads."),
    "finetune": Entry("models", "Fine-tune a pre-trained model on a split."),
    "train": Entry("models", "Train the two-stream Inception I3D, from scratch, ImageNet or Kinetics."),
    "evaluate": Entry(
        "models", "Judge a run under other views or on another split, fuse runs, or judge a pre-trained head."
    ),
    "predict": Entry("models", "Say what is danced in videos, and in long ones when."),
    "tune": Entry("models", "Search the recipe that does best on the validation part."),
    "report": Entry("reports", "Draw a run's page: accuracy, confusion, and what was run."),
    "compare": Entry("reports", "Say whether one of two runs is better, and show where."),
    "board": Entry("reports", "Set all runs side by side, with ties shown as ties."),
    "reproduce": Entry(
        "reports", "Run the paper's experiments as published and under an honest protocol, side by side."
    ),
}
