"""Options shared by several commands, so that they read and behave alike everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def table_format(*, latex: bool, markdown: bool, csv: bool) -> str:
    """Give the format of a table for a paper that was asked for; empty for none.

    Raises:
        BadParameter: more than one was.
    """
    asked = [name for name, wanted in (("latex", latex), ("markdown", markdown), ("csv", csv)) if wanted]
    if len(asked) > 1:
        raise typer.BadParameter(f"--{asked[0]} and --{asked[1]} exclude each other: choose one")
    return asked[0] if asked else ""


WorkspaceOption = Annotated[
    Path | None,
    typer.Option(
        "--workspace",
        "-w",
        metavar="DIR",
        help="Workspace folder of the dataset. [default: $DANCE_WORKSPACE, else the nearest parent folder "
        "with a dance.toml, else the current folder]",
        show_default=False,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout; messages go to stderr.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be done without writing anything.")
]
LatexOption = Annotated[
    bool, typer.Option("--latex", help="Print the table as LaTeX (booktabs), for a paper.")
]
MarkdownOption = Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print the table as CSV.")]
FiguresOption = Annotated[
    bool,
    typer.Option(
        "--figures", help="Draw every chart as PDF and SVG at the width of a column too, into figures/."
    ),
]
EngineOption = Annotated[
    str,
    typer.Option(
        metavar="local|ray",
        help="Engine that runs the jobs: local uses processes on this machine; ray uses the cores of a "
        "cluster (the one at $RAY_ADDRESS, else one running on this machine, else one that is started "
        "for the command).",
    ),
]
FeatureEngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="local|ray",
        help="Engine that computes cached features: local uses this machine; ray uses the cores of a "
        "cluster, whose nodes must see the workspace under the same path.",
    ),
]


def _known_decoder(value: str) -> str:
    from dancecli.model.dataloading.decoding.choice import check_decoder

    check_decoder(value)
    return value


DecoderOption = Annotated[
    str,
    typer.Option(
        "--decoder",
        callback=_known_decoder,
        metavar="auto|ffmpeg|torchcodec",
        help="Decoder: auto uses torchcodec on a GPU where it is installed and gives ffmpeg's frames within "
        "2 of 255, else ffmpeg.",
    ),
]
SplitOption = Annotated[
    str | None,
    typer.Option("--split", metavar="NAME", help="Name of the split. [default: the latest]"),
]
RunSplitOption = Annotated[
    str | None,
    typer.Option(
        "--split", metavar="NAME", help="Name of the split. [default: that of the run, else the latest]"
    ),
]
FlowMethodOption = Annotated[
    str,
    typer.Option(
        metavar="dis|farneback|tvl1",
        help="Method by which dance flow computed the optical flow that a flow model reads.",
    ),
]
WorkersOption = Annotated[
    int, typer.Option(min=0, metavar="N", help="Number of worker processes; 0 uses one per core.")
]
PretrainOption = Annotated[
    str,
    typer.Option(
        metavar="NAME|CONFIG|hf:REPO@REVISION",
        help="Pre-trained model: a name in the model zoo, the path of an MMAction2 config, or a model of the "
        "Hugging Face Hub at a pinned revision (also a folder: hf:./FOLDER).",
    ),
]
RecipeOption = Annotated[
    str,
    typer.Option(
        metavar="NAME|FILE",
        help="Training recipe: the name of a built-in recipe or a TOML file; other options override it.",
    ),
]
FreezeOption = Annotated[
    str | None,
    typer.Option(
        metavar="STAGE",
        help="Last frozen stage of the backbone: none, stem, 1, 2, 3, or 4 for all but the head.",
    ),
]
EpochsOption = Annotated[int | None, typer.Option(min=1, help="Number of training epochs.")]
LearningRateOption = Annotated[
    float | None,
    typer.Option(min=0, help="Learning rate for this batch size; it is not rescaled.", show_default=False),
]
BatchOption = Annotated[int | None, typer.Option(min=1, help="Batch size in clips per optimizer step.")]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|none",
        help="Checkpoint to start from (a state dict or MMAction2 checkpoint), or none for random "
        "initialization. [default: the model's pre-trained weights]",
        show_default=False,
    ),
]
