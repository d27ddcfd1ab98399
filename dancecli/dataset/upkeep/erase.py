"""Erase the traces of removed clips, store by store; doing it twice does no harm."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dancecli.core.errors import DanceError
from dancecli.core.records import Clip, SplitClip, Subset
from dancecli.dataset.clips import forget_segments, rebuild_clips, remember_copies
from dancecli.dataset.upkeep.traces import TEXTS, Traces, lock_files, texts_of
from dancecli.sources.kinetics import NEEDED
from dancecli.storage import ledger, tables
from dancecli.storage.corrections import corrections_file, corrections_lock
from dancecli.storage.features import feature_folders, forget_entries
from dancecli.storage.files import atomic_file
from dancecli.storage.lockfile import split_digest, subset_digest
from dancecli.storage.removals import clip_reference, is_reference, removals_file, video_reference
from dancecli.storage.runs import RunFolder, read_record, write_record
from dancecli.storage.workspace import Workspace

# What is not looked into for names: media, and what is stored by name elsewhere.
_NOT_SEARCHED = ("clips", "augmented", "flow", "pose", "trajectories", "sources", "cache", "tmp", ".locks")


def erase(workspace: Workspace, traces: Traces) -> None:
    """Erase everything that comes from removed clips; their tombstones are written already."""
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
    _erase_from_tables(root, traces)
    with corrections_lock(workspace):
        corrections = corrections_file(workspace)
        _rewrite_csv(corrections, "clip_id", traces)
        if corrections.exists():
            # A clip that was cut from another one says so.
            _replace_names(corrections, traces)
    for folder in feature_folders(workspace):
        forget_entries(folder, traces.clip_ids)
    for folder in (root / "runs", root / "studies"):
        for path in texts_of(folder):
            _replace_names(path, traces)
    for path in sorted(root.glob("studies/*.db")):
        _replace_names_in_database(path, traces)


def _erase_from_tables(root: Path, traces: Traces) -> None:
    """Erase the clips from tables, logs, locks and lists."""
    # The folds of a run that was interrupted have tables of their own.
    scores = (path for folder in ("runs", "studies") for path in root.glob(f"{folder}/**/*.parquet"))
    for path in (*sorted(root.glob("manifests/*.parquet")), *sorted(scores)):
        _erase_rows(path, traces)
    for path in sorted(root.glob("manifests/*.jsonl")):
        _erase_lines(path, traces)
    for path in lock_files(root):
        _rewrite_csv(path, "clip_id", traces, _as_reference)
    _rewrite_csv(root / "left-out.csv", "clip_id", traces)
    for path in sorted(root.glob("manifests/*.csv")):
        _erase_requested(path, traces)
    for path in sorted(root.glob("annotations/**/*.txt")):
        _erase_listed(path, traces)


def still_named(workspace: Workspace, traces: Traces) -> list[str]:
    """Find the text files that name a clip, or a video that is gone: the user's own lists and notes."""
    named, found = traces.named(videos=True), list[Path]()
    for path in sorted(workspace.root.iterdir()):
        if path.name in _NOT_SEARCHED or path == removals_file(workspace):
            continue
        texts = texts_of(path) if path.is_dir() else (path,) if path.suffix in TEXTS else ()
        found += (text for text in texts if named.search(text.read_bytes()))
    return [path.relative_to(workspace.root).as_posix() for path in found]


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


def _erase_rows(path: Path, traces: Traces) -> None:
    """Drop the rows about the clips from a table that names clips, and groups named after them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    if "clip_id" not in table.column_names:
        return
    kept = [not traces.about(name) for name in table.column("clip_id").to_pylist()]
    after = table.filter(pa.array(kept, pa.bool_()))
    if "group" in table.column_names:
        place = table.column_names.index("group")
        groups = after.column("group").to_pylist()
        renamed = [video_reference(g) if g in traces.gone_videos else g for g in groups]
        after = after.set_column(place, table.schema.field(place), pa.array(renamed, pa.string()))
    if not after.equals(table):
        _write_table(path, after)


def _write_table(path: Path, table: Any) -> None:
    import pyarrow.parquet as pq

    with atomic_file(path, "wb") as file:
        pq.write_table(table, file)


def _erase_lines(path: Path, traces: Traces) -> None:
    """Drop the lines of a log that name a clip; ids are quoted there, or followed by a dot."""
    named = re.compile("|".join(rf'"{re.escape(i)}["._]' for i in sorted(traces.clip_ids)))
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    kept = [line for line in lines if not named.search(line)]
    if len(kept) < len(lines):
        with atomic_file(path) as file:
            file.writelines(kept)


def _erase_listed(path: Path, traces: Traces) -> None:
    """Drop the lines of an annotation list (`clips/../CLIP.mp4 INDEX`) that are about a clip."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = [line for line in lines if not traces.about(Path(line.rpartition(" ")[0]).name)]
    if len(kept) < len(lines):
        with atomic_file(path) as file:
            file.writelines(kept)


def _erase_requested(path: Path, traces: Traces) -> None:
    """Drop the clips from a list for `dance fetch` that `dance merge` wrote: video and times, in seconds."""
    before = path.read_text(encoding="utf-8").splitlines(keepends=True)
    rows = csv.DictReader(before)
    if set(NEEDED) <= set(rows.fieldnames or ()):
        after = [line for line, row in zip(before[1:], rows, strict=True) if not _requests(row, traces)]
        if len(after) < len(before) - 1:
            with atomic_file(path) as file:
                file.writelines((before[0], *after))


def _requests(row: Mapping[str, str], traces: Traces) -> bool:
    _, video, *times = (row[column] for column in NEEDED)
    start_ms, end_ms = (round(1000 * float(seconds)) for seconds in times)
    return f"{video}_{start_ms}_{end_ms}" in traces.clip_ids


def _as_reference(row: dict[str, str], traces: Traces) -> dict[str, str]:
    """Return the row of a lock that stands for a removed clip."""
    group = video_reference(row["group"]) if row.get("group") in traces.gone_videos else row.get("group", "")
    if row["clip_id"] in traces.clip_ids:
        return {**row, "clip_id": clip_reference(row["clip_id"]), "group": "", "sha256": ""}
    return {**row, "group": group}


def _rewrite_csv(
    path: Path,
    key: str,
    traces: Traces,
    change: Callable[[dict[str, str], Traces], dict[str, str]] | None = None,
) -> None:
    """Change the rows of a CSV, or drop those of the clips; a file without that column stays as it is."""
    try:
        text = path.read_bytes().decode()
    except (FileNotFoundError, UnicodeDecodeError):
        return
    rows = csv.DictReader(io.StringIO(text, newline=""))
    columns = list(rows.fieldnames or ())
    if key not in columns:
        return
    before = list(rows)
    after = [
        change(row, traces) if change else row for row in before if change or not traces.about(row[key] or "")
    ]
    if after == before:
        return
    if change:
        after.sort(key=lambda row: is_reference(row[key]))
    with atomic_file(path) as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(after)


def _replace_names(path: Path, traces: Traces) -> None:
    """Put references in the place of ids in a text, and empty the checksums."""
    content = path.read_bytes()
    after = _with_references(content, traces)
    if after != content:
        with atomic_file(path, "wb") as file:
            file.write(after)


def _replace_names_in_database(path: Path, traces: Traces) -> None:
    """Do the same in the database of a study: the error of a failed trial may name a clip."""
    import sqlite3

    with closing(sqlite3.connect(path)) as database:
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
    after = traces.named().sub(lambda match: _reference_for(match[0], traces), content)
    if traces.gone_videos:
        videos = b"|".join(re.escape(video.encode()) for video in sorted(traces.gone_videos))
        quoted = re.compile(rb'"(' + videos + rb')"')
        after = quoted.sub(lambda match: f'"{video_reference(match[1].decode())}"'.encode(), after)
    return after


def _reference_for(name: bytes, traces: Traces) -> bytes:
    text = name.decode()
    return clip_reference(text).encode() if text in traces.clip_ids else b""
