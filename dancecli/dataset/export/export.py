"""A split in the forms that other tools read.

An export is built in a hidden folder beside its destination and renamed when it is complete; for one
to an object store see `dataset.export.object_store`. It records in `.dance-export.json` what it was
made from, so an interrupted export resumes, a finished one is recognized, and nothing that is not an
export is ever overwritten.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any

from dancecli.core.errors import UsageError
from dancecli.core.hashing import sha256_lines, sha256_text
from dancecli.core.labels import LabelSet
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import Clip, SplitClip, Subset
from dancecli.dataset.export.card import closed_clips, export_card
from dancecli.dataset.export.croissant import croissant
from dancecli.dataset.export.datasheet import datasheet
from dancecli.dataset.export.facts import ExportFacts, SplitFacts, derive_facts, derive_split_facts
from dancecli.dataset.export.formats import (
    TABLE,
    Item,
    Row,
    facts_of,
    pack_fingerprint,
    pack_lists,
    pack_parquet,
    pack_videofolder,
    pack_webdataset,
    table_sha256,
    write_table,
    write_text,
)
from dancecli.dataset.export.object_store import ObjectStore, is_url, local_path
from dancecli.dataset.similarity.fingerprint import stored_fingerprint
from dancecli.storage import tables
from dancecli.storage.files import atomic_file
from dancecli.storage.removals import refuse_still_here
from dancecli.storage.workspace import Workspace

CARD, DATASHEET, CROISSANT = "README.md", "DATASHEET.md", "croissant.json"
# What an export says of itself.
DOCUMENTS = (CARD, DATASHEET, CROISSANT)
_STAMP = ".dance-export.json"
# Raise it when the same rows would be written otherwise.
_VERSION = 3


class Form(StrEnum):
    """The formats of an export."""

    VIDEOFOLDER = "videofolder"
    PARQUET = "parquet"
    WEBDATASET = "webdataset"
    LISTS = "lists"
    FINGERPRINT = "fingerprint"


@dataclass(frozen=True)
class ExportSettings:
    """What to export, and how.

    Attributes:
        form: the format.
        split: None for the latest.
        to: the folder to make, or the address of a place in an object store; None for
            `exports/<split>-<form>` in the workspace.
        augmented: with the augmented clips of training clips.
        link: hard links instead of copies; for `videofolder` alone.
        shard_bytes: size of a Parquet or tar file.
        dry_run: change nothing.
    """

    form: Form
    split: str | None = None
    to: Path | str | None = None
    augmented: bool = False
    link: bool = False
    shard_bytes: int = 256_000_000
    dry_run: bool = False


@dataclass(frozen=True)
class ExportResult:
    """What the export holds.

    Attributes:
        folder: the export's folder, or address.
        counts: clips per subset.
        num_files: files of the export, of which `num_new` were, or would be, written by this run.
        missing: clips of the split that were left out, their files being gone or of another size.
        changed: of these, those whose files are of another size.
        num_closed: see `closed_clips`.
    """

    split: str
    folder: Path | str
    counts: dict[str, int]
    num_files: int
    num_new: int
    missing: tuple[str, ...]
    changed: tuple[str, ...]
    num_closed: int


def export(workspace: Workspace, settings: ExportSettings, reporter: Reporter = SILENT) -> ExportResult:
    """Write a split's clips in another format; files that exist already are kept.

    Raises:
        WorkspaceError: there is no such split, it has clips of `removed.csv`, or another export to this
            place is at work.
        UsageError: the place holds something else, or cannot be linked to; or clips lack the hashes of a
            fingerprint file.
        MissingDependencyError: the package for an object store is not installed.
        MediaError: a clip's file is not the committed one.
    """
    if settings.link and settings.form is not Form.VIDEOFOLDER:
        raise UsageError(f"--link is for videofolder: {settings.form} has no clip as a file of its own")
    name = workspace.find_split(settings.split)
    ids = tables.read_columns(workspace.split(name), SplitClip, ("clip_id",))
    refuse_still_here(workspace, (clip_id for (clip_id,) in ids))
    place = _place(workspace, settings, name)
    # First, since an audit holds as much of 650,000 clips in memory as an export does.
    wanted = not (settings.dry_run or _documented(place))
    of_split = derive_split_facts(workspace, name, labels_of(workspace, name).names) if wanted else None
    content = content_of(workspace, settings.form, name, augmented=settings.augmented)
    stamp = _stamp(settings, content)
    items = list(_plan(workspace, settings, content, of_split))
    if isinstance(place, str):
        num_new = _put(workspace, place, stamp, items, reporter, dry_run=settings.dry_run)
    elif settings.dry_run:
        _check_place(place, stamp)
        there = place if _read_stamp(place) == stamp else _stage(place)
        known = _read_stamp(there) == stamp
        num_new = sum(not (known and (there / item.path).exists()) for item in items)
    else:
        with workspace.lock(lock_of(place)):
            num_new = _build(place, stamp, items, reporter)
    counts = Counter(row.subset.value for row in content.rows)
    return ExportResult(
        split=name,
        folder=place,
        counts={subset.value: counts[subset.value] for subset in Subset},
        num_files=len(items),
        num_new=num_new,
        missing=content.missing,
        changed=content.changed,
        num_closed=closed_clips(settings.form, content.rows),
    )


@dataclass(frozen=True)
class Content:
    """What is exported, whatever the format's files.

    Attributes:
        form: the format.
        split, split_hash: the split, and the hash in its metadata.
        labels: its classes.
        augmented: with the augmented clips of training clips.
        rows: the clips; of a fingerprint file those of test.
        missing: ids of the split's clips that have lost their file.
        changed: of these, those whose path has another file.
    """

    form: Form
    split: str
    split_hash: str
    labels: LabelSet
    augmented: bool
    rows: tuple[Row, ...]
    missing: tuple[str, ...]
    changed: tuple[str, ...]

    @property
    def command(self) -> str:
        """The command line that exports this."""
        more = " --augmented" if self.augmented else ""
        return f"dance export --split {self.split} --format {self.form}{more}"


def content_of(workspace: Workspace, form: Form, split: str, *, augmented: bool) -> Content:
    """Find what an export of a split has.

    Raises:
        InputError: a table of the workspace is damaged.
    """
    labels, meta = labels_of(workspace, split), tables.read_meta(workspace.split(split))
    rows, missing, changed = rows_of(workspace, split, labels, augmented=augmented)
    if form is Form.FINGERPRINT:
        rows = [row for row in rows if row.subset is Subset.TEST]
    lost = tuple(missing), tuple(changed)
    return Content(form, split, meta["split.hash"], labels, augmented, tuple(rows), *lost)


def labels_of(workspace: Workspace, split: str) -> LabelSet:
    """Return the classes of a split."""
    return LabelSet(tuple(json.loads(tables.read_meta(workspace.split(split))["split.labels"])))


def _place(workspace: Workspace, settings: ExportSettings, split: str) -> Path | str:
    to = settings.to or workspace.root / "exports" / f"{split}-{settings.form}"
    if isinstance(to, Path) or not is_url(to):
        return Path(to).absolute()
    if (path := local_path(to)) is not None:
        return path
    if settings.link:
        raise UsageError(f"--link is for a folder: a link to {to} is not possible", "use --copy")
    return to


def _put(
    workspace: Workspace,
    url: str,
    stamp: dict[str, Any],
    items: Sequence[Item],
    reporter: Reporter,
    *,
    dry_run: bool,
) -> int:
    store = ObjectStore(url, _STAMP)
    if dry_run:
        return len(store.missing(stamp, items))
    with workspace.lock(lock_of(url)):
        return store.build(stamp, items, workspace.root / "exports", reporter)


def lock_of(place: Path | str) -> str:
    """Return the name of the lock that an export to a place holds."""
    return f"export-{sha256_text(str(place))[:12]}"


def rows_of(
    workspace: Workspace, split: str, labels: LabelSet, *, augmented: bool
) -> tuple[list[Row], list[str], list[str]]:
    """Return the clips of a split, each subset by clip id.

    And the ids of those without their file, and of these of those that have another file in its place.
    """
    augmented_of: dict[str, list[Clip]] = {}
    clips: dict[str, Clip] = {}
    for clip in tables.read(workspace.clips, Clip):
        if not clip.parent_id:
            clips[clip.clip_id] = clip
        elif augmented:
            augmented_of.setdefault(clip.parent_id, []).append(clip)
    rows, missing, changed = list[Row](), list[str](), list[str]()
    index = {label: i for i, label in enumerate(labels)}
    # Row by row: the records of the split would be held beside those of the clips.
    for placed in (SplitClip(*row) for row in tables.read_columns(workspace.split(split), SplitClip)):
        own = [clips[placed.clip_id]] if placed.clip_id in clips else []
        if not (own and _is_there(workspace.root, own[0])):
            missing.append(placed.clip_id)
            changed += [clip.clip_id for clip in own if (workspace.root / clip.path).exists()]
            continue
        if placed.subset == Subset.TRAIN:
            own += (a for a in augmented_of.get(placed.clip_id, ()) if _is_there(workspace.root, a))
        subset, label_index = Subset(placed.subset), index[placed.label]
        rows += (Row(subset, placed.label, label_index, clip) for clip in own)
    order = {subset: i for i, subset in enumerate(Subset)}
    rows.sort(key=lambda row: (order[row.subset], row.clip.clip_id))
    return rows, missing, changed


def _is_there(root: Path, clip: Clip) -> bool:
    try:
        return (root / clip.path).stat().st_size == clip.num_bytes
    except OSError:
        return False


def _documented(place: Path | str) -> bool:
    return isinstance(place, Path) and all((place / name).exists() for name in DOCUMENTS)


def _plan(
    workspace: Workspace, settings: ExportSettings, content: Content, of_split: SplitFacts | None
) -> Iterator[Item]:
    rows, labels = content.rows, content.labels
    items = list(_pack(workspace, settings, content))
    yield from items
    if content.form is not Form.LISTS:
        yield Item("labels.txt", partial(write_text, "".join(f"{label}\n" for label in labels)))
    yield Item(TABLE, partial(write_table, rows))
    documents = Documents(workspace, content, items, of_split)
    for name in DOCUMENTS:
        yield Item(name, partial(_write_document, documents, name))


def _pack(workspace: Workspace, settings: ExportSettings, content: Content) -> Iterator[Item]:
    root, size, rows, labels = workspace.root, settings.shard_bytes, content.rows, content.labels.names
    if content.form is Form.LISTS:
        yield from pack_lists(rows, labels)
    elif content.form is Form.VIDEOFOLDER:
        yield from pack_videofolder(rows, root, link=settings.link)
    elif content.form is Form.PARQUET:
        yield from pack_parquet(rows, root, labels, size)
    elif content.form is Form.WEBDATASET:
        yield from pack_webdataset(rows, root, size)
    else:
        checksum_of = {row.clip.clip_id: row.clip.sha256 for row in rows}
        yield from pack_fingerprint(stored_fingerprint(workspace, checksum_of))


@dataclass(frozen=True)
class Documents:
    """The documents of an export, which state facts that are derived when the first one is asked for.

    Attributes:
        of_split: facts of its split; None if no document was expected to be asked for.
    """

    workspace: Workspace
    content: Content
    items: Sequence[Item]
    of_split: SplitFacts | None

    @cached_property
    def facts(self) -> ExportFacts:
        """See `derive_facts`."""
        own, labels = self.content, self.content.labels.names
        of_split = self.of_split or derive_split_facts(self.workspace, own.split, labels)
        return derive_facts(own.split, own.command, labels, own.rows, own.missing, of_split)

    def text(self, name: str) -> str:
        """Render one of `DOCUMENTS`."""
        form, rows = self.content.form, self.content.rows
        if name == CROISSANT:
            return croissant(form, self.content.split, self.facts, table_sha256(rows))
        return datasheet(self.facts) if name == DATASHEET else export_card(form, self.facts, rows, self.items)


def documents_of(workspace: Workspace, form: Form, split: str, *, augmented: bool) -> Documents:
    """Return the documents that an export would have now, without writing anything.

    Raises:
        WorkspaceError: there is no such split.
        UsageError: clips lack the hashes of a fingerprint file.
    """
    name = workspace.find_split(split)
    of_split = derive_split_facts(workspace, name, labels_of(workspace, name).names)
    content = content_of(workspace, form, name, augmented=augmented)
    return Documents(workspace, content, list(_pack(workspace, ExportSettings(form), content)), of_split)


def _write_document(documents: Documents, name: str, path: Path) -> None:
    write_text(documents.text(name), path)


def _stamp(settings: ExportSettings, content: Content) -> dict[str, Any]:
    """Describe what an export is made from; two with the same stamp have the same content."""
    head = [_VERSION, settings.form, settings.link, settings.shard_bytes, content.labels.names]
    source = ([row.subset, row.clip.path, facts_of(row)] for row in content.rows)
    digest = sha256_lines(map(json.dumps, chain([head], source)))
    return {
        "form": settings.form.value,
        "split": content.split,
        "split_hash": content.split_hash,
        "num_clips": len(content.rows),
        "content": digest,
    }


def _build(folder: Path, stamp: dict[str, Any], items: Sequence[Item], reporter: Reporter) -> int:
    """Write the files that do not exist; return their number."""
    _check_place(folder, stamp)
    if _read_stamp(folder) == stamp:
        return _write_missing(folder, items, reporter)
    stage = _stage(folder)
    if _read_stamp(stage) != stamp:
        shutil.rmtree(stage, ignore_errors=True)
        with atomic_file(stage / _STAMP) as file:
            json.dump(stamp, file)
    num_new = _write_missing(stage, items, reporter)
    if folder.exists():
        folder.rmdir()
    stage.rename(folder)
    return num_new


def _check_place(folder: Path, stamp: Mapping[str, Any]) -> None:
    """Refuse a folder that holds something else.

    Raises:
        UsageError: it does.
    """
    if not folder.exists() or _read_stamp(folder) == stamp:
        return
    if not folder.is_dir() or any(folder.iterdir()):
        what = "another export" if _read_stamp(folder) else "something else"
        raise UsageError(f"{folder} contains {what}", "remove it, or name another folder with --to")


def _stage(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.part")


def _write_missing(folder: Path, items: Sequence[Item], reporter: Reporter) -> int:
    for unfinished in folder.rglob(".*.tmp"):
        unfinished.unlink()
    total = sum(item.num_clips for item in items)
    done = num_new = 0
    for item in items:
        path = folder / item.path
        if not path.exists():
            item.write(path)
            num_new += 1
        done += item.num_clips
        if total:
            reporter.progress(done, total)
    return num_new


def _read_stamp(folder: Path) -> dict[str, Any] | None:
    try:
        stamp: dict[str, Any] = json.loads((folder / _STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return stamp
