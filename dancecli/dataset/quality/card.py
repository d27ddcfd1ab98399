"""The dataset card: Markdown with the header that Hugging Face reads.

See https://huggingface.co/docs/hub/datasets-cards. A card says nothing that was not counted.
"""

from __future__ import annotations

from collections.abc import Sequence

from dancecli.dataset.quality.stats import DatasetStats, LabelStats
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace

# Upper ends of the hub's size categories, with their names.
_SIZES = [(10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M")]

TERMS = """\
Annotations of Kinetics are CC BY 4.0 (Google). Let's Dance is offered for the research community to use,
without a licence text. The videos stay their uploaders', and YouTube's terms of service bar downloading
except as they permit: publish ids, times and labels freely, and the clips only where you may."""


def write_card(workspace: Workspace, stats: DatasetStats) -> None:
    """Write the card to `reports/dataset/README.md`."""
    with atomic_file(workspace.report("dataset") / "README.md") as file:
        file.write(card_text(stats))


def card_text(stats: DatasetStats) -> str:
    """Render the card."""
    return "\n".join([*header(stats.total.num_clips), *_summary(stats), *_labels(stats), *_origin(stats), ""])


def header(num_clips: int, more: Sequence[str] = ()) -> list[str]:
    """Write the header that the hub reads; `more` are lines of YAML for its end."""
    size = next((name for end, name in _SIZES if num_clips < end), "n>1M")
    return [
        "---",
        "license: other",
        "task_categories:",
        "- video-classification",
        "tags:",
        "- dance",
        "- action-recognition",
        "size_categories:",
        f"- {size}",
        *more,
        "---",
    ]


def _summary(stats: DatasetStats) -> list[str]:
    total, length, side = stats.total, stats.duration_s, stats.short_side
    lines = [
        "# Dance clips",
        "",
        f"{total.num_clips:,} clips of {len(stats.labels)} classes from {stats.num_videos:,} videos: "
        f"{total.seconds / 3600:.2f} hours, {total.num_bytes / 1e9:.2f} GB.",
        "",
        "| | smallest | median | largest |",
        "|---|---:|---:|---:|",
        f"| length, s | {length.low:.2f} | {length.middle:.2f} | {length.high:.2f} |",
        f"| short side, pixels | {side.low:.0f} | {side.middle:.0f} | {side.high:.0f} |",
        f"| frames per second | {stats.fps.low:.2f} | {stats.fps.middle:.2f} | {stats.fps.high:.2f} |",
        "",
        f"With sound: {stats.num_with_audio:,} of {total.num_clips:,}.",
    ]
    if stats.num_copies:
        lines.append(f"Augmented copies beside them, for training only: {stats.num_copies:,}.")
    if stats.split:
        parts = ", ".join(f"{count:,} {name}" for name, count in total.parts.items())
        lines += ["", f"Split `{stats.split}`: {parts}; hash `{stats.split_hash}`."]
    return lines


def _labels(stats: DatasetStats) -> list[str]:
    parts = list(stats.total.parts)
    head = ["class", "asked for", "there", "%", *parts, "hours"]
    lines = ["", "## Classes", "", row_of(head), row_of(["---"] + ["---:"] * (len(head) - 1))]
    rows = [*stats.labels, stats.total]
    return lines + [row_of(_label_cells(row, parts)) for row in rows]


def _label_cells(row: LabelStats, parts: list[str]) -> list[str]:
    counts = [f"{row.parts[part]:,}" for part in parts]
    share = f"{100 * row.survival:.1f}"
    there = [f"{row.num_segments:,}", f"{row.num_clips:,}", share]
    return [escaped(row.label) or "**all**", *there, *counts, f"{row.seconds / 3600:.2f}"]


def _origin(stats: DatasetStats) -> list[str]:
    lines = ["", "## Where they come from", "", "| list | clips |", "|---|---:|"]
    lines += [row_of([escaped(name) or "(not said)", f"{n:,}"]) for name, n in stats.datasets.items()]
    lines += ["", "| source | clips |", "|---|---:|"]
    lines += [row_of([escaped(name), f"{n:,}"]) for name, n in stats.sources.items()]
    lines += ["", "## What was asked for and what became of it", "", "| outcome | clips |", "|---|---:|"]
    lines += [row_of([name, f"{n:,}"]) for name, n in stats.outcomes.items()]
    if stats.reasons:
        lines += ["", "| reason | clips |", "|---|---:|"]
        lines += [row_of([escaped(name), f"{n:,}"]) for name, n in stats.reasons.items()]
    return [*lines, "", "## Terms", "", TERMS]


def row_of(cells: list[str]) -> str:
    """Write a row of a table."""
    return f"| {' | '.join(cells)} |"


def escaped(text: str) -> str:
    """Escape what would end a cell, or become markup: names come from lists and folders."""
    for mark in "\\|<>[]`*":
        text = text.replace(mark, "\\" + mark)
    return text.replace("\n", " ")
