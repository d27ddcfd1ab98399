"""Options that many commands share, so that they read and behave alike everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

WorkspaceOption = Annotated[
    Path | None,
    typer.Option(
        "--workspace",
        "-w",
        metavar="DIR",
        help="Folder of the dataset. [default: $DANCE_WORKSPACE, else the folder above with a dance.toml, "
        "else here]",
        show_default=False,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout; all talk goes to stderr.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")]
EngineOption = Annotated[
    str,
    typer.Option(
        metavar="local|ray",
        help="Where the work is done: local, processes of this machine; ray, the cores of a cluster (that of "
        "$RAY_ADDRESS, else one found on this machine, else one that is started here for it).",
    ),
]
FeatureEngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="local|ray",
        help="Where features that are stored are computed: local, here; ray, the cores of a cluster, which "
        "see the workspace under the same path.",
    ),
]
SplitOption = Annotated[
    str | None,
    typer.Option("--split", metavar="NAME", help="Name of the split. [default: the one made last]"),
]
FlowMethodOption = Annotated[
    str,
    typer.Option(
        metavar="dis|farneback|tvl1", help="Of a model of optical flow: how dance flow computed what it sees."
    ),
]
WorkersOption = Annotated[int, typer.Option(min=0, metavar="N", help="Processes. [0: one a core]")]
PretrainOption = Annotated[
    str, typer.Option(metavar="NAME|CONFIG", help="Model of the zoo, or the path of an MMAction2 config.")
]
RecipeOption = Annotated[
    str, typer.Option(metavar="NAME|FILE", help="How to train; the flags below win over it.")
]
FreezeOption = Annotated[
    str | None,
    typer.Option(metavar="STAGE", help="Last frozen stage: none, stem, 1, 2, 3, or 4 for all but the head."),
]
EpochsOption = Annotated[int | None, typer.Option(min=1, help="Passes over the training part.")]
LearningRateOption = Annotated[
    float | None, typer.Option(min=0, help="Learning rate, as it is for this batch.", show_default=False)
]
BatchOption = Annotated[int | None, typer.Option(min=1, help="Clips a step.")]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|none",
        help="A state dict or MMAction2 checkpoint to start from, or none. [default: the model's own]",
        show_default=False,
    ),
]
