"""Tables that people write: comma, semicolon or tab, UTF-8 (with or without BOM) or UTF-16."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dancecli.core.errors import InputError

_SEPARATORS = ",;\t"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class CsvRow:
    """A row of a table.

    Attributes:
        line: where it ends in the file, counted from 1.
        cells: the text of each column, stripped, by the column's name.
    """

    line: int
    cells: dict[str, str]


@dataclass(frozen=True, slots=True)
class CsvTable:
    """A table with a header.

    Attributes:
        columns: the header, in lower case and stripped.
        rows: the rows below it; blank ones are left out.
    """

    columns: tuple[str, ...]
    rows: tuple[CsvRow, ...]

    def first_of(self, names: Sequence[str]) -> str:
        """Return the first of these columns that the table has; empty if it has none."""
        return next((name for name in names if name in self.columns), "")


def read_text(path: Path, what: str) -> str:
    """Read a text file in UTF-8, with or without BOM, or in UTF-16 with BOM.

    Args:
        path: the file.
        what: what it should be, for the error message, such as `group file`.

    Raises:
        InputError: there is no such file, or it is not text.
    """
    try:
        content = path.read_bytes()
        return content.decode("utf-16" if content.startswith(_UTF16) else "utf-8-sig")
    except FileNotFoundError:
        raise InputError.at(path, None, f"there is no such {what}") from None
    except IsADirectoryError:
        raise InputError.at(path, None, f"is a folder, not a {what}") from None
    except UnicodeDecodeError as error:
        raise InputError.at(path, None, f"is not UTF-8 text ({error.reason})", "save it as UTF-8") from None


def read_csv(path: Path, what: str) -> CsvTable:
    """Read a table with a header.

    Raises:
        InputError: there is no such file, it is not text, or a row has more cells than the header.
    """
    return parse_csv(path, read_text(path, what))


def parse_csv(path: Path, text: str) -> CsvTable:
    """Parse the text of a table with a header; see `read_csv`."""
    lines = text.splitlines()
    header = next((line for line in lines if line.strip()), "")
    separator = max(_SEPARATORS, key=header.count)
    reader = csv.reader(lines, delimiter=separator)
    columns: tuple[str, ...] = ()
    rows = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if not columns:
                columns = tuple(cell.strip().lower() for cell in cells)
                continue
            if len(cells) > len(columns):
                raise InputError.at(
                    path,
                    reader.line_num,
                    f"has {len(cells)} cells, the header has {len(columns)}",
                    "quote cells that contain the separator",
                )
            filled = [*(cell.strip() for cell in cells), *[""] * (len(columns) - len(cells))]
            rows.append(CsvRow(reader.line_num, dict(zip(columns, filled, strict=True))))
    except csv.Error as error:
        raise InputError.at(path, reader.line_num, f"is not CSV: {error}", "fix that line") from None
    return CsvTable(columns, tuple(rows))
