"""The options of `fetch` and `import` that say which clips are accepted, and how they are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dancecli.core.text import agreeing

if TYPE_CHECKING:
    from dancecli.dataset.ingest.importer import ClipOutcomes

if TYPE_CHECKING:
    from dancecli.dataset.cutting import ClipRules

MaxDamagedOption = Annotated[
    float,
    typer.Option(
        min=0, max=1, metavar="SHARE", help="Accept clips of which up to this share of frames is damaged."
    ),
]
MinLengthOption = Annotated[
    float, typer.Option(min=0, metavar="SECONDS", help="Refuse clips that are shorter than this.")
]
ExactOption = Annotated[
    bool,
    typer.Option(
        "--exact",
        help="Refuse clips whose length differs from what the list or the name says by over a frame.",
    ),
]
ShortSideOption = Annotated[
    int, typer.Option(min=16, metavar="PIXELS", help="Length of the clips' shorter side, an even number.")
]
CodecOption = Annotated[str, typer.Option(metavar="NAME", help="Codec of the clips: h264, hevc or av1.")]
KeepSourceOption = Annotated[
    bool, typer.Option("--keep-source", help="Keep the downloaded videos, in sources/ of the workspace.")
]


def rules_of(
    max_damaged: float,
    min_length: float,
    *,
    exact: bool,
    short_side: int,
    codec: str,
    keep_source: bool = False,
) -> ClipRules:
    """Build the rules from the flags.

    Raises:
        UsageError: a value is out of its range.
    """
    from dancecli.dataset.cutting import ClipRules
    from dancecli.video.ffmpeg import ClipFormat

    rules = ClipRules(max_damaged, min_length, exact, ClipFormat(short_side, codec), keep_source)
    rules.check()
    return rules


LinkOption = Annotated[
    bool,
    typer.Option("--link", help="Link the videos instead of encoding them; they are only validated."),
]
AudioOption = Annotated[bool, typer.Option(help="Keep the sound of the videos.")]


def outcome_lines(outcomes: ClipOutcomes) -> list[str]:
    """Tell what became of the clips, in lines."""
    lines = [f"{agreeing(outcomes.outcomes['done'], 'clip', 'is')} there, {outcomes.num_new} of them new"]
    if outcomes.reasons:
        lines.append("missing: " + ", ".join(f"{count} {why}" for why, count in outcomes.reasons.items()))
    return lines
