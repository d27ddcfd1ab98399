"""How much of what was asked for is still to be had: by class, as a table and a picture."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from dancecli.core.errors import WorkspaceError
from dancecli.core.records import OutcomeClass, Segment
from dancecli.report.statistics.intervals import wilson
from dancecli.storage import ledger, tables
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace

PENDING = "pending"
OUTCOMES = (*(outcome.value for outcome in OutcomeClass), PENDING)
# Colors that the color-blind can tell apart; what may still come is pale.
_COLORS = {
    "done": "#2a7f62",
    "source-short": "#e0a030",
    "corrupt": "#8c4a9e",
    "permanent": "#b3312c",
    "transient": "#9db4c8",
    "session": "#c5d2dd",
    "pending": "#e6e9ec",
}


@dataclass(frozen=True)
class ClassSurvival:
    """One class, or all of them.

    Attributes:
        label: its name; empty for all.
        counts: clips by outcome, `pending` for those never tried; they sum to those asked for.
    """

    label: str
    counts: dict[str, int]

    @property
    def num_asked(self) -> int:
        """Clips that were asked for."""
        return sum(self.counts.values())

    @property
    def num_settled(self) -> int:
        """Of these, those that are there or will not come."""
        return sum(self.counts[name] for name in ("done", "source-short", "corrupt", "permanent"))

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the share that is there, of those settled."""
        return wilson(self.counts["done"], self.num_settled) if self.num_settled else (0.0, 1.0)


def survival(workspace: Workspace) -> list[ClassSurvival]:
    """Count the segments that were ever requested: one row per class, by name, and one for all.

    Raises:
        WorkspaceError: nothing was asked for yet.
    """
    if not workspace.segments.exists():
        raise WorkspaceError(f"{workspace.root}: nothing was asked for yet", "run dance fetch first")
    latest = ledger.latest(workspace.root)
    counts: dict[str, Counter[str]] = {}
    for segment in tables.read(workspace.segments, Segment):
        known = latest.get(segment.clip_id)
        counts.setdefault(segment.label, Counter())[known.outcome.value if known else PENDING] += 1
    rows = [_row(label, counts[label]) for label in sorted(counts)]
    return [*rows, _row("", sum(counts.values(), Counter()))]


def write_survival(workspace: Workspace, rows: list[ClassSurvival]) -> Path:
    """Write `reports/survival/survival.csv` and `.png`, and give the picture's path."""
    folder = workspace.report("survival")
    with atomic_file(folder / "survival.csv") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["label", "asked", *OUTCOMES, "share_low", "share_high"])
        for row in rows:
            low, high = row.interval
            counts = (row.counts[name] for name in OUTCOMES)
            table.writerow([row.label or "all", row.num_asked, *counts, f"{low:.4f}", f"{high:.4f}"])
    picture = folder / "survival.png"
    _draw(picture, rows)
    return picture


def _row(label: str, counts: Counter[str]) -> ClassSurvival:
    return ClassSurvival(label, {name: counts[name] for name in OUTCOMES})


def _draw(path: Path, rows: list[ClassSurvival]) -> None:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [row.label or "all" for row in rows]
    with mpl.rc_context({"font.family": "DejaVu Sans", "font.size": 8, "text.usetex": False}):
        figure = Figure(figsize=(7.2, 1.1 + 0.24 * len(rows)), dpi=200, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        left = [0.0] * len(rows)
        for outcome, color in _COLORS.items():
            if not any(row.counts[outcome] for row in rows):
                continue
            widths = [100 * row.counts[outcome] / row.num_asked for row in rows]
            axes.barh(names, widths, left=left, color=color, height=0.78, label=outcome)
            left = [a + b for a, b in zip(left, widths, strict=True)]
        for place, row in enumerate(rows):
            text = f"{row.counts['done']}/{row.num_asked}"
            axes.text(101, place, text, va="center", color="#333333", fontsize=7)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlim(0, 100)
        axes.set_xlabel("% of the clips asked for")
        axes.tick_params(length=0)
        for edge in axes.spines.values():
            edge.set_visible(False)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper center", ncols=7, frameon=False, handlelength=1, fontsize=7
        )
        with atomic_file(path, "wb") as file:
            figure.savefig(file, format="png", metadata={"Software": None})
