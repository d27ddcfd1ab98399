"""What `import` and `merge` share: the flags that tell how clips are made of files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dancecli.dataset.ingest.importer import ClipOutcomes

LinkOption = Annotated[
    bool,
    typer.Option("--link", help="Link the videos instead of encoding them; they are only validated."),
]
AudioOption = Annotated[bool, typer.Option(help="Keep the sound of the videos.")]


def outcome_lines(outcomes: ClipOutcomes) -> list[str]:
    """Tell what became of the clips, in lines."""
    lines = [f"{outcomes.outcomes['done']} clips are there, {outcomes.num_new} of them new"]
    if outcomes.reasons:
        lines.append("missing: " + ", ".join(f"{count} {why}" for why, count in outcomes.reasons.items()))
    return lines
