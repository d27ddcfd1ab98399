"""Tables that people write: comma, semicolon or tab, UTF-8 (with or without BOM) or UTF-16."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
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
        pairs: the same in the order of the columns, of which several may have one name.
    """

    line: int
    cells: dict[str, str]
    pairs: tuple[tuple[str, str], ...]


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
        InputError: there is no such file, or it cannot be read, or is not text.
    """
    try:
        content = path.read_bytes()
        return content.decode("utf-16" if content.startswith(_UTF16) else "utf-8-sig")
    except FileNotFoundError:
        raise InputError.at(path, None, f"there is no such {what}") from None
    except IsADirectoryError:
        raise InputError.at(path, None, f"is a folder, not a {what}") from None
    except OSError as error:
        raise InputError.at(path, None, f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise InputError.at(
            path, None, f"is not UTF-8 text ({error.reason})", "save it as UTF-8 (in Excel: CSV UTF-8)"
        ) from None


def read_csv(path: Path, what: str, *, repeated: bool = False) -> CsvTable:
    """Read a table with a header.

    Args:
        path: the file.
        what: what it should be, for the error message.
        repeated: several columns may have one name.

    Raises:
        InputError: there is no such file, it is not text or not CSV, two columns have one name, or a row
            has more cells than the header.
    """
    return parse_csv(path, read_text(path, what), repeated=repeated)


def parse_csv(path: Path, text: str, *, repeated: bool = False, separator: str = "") -> CsvTable:
    """Parse the text of a table with a header; see `read_csv`.

    Args:
        path: the file, for messages.
        text: its content.
        repeated: several columns may have one name.
        separator: of the cells; empty for the commonest one in the header.
    """
    header = next((line for line in text_lines(text) if line.strip()), "")
    columns: tuple[str, ...] = ()
    rows = []
    for line, cells in csv_records(path, text, separator or max(_SEPARATORS, key=header.count)):
        stripped = tuple(cell.strip() for cell in cells)
        if not columns:
            columns = tuple(name.lower() for name in stripped)
            if not repeated:
                check_unique(path, line, columns)
            continue
        if len(cells) > len(columns):
            raise InputError.at(
                path,
                line,
                f"has {len(cells)} cells, the header has {len(columns)}",
                "quote cells that contain the separator",
            )
        filled = stripped + ("",) * (len(columns) - len(cells))
        pairs = tuple(zip(columns, filled, strict=True))
        rows.append(CsvRow(line, dict(pairs), pairs))
    return CsvTable(columns, tuple(rows))


def check_unique(path: Path, line: int, names: Sequence[str]) -> None:
    """Refuse a header in which two columns have one name: only one of them would be read.

    Raises:
        InputError: a name is repeated; columns without a name do not count.
    """
    twice = next((name for name, count in Counter(names).items() if name and count > 1), None)
    if twice is not None:
        raise InputError.at(path, line, f"has two columns {twice!r}", "rename or remove one of them")


def csv_records(
    path: Path, text: str, separator: str, *, skipinitialspace: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """Give the records of a CSV's text that are not blank, each with the line where it ends.

    Args:
        path: the file, for messages.
        text: its content; a quoted cell may hold line ends.
        separator: of the cells.
        skipinitialspace: blanks behind a separator are no part of the cell.

    Raises:
        InputError: a quotation mark is not closed, or a cell is longer than any that was meant.
    """
    lines = text_lines(text)
    # Within quotation marks the line that is added belongs to the last record, else it is a blank one.
    reader = csv.reader([*lines, "\n"], delimiter=separator, skipinitialspace=skipinitialspace)
    begins = 1
    try:
        for cells in reader:
            if cells and reader.line_num > len(lines):
                raise InputError.at(path, begins, "has a quotation mark that is not closed", "close it there")
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
            begins = reader.line_num + 1
    except csv.Error as error:
        raise InputError.at(path, begins, f"is not CSV: {error}", "fix that line") from None


def text_lines(text: str) -> list[str]:
    """Split a text at the ends of its lines, which it keeps.

    Only a line feed, a carriage return and both end a line; `str.splitlines` splits at eight other
    characters, which spreadsheet programs and editors leave within one.
    """
    return io.StringIO(text, newline="").readlines()
