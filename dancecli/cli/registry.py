"""All commands with their one-line summaries; a command's module is imported when it runs.

`dance --help` lists this table without importing any command, which keeps it fast. A test checks
that each summary equals the first line of the command's own help.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A command's entry in the overview.

    Attributes:
        panel: the subpackage of `dancecli.cli` that holds its module; see `PANELS`.
        summary: first line of its help text.
        settings_of: the command whose table in `dance.toml` it reads; empty for its own.
    """

    panel: str
    summary: str
    settings_of: str = ""


# Headings of the overview, by the subpackage of the commands below them.
PANELS = {
    "start": "Start here",
    "dataset": "Dataset",
    "inspect": "Inspect and export",
    "models": "Models",
    "reports": "Reports",
}

COMMANDS = {
    "demo": Entry("start", "Run the whole pipeline offline on a synthetic corpus, up to a report."),
    "status": Entry("start", "Show what this workspace contains and which command comes next."),
    "doctor": Entry("start", "Check the environment and show how to fix problems.", "fetch"),
    "plan": Entry(
        "dataset", "Estimate a fetch: clips, hours, gigabytes and expected available clips.", "fetch"
    ),
    "fetch": Entry("dataset", "Download the videos of the annotation lists and cut their clips."),
    "import": Entry("dataset", "Import videos that are already on disk."),
    "merge": Entry("dataset", "Add the Let's Dance dataset, its classes mapped to our labels."),
    "dedup": Entry("dataset", "Group near-duplicate clips, so that a split keeps them in one subset."),
    "split": Entry("dataset", "Divide the clips into train, val and test, grouped by source video."),
    "remove": Entry("dataset", "Remove clips on request, with everything that came from them, for good."),
    "augment": Entry("dataset", "Create augmented clips of a split's training set."),
    "annotate": Entry("dataset", "Rewrite the MMAction2 annotation lists of a split."),
    "flow": Entry("dataset", "Compute the optical flow of the clips, for models that use motion."),
    "pose": Entry("dataset", "Find the poses of the people in the clips, or import poses."),
    "app": Entry("inspect", "Browse the clips in a local web app, and correct labels."),
    "corrections": Entry(
        "inspect",
        "List the corrections of labels, import them from other tools, take them back, or cut clips again.",
    ),
    "suspects": Entry(
        "inspect",
        "List clips to look at again: wrong labels, disagreeing duplicates, outliers, no picture, no dancer.",
    ),
    "stats": Entry("inspect", "Show dataset statistics and write the dataset card and page."),
    "history": Entry("inspect", "Show the download history of a clip, and why clips are missing."),
    "audit": Entry("inspect", "Check for leaks between subsets, label conflicts and changed files."),
    "verify": Entry(
        "inspect",
        "Verify the checksums of all clips and of what was computed from them: flow, poses, trajectories.",
    ),
    "export": Entry("inspect", "Export a split, or the model of a run, in the format of another tool."),
    "clean": Entry("inspect", "List what the workspace does not need, with sizes, and free it with --yes."),
    "finetune": Entry("models", "Fine-tune a pre-trained model on a split."),
    "train": Entry("models", "Train the two-stream Inception I3D, or a model of dense trajectories."),
    "evaluate": Entry(
        "models",
        "Evaluate a run (multi-view, other split, under controls), an ensemble or a zero-shot baseline.",
    ),
    "predict": Entry("models", "Predict the dance styles in videos, with a timeline for long ones."),
    "features": Entry("models", "Export the features that a frozen backbone gives for the clips of a split."),
    "tune": Entry("models", "Search for the recipe with the best validation accuracy."),
    "report": Entry("reports", "Write a run's report: accuracy, confusion matrix and how it was trained."),
    "compare": Entry(
        "reports", "Test whether one of two runs or methods is significantly better, and show where."
    ),
    "board": Entry("reports", "Show a leaderboard of all runs, with statistical ties."),
    "submit": Entry("reports", "Write a run's results as one file for somebody else's leaderboard."),
    "reproduce": Entry(
        "reports", "Reproduce the paper's experiments, as published and with a validation set."
    ),
}
