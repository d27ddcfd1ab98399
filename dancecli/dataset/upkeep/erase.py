"""Erase the traces of removed clips, store by store; doing it twice does no harm."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import shutil
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dancecli.core.errors import DanceError
from dancecli.core.records import Clip, SplitClip, Subset
from dancecli.dataset.clips import forget_segments, rebuild_clips, remember_copies
from dancecli.dataset.upkeep.predicted import read_result
from dancecli.dataset.upkeep.traces import TEXTS, Names, Traces, lock_files, searched_files, texts_of
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
from dancecli.storage.runs import RunFolder, recorded, write_record
from dancecli.storage.workspace import PREDICTION, Workspace

if TYPE_CHECKING:
    import sqlite3

# What may stand in front of a table that a spreadsheet program saved.
_MARK = "\ufeff"
_QUOTED = re.compile(rb'(?<=")[^"]*(?=")')
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# What stays of a text.
_Edit = Callable[[bytes, Traces], bytes]


def erase(workspace: Workspace, traces: Traces) -> list[Path]:
    """Erase everything that comes from removed clips; their tombstones are written already.

    Returns:
        Files that may still be about a clip, as they cannot be read: the user's own, or damaged ones.
    """
    root = workspace.root
    _erase_predicted(traces)
    ledger.forget(root, traces.clip_ids)
    forget_segments(workspace, traces.clip_ids)
    rebuild_clips(workspace)
    if workspace.clips.exists():
        copies = (clip for clip in tables.read(workspace.clips, Clip) if clip.parent_id)
        remember_copies(workspace, [clip for clip in copies if clip.parent_id not in traces.clip_ids])
    # What belongs to a split goes before the split forgets the clip: after a kill it is found again.
    for name in (*traces.files, *traces.folders):
        _delete(root / name)
    splits = (path for path in workspace.split_tables() if path.stem in traces.splits)
    restated = {path.stem: _erase_from_split(path, traces) for path in splits}
    for folder in workspace.run_folders():
        _restate_run(RunFolder(folder), restated)
    left = [path for path in _stored_tables(root) if not _rows_erased(path, traces)]
    for path, edit in (*_edits(root), *((path, _result_left) for path in workspace.predictions())):
        _apply(path, edit, traces)
    with corrections_lock(workspace):
        if corrections_file(workspace).exists():
            _apply(corrections_file(workspace), _corrections_left, traces)
    for folder in feature_folders(workspace):
        forget_entries(folder, traces.clip_ids)
    left += [path for path in _databases(root) if not _renamed_in_database(path, traces)]
    return left + _damaged_results(workspace)


def _erase_predicted(traces: Traces) -> None:
    """Erase what was predicted of the videos, while the ledger still tells which files they are."""
    predicted = traces.predicted
    # A result tells which files are of a video, so it forgets the video after these are gone.
    for path in (*sorted(predicted.files, key=lambda path: path.name == PREDICTION), *predicted.folders):
        _delete(path)
    for path in predicted.results:
        _apply(path, _result_left, traces)


def unreadable(workspace: Workspace) -> list[Path]:
    """Find what `erase` could not read and would return, before anything is erased."""
    tables_left = [path for path in _stored_tables(workspace.root) if _table(path) is None]
    tables_left += [path for path in _databases(workspace.root) if not _is_database(path)]
    return tables_left + _damaged_results(workspace)


def locks_restated(workspace: Workspace, traces: Traces) -> list[Path]:
    """Find the lock files that `erase` changes, before it does."""
    contents = ((path, path.read_bytes()) for path in lock_files(workspace.root))
    return [path for path, content in contents if _lock_left(content, traces) != content]


def still_named(workspace: Workspace, traces: Traces) -> list[Path]:
    """Find the texts that name a clip, or a video that is gone, once all is erased: the user's own.

    Texts that `erase` changes are read as it leaves them, so that the answer is the same before it.
    """
    names = Names(traces.clip_ids | traces.checksums, videos=traces.gone_videos)
    root = workspace.root
    edits = {**dict(_edits(root)), corrections_file(workspace): _corrections_left}
    edits |= dict.fromkeys(workspace.predictions(), _result_left)
    gone = {root / name for name in (*traces.files, *traces.folders)}
    lists, shows = set(_lists(root)), {path for path, _ in traces.predicted.left}
    found = list[Path]()
    for path in searched_files(root):
        if path == removals_file(workspace) or not gone.isdisjoint((path, *path.parents)):
            continue
        for content in _texts_in(path):
            left = edits[path](content, traces) if path in edits else content
            if (
                path in shows
                or names.in_text(_as_utf8(left))
                or (path in lists and _requests_unclear(left, traces))
                or (path.suffix == ".csv" and _requests_name(left, traces))
            ):
                found.append(path)
                break
    return found


def _stored_tables(root: Path) -> list[Path]:
    # The folds of a run that was interrupted have tables of their own.
    scores = (path for folder in ("runs", "studies") for path in root.glob(f"{folder}/**/*.parquet"))
    return [*sorted(root.glob("manifests/*.parquet")), *sorted(scores)]


def _databases(root: Path) -> list[Path]:
    return sorted(root.glob("studies/*.db"))


def _damaged_results(workspace: Workspace) -> list[Path]:
    return [path for path in workspace.predictions() if not read_result(path.read_bytes())]


def _lists(root: Path) -> list[Path]:
    return sorted(root.glob("manifests/*.csv"))


def _edits(root: Path) -> Iterator[tuple[Path, _Edit]]:
    """Yield the logs, locks, lists and records that name clips, with what is to be done to each."""
    yield from ((path, _log_left) for path in sorted(root.glob("manifests/*.jsonl")))
    yield from ((path, _lock_left) for path in lock_files(root))
    if (root / "left-out.csv").exists():
        yield root / "left-out.csv", _rows_left
    yield from ((path, _requests_left) for path in _lists(root))
    yield from ((path, _annotations_left) for path in sorted(root.glob("annotations/**/*.txt")))
    for folder in (root / "runs", root / "studies"):
        yield from ((path, _with_references) for path in texts_of(folder))


def _apply(path: Path, edit: _Edit, traces: Traces) -> None:
    content = path.read_bytes()
    after = edit(content, traces)
    if after != content:
        with atomic_file(path, "wb") as file:
            file.write(after)


def _texts_in(path: Path) -> Iterator[bytes]:
    """Yield the text of a file, or those that it holds compressed, if they can be read."""
    if path.suffix in TEXTS:
        yield path.read_bytes()
    # What cannot be unpacked, for one as it is encrypted, tells nothing.
    with suppress(OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError):
        if path.suffix == ".gz" and Path(path.stem).suffix in TEXTS:
            yield gzip.decompress(path.read_bytes())
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as archive:
                yield "\n".join(archive.namelist()).encode()
                yield from (archive.read(name) for name in archive.namelist() if Path(name).suffix in TEXTS)


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


@dataclass(frozen=True)
class _Restated:
    """What became of a split: its hashes before and after, and how many clips of each subset went."""

    before: _Hashes
    after: _Hashes
    gone: Mapping[str, int]


def _erase_from_split(path: Path, traces: Traces) -> _Restated:
    """Drop the rows of a split and count them in its metadata; its hash is that of the remaining clips."""
    meta, rows = tables.read_meta(path), tables.read(path, SplitClip)
    kept = [
        replace(row, group=video_reference(row.group)) if row.group in traces.gone_videos else row
        for row in rows
        if row.clip_id not in traces.clip_ids
    ]
    gone = Counter(row.subset for row in rows if row.clip_id in traces.clip_ids)
    removed = Counter(json.loads(meta.get("split.removed", "{}"))) + gone
    counts = Counter(row.subset for row in kept)
    meta |= {
        "split.removed": json.dumps({s.value: removed[s.value] for s in Subset if removed[s.value]}),
        "split.hash": split_digest(kept, json.loads(meta["split.labels"])),
        "split.original_hash": meta.get("split.original_hash", meta["split.hash"]),
        "split.counts": json.dumps({subset.value: counts[subset.value] for subset in Subset}),
    }
    before = _Hashes(tables.read_meta(path)["split.hash"], _test_digest(rows))
    tables.write(path, SplitClip, kept, meta)
    return _Restated(before, _Hashes(meta["split.hash"], _test_digest(kept)), gone)


def _test_digest(rows: list[SplitClip]) -> str:
    return subset_digest((r.clip_id, r.sha256, r.label) for r in rows if r.subset == Subset.TEST)


def _restate_run(folder: RunFolder, restated: Mapping[str, _Restated]) -> None:
    """Give a run the hashes of the remaining clips, so that later runs are compared with it.

    How many clips went since is kept: it was trained on them.
    """
    try:
        record = recorded(folder)
    except DanceError:
        return
    split = record.get("split") or {}
    found = restated.get(split.get("name", ""))
    if found is None or split.get("hash") != found.before.split:
        return
    new = {"hash": found.after.split}
    if split.get("test_hash") == found.before.test:
        new["test_hash"] = found.after.test
    meta = {"hash": "split.hash", "test_hash": "test.hash"}
    for path in folder.score_tables:
        _set_meta(path, {meta[key]: value for key, value in new.items()})
    since = Counter(split.get("removed_since", {})) + Counter(found.gone)
    counted = {"removed_since": {s.value: since[s.value] for s in Subset if since[s.value]}} if since else {}
    write_record(folder, record | {"split": {**split, **new, **counted}})


def _set_meta(path: Path, changes: Mapping[str, str]) -> None:
    table = _table(path)
    if table is None:
        # It is named as one that cannot be read.
        return
    meta = {**(table.schema.metadata or {}), **{k.encode(): v.encode() for k, v in changes.items()}}
    _write_table(path, table.replace_schema_metadata(meta))


def _rows_erased(path: Path, traces: Traces) -> bool:
    """Drop the rows about the clips from a table that names clips, and groups named after them.

    Returns:
        False if it is no table that can be read.
    """
    import pyarrow as pa

    table = _table(path)
    if table is None:
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


def _table(path: Path) -> Any:
    """Read a table; None if it is none that can be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path)
    # Damage within a page is an OSError.
    except (pa.ArrowInvalid, OSError):
        return None


def _write_table(path: Path, table: Any) -> None:
    import pyarrow.parquet as pq

    with atomic_file(path, "wb") as file:
        pq.write_table(table, file)


def _log_left(content: bytes, traces: Traces) -> bytes:
    """Drop the lines of a log that name a clip; ids are quoted there, or followed by a dot."""
    # Most words are keys, which are shorter.
    shortest = min(len(clip_id) for clip_id in traces.clip_ids)
    words = re.compile(rf'"([\w-]{{{shortest},}})(?=([".]?))', re.ASCII)
    return _joined(line for line in _lines_of(content) if not _names_clip(words.findall(line), traces))


def _names_clip(words: Iterable[tuple[str, str]], traces: Traces) -> bool:
    """Return whether a word is a clip's id that ends as it should, or begins with one and `_`."""
    return any(
        (bool(end) and word in traces.clip_ids)
        or any(word[: mark.start()] in traces.clip_ids for mark in re.finditer("_", word))
        for word, end in words
    )


def _annotations_left(content: bytes, traces: Traces) -> bytes:
    """Drop the lines of an annotation list (`clips/../CLIP.mp4 INDEX`) that are about a clip."""
    lines = _lines_of(content)
    return _joined(line for line in lines if not traces.about(Path(line.rpartition(" ")[0]).name))


def _rows_left(content: bytes, traces: Traces) -> bytes:
    """Drop the rows about the clips from a CSV; a file without the column `clip_id` stays as it is."""
    try:
        rows = list(_rows_of(_lines_of(content)))
    except csv.Error:
        return content
    return _joined(text for text, cells in rows if not traces.about(cells.get("clip_id", "")))


def _corrections_left(content: bytes, traces: Traces) -> bytes:
    # A clip that was cut from another one says so.
    return _with_references(_rows_left(content, traces), traces)


def _result_left(content: bytes, traces: Traces) -> bytes:
    """Drop the removed videos from a result of `dance predict`; others may name the clips of a run."""
    left = traces.predicted.result_left(content)
    return traces.names.replace(left, lambda name: _reference_for(name, traces))


def _requests_left(content: bytes, traces: Traces) -> bytes:
    """Drop the clips from a list for `dance fetch`: that of `dance merge`, or one of the user's own."""
    try:
        rows = list(_rows_of(_lines_of(content)))
    except csv.Error:
        return content
    if not _is_request_list(rows):
        return content
    kept = (text for text, cells in rows[1:] if _requested(cells) not in traces.clip_ids)
    return _joined((rows[0][0], *kept))


def _requests_name(content: bytes, traces: Traces) -> bool:
    """Return whether a list for `dance fetch` requests one of the clips."""
    try:
        rows = list(_rows_of(_lines_of(_as_utf8(content))))
    except csv.Error:
        return False
    return _is_request_list(rows) and any(_requested(cells) in traces.clip_ids for _, cells in rows[1:])


def _requests_unclear(content: bytes, traces: Traces) -> bool:
    """Return whether a list for `dance fetch` has rows that name the video of a clip, and cannot be read."""
    videos = Names(video_of(clip_id) for clip_id in traces.clip_ids)
    try:
        rows = list(_rows_of(_lines_of(content)))
    except csv.Error:
        return videos.in_text(content)
    if not _is_request_list(rows):
        return False
    return videos.in_text(_joined(text for text, cells in rows[1:] if not _requested(cells)))


def _is_request_list(rows: Sequence[tuple[str, dict[str, str]]]) -> bool:
    return any(set(NEEDED) <= cells.keys() for _, cells in rows[:1])


def _requested(cells: Mapping[str, str]) -> str:
    """Return the clip that a row of a list requests; empty if it cannot be told."""
    _, video, start, end = (cells.get(column, "") for column in NEEDED)
    try:
        start_ms, end_ms = read_times(start, end)
        return f"{read_video_id(video)}_{start_ms}_{end_ms}"
    except RowError:
        return ""


def _lines_of(content: bytes) -> list[str]:
    """Return the lines of a text with their ends; bytes that are not UTF-8 become lone surrogates."""
    return list(io.StringIO(content.decode(errors="surrogateescape"), newline=""))


def _joined(lines: Iterable[str]) -> bytes:
    return "".join(lines).encode(errors="surrogateescape")


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


def _lock_left(content: bytes, traces: Traces) -> bytes:
    """Put references in the place of the clips in a lock; a file without `clip_id` stays as it is."""
    text = content.decode(errors="surrogateescape")
    rows = csv.DictReader(io.StringIO(text.removeprefix(_MARK), newline=""), restval="")
    try:
        columns, before = list(rows.fieldnames or ()), list(rows)
    except csv.Error:
        return content
    if "clip_id" not in columns:
        return content
    after = sorted(
        (_as_reference(row, traces) for row in before), key=lambda row: is_reference(row["clip_id"])
    )
    if after == before:
        return content
    written = io.StringIO(newline="")
    writer = csv.DictWriter(written, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(after)
    return _joined((_MARK if text.startswith(_MARK) else "", written.getvalue()))


def _as_reference(row: dict[str, str], traces: Traces) -> dict[str, str]:
    """Return the row of a lock that stands for a removed clip."""
    group = video_reference(row["group"]) if row.get("group") in traces.gone_videos else row.get("group", "")
    if row["clip_id"] in traces.clip_ids:
        return {**row, "clip_id": clip_reference(row["clip_id"]), "group": "", "sha256": ""}
    return {**row, "group": group}


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


def _is_database(path: Path) -> bool:
    import sqlite3

    try:
        with closing(sqlite3.connect(path)) as database:
            database.execute("SELECT name FROM sqlite_master").fetchall()
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
    """Put references in the place of ids in a text, and empty the checksums."""
    after = traces.names.replace(content, lambda name: _reference_for(name, traces))
    return _QUOTED.sub(lambda match: _video_for(match[0], traces), after) if traces.gone_videos else after


def _video_for(quoted: bytes, traces: Traces) -> bytes:
    text = quoted.decode(errors="replace")
    return video_reference(text).encode() if text in traces.gone_videos else quoted


def _reference_for(name: bytes, traces: Traces) -> bytes:
    text = name.decode()
    return clip_reference(text).encode() if text in traces.clip_ids else b""
