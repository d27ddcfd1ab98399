"""Tables that people write: where their rows end, and what cannot be read as one."""

from __future__ import annotations

from pathlib import Path

import pytest

from dancecli.core.csv_files import parse_csv, text_lines
from dancecli.core.errors import InputError

HERE = Path("table.csv")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_rows_end_at_the_ends_of_lines_outside_quotes(end: str) -> None:
    text = end.join(["", "file,note", '"a.mp4","one', "", 'two"', "b.mp4,x\u2028y\x85z\x0bw", "", "c.mp4,"])
    table = parse_csv(HERE, text)
    assert [(row.line, row.cells["file"], row.cells["note"]) for row in table.rows] == [
        (5, "a.mp4", f"one{end}{end}two"),
        (6, "b.mp4", "x\u2028y\x85z\x0bw"),
        (8, "c.mp4", ""),
    ]


def test_lines_keep_their_ends() -> None:
    assert text_lines("a\nb\rc\r\nd\x0ce\u2029f") == ["a\n", "b\r", "c\r\n", "d\x0ce\u2029f"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('file,note\na,x\n"b,y\nc,z\n', r"table\.csv:3: has a quotation mark that is not closed"),
        ('file,note\na,x\nb,"y', r"table\.csv:3: has a quotation mark that is not closed"),
        ('file,note\n"b,y\n' + "c,z\n" * 50_000, r"table\.csv:2: is not CSV: field larger than field limit"),
        ("file,label,note,label\n", r"table\.csv:1: has two columns 'label'"),
        ("\nFile; file\n", r"table\.csv:2: has two columns 'file'"),
        ("file,label\na,b,c\n", r"table\.csv:2: has 3 cells, the header has 2"),
    ],
)
def test_what_would_lose_rows_or_cells_is_refused(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_csv(HERE, text)


def test_columns_without_a_name_are_no_columns_of_one_name() -> None:
    assert parse_csv(HERE, "file,,\na,,\n").columns == ("file", "", "")
