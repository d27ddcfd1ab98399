"""Tables for papers: what they hold, and that nothing in them breaks the format."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import pytest
from helpers.builders import Ran
from helpers.fake_run import make_run

from dancecli.report.results.paper_tables import PaperTable, TableFormat, write_table
from dancecli.storage.workspace import Workspace

HOSTILE = PaperTable(
    "50 % of a_b & c",
    ("Run", "Top-1"),
    (("a|b_c & {d} \\ ~^#$", "1 ± 2"), ("plain", "\u2212 3\u20135")),
    frozenset({1}),
)


def test_latex_escapes_what_it_would_read_as_commands() -> None:
    text = write_table(HOSTILE, TableFormat.LATEX)
    assert r"a|b\_c \& \{d\} \textbackslash{} \textasciitilde{}\textasciicircum{}\#\$ & 1 $\pm$ 2 \\" in text
    assert r"plain & \textbf{$-$ 3--5} \\" in text
    assert r"\caption{50 \% of a\_b \& c}" in text
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule") == 1


def test_markdown_and_csv_keep_their_cells() -> None:
    lines = write_table(HOSTILE, TableFormat.MARKDOWN).splitlines()
    assert lines[2].startswith("| a\\|b_c & {d}")
    assert lines[3] == "| plain | **\u2212 3\u20135** |"
    rows = list(csv.reader(io.StringIO(write_table(HOSTILE, TableFormat.CSV))))
    assert rows == [list(HOSTILE.heads), *map(list, HOSTILE.rows)]


@pytest.mark.parametrize("form", ["latex", "markdown", "csv"])
def test_the_commands(workspace: Workspace, dance: Callable[..., Ran], form: str) -> None:
    labels = ("wave", "spin", "bounce", "robot", "kick", "step_touch")
    for name, skill in (("good-1", 4.0), ("poor-1", 0.5)):
        make_run(workspace.root, labels, test=60, name=name, skill=skill, salt=name)
    board = dance("board", f"--{form}").out
    assert "good-1" in board
    compared = dance("compare", "good-1", "poor-1", f"--{form}").out
    assert "Difference" in compared
    told = dance("report", "--run", "good-1", f"--{form}").out
    assert ("step\\_touch" if form == "latex" else "step_touch") in told
    if form == "csv":
        assert dance("board", "--csv", "--latex").code == 2
