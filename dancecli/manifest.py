"""Manifests: lists of records in Parquet, typed, written atomically, with a schema version.

The file's metadata carries `dance.table` and `dance.schema` (a whole number), and whatever
the writer adds. A file from a newer version is refused rather than misread.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from dancecli.core.errors import InputError, WorkspaceError
from dancecli.core.records import arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa
    from _typeshed import DataclassInstance

SCHEMA_VERSION = 1
_REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
Record = TypeVar("Record", bound="DataclassInstance")


def write(
    path: Path, record: type[Record], rows: Iterable[Record], meta: Mapping[str, str] | None = None
) -> None:
    """Write records as one Parquet file; the name appears only when the file is whole.

    Args:
        path: where; folders are made.
        record: the record class, which gives the columns.
        rows: the records.
        meta: further text to keep in the file's metadata, read back by `read_meta`.
    """
    import pyarrow.parquet as pq

    table = to_table(record, rows, meta)
    with atomic_file(path, "wb") as file:
        pq.write_table(table, file)


def to_table(record: type[Record], rows: Iterable[Record], meta: Mapping[str, str] | None = None) -> pa.Table:
    """Lay records out as an Arrow table with the manifest's metadata."""
    import pyarrow as pa

    schema, kept = arrow_schema(record), list(rows)
    # A column at a time, so that no more than one is held twice.
    arrays = [pa.array([getattr(row, field.name) for row in kept], type=field.type) for field in schema]
    stamp = {"dance.table": record.__name__, "dance.schema": str(SCHEMA_VERSION), **(meta or {})}
    return pa.Table.from_arrays(arrays, schema=schema.with_metadata(stamp))


def read(path: Path, record: type[Record]) -> list[Record]:
    """Read the records of a manifest.

    Raises:
        WorkspaceError: the file is missing or from a newer version.
        InputError: it is not Parquet, or not this table.
    """
    table = read_table(path, record)
    columns = [_values(column) for column in table.columns]
    return [record(*values) for values in zip(*columns, strict=True)]


def read_table(path: Path, record: type[Record], names: Sequence[str] = ()) -> pa.Table:
    """Read a manifest as an Arrow table, all columns or those named; see `read`."""
    import pyarrow.parquet as pq

    with _parquet_errors(path):
        table = pq.read_table(path, columns=list(names) or None)
    _check_stamp(path, record, table.schema)
    wanted = list(names) or [field.name for field in fields(record)]
    missing = [name for name in wanted if name not in table.column_names]
    if missing:
        raise InputError.at(path, None, f"lacks the column {missing[0]!r}", "remove it and run again")
    return table.select(wanted)


def _values(column: pa.ChunkedArray) -> list[Any]:
    """Give a column's cells as Python has them, one text for equal texts, lists as tuples."""
    cells: list[Any] = column.to_pylist()
    if str(column.type) == "string":
        # Labels and lists' names stand in hundreds of thousands of rows.
        known: dict[str, str] = {}
        return [known.setdefault(text, text) for text in cells]
    return [tuple(cell) for cell in cells] if str(column.type).startswith("list") else cells


def read_meta(path: Path) -> dict[str, str]:
    """Read what `write` was given as `meta`, with the manifest's own stamp.

    Raises:
        WorkspaceError: there is no such file.
        InputError: it is not Parquet, or no manifest of dance.
    """
    import pyarrow.parquet as pq

    with _parquet_errors(path):
        raw = pq.read_schema(path).metadata or {}
    if b"dance.table" not in raw:
        raise InputError.at(path, None, "holds no table of dance", "move it away and run again")
    return {key.decode(): value.decode() for key, value in raw.items() if not key.startswith(b"ARROW:")}


@contextmanager
def _parquet_errors(path: Path) -> Iterator[None]:
    """Say which file is missing or broken, and what to do."""
    import pyarrow as pa

    if not path.exists():
        raise WorkspaceError(f"{path}: there is no such manifest", "run the step that writes it again")
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError.at(
            path, None, f"is not a readable Parquet file ({error})", "remove it and run again"
        ) from None


def json_lines(path: Path) -> Iterator[Any]:
    """Read a log of JSON, a document a line; nothing if there is none.

    A line that is no JSON is passed over: a killed process, or a full disk, leaves such a one.
    """
    text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        yield row


@contextmanager
def atomic_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Write beside, fsync, rename: a reader sees the whole file or the one before.

    Args:
        path: the file's real name, given to it only if the block ends without an exception.
        mode: `w` (UTF-8, Unix line ends) or `wb`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        prefix=f".{path.name}.{_host()}.{os.getpid()}.", suffix=".tmp", dir=path.parent
    )
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    try:
        with naming(path):
            with os.fdopen(handle, mode, **text) as file:  # type: ignore[call-overload]
                yield file
            publish(Path(name), path)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let a disk that refuses bytes say of which file: the system names it when opening alone."""
    try:
        yield
    except OSError as error:
        if error.errno in _REFUSED and error.filename is None:
            error.filename = str(path)
        raise


def publish(temp: Path, path: Path) -> None:
    """Give a finished file its real name, durably: its bytes are on the disk before the name is.

    Both must be on one file system; the folder is made.
    """
    # mkstemp makes files private; a dataset is shared by a group, so the umask decides.
    umask = os.umask(0)
    os.umask(umask)
    temp.chmod(0o666 & ~umask)
    path.parent.mkdir(parents=True, exist_ok=True)
    _sync(temp)
    temp.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Put a file's bytes, or a folder's names, on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove what killed processes of this machine were writing in a folder."""
    for path in folder.glob(".*.tmp"):
        words = path.name.split(".")
        if len(words) > 4 and words[-4] == _host() and words[-3].isdecimal() and not _alive(int(words[-3])):
            path.unlink(missing_ok=True)


def _host() -> str:
    # Several machines may share the folder, and a process number means nothing on another one.
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _check_stamp(path: Path, record: type, schema: pa.Schema) -> None:
    meta = schema.metadata or {}
    table = meta.get(b"dance.table", b"").decode()
    if table != record.__name__:
        raise InputError.at(path, None, f"holds {table or 'no table of dance'!r}, not {record.__name__!r}")
    version = int(meta.get(b"dance.schema", b"0"))
    if version > SCHEMA_VERSION:
        raise WorkspaceError(
            f"{path}: written by a newer dance (schema {version}, this one reads {SCHEMA_VERSION})",
            "upgrade: pip install -U dancecli",
        )
