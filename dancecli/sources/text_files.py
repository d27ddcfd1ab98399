"""Text files as people have them: UTF-8 with and without a mark, UTF-16, gzipped."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dancecli.core.errors import InputError

_GZIP_MAGIC = b"\x1f\x8b"
_PEEKED = 4096


@contextmanager
def open_text(path: Path, what: str) -> Iterator[tuple[io.TextIOWrapper, list[str]]]:
    """Open a text file for `csv`, in whatever form it was saved.

    Bytes that are not in the encoding come as lone surrogates, so that one bad row is one bad row.

    Args:
        path: the file.
        what: what it should be, for messages, such as `annotation file`.

    Returns:
        The text, with its line ends as they are; and what was inferred about the file, as phrases.

    Raises:
        InputError: the file is missing, is a folder, or is a broken gzip file.
    """
    try:
        with path.open("rb") as raw:
            notes = []
            buffered = raw
            if raw.peek(2)[:2] == _GZIP_MAGIC:
                notes.append("gzip")
                buffered = io.BufferedReader(gzip.GzipFile(fileobj=raw))
            encoding = _encoding_of(buffered.peek(_PEEKED)[:_PEEKED])
            if encoding != "utf-8-sig":
                notes.append("UTF-16")
            yield io.TextIOWrapper(buffered, encoding, errors="surrogateescape", newline=""), notes
    except FileNotFoundError:
        raise InputError.at(path, None, f"there is no such {what}") from None
    except IsADirectoryError:
        raise InputError.at(path, None, f"is a folder, not an {what}") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError.at(
            path, None, f"is a broken gzip file ({error})", "download or compress it again"
        ) from None
    except UnicodeDecodeError as error:
        raise InputError.at(
            path,
            None,
            f"is not {error.encoding} text ({error.reason})",
            "save it as UTF-8 (in Excel: CSV UTF-8)",
        ) from None


def is_text(value: str) -> bool:
    """Tell whether a value was text in the file's encoding, without a byte that was not."""
    # Most values are ASCII, which costs nothing to tell.
    return value.isascii() or not any("\udc80" <= character <= "\udcff" for character in value)


def _encoding_of(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    # Without a mark: half of the bytes of ASCII text in UTF-16 are zero.
    if (len(head) >= 4 and len(head) % 2 == 0) or len(head) == _PEEKED:
        even, odd = head[0::2].count(0), head[1::2].count(0)
        if odd > len(head) // 4 and even == 0:
            return "utf-16-le"
        if even > len(head) // 4 and odd == 0:
            return "utf-16-be"
    return "utf-8-sig"
