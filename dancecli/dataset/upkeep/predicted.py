"""Find what `dance predict` stored of removed videos: rows, timelines, pictures, and edits of them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from dancecli.core.hashing import content_digest, digest_in
from dancecli.core.text import shown
from dancecli.core.video_files import recording_id, recording_stem, result_stems, timeline_name
from dancecli.dataset.clip_lookup import path_parts
from dancecli.dataset.left_out import read_copies
from dancecli.sources.local import EXACT_YOUTUBE_ID, parse_clip_name
from dancecli.storage import ledger
from dancecli.storage.removals import video_of
from dancecli.storage.workspace import PREDICTION, Workspace

_Row = Mapping[str, Any]


@dataclass(frozen=True)
class Predicted:
    """What is stored of removed videos, and what stays.

    Attributes:
        checksums: of the videos' files.
        failed: names of those that could not be read, as the results give them; no checksum is known.
        files: timelines, pictures and edits to delete, and results of which no row is left.
        folders: folders to delete, which hold nothing else.
        results: those that lose a row, and keep others.
        left: results with a row of a recording that stays although clips of it, or another recording of
            its name, are removed; each with that recording.
    """

    checksums: frozenset[str] = frozenset()
    failed: frozenset[str] = frozenset()
    files: tuple[Path, ...] = ()
    folders: tuple[Path, ...] = ()
    results: tuple[Path, ...] = ()
    left: tuple[tuple[Path, str], ...] = ()

    @property
    def result_folders(self) -> frozenset[Path]:
        """The folders of results that are changed or deleted, which `dance predict` may be at work on."""
        deleted = {path for path in self.files if path.name == PREDICTION}
        return frozenset(path.parent for path in {*deleted, *self.results})

    def has(self, row: _Row) -> bool:
        """Return whether a row of a result is about a removed video."""
        sha256 = row.get("sha256")
        return sha256 in self.checksums if sha256 else row["file"] in self.failed

    def result_left(self, content: bytes) -> bytes:
        """Drop the rows of removed videos from a result; one that cannot be read stays as it is."""
        document = read_result(content)
        gone = [row for row in document["videos"] if self.has(row)] if document else []
        if not gone:
            return content
        stems, paths = result_stems(document["videos"]), {row.get("path") for row in gone}
        # The names of the others' files may come from all rows.
        rows = [
            {**row, "stem": stem}
            for row, stem in zip(document["videos"], stems, strict=True)
            if not self.has(row)
        ]
        timelines = document.get("timelines", {})
        dropped = set(_of_stems(timelines, stems, {row["stem"] for row in rows}))
        document |= {
            "inputs": [path for path in document.get("inputs", ()) if path not in paths],
            "videos": rows,
            "timelines": {name: mark for name, mark in timelines.items() if name not in dropped},
        }
        return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


class _Removed:
    """What a removed video is known by.

    Args:
        clip_ids: the removed clips.
        whole: source videos that are removed as such.
        gone: source videos of which no other clip is known.
        checksums: of the clips' files.
        paths: files that the clips were imported from, each with whether no other clip was.
        given: paths among the names that were given.
    """

    def __init__(
        self,
        clip_ids: Collection[str],
        whole: Collection[str],
        gone: Collection[str],
        checksums: Collection[str],
        paths: Mapping[str, bool],
        given: Sequence[str],
    ) -> None:
        self._clip_ids, self._whole, self._checksums, self._paths = clip_ids, whole, checksums, paths
        self._videos = {video_of(clip_id) for clip_id in clip_ids}
        self._digests = set(map(digest_in, self._videos)) - {None}
        self._gone_digests = set(map(digest_in, {*whole, *gone})) - {None}
        self._gone_paths = {path for path, alone in paths.items() if alone}
        self._given = [path_parts(name) for name in given if "/" in name]

    def is_surely(self, row: _Row) -> bool:
        """Return whether a video is one by its bytes, its path or the id of a clip."""
        name, sha256 = PurePosixPath(row["file"]).name, row.get("sha256", "")
        clip = parse_clip_name(name)
        return (
            name.partition(".")[0] in self._clip_ids
            or row.get("path") in self._gone_paths
            or sha256 in self._checksums
            or (bool(self._gone_digests) and _digest_of_file(row) in self._gone_digests)
            or (clip is not None and clip[0] in self._whole)
            or (not sha256 and name in {PurePosixPath(path).name for path in self._gone_paths})
        )

    def shows(self, row: _Row) -> bool:
        """Return whether a video is one that a clip was cut from, as far as its name, path or bytes tell."""
        return (
            row.get("path") in self._paths
            or (bool(self._digests) and _digest_of_file(row) in self._digests)
            or bool(self.named(row))
        )

    def named(self, row: _Row) -> str:
        """Return the source video that a recording's name gives, if one is removed, or clips of it."""
        found = recording_id(recording_stem(PurePosixPath(row["file"]).name))
        return found if found in self._videos else ""

    def by_name(self, rows: Iterable[_Row]) -> frozenset[str]:
        """Return the checksums of the recordings that are removed as a whole, by their names.

        Several may have one name; a path tells which is meant. An id of YouTube means one video.
        """
        of_name: dict[str, dict[str, set[str]]] = {}
        for row in rows:
            if (video := self.named(row)) in self._whole and row.get("sha256"):
                of_name.setdefault(video, {}).setdefault(row["sha256"], set()).add(row.get("path", ""))
        found: set[str] = set()
        for video, files in of_name.items():
            given = [one for one in self._given if recording_id(recording_stem(one[-1])) == video]
            found |= {
                sha256
                for sha256, paths in files.items()
                if EXACT_YOUTUBE_ID.fullmatch(video)
                or (len(files) == 1 and not (given and any(paths)))
                or any(path_parts(path)[-len(one) :] == one for path in paths for one in given)
            }
        return frozenset(found)


def _digest_of_file(row: _Row) -> str | None:
    """Return the digest by which an import knows a video; None if its file is gone, or another one now."""
    path = Path(row.get("path", ""))
    with suppress(OSError):
        if path.is_file() and path.stat().st_size == row.get("num_bytes"):
            return content_digest(path)
    return None


def read_result(content: bytes) -> dict[str, Any]:
    """Read the result of `dance predict`; empty if it is damaged."""
    try:
        document = json.loads(content)
        rows, keys = document["videos"], ("file", "path", "sha256", "stem")
        whole = all(isinstance(row.get(key, ""), str) for row in rows for key in keys)
        whole &= all(row["file"] for row in rows)
        whole &= isinstance(document.get("timelines", {}), dict)
        whole &= isinstance(document.get("inputs", []), list)
    except (ValueError, LookupError, TypeError, AttributeError):
        return {}
    return document if whole else {}


def find_predicted(
    workspace: Workspace,
    clip_ids: Collection[str],
    whole: Collection[str],
    gone: Collection[str],
    checksums: Collection[str],
    names: Sequence[str],
) -> Predicted:
    """Find what is stored of removed videos.

    Args:
        workspace: where to look.
        clip_ids: the removed clips.
        whole: source videos that are removed as such.
        gone: source videos of which no other clip is known.
        checksums: of the clips' files.
        names: what was given as the clips' names.
    """
    given = [name for one in names if "/" in one for name in (one, shown(Path(one).absolute()))]
    removed = _Removed(clip_ids, whole, gone, checksums, _paths_of(workspace, clip_ids), given)
    results = {path: read_result(path.read_bytes()).get("videos", []) for path in workspace.predictions()}
    edits = dict(_edited(workspace))
    every = [*chain.from_iterable(results.values()), *edits.values()]
    sure = [row for row in every if removed.is_surely(row)]
    of_name = removed.by_name(every)
    by_bytes = frozenset(row["sha256"] for row in sure if row.get("sha256")) | of_name
    failed = (row for row in every if not row.get("sha256"))
    found = Predicted(
        by_bytes, frozenset(r["file"] for r in failed if r in sure or removed.named(r) in whole)
    )
    return _with_files(workspace, found, removed, results, edits)


def _with_files(
    workspace: Workspace,
    found: Predicted,
    removed: _Removed,
    results: Mapping[Path, list[_Row]],
    edits: Mapping[Path, _Row],
) -> Predicted:
    """Add the files of the videos that were found."""
    gone = [row for rows in results.values() for row in rows if found.has(row) and row.get("sha256")]
    stored = [workspace.timeline(timeline_name(row["file"], row["sha256"])) for row in gone]
    stored += [path for path, row in edits.items() if found.has(row)]
    files = {one for path in stored for one in (path, path.with_suffix(".eaf"))}
    files |= {workspace.thumbnail(sha256) for sha256 in found.checksums}
    folders, changed, left = [], [], []
    for path, rows in results.items():
        kept = [row for row in rows if not found.has(row)]
        left += [(path, row.get("path", row["file"])) for row in kept if removed.shows(row)]
        if len(kept) == len(rows):
            continue
        stems, inside = result_stems(rows), {one.name for one in path.parent.iterdir()}
        staying = {stem for row, stem in zip(rows, stems, strict=True) if not found.has(row)}
        own = set(_of_stems(inside, stems, staying)) | (set() if kept else {PREDICTION})
        files |= {path.with_name(name) for name in own}
        if not kept and own == inside:
            folders.append(path.parent)
        elif kept:
            changed.append(path)
    there = tuple(sorted(path for path in files if path.is_file()))
    return Predicted(
        found.checksums, found.failed, there, tuple(folders), tuple(changed), tuple(sorted(set(left)))
    )


def _of_stems(names: Iterable[str], stems: Collection[str], staying: Collection[str]) -> Iterator[str]:
    """Yield the names of files that belong to a stem that does not stay: `STEM.eaf`, `STEM.new.eaf`."""
    for name in names:
        # That of `a.mp4.avi` is no file of `a.mp4`.
        own = max((stem for stem in stems if name.startswith(f"{stem}.")), key=len, default="")
        if own and own not in staying:
            yield name


def _edited(workspace: Workspace) -> Iterator[tuple[Path, _Row]]:
    """Yield the edits of timelines, each with the recording that its first row names."""
    for path in sorted((workspace.root / "timelines").glob("*.jsonl")):
        with path.open("rb") as file:
            try:
                first = json.loads(file.readline())
                yield path, {"file": str(first["video"]), "sha256": str(first["sha256"])}
            except (ValueError, LookupError, TypeError):
                continue


def _paths_of(workspace: Workspace, clip_ids: Collection[str]) -> dict[str, bool]:
    """Return the files that clips, or their repetitions, were imported from: whether no other clip was."""
    clips = ((clip.original_path, clip.clip_id) for clip in ledger.done_clips(workspace.root))
    repeated = ((row.path, row.clip_id) for row in read_copies(workspace))
    files = [(path, clip_id) for path, clip_id in chain(clips, repeated) if path]
    others = {path for path, clip_id in files if clip_id not in clip_ids}
    return {path: path not in others for path, clip_id in files if clip_id in clip_ids}
