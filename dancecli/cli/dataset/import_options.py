"""What `adopt` and `merge` share: the flags that say how files are taken in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dancecli.dataset.ingest.importer import ClipOutcomes

LinkOption = Annotated[
    bool, typer.Option("--link", help="Keep videos as they are, by link; they are only verified.")
]
AudioOption = Annotated[bool, typer.Option(help="Keep the sound of videos.")]


def lines_of(intake: ClipOutcomes) -> list[str]:
    """Say what became of the files."""
    lines = [f"{intake.outcomes['done']} clips are there, {intake.num_new} of them new"]
    if intake.reasons:
        lines.append("missing: " + ", ".join(f"{count} {why}" for why, count in intake.reasons.items()))
    return lines
