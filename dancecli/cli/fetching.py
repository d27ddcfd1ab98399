"""The flags that `fetch` and `plan` share: what is wanted, and where to look for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

AnnotationsOption = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE",
        help="Annotation list, CSV or JSON in any form of Kinetics; may be given several times. "
        "[default: the official archive of --edition, downloaded once]",
        show_default=False,
    ),
]
EditionOption = Annotated[
    str, typer.Option(metavar="NAME", help="Edition of Kinetics: 400, 600, 700 or 700-2020.")
]
LabelsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Label file, one a line; other rows are left out. [default: the 19 dance styles]",
        show_default=False,
    ),
]
LimitOption = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="At most N clips per class, always the same ones.")
]
UrlTemplateOption = Annotated[
    str,
    typer.Option(metavar="URL", help="Address of the videos, with {video_id} in it, in place of YouTube."),
]
SourceOption = Annotated[
    str | None,
    typer.Option(
        metavar="LIST",
        help="Where to look, in order, parted by commas: local, mirror, youtube. [default: local with "
        "--folder, mirror without --annotations, then youtube]",
        show_default=False,
    ),
]
FolderOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Clips or videos that are on disk, for --source local.", show_default=False
    ),
]
MirrorTemplateOption = Annotated[
    str,
    typer.Option(metavar="URL", help="Address of the mirror's tars, with {split} and {number} in it."),
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="Do the I-th of N parts of the work: one on each machine, without further ado.",
        show_default=False,
    ),
]
WorkersOption = Annotated[
    int, typer.Option(min=0, metavar="N", help="Processes that download and cut. [0: one a core]")
]
RateOption = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        help="Requests an hour, over all workers; 0 for no limit. "
        "[default: 300 at YouTube, a guest's rate; none with --url-template]",
        show_default=False,
    ),
]
RetryOption = Annotated[
    str,
    typer.Option(metavar="WHAT", help="Of earlier failures, try again: transient, permanent, all or none."),
]


def per_hour(rate: str | None) -> float | None:
    """Read `300` or `300/h`; None for what is not given."""
    if rate is None or not rate.strip():
        return None
    try:
        value = float(rate.strip().removesuffix("/h"))
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise typer.BadParameter(f"{rate!r} is not a number of requests an hour, such as 300 or 300/h")
    return value


def shard_of(text: str | None) -> tuple[int, int] | None:
    """Read `2/4`; None for what is not given."""
    if not text:
        return None
    i, slash, n = text.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal()):
        raise typer.BadParameter(f"{text!r} is not I/N, such as 2/4")
    return int(i), int(n)
