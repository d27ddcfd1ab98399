"""The dataset card: Markdown with the header that Hugging Face reads.

See https://huggingface.co/docs/hub/datasets-cards. A card states only what was counted.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from dancecli.dataset.quality.stats import DatasetStats, LabelStats
from dancecli.sources import MIRROR, YOUTUBE
from dancecli.sources.letsdance import DATASET
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace

# Upper ends of the hub's size categories, with their names.
_SIZES = [(10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M")]

_OF_KINETICS = "Annotations of Kinetics are CC BY 4.0 (Google)."
_OF_LETS_DANCE = "Let's Dance is offered for the research community to use, without a license text."
_OF_YOUTUBE = """\
The videos stay their uploaders', and YouTube's terms of service bar downloading except as they permit:
publish ids, times and labels freely, and the clips only where you may."""
_OF_FILES = "On what terms videos from files may be published is for their owners to say."


def write_card(workspace: Workspace, stats: DatasetStats) -> None:
    """Write the card to `reports/dataset/README.md`."""
    with atomic_file(workspace.report("dataset") / "README.md") as file:
        file.write(card_text(stats))


def card_text(stats: DatasetStats) -> str:
    """Render the card."""
    return "\n".join([*header(stats.total.num_clips), *_summary(stats), *_labels(stats), *_origin(stats), ""])


def header(num_clips: int, more: Sequence[str] = ()) -> list[str]:
    """Return the header that the hub reads; `more` are lines of YAML for its end."""
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
        "| | minimum | median | maximum |",
        "|---|---:|---:|---:|",
        f"| length, s | {length.low:.2f} | {length.middle:.2f} | {length.high:.2f} |",
        f"| short side, pixels | {side.low:.0f} | {side.middle:.0f} | {side.high:.0f} |",
        f"| frames per second | {stats.fps.low:.2f} | {stats.fps.middle:.2f} | {stats.fps.high:.2f} |",
        "",
        f"With sound: {stats.num_with_audio:,} of {total.num_clips:,}.",
    ]
    if stats.content:
        lines.append(f"Content: {', '.join(f'{n:,} {name}' for name, n in stats.content.items())} clips.")
    if stats.num_augmented:
        lines.append(f"Augmented clips in addition, for training only: {stats.num_augmented:,}.")
    if stats.split:
        subsets = ", ".join(f"{count:,} {name}" for name, count in total.subsets.items())
        of = f"{stats.folds} for cross-validation" if stats.folds else subsets
        lines += ["", f"Split `{stats.split}`: {of}; hash `{stats.split_hash}`."]
    return lines


def _labels(stats: DatasetStats) -> list[str]:
    subsets = list(stats.total.subsets)
    head = ["class", "requested", "available", "%", *subsets, "hours"]
    lines = ["", "## Classes", "", row_of(head), row_of(["---"] + ["---:"] * (len(head) - 1))]
    rows = [*stats.labels, stats.total]
    return lines + [row_of(_label_cells(row, subsets)) for row in rows]


def _label_cells(row: LabelStats, subsets: list[str]) -> list[str]:
    counts = [f"{row.subsets[subset]:,}" for subset in subsets]
    share = f"{100 * row.availability:.1f}"
    available = [f"{row.num_segments:,}", f"{row.num_clips:,}", share]
    return [escaped(row.label) or "**all**", *available, *counts, f"{row.seconds / 3600:.2f}"]


def _origin(stats: DatasetStats) -> list[str]:
    tables: list[tuple[str, str, Mapping[str, int]]] = [
        ("Origin", "annotation list", stats.datasets),
        ("", "source", stats.sources),
        ("Licenses and uploaders", "license", stats.licenses),
        ("", f"uploader (of {stats.num_uploaders:,})", stats.uploaders),
        ("Outcomes of the requested clips", "outcome", stats.outcomes),
        ("", "reason", stats.reasons),
        ("Notes on clips", "note", stats.notes),
    ]
    lines = []
    for title, column, counts in tables:
        if title and counts:
            lines += ["", f"## {title}"]
        if counts:
            lines += ["", row_of([column, "clips"]), "|---|---:|"]
            lines += [row_of([escaped(name) or "(not stated)", f"{n:,}"]) for name, n in counts.items()]
    return [*lines, "", "## Terms", "", *terms(stats.datasets, stats.sources)]


def terms(datasets: Collection[str], sources: Collection[str]) -> list[str]:
    """Return the terms of the annotation lists and sources that a dataset has, a line for each."""
    kinetics = any(name.startswith("kinetics") for name in datasets)
    lets_dance = DATASET in datasets
    youtube = kinetics or lets_dance or not {YOUTUBE, MIRROR}.isdisjoint(sources)
    known = ((kinetics, _OF_KINETICS), (lets_dance, _OF_LETS_DANCE), (youtube, _OF_YOUTUBE))
    return [text for there, text in known if there] or [_OF_FILES]


def row_of(cells: list[str]) -> str:
    """Return a row of a table."""
    return f"| {' | '.join(cells)} |"


def escaped(text: str) -> str:
    """Escape what would end a cell or become markup: names come from lists and folders."""
    for mark in "\\|<>[]`*":
        text = text.replace(mark, "\\" + mark)
    return text.replace("\n", " ")
