"""Tables for papers: LaTeX (booktabs), Markdown and CSV of a report, a comparison and a leaderboard. Pure."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dancecli.core.text import cell, percent, pluralize, points, size
from dancecli.report.results.comparison import Comparison
from dancecli.report.results.leaderboard import Leaderboard
from dancecli.report.statistics.significance import Accuracy

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#",
    "_": r"\_", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\u2013": "--", "\u2212": "$-$",
    "±": r"$\pm$",
}  # fmt: skip


class TableFormat(StrEnum):
    """What a table is written in."""

    LATEX = "latex"
    MARKDOWN = "markdown"
    CSV = "csv"


@dataclass(frozen=True)
class PaperTable:
    """A table: what it is of, its heads, and its rows as text; the first column is text, others figures.

    Attributes:
        bold: rows whose second column is set in bold: those that no other is significantly better than.
    """

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    bold: frozenset[int] = frozenset()


def write_table(table: PaperTable, form: TableFormat) -> str:
    """Write a table; it ends with a line end."""
    if form is TableFormat.CSV:
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows([table.heads, *table.rows])
        return file.getvalue()
    return _markdown(table) if form is TableFormat.MARKDOWN else _latex(table)


def _markdown(table: PaperTable) -> str:
    lines = [table.heads, ("---", *["---:"] * (len(table.heads) - 1))]
    for i, row in enumerate(table.rows):
        marked = [f"**{cell(v)}**" if i in table.bold and j == 1 else cell(v) for j, v in enumerate(row)]
        lines.append(tuple(marked))
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{text}\n\n{cell(table.caption)}\n"


def _latex(table: PaperTable) -> str:
    def row(values: Sequence[str], bold: bool = False) -> str:
        texts = [_escaped(v) for v in values]
        if bold and len(texts) > 1:
            texts[1] = rf"\textbf{{{texts[1]}}}"
        return " & ".join(texts) + r" \\"

    body = [row(values, i in table.bold) for i, values in enumerate(table.rows)]
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_escaped(table.caption)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(table.heads) - 1)}}}",
            r"\toprule",
            row(table.heads),
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def board_table(board: Leaderboard) -> PaperTable:
    """Lay out a leaderboard; entries that none is significantly better than are bold."""
    rows = [
        (
            row.name,
            _interval(row.top1),
            percent(row.top5.estimate.rate) if row.top5 else "\u2013",
            row.rank.replace("-", "\u2013"),
            size(row.params) if row.params else "\u2013",
            f"{row.gflops:.1f}" if row.gflops else "\u2013",
        )
        for row in board.rows
    ]
    return PaperTable(
        caption=f"Top-1 and top-5 accuracy in % on {pluralize(board.clips, 'test clip')} from "
        f"{pluralize(board.videos, 'video')} ({board.protocol}), with 95 % intervals by source video. "
        "Ranks count significant differences only (Holm, 5 %); bold: no entry is significantly better.",
        heads=("Run", "Top-1", "Top-5", "Rank", "Params", "GFLOPs"),
        rows=tuple(rows),
        bold=frozenset(i for i, row in enumerate(board.rows) if row.first_rank == 1),
    )


def compare_table(names: tuple[str, str], found: Comparison, subset: str) -> PaperTable:
    """Lay out a comparison: both accuracies, and their difference with its p."""
    paired = found.paired
    difference = f"{points(paired.difference)} [{points(paired.low)}, {points(paired.high)}]"
    return PaperTable(
        caption=f"Top-1 accuracy in % on the {subset} set of {pluralize(paired.n, 'clip')} from "
        f"{pluralize(paired.videos, 'video')}, with 95 % intervals.",
        heads=("Run", "Top-1", "p"),
        rows=(
            (names[0], _interval(found.first), ""),
            (names[1], _interval(found.second), ""),
            ("Difference", difference, f"{paired.p:.3g}"),
        ),
        bold=frozenset({2} if paired.shown else ()),
    )


def report_table(document: Mapping[str, Any], subset: str) -> PaperTable:
    """Lay out the classes of a run's `metrics.json`, or of a group's, with all clips in the last row."""
    part = document["subsets"][subset]
    name, n = document.get("run") or document["group"], part["n"]
    rows: list[tuple[str, ...]]
    if "runs" in part:
        rows = [
            (c["label"], str(c["n"]), _spread(c["recall"]), _spread(c["f1"]) if c["f1"] else "\u2013")
            for c in part["per_class"]
        ]
        low, high = part["method_interval"]
        total = f"{_spread(part['top1'])} [{percent(low)}, {percent(high)}]"
        heads: tuple[str, ...] = ("Class", "Clips", "Recall", "F1")
        rows.append(("All (top-1, macro F1)", str(n), total, _spread(part["macro_f1"])))
        note = "mean and standard deviation over seeds; the interval is over seeds and videos"
    else:
        heads = ("Class", "Clips", "Recall", "Precision", "F1")
        rows = [
            (c["label"], str(c["recall"]["n"]), *(_rate(c[key]) for key in ("recall", "precision", "f1")))
            for c in part["per_class"]
        ]
        rows.append(
            ("All (top-1, macro F1)", str(n), _rate(part["top1"]), "", _rate(part["macro_f1_by_video"]))
        )
        note = "with 95 % intervals by source video"
    return PaperTable(f"{name}: per-class results in % on the {subset} set, {note}.", heads, tuple(rows))


def controls_table(document: Mapping[str, Any]) -> PaperTable | None:
    """Lay out the controls of a run's `metrics.json`; None if it has none."""
    if not (controls := document.get("controls")):
        return None
    rows = []
    for one in controls:
        kept = one["survives"]
        share = "\u2013"
        if kept:
            share = f"{percent(kept['share'], 0)} [{percent(kept['low'], 0)}, {percent(kept['high'], 0)}]"
        figures = (_rate(one["under"]), _rate(one["intact"]), share)
        rows.append((one["control"], str(one["under"]["n"]), *figures, f"{one['p_adjusted']:.3g}"))
    return PaperTable(
        f"{document['run']}: top-1 accuracy in % on the test set under controls, and on the same clips "
        "intact, with 95 % intervals by source video. Survives: the share in % of what is above chance "
        f"({percent(controls[0]['chance'])} %) that is left; p is adjusted (Holm).",
        ("Control", "Clips", "Top-1", "Intact", "Survives", "p"),
        tuple(rows),
    )


def _interval(of: Accuracy) -> str:
    e = of.estimate
    return f"{percent(e.rate)} [{percent(e.low)}, {percent(e.high)}]"


def _rate(found: Mapping[str, Any]) -> str:
    if found["rate"] is None:
        return "\u2013"
    return f"{percent(found['rate'])} [{percent(found['low'])}, {percent(found['high'])}]"


def _spread(found: Mapping[str, Any]) -> str:
    sd = "" if found["sd"] is None else f" ± {percent(found['sd'])}"
    return f"{percent(found['mean'])}{sd}"
