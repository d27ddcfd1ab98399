"""Manifests: lists of records in Parquet, typed, written atomically, with a schema version.

The file's metadata carries `dance.table` and `dance.schema` (a whole number), and whatever
the writer adds. A file from a newer version is refused rather than misread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dancecli.core.errors import InputError, WorkspaceError
from dancecli.core.records import arrow_schema

if TYPE_CHECKING:
    import pyarrow as pa
    from _typeshed import DataclassInstance
    from numpy.typing import NDArray
from dancecli.storage.files import atomic_file

SCHEMA_VERSION = 1
# Rows that are held and written at once.
PIECE = 1 << 13
Record = TypeVar("Record", bound="DataclassInstance")


def write(
    path: Path, record: type[Record], rows: Iterable[Record], meta: Mapping[str, str] | None = None
) -> None:
    """Write records as one Parquet file; the name appears only when the file is whole.

    No more than a piece of the rows is held.

    Args:
        path: where; folders are made.
        record: the record class, which gives the columns.
        rows: the records.
        meta: further text to keep in the file's metadata, read back by `read_meta`.
    """
    remaining = iter(rows)
    # Until there is none left.
    pieces = iter(lambda: list(islice(remaining, PIECE)), [])
    write_pieces(path, record, (to_table(record, piece) for piece in pieces), meta)


def write_pieces(
    path: Path,
    record: type[DataclassInstance],
    pieces: Iterable[pa.Table],
    meta: Mapping[str, str] | None = None,
) -> None:
    """Write Arrow tables of records as one Parquet file; the same rows in other pieces give the same bytes.

    Args:
        path: where; folders are made.
        record: the record class, which gives the columns.
        pieces: tables with its columns, of any length.
        meta: see `write`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = to_table(record, (), meta).schema
    with atomic_file(path, "wb") as file, pq.ParquetWriter(file, schema) as writer:
        left = schema.empty_table()
        for piece in pieces:
            left = pa.concat_tables([left, piece.replace_schema_metadata(schema.metadata)])
            while len(left) >= PIECE:
                writer.write_table(left.slice(0, PIECE).combine_chunks())
                left = left.slice(PIECE)
        if len(left):
            writer.write_table(left.combine_chunks())


def read_pieces(path: Path, record: type[DataclassInstance]) -> Iterator[pa.Table]:
    """Yield a manifest's rows as Arrow tables, in order; no more than a few thousand rows are held."""
    import pyarrow.parquet as pq

    names = [field.name for field in fields(record)]
    with _parquet_errors(path), pq.ParquetFile(path) as file:
        _check_stamp(path, record, file.schema_arrow)
        # Not iter_batches, which keeps all that it has read.
        for group in range(file.num_row_groups):
            piece = _with_defaults(path, record, file.read_row_group(group), names)
            yield piece.cast(arrow_schema(record))


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
    return [record(*values) for values in read_columns(path, record)]


def read_columns(path: Path, record: type[Record], names: Sequence[str] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a manifest as tuples, of all columns or those named; see `read`.

    No more than a piece of the table is held as Python objects.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = list(names) or [field.name for field in fields(record)]
    with _parquet_errors(path), pq.ParquetFile(path) as file:
        _check_stamp(path, record, file.schema_arrow)
        stored = [name for name in wanted if name in file.schema_arrow.names]
        for batch in file.iter_batches(batch_size=PIECE, columns=stored):
            piece = _with_defaults(path, record, pa.Table.from_batches([batch]), wanted)
            columns = [_values(column) for column in piece.columns]
            yield from zip(*columns, strict=True)


def read_table(path: Path, record: type[Record], names: Sequence[str] = ()) -> pa.Table:
    """Read a manifest as an Arrow table, all columns or those named; see `read`."""
    import pyarrow.parquet as pq

    # Not pq.read_table, which imports pandas: a quarter of a second.
    with _parquet_errors(path), pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        stored = [name for name in names if name in schema.names]
        table = file.read(columns=stored if names else None)
    _check_stamp(path, record, schema)
    return _with_defaults(path, record, table, list(names) or [field.name for field in fields(record)])


def _with_defaults(path: Path, record: type, table: pa.Table, wanted: Sequence[str]) -> pa.Table:
    """Give the columns in their order; one that an older version did not write has the default.

    Raises:
        InputError: a column is missing that has no default.
    """
    import pyarrow as pa

    defaults = {field.name: field.default for field in fields(record) if field.default is not MISSING}
    schema = arrow_schema(record)
    for name in wanted:
        if name in table.column_names:
            continue
        if name not in defaults:
            raise InputError.at(path, None, f"lacks the column {name!r}", "remove it and run again")
        column = pa.repeat(pa.scalar(defaults[name], schema.field(name).type), len(table))
        table = table.append_column(schema.field(name), column)
    return table.select(wanted)


def numbers(values: pa.Array) -> NDArray[Any]:
    """View numbers as an array, [n]; a missing one is NaN.

    Not `to_numpy`, which imports pandas: a quarter of a second.
    """
    import numpy as np

    return np.from_dlpack(values) if not values.null_count else np.array(values.to_pylist(), float)


def _values(column: pa.Array) -> list[Any]:
    """Return a column's cells as Python objects, one object for equal cells, lists as tuples."""
    cells: list[Any] = column.to_pylist()
    if str(column.type) in ("string", "double"):
        # Labels, and measures that are zero, are in hundreds of thousands of rows.
        known: dict[Any, Any] = {}
        return [known.setdefault(cell, cell) for cell in cells]
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
    except (pa.ArrowException, OSError) as error:
        # Some of its messages are of several lines.
        why = " ".join(str(error).split())
        raise InputError.at(
            path, None, f"is not a readable Parquet file ({why})", "remove it and run again"
        ) from None


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
