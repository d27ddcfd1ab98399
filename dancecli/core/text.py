"""How figures are written: percentages, sizes, durations, counts; and names of files."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dancecli.core.hashing import sha256_text

# Bytes that are no UTF-8, as Python has them in a name, and what ends a line.
_NO_TEXT = re.compile("[\ud800-\udfff\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Letters of Latin script that Unicode does not take apart into one of ASCII and a mark.
_LETTERS = str.maketrans(
    {
        **{"ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "þ": "th", "Þ": "Th"},
        **{"ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "\u0131": "i"},
    }
)
# Of a name that stands in a path.
_MOST_LETTERS = 60
# Of what a library says in an error.
_LONGEST_REASON = 200


def in_ascii(text: str) -> str:
    """Write Latin letters without their marks, and leave out what no letter of ASCII stands for."""
    return unicodedata.normalize("NFKD", text.translate(_LETTERS)).encode("ascii", "ignore").decode()


def cell(text: object) -> str:
    """Put a text on one line of Markdown, so that it can neither end a table's cell nor be read as HTML."""
    plain = " ".join(str(text).split()).replace("\\", "\\\\").replace("|", "\\|")
    return plain.replace("<", "\\<")


def shown(path: Path | str) -> str:
    """Write a path as text on one line, whatever its bytes are."""
    text = os.fsencode(path).decode(errors="backslashreplace")
    return _NO_TEXT.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def without_dots(path: Path) -> Path:
    """Give the path of the same file without `..`; behind a link to a folder, `..` leads elsewhere."""
    if ".." not in path.parts:
        return path
    found = Path()
    for part in path.absolute().parts:
        if part != "..":
            found /= part
            continue
        above = Path(os.path.realpath(found)).parent
        # Links on the way stay, as the user has them.
        found = found.parent if Path(os.path.realpath(found.parent)) == above else above
    return found


def percent(rate: float | None, digits: int = 1) -> str:
    """Write a rate as per cent."""
    return "\u2013" if rate is None else f"{100 * rate:.{digits}f}"


def points(difference: float, digits: int = 1) -> str:
    """Write a difference of rates in points, with its sign; zero has none."""
    text = f"{abs(100 * difference):.{digits}f}"
    sign = "" if float(text) == 0 else "+" if difference > 0 else "\u2212"
    return sign + text


def gap(one: float, other: float) -> str:
    """Write how far two rates lie apart in points, with a word where the rates as written seem to differ."""
    text = f"{100 * abs(one - other):.1f}"
    written = f"{abs(float(percent(one)) - float(percent(other))):.1f}"
    return f"{text} points" if text == written else f"{text} points before rounding"


def first_line(error: BaseException) -> str:
    """Write the first line of an error of somebody else's, or its type if it says nothing; shortened."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:_LONGEST_REASON]


def pluralize(count: int, noun: str) -> str:
    """Write a count with its noun."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{count:,} {noun if count == 1 else plural}"


def first_of(texts: Sequence[str], most: int = 10) -> str:
    """Join texts by commas; of more than `most` the first ones, and how many more there are."""
    more = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {more:,} more" if more > 0 else "")


_PLURAL_VERBS = {"is": "are", "has": "have", "was": "were"}


def agreeing(count: int, noun: str, verb: str) -> str:
    """Write a count with its noun and its verb (`is`, `has` or `was`): `1 clip is`, `2 clips are`."""
    return f"{pluralize(count, noun)} {verb if count == 1 else _PLURAL_VERBS[verb]}"


def size(count: int) -> str:
    """Write a number of parameters: in millions from a million on."""
    return f"{count / 1e6:.1f} M" if count >= 1_000_000 else f"{count:,}"


def file_size(num_bytes: int) -> str:
    """Write the size of files: `1.2 GB`, `340 MB`, `12 kB`."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= size:
            shown = num_bytes / size
            return f"{shown:.1f} {unit}" if shown < 10 else f"{shown:.0f} {unit}"
    return f"{num_bytes} bytes"


def rate(per_second: float, noun: str) -> str:
    """Write a rate: `2.5 clips/s`, or `25 s per clip` where the former would round to 0.0."""
    if 0 < per_second < 0.05:
        return f"{1 / per_second:.0f} s per {noun}"
    return f"{per_second:.1f} {noun}s/s"


def time_words(seconds: float) -> str:
    """Write a time that nobody knows to the second: `40 s`, `12 min`, `3 h 05 min`, `4 days`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes < 48 * 60 else f"{minutes / 1440:,.0f} days"


def duration(seconds: Any) -> str:
    """Write a time in hours, minutes or seconds; empty for what is no number."""
    if not isinstance(seconds, int | float):
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def slug(name: str) -> str:
    """Turn any name into one that may stand in a path: letters, digits, `.`, `_` and `-` of ASCII."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", in_ascii(name)).strip("-.")[:_MOST_LETTERS]
    # Of a name in another script nothing is left, or its ending.
    nothing = plain in ("", Path(name).suffix[1:])
    return sha256_text(name)[:8] if nothing else plain


def unique_slugs(names: Sequence[str]) -> Iterator[str]:
    """Give each name a slug of its own, in order; on no file system are two of them the same."""
    taken: set[str] = set()
    for name in names:
        stem, found, n = slug(name), slug(name), 1
        while found.casefold() in taken:
            n += 1
            found = f"{stem}-{n}"
        taken.add(found.casefold())
        yield found
