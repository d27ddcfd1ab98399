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
