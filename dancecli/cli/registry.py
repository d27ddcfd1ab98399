"""All commands with their one-line summaries; a command's module is imported when it is run.

`dance --help` lists this table and imports none of them: that is what keeps it fast. A test
holds each summary to the first line of the command's own help.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import typer
from typer.core import TyperCommand, TyperGroup

from dancecli.cli.settings import SettingsCommand


@dataclass(frozen=True)
class Entry:
    """A command's place in the overview.

    Attributes:
        panel: the heading it stands under.
        summary: its first line of help.
        settings_of: the command whose table of `dance.toml` it reads; empty for its own.
    """

    panel: str
    summary: str
    settings_of: str = ""


COMMANDS = {
    "demo": Entry("Start here", "Run the whole chain, offline, on a corpus it makes itself, to a report."),
    "status": Entry("Start here", "Say what this workspace holds, and what to type next."),
    "doctor": Entry("Start here", "Say what works on this machine, and what mends the rest."),
    "plan": Entry("Dataset", "Say what a fetch would be: clips, hours, gigabytes, survivors.", "fetch"),
    "fetch": Entry("Dataset", "Download the videos of the annotation lists and cut their clips."),
    "adopt": Entry("Dataset", "Take in clips that are already on disk."),
    "merge": Entry("Dataset", "Bring Let's Dance into the labels, by a reviewed map."),
    "dedup": Entry("Dataset", "Group the clips that look the same, so that split keeps them together."),
    "split": Entry("Dataset", "Divide the clips into train, val and test, by source video."),
    "augment": Entry("Dataset", "Make augmented copies of the training clips of a split."),
    "annotate": Entry("Dataset", "Write the MMAction2 lists of a split again."),
    "flow": Entry("Dataset", "Compute the optical flow of the clips, for models that look at motion."),
    "stats": Entry("Care", "Show the dataset in figures, and write its card and page."),
    "why": Entry("Care", "Tell why a clip is there or not: its whole history."),
    "audit": Entry("Care", "Look for leaks, label conflicts and changed files."),
    "verify": Entry("Care", "Check every file of a clip, and of its optical flow, against its checksum."),
    "export": Entry("Care", "Write a split in the form that another tool reads."),
    "finetune": Entry("Models", "Fine-tune a pre-trained model on a split."),
    "train": Entry("Models", "Train the two-stream Inception I3D, from scratch, ImageNet or Kinetics."),
    "evaluate": Entry(
        "Models", "Judge a run under other views or on another split, fuse runs, or judge a pre-trained head."
    ),
    "predict": Entry("Models", "Say what is danced in videos, and in long ones when."),
    "tune": Entry("Models", "Search the recipe that does best on the validation part."),
    "report": Entry("Reports", "Draw a run's page: accuracy, confusion, and what was run."),
    "compare": Entry("Reports", "Say whether one of two runs is better, and show where."),
    "board": Entry("Reports", "Set all runs side by side, with ties shown as ties."),
    "replay": Entry(
        "Reports", "Run the paper's experiments as published and under an honest protocol, side by side."
    ),
}


class LazyGroup(TyperGroup):
    """A group that shows every command from the table and loads only the one that runs."""

    def __init__(self, **attrs: object) -> None:
        super().__init__(**attrs)  # type: ignore[arg-type]
        for name, entry in COMMANDS.items():
            self.add_command(TyperCommand(name, help=entry.summary, rich_help_panel=entry.panel))

    def resolve_command(self, ctx, args):  # type: ignore[no-untyped-def]  # noqa: D102
        name, _, rest = super().resolve_command(ctx, args)
        return name, load(name) if name else None, rest


def load(name: str) -> SettingsCommand:
    """Import a command's module and build the command from its function `command`."""
    module = importlib.import_module(f"dancecli.cli.{name}")
    single = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    single.command(name, cls=SettingsCommand)(module.command)
    loaded = typer.main.get_command(single)
    assert isinstance(loaded, SettingsCommand)  # noqa: S101 - for the type checker; cls says so
    return loaded
