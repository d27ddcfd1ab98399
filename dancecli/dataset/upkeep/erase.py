"""Erase the traces of removed clips, store by store; doing it twice does no harm."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import DanceError
from dancecli.core.records import Clip, SplitClip, Subset
from dancecli.dataset.clips import forget_segments, rebuild_clips, remember_copies
from dancecli.dataset.upkeep.traces import TEXTS, Names, Traces, lock_files, texts_of
from dancecli.sources.kinetics import NEEDED
from dancecli.sources.list_format import RowError, read_times, read_video_id
from dancecli.storage import ledger, tables
from dancecli.storage.corrections import corrections_file, corrections_lock
from dancecli.storage.features import feature_folders, forget_entries
from dancecli.storage.files import atomic_file
from dancecli.storage.lockfile import split_digest, subset_digest
from dancecli.storage.removals import (
    clip_reference,
    is_reference,
    removals_file,
    video_of,
    video_reference,
)
from dancecli.storage.runs import RunFolder, read_record, write_record
from dancecli.storage.workspace import Workspace

if TYPE_CHECKING:
    import sqlite3

# What is not looked into for names: media, and what is stored by name elsewhere.
_NOT_SEARCHED = ("clips", "augmented", "flow", "pose", "trajectories", "sources", "cache", "tmp", ".locks")
# What may stand in front of a table that a spreadsheet program saved.
_MARK = "\ufeff"
_QUOTED = re.compile(rb'(?<=")[^"]*(?=")')
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def erase(workspace: Workspace, traces: Traces) -> list[Path]:
    """Erase everything that comes from removed clips; their tombstones are written already.

    Returns:
        Files that may still be about a clip, as they cannot be read: the user's own, or damaged ones.
    """
    root = workspace.root
    ledger.forget(root, traces.clip_ids)
    forget_segments(workspace, traces.clip_ids)
    rebuild_clips(workspace)
    if workspace.clips.exists():
        copies = (clip for clip in tables.read(workspace.clips, Clip) if clip.parent_id)
        remember_copies(workspace, [clip for clip in copies if clip.parent_id not in traces.clip_ids])
    # What belongs to a split goes before the split forgets the clip: after a kill it is found again.
    for name in (*traces.files, *traces.folders):
        _delete(root / name)
    restated = {name: _erase_from_split(workspace, name, traces) for name in traces.splits}
    for name in workspace.runs():
        _restate_run(workspace, name, restated)
    left = _erase_from_tables(root, traces)
    with corrections_lock(workspace):
        corrections = corrections_file(workspace)
        _erase_listed_rows(corrections, traces)
        if corrections.exists():
            # A clip that was cut from another one says so.
            _replace_names(corrections, traces)
    for folder in feature_folders(workspace):
        forget_entries(folder, traces.clip_ids)
    for folder in (root / "runs", root / "studies"):
        for path in texts_of(folder):
            _replace_names(path, traces)
    left += [path for path in sorted(root.glob("studies/*.db")) if not _renamed_in_database(path, traces)]
    return left


def _erase_from_tables(root: Path, traces: Traces) -> list[Path]:
    """Erase the clips from tables, logs, locks and lists; return the files that cannot be read."""
    # The folds of a run that was interrupted have tables of their own.
    scores = (path for folder in ("runs", "studies") for path in root.glob(f"{folder}/**/*.parquet"))
    stored = (*sorted(root.glob("manifests/*.parquet")), *sorted(scores))
    left = [path for path in stored if not _rows_erased(path, traces)]
    for path in sorted(root.glob("manifests/*.jsonl")):
        _erase_lines(path, traces)
    for path in lock_files(root):
        _restate_lock(path, traces)
    _erase_listed_rows(root / "left-out.csv", traces)
    left += [path for path in sorted(root.glob("manifests/*.csv")) if not _requests_erased(path, traces)]
    for path in sorted(root.glob("annotations/**/*.txt")):
        _erase_listed(path, traces)
    return left


def still_named(workspace: Workspace, traces: Traces) -> list[Path]:
    """Find the text files that name a clip, or a video that is gone: the user's own lists and notes."""
    names = Names(traces.clip_ids | traces.checksums | traces.gone_videos)
    found = list[Path]()
    for path in sorted(workspace.root.iterdir()):
        if path.name in _NOT_SEARCHED or path == removals_file(workspace):
            continue
        texts = texts_of(path) if path.is_dir() else (path,) if path.suffix in TEXTS else ()
        found += (text for text in texts if names.in_text(_as_utf8(text.read_bytes())))
    return found


def _as_utf8(content: bytes) -> bytes:
    """Return a text as UTF-8 if a spreadsheet program saved it as UTF-16."""
    return content.decode("utf-16", "replace").encode() if content.startswith(_UTF16) else content


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Hashes:
    """The hashes of a split as runs record them: of all of it, and of its test subset."""

    split: str
    test: str


def _erase_from_split(workspace: Workspace, name: str, traces: Traces) -> tuple[_Hashes, _Hashes]:
    """Drop the rows of a split and count them in its metadata; its hash is that of the remaining clips.

    Returns:
        Its hashes before and after.
    """
    path = workspace.split(name)
    meta, rows = tables.read_meta(path), tables.read(path, SplitClip)
    kept = [
        replace(row, group=video_reference(row.group)) if row.group in traces.gone_videos else row
        for row in rows
        if row.clip_id not in traces.clip_ids
    ]
    removed = Counter(json.loads(meta.get("split.removed", "{}")))
    removed.update(row.subset for row in rows if row.clip_id in traces.clip_ids)
    counts = Counter(row.subset for row in kept)
    meta |= {
        "split.removed": json.dumps({s.value: removed[s.value] for s in Subset if removed[s.value]}),
        "split.hash": split_digest(kept, json.loads(meta["split.labels"])),
        "split.original_hash": meta.get("split.original_hash", meta["split.hash"]),
        "split.counts": json.dumps({subset.value: counts[subset.value] for subset in Subset}),
    }
    before = _Hashes(tables.read_meta(path)["split.hash"], _test_digest(rows))
    tables.write(path, SplitClip, kept, meta)
    return before, _Hashes(meta["split.hash"], _test_digest(kept))


def _test_digest(rows: list[SplitClip]) -> str:
    return subset_digest((r.clip_id, r.sha256, r.label) for r in rows if r.subset == Subset.TEST)


def _restate_run(workspace: Workspace, name: str, restated: Mapping[str, tuple[_Hashes, _Hashes]]) -> None:
    """Give a run the hashes of the remaining clips, so that later runs are compared with it."""
    try:
        record = read_record(workspace, name)
    except DanceError:
        return
    split = record.get("split") or {}
    before, after = restated.get(split.get("name", ""), (None, None))
    if before is None or after is None or split.get("hash") != before.split:
        return
    new = {"hash": after.split}
    if split.get("test_hash") == before.test:
        new["test_hash"] = after.test
    meta = {"hash": "split.hash", "test_hash": "test.hash"}
    for path in RunFolder(workspace.run(name)).score_tables:
        _set_meta(path, {meta[key]: value for key, value in new.items()})
    write_record(RunFolder(workspace.run(name)), record | {"split": {**split, **new}})


def _set_meta(path: Path, changes: Mapping[str, str]) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    meta = {**(table.schema.metadata or {}), **{k.encode(): v.encode() for k, v in changes.items()}}
    _write_table(path, table.replace_schema_metadata(meta))


def _rows_erased(path: Path, traces: Traces) -> bool:
    """Drop the rows about the clips from a table that names clips, and groups named after them.

    Returns:
        False if it is no table that can be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except pa.ArrowInvalid:
        return False
    if "clip_id" not in table.column_names:
        return True
    kept = [not traces.about(name) for name in table.column("clip_id").to_pylist()]
    after = table.filter(pa.array(kept, pa.bool_()))
    if "group" in table.column_names:
        place = table.column_names.index("group")
        groups = after.column("group").to_pylist()
        renamed = [video_reference(g) if g in traces.gone_videos else g for g in groups]
        after = after.set_column(place, table.schema.field(place), pa.array(renamed, pa.string()))
    if not after.equals(table):
        _write_table(path, after)
    return True


def _write_table(path: Path, table: Any) -> None:
    import pyarrow.parquet as pq

    with atomic_file(path, "wb") as file:
        pq.write_table(table, file)


def _erase_lines(path: Path, traces: Traces) -> None:
    """Drop the lines of a log that name a clip; ids are quoted there, or followed by a dot."""
    # Most words are keys, which are shorter.
    shortest = min(len(clip_id) for clip_id in traces.clip_ids)
    words = re.compile(rf'"([\w-]{{{shortest},}})(?=([".]?))', re.ASCII)
    lines = _lines_of(path)
    _write_fewer(path, lines, [line for line in lines if not _names_clip(words.findall(line), traces)])


def _names_clip(words: Iterable[tuple[str, str]], traces: Traces) -> bool:
    """Return whether a word is a clip's id that ends as it should, or begins with one and `_`."""
    return any(
        (bool(end) and word in traces.clip_ids)
        or any(word[: mark.start()] in traces.clip_ids for mark in re.finditer("_", word))
        for word, end in words
    )


def _erase_listed(path: Path, traces: Traces) -> None:
    """Drop the lines of an annotation list (`clips/../CLIP.mp4 INDEX`) that are about a clip."""
    lines = _lines_of(path)
    kept = [line for line in lines if not traces.about(Path(line.rpartition(" ")[0]).name)]
    _write_fewer(path, lines, kept)


def _erase_listed_rows(path: Path, traces: Traces) -> None:
    """Drop the rows about the clips from a CSV; a file without the column `clip_id` stays as it is."""
    if not path.exists():
        return
    lines = _lines_of(path)
    try:
        rows = list(_rows_of(lines))
    except csv.Error:
        return
    kept = [text for text, cells in rows if not traces.about(cells.get("clip_id", ""))]
    _write_fewer(path, rows, kept)


def _requests_erased(path: Path, traces: Traces) -> bool:
    """Drop the clips from a list for `dance fetch`: that of `dance merge`, or one of the user's own.

    Returns:
        False if something stays that names the video of a clip, and cannot be read.
    """
    lines = _lines_of(path)
    videos = {video_of(clip_id) for clip_id in traces.clip_ids}
    try:
        rows = list(_rows_of(lines))
    except csv.Error:
        return not _names_one(videos, lines)
    if not any(set(NEEDED) <= cells.keys() for _, cells in rows[:1]):
        return True
    requested = [(text, _requested(cells)) for text, cells in rows[1:]]
    kept = [text for text, clip_id in requested if clip_id not in traces.clip_ids]
    _write_fewer(path, rows, [rows[0][0], *kept])
    return not _names_one(videos, (text for text, clip_id in requested if not clip_id))


def _requested(cells: Mapping[str, str]) -> str:
    """Return the clip that a row of a list requests; empty if it cannot be told."""
    _, video, start, end = (cells.get(column, "") for column in NEEDED)
    try:
        start_ms, end_ms = read_times(start, end)
        return f"{read_video_id(video)}_{start_ms}_{end_ms}"
    except RowError:
        return ""


def _names_one(videos: Collection[str], lines: Iterable[str]) -> bool:
    return any(not set(re.findall(r"[\w-]+", line)).isdisjoint(videos) for line in lines)


def _lines_of(path: Path) -> list[str]:
    """Read the lines of a text with their ends; bytes that are not UTF-8 become lone surrogates."""
    return list(io.StringIO(path.read_bytes().decode(errors="surrogateescape"), newline=""))


def _rows_of(lines: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the header and the rows of a CSV: each as it is written, and its cells by column.

    Raises:
        csv.Error: it is no CSV.
    """
    columns: list[str] = []
    begin = 0
    # A quote that is left open would make many rows one, to be dropped together.
    reader = csv.reader([line.removeprefix(_MARK) for line in lines], strict=True)
    for cells in reader:
        columns = columns or cells
        yield "".join(lines[begin : reader.line_num]), dict(zip(columns, cells, strict=False))
        begin = reader.line_num


def _write_fewer(path: Path, before: Sized, kept: Sequence[str]) -> None:
    """Write the lines that are kept, byte for byte, if any is not."""
    if len(kept) < len(before):
        _write_text(path, "".join(kept))


def _write_text(path: Path, text: str) -> None:
    with atomic_file(path, "wb") as file:
        file.write(text.encode(errors="surrogateescape"))


def _restate_lock(path: Path, traces: Traces) -> None:
    """Put references in the place of the clips in a lock; a file without `clip_id` stays as it is."""
    lines = _lines_of(path)
    text = "".join(lines)
    rows = csv.DictReader(io.StringIO(text.removeprefix(_MARK), newline=""), restval="")
    try:
        columns, before = list(rows.fieldnames or ()), list(rows)
    except csv.Error:
        return
    if "clip_id" not in columns:
        return
    after = sorted(
        (_as_reference(row, traces) for row in before), key=lambda row: is_reference(row["clip_id"])
    )
    if after == before:
        return
    written = io.StringIO(newline="")
    writer = csv.DictWriter(written, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(after)
    _write_text(path, (_MARK if text.startswith(_MARK) else "") + written.getvalue())


def _as_reference(row: dict[str, str], traces: Traces) -> dict[str, str]:
    """Return the row of a lock that stands for a removed clip."""
    group = video_reference(row["group"]) if row.get("group") in traces.gone_videos else row.get("group", "")
    if row["clip_id"] in traces.clip_ids:
        return {**row, "clip_id": clip_reference(row["clip_id"]), "group": "", "sha256": ""}
    return {**row, "group": group}


def _replace_names(path: Path, traces: Traces) -> None:
    """Put references in the place of ids in a text, and empty the checksums."""
    content = path.read_bytes()
    after = _with_references(content, traces)
    if after != content:
        with atomic_file(path, "wb") as file:
            file.write(after)


def _renamed_in_database(path: Path, traces: Traces) -> bool:
    """Do the same in the database of a study: the error of a failed trial may name a clip.

    Returns:
        False if it is no database that can be read and written.
    """
    import sqlite3

    try:
        with closing(sqlite3.connect(path)) as database:
            _replace_names_in(database, traces)
    except sqlite3.DatabaseError:
        return False
    return True


def _replace_names_in(database: sqlite3.Connection, traces: Traces) -> None:
    changed = False
    for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        for (column,) in database.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall():
            texts = f"""SELECT rowid, "{column}" FROM "{table}" WHERE typeof("{column}") = 'text'"""  # noqa: S608
            for row, text in database.execute(texts).fetchall():
                after = _with_references(text.encode(), traces).decode()
                if after != text:
                    update = f"""UPDATE "{table}" SET "{column}" = ? WHERE rowid = ?"""  # noqa: S608
                    database.execute(update, (after, row))
                    changed = True
    database.commit()
    if changed:
        # Else the old text would stay in the file's free pages.
        database.execute("VACUUM")


def _with_references(content: bytes, traces: Traces) -> bytes:
    after = traces.names.replace(content, lambda name: _reference_for(name, traces))
    return _QUOTED.sub(lambda match: _video_for(match[0], traces), after) if traces.gone_videos else after


def _video_for(quoted: bytes, traces: Traces) -> bytes:
    text = quoted.decode(errors="replace")
    return video_reference(text).encode() if text in traces.gone_videos else quoted


def _reference_for(name: bytes, traces: Traces) -> bytes:
    text = name.decode()
    return clip_reference(text).encode() if text in traces.clip_ids else b""
