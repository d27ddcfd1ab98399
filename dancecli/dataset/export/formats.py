"""What an export consists of, format by format: a list of files, each with the function that writes it.

Files are planned from the rows alone, so the same rows give the same names and bytes anywhere,
and a stopped export knows what is still to be written.
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from dancecli.core.errors import MediaError, UsageError
from dancecli.core.records import Clip, ClipHashes, Subset
from dancecli.dataset.similarity.fingerprint import write_fingerprint
from dancecli.storage.files import atomic_file

if TYPE_CHECKING:
    import pyarrow as pa

# The hub refuses folders of more than ten thousand files.
_CLIPS_A_FOLDER = 1000
# Rows that a reader of Parquet holds in memory at once: about 25 MB.
_ROWS_A_GROUP = 32
# The table of all clips, in every export.
TABLE = "clips.csv"
# Hugging Face's names of the subsets.
HUB_NAMES = {Subset.TRAIN: "train", Subset.VAL: "validation", Subset.TEST: "test"}


@dataclass(frozen=True, slots=True)
class Row:
    """A clip in its subset, with the split's label for it.

    The label and its index are the split's: the clip's own may have been corrected since.
    """

    subset: Subset
    label: str
    label_index: int
    clip: Clip


@dataclass(frozen=True, slots=True)
class Item:
    """A file of an export.

    Attributes:
        path: inside the export.
        write: writes it under the path it is given, atomically.
        num_clips: clips that are read for it.
    """

    path: str
    write: Callable[[Path], None]
    num_clips: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """What every format has of a clip beside its video; names and order of the columns.

    See `dancecli.core.records.Clip`; title, uploader, upload date and license are its attribution. Of the
    original file only the name is given: its folders tell who worked where.
    """

    clip_id: str
    label: str
    label_index: int
    video_id: str
    start_ms: int
    end_ms: int
    num_frames: int
    fps: float
    width: int
    height: int
    has_audio: bool
    dataset: str
    official_split: str
    source: str
    sha256: str
    parent_id: str
    op: str
    note: str
    original_path: str
    title: str
    uploader: str
    upload_date: str
    license: str


_FACTS = tuple(field.name for field in fields(Facts))


def facts_of(row: Row) -> dict[str, Any]:
    """Return the columns of a clip."""
    own = {
        "label": row.label,
        "label_index": row.label_index,
        "fps": row.clip.fps_num / row.clip.fps_den,
        "original_path": row.clip.original_path.rpartition("/")[2],
    }
    return {name: own[name] if name in own else getattr(row.clip, name) for name in _FACTS}


def pack_videofolder(rows: Sequence[Row], root: Path, *, link: bool) -> Iterator[Item]:
    """Plan Hugging Face's `videofolder`: clips in folders, and one `metadata.jsonl` per subset."""
    for subset, members in _by_subset(rows):
        folder = HUB_NAMES[subset]
        lines = []
        for i, row in enumerate(members):
            name = f"{i // _CLIPS_A_FOLDER:03d}/{row.clip.clip_id}.mp4"
            lines.append({"file_name": name, **facts_of(row)})
            yield Item(f"{folder}/{name}", partial(_write_clip, root, row.clip, link), 1)
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        yield Item(f"{folder}/metadata.jsonl", partial(write_text, text))


def pack_parquet(rows: Sequence[Row], root: Path, labels: Sequence[str], shard_bytes: int) -> Iterator[Item]:
    """Plan Parquet with the videos' bytes in it and the features that `datasets` reads them by."""
    for subset, members in _by_subset(rows):
        shards = _shards(members, shard_bytes)
        for i, shard in enumerate(shards):
            name = f"data/{HUB_NAMES[subset]}-{i:05d}-of-{len(shards):05d}.parquet"
            yield Item(name, partial(_write_parquet, root, shard, tuple(labels)), len(shard))


def pack_webdataset(rows: Sequence[Row], root: Path, shard_bytes: int) -> Iterator[Item]:
    """Plan WebDataset: tar files whose samples are `.mp4`, `.json` and `.cls` (the class index)."""
    for subset, members in _by_subset(rows):
        for i, shard in enumerate(_shards(members, shard_bytes)):
            yield Item(f"{subset}/{subset}-{i:06d}.tar", partial(_write_tar, root, shard), len(shard))


def pack_lists(rows: Sequence[Row], labels: Sequence[str]) -> Iterator[Item]:
    """Plan annotation lists: `path index` separated by a space or a tab, and CSV with a header.

    Paths are relative to the workspace, as in its own lists. Every subset has its lists, even an
    empty one, since a configuration names all three.
    """
    for subset in Subset:
        members = [row for row in rows if row.subset is subset]
        yield Item(f"{subset}.txt", partial(_write_pairs, members, " "))
        yield Item(f"{subset}.tsv", partial(_write_pairs, members, "\t"))
        yield Item(f"{subset}.csv", partial(_write_csv, members))
    yield Item("label_map.txt", partial(write_text, "".join(f"{label}\n" for label in labels)))


def pack_fingerprint(hashes: Sequence[ClipHashes]) -> Iterator[Item]:
    """Plan a fingerprint file of clips whose hashes are these."""
    yield Item("fingerprint.csv", partial(write_fingerprint, hashes))


def write_table(rows: Iterable[Row], path: Path) -> None:
    """Write the table of all clips: subset, and the facts of each with its attribution."""
    with atomic_file(path) as file:
        _write_rows(file, "subset", ((row.subset, row) for row in rows))


def table_sha256(rows: Iterable[Row]) -> str:
    """Return the checksum of the table of all clips, without writing it."""
    text = _Hashed(hashlib.sha256())
    _write_rows(text, "subset", ((row.subset, row) for row in rows))
    return text.digest.hexdigest()


def write_text(text: str, path: Path) -> None:
    """Write a small file."""
    with atomic_file(path) as file:
        file.write(text)


def _by_subset(rows: Sequence[Row]) -> Iterator[tuple[Subset, list[Row]]]:
    for subset in Subset:
        members = [row for row in rows if row.subset is subset]
        if members:
            yield subset, members


def _shards(rows: Sequence[Row], shard_bytes: int) -> list[tuple[Row, ...]]:
    """Cut rows where the clips of a shard would exceed its size."""
    shards: list[list[Row]] = []
    room = 0
    for row in rows:
        if not shards or row.clip.num_bytes > room:
            shards.append([])
            room = shard_bytes
        shards[-1].append(row)
        room -= row.clip.num_bytes
    return [tuple(shard) for shard in shards]


def _read(root: Path, clip: Clip) -> bytes:
    """Read a clip's file.

    Raises:
        MediaError: it is not the committed file.
    """
    content = (root / clip.path).read_bytes()
    if hashlib.sha256(content).hexdigest() != clip.sha256:
        raise MediaError(
            f"{clip.path} was changed since it was committed",
            "dance verify lists all such clips; delete their files and fetch again",
        )
    return content


def _write_clip(root: Path, clip: Clip, link: bool, path: Path) -> None:
    content = _read(root, clip)
    if link:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Of an import from another disk the clip is a link itself.
            os.link((root / clip.path).resolve(), path)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            raise UsageError(
                f"{path.parent} is on another disk: hard links are not possible", "use --copy"
            ) from None
        return
    with atomic_file(path, "wb") as file:
        file.write(content)


def _write_tar(root: Path, rows: Iterable[Row], path: Path) -> None:
    with (
        atomic_file(path, "wb") as file,
        tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        for row in rows:
            # A sample's key ends at its first dot, which the id of an augmented clip contains.
            key = row.clip.clip_id.replace(".", "-")
            facts = json.dumps(facts_of(row), ensure_ascii=False)
            members = {
                "cls": str(row.label_index).encode(),
                "json": facts.encode(),
                "mp4": _read(root, row.clip),
            }
            for suffix, content in members.items():
                # A fresh entry has no time, owner or permissions of this machine: the same bytes anywhere.
                entry = tarfile.TarInfo(f"{key}.{suffix}")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))


def _write_parquet(root: Path, rows: Sequence[Row], labels: Sequence[str], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _hub_schema(labels)
    with atomic_file(path, "wb") as file, pq.ParquetWriter(file, schema) as writer:
        for start in range(0, len(rows), _ROWS_A_GROUP):
            group = [_hub_row(root, row) for row in rows[start : start + _ROWS_A_GROUP]]
            writer.write_table(pa.Table.from_pylist(group, schema=schema))


def _hub_row(root: Path, row: Row) -> dict[str, Any]:
    facts = facts_of(row)
    facts["label"] = facts.pop("label_index")
    return {"video": {"bytes": _read(root, row.clip), "path": f"{row.clip.clip_id}.mp4"}, **facts}


def _hub_schema(labels: Sequence[str]) -> pa.Schema:
    """Lay the columns out, with the features under the key where `datasets` looks for them."""
    import pyarrow as pa

    types = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    words = {str: "string", int: "int64", float: "float64", bool: "bool"}
    columns = [pa.field("video", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))]
    features: dict[str, dict[str, Any]] = {"video": {"_type": "Video"}}
    for name, kind in get_type_hints(Facts).items():
        if name == "label":
            columns.append(pa.field(name, pa.int64()))
            features[name] = {"names": list(labels), "_type": "ClassLabel"}
        elif name != "label_index":
            columns.append(pa.field(name, types[kind]))
            features[name] = {"dtype": words[kind], "_type": "Value"}
    return pa.schema(columns, metadata={"huggingface": json.dumps({"info": {"features": features}})})


def _write_pairs(rows: Iterable[Row], separator: str, path: Path) -> None:
    with atomic_file(path) as file:
        file.writelines(f"{row.clip.path}{separator}{row.label_index}\n" for row in rows)


def _write_csv(rows: Iterable[Row], path: Path) -> None:
    with atomic_file(path) as file:
        _write_rows(file, "path", ((row.clip.path, row) for row in rows))


@dataclass(frozen=True)
class _Hashed:
    """A text that is hashed and not kept."""

    digest: hashlib._Hash

    def write(self, text: str) -> int:
        self.digest.update(text.encode())
        return len(text)


def _write_rows(file: Any, column: str, rows: Iterable[tuple[str, Row]]) -> None:
    """Write facts as CSV, behind a column of their own."""
    writer = csv.DictWriter(file, [column, *_FACTS], lineterminator="\n")
    writer.writeheader()
    writer.writerows({column: value, **facts_of(row)} for value, row in rows)
