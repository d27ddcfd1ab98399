"""How lists of clips are written: separators, columns, times, ids and subset words, as people have them.

Everything here is pure; `sources.kinetics` reads annotation lists with it, `dataset.ingest` the
list of a folder of files.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from dancecli.core.records import VIDEO_ID, Subset

LABEL_COLUMNS = ("label", "class", "class_name", "category", "action", "activity", "labels")
ID_COLUMNS = (
    *("youtube_id", "video_id", "ytid", "yt_id", "youtube", "youtube_url", "video_url", "url", "link"),
    *("id", "video", "vid"),
)
# Seconds of a one; None where a name does not say, which is in seconds.
Unit = float | None
_MS = 0.001
START_COLUMNS: dict[str, Unit] = {
    **dict.fromkeys(("time_start", "start", "start_time", "begin", "t_start", "begin_time"), None),
    **dict.fromkeys(("start_s", "start_sec", "start_seconds", "time_start_s", "begin_s"), 1.0),
    **dict.fromkeys(("start_ms", "time_start_ms", "start_msec", "start_time_ms", "begin_ms"), _MS),
    **dict.fromkeys(("start_milliseconds", "start_millis"), _MS),
}
END_COLUMNS: dict[str, Unit] = {
    **dict.fromkeys(("time_end", "end", "end_time", "stop", "t_end", "stop_time"), None),
    **dict.fromkeys(("end_s", "end_sec", "end_seconds", "time_end_s", "stop_s"), 1.0),
    **dict.fromkeys(("end_ms", "time_end_ms", "end_msec", "end_time_ms", "stop_ms"), _MS),
    **dict.fromkeys(("end_milliseconds", "end_millis"), _MS),
}
SUBSET_COLUMNS = ("split", "subset", "set", "partition", "usage")
_DELIMITERS = (",", ";", "\t", "|")
# How Excel states the separator, in a line of its own above the header.
_STATED = re.compile(r"sep=(.)[\r\n]*", re.IGNORECASE)
# A title or two may stand above the header.
_HEADER_ROWS = 5
_DELIMITER_NAMES = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
# Longer is a typing error, not a video: a day.
_LONGEST_S = 86_400.0
# Seconds written without a unit that make a longer clip are most likely milliseconds.
_LONGEST_PLAIN_S = 1000.0
# A shorter clip is most likely one whose thousands were taken for decimals.
_SHORTEST_GROUPED_S = 0.1
_GROUPED = re.compile(r"\s*[1-9]\d{0,2}[.,]\d{3}\s*")
_CLOCK = re.compile(r"(?:(?P<h>\d{1,3}):)?(?P<m>\d{1,3}):(?P<s>\d{1,2}(?:[.,]\d*)?)")
_ADDRESS = re.compile(
    r"(?:https?://)?(?:[a-z]+\.)?(?:youtube(?:-nocookie)?\.com/"
    r"(?:watch\?(?:[^#]*&)?v=|embed/|shorts/|live/|v/)|youtu\.be/)(?P<id>[A-Za-z0-9_-]{11})(?![A-Za-z0-9_-]).*",
    re.IGNORECASE,
)
_SPREADSHEET = re.compile(
    r"[+-]?\d+(?:[.,]\d+)?E[+-]?\d+|#(?:NAME|REF|VALUE|NUM|DIV/0|N/A)[?!]?", re.IGNORECASE
)
# Before a number and behind no word, a hyphen or a minus is a sign; else it separates.
_SIGN = re.compile(r"(?<![^\s_(])[-\u2212](?=\d)")
# Symbols and a mark to Unicode: written as a hyphen and as apostrophes, and how an emoji is drawn.
_TELLS_NOTHING = frozenset("\u2212\u00b4`\ufe0f")
_PREFIXED_ID = re.compile(r"v_([A-Za-z0-9_-]{11})")


class RowError(ValueError):
    """One row of a list is wrong; the message says what, in words, without the place.

    Args:
        message: what is wrong.
        hint: what to do about it.
    """

    def __init__(self, message: str, hint: str = "correct the row, or remove it") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row of a list, or a file of a folder, that cannot be used.

    Attributes:
        file: the list or the folder.
        row: its line, or in JSON its entry, or in a folder its path.
        reason: what is wrong with it.
        hint: what to do about it.
    """

    file: str
    row: int | str
    reason: str
    hint: str = ""

    def __str__(self) -> str:
        place = (
            f"{self.file}:{self.row}: " if isinstance(self.row, int) else f"{self.file}: entry {self.row}: "
        )
        return place + self.reason


def column_name(text: str) -> str:
    """Reduce a column's name to what its spellings share: `Time Start`, `time_start`."""
    return re.sub(r"[\W_]+", "_", unicodedata.normalize("NFC", text).casefold()).strip("_")


def find_delimiter(header: str, known: Iterable[str]) -> str:
    """Choose the separator under which a header has most of the known columns; a comma if none has any."""
    names = set(known)

    def hits(delimiter: str) -> int:
        return len(names & {column_name(cell.strip().strip('"')) for cell in header.split(delimiter)})

    return max(_DELIMITERS, key=hits)


def stated_delimiter(line: str) -> str:
    """Give the separator that a line such as `sep=;` states; empty for any other line."""
    match = _STATED.fullmatch(line)
    return match[1] if match else ""


def find_header(
    lines: Iterable[str], known: Sequence[str], is_header: Callable[[Sequence[str]], bool]
) -> tuple[int, str] | None:
    """Find the line that names the columns, among the first five rows of a list.

    A title may stand above it, comments, and the separator as Excel states it. A header may be written as a
    comment.

    Args:
        lines: of the list.
        known: names of columns, by which the separator is told.
        is_header: tells whether the cells of a line name the columns.

    Returns:
        Its index, and the separator; None if there is none.
    """
    stated, rows, comments = "", list[tuple[int, str]](), list[tuple[int, str]]()
    for index, line in enumerate(lines):
        if one := stated_delimiter(line):
            stated = one
        elif line.strip():
            (comments if line.startswith("#") else rows).append((index, line))
        if len(rows) == _HEADER_ROWS:
            break
    for index, line in (*rows, *comments):
        delimiter = stated or find_delimiter(line, known)
        if is_header(line.split(delimiter)):
            return index, delimiter
    return None


def delimiter_name(delimiter: str) -> str:
    """Name a separator in words; empty for a comma."""
    return _DELIMITER_NAMES.get(delimiter, "")


def find_column(header: Sequence[str], names: Iterable[str]) -> int | None:
    """Find the first of these names among a header's columns; None if it has none of them."""
    return next((header.index(name) for name in names if name in header), None)


def read_times(start: object, end: object, units: tuple[Unit, Unit] = (None, None)) -> tuple[int, int]:
    """Read the two times of a row, as milliseconds.

    Args:
        start: a number, or a text such as `2`, `2.5`, `00:00:02`.
        end: the same.
        units: seconds of a one in each column.

    Raises:
        RowError: a time is missing or no time, they are not in order, or it cannot be told whether their
            points and commas are those of decimals or of thousands.
    """
    pair = []
    clock = False
    for value, column, unit in zip((start, end), ("time_start", "time_end"), units, strict=True):
        match = _CLOCK.fullmatch(value.strip()) if isinstance(value, str) else None
        if match:
            clock = True
            whole = 3600 * int(match["h"] or 0) + 60 * int(match["m"])
            seconds = whole + float(match["s"].replace(",", "."))
        elif unit == _MS and is_grouped(value):
            few_ms = read_number(value)
            raise RowError(
                f"{column} {short(value)} is {few_ms:g} or {1000 * few_ms:.0f} milliseconds",
                "write milliseconds without points and commas",
            )
        else:
            seconds = read_number(value) * (1.0 if unit is None else unit)
        # Also false for NaN.
        if not 0 <= seconds <= _LONGEST_S:
            raise RowError(f"{column} {short(value)} is not a time in seconds or HH:MM:SS")
        pair.append(seconds)
    if pair[1] <= pair[0]:
        raise RowError(f"time_end {short(end)} is not after time_start {short(start)}")
    length_s = round(pair[1] - pair[0], 6)
    if length_s < _SHORTEST_GROUPED_S and is_grouped(start) and is_grouped(end):
        raise RowError(
            f"{short(start)} to {short(end)} is a clip of {length_s:.3f} or of {1000 * length_s:.0f} s",
            "write thousands of seconds without points and commas",
        )
    if length_s > _LONGEST_PLAIN_S and units == (None, None) and not clock:
        raise RowError(
            f"{start} to {end} is a clip of {length_s:,.0f} s; are these milliseconds?",
            "name the columns start_ms and end_ms, or write a long clip's times as HH:MM:SS",
        )
    start_ms, end_ms = (round(seconds * 1000) for seconds in pair)
    return start_ms, max(end_ms, start_ms + 1)


def read_video_id(text: str) -> str:
    """Read an id: as it is, without blanks around it, out of a YouTube address, without ActivityNet's `v_`.

    Raises:
        RowError: it cannot be an id.
    """
    text = text.strip()
    if VIDEO_ID.fullmatch(text):
        match = _PREFIXED_ID.fullmatch(text)
        return match[1] if match else text
    if match := _ADDRESS.fullmatch(text):
        return match["id"]
    if _SPREADSHEET.fullmatch(text):
        raise RowError(
            f"video id {short(text)} was changed by a spreadsheet program",
            "import that column as text there, or take the id from the original list",
        )
    raise RowError(
        f"video id {short(text)} must consist of 1 to 64 letters, digits, '-' and '_'",
        "correct the id in the list, or remove the row",
    )


def read_subset(text: str) -> str | None:
    """Read a subset's name in any common spelling: `Training`, `validate`, `holdout_test`.

    Returns:
        `train`, `val` or `test`; empty for no subset; None for a word that is not known.
    """
    words = [word for word in re.split(r"[\W_\d]+", text.casefold()) if word]
    if not words or words in (["none"], ["nan"], ["na"]):
        return ""
    for word in words:
        if word.startswith("train") or word in ("trn", "tr"):
            return Subset.TRAIN.value
        if word.startswith(("val", "dev")) or word in ("cv", "minival"):
            return Subset.VAL.value
        if word.startswith("test") or word in ("tst", "holdout", "heldout", "holdouttest"):
            return Subset.TEST.value
    return None


def fold_label(name: str) -> str:
    """Reduce a label or a folder's name to what all its spellings share: `Tap_Dancing`, `tap dancing`.

    Blanks and punctuation separate words and are left out. Vowel signs, symbols (emoji, `+`) and the sign of
    a number tell labels apart. Names that differ by their Unicode form alone (a Mac's and others') are one.
    """
    # ASCII is the same in every form, and most names are ASCII.
    text = name if name.isascii() else unicodedata.normalize("NFC", name)
    parts = _SIGN.split(text.casefold())
    return "-".join("".join(filter(_tells_apart, part)) for part in parts) or text.strip()


def _tells_apart(character: str) -> bool:
    return unicodedata.category(character)[0] in "LNMS" and character not in _TELLS_NOTHING


def spellings_of(labels: Iterable[str]) -> Mapping[str, str]:
    """Give each label by its folded spelling; those that share one with another are left out."""
    found: dict[str, str] = {}
    shared = set()
    for label in labels:
        if found.setdefault(fold_label(label), label) != label:
            shared.add(fold_label(label))
    return {folded: label for folded, label in found.items() if folded not in shared}


def short(value: object) -> str:
    """Quote a value for a message, cut to one readable line."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def is_grouped(value: object) -> bool:
    """Tell whether a text's point or comma may stand for thousands as well as for decimals: `12,000`."""
    return isinstance(value, str) and _GROUPED.fullmatch(value) is not None


def read_number(value: object) -> float:
    """Read a number, with a decimal point or a comma; NaN if it is none."""
    try:
        return float(value)  # type: ignore[arg-type]
    except OverflowError:
        return math.inf
    except (TypeError, ValueError):
        pass
    if isinstance(value, str) and value.count(",") == 1:
        # A decimal comma, as in lists that are separated by semicolons.
        try:
            return float(value.replace(",", "."))
        except ValueError:
            pass
    return math.nan
