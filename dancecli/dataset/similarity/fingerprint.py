"""Fingerprints: the perceptual hashes of clips as a file to publish, and what else shows these clips.

The file has no pictures, and none can be made from it. Who trains on videos from elsewhere finds by it
whether a benchmark's test clips are among them, re-encoded, scaled or mirrored.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from platformdirs import user_cache_path

from dancecli.core.csv_files import read_csv
from dancecli.core.errors import InputError, UsageError, WorkspaceError
from dancecli.core.hashing import sha256_lines
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import ClipHashes
from dancecli.core.video_files import VIDEO_SUFFIXES
from dancecli.dataset.similarity.hashes import compute_hashes, hash_files, load_hashes, read_originals
from dancecli.dataset.similarity.neighbors import HashArrays, compare, near_pairs
from dancecli.storage import tables
from dancecli.storage.files import atomic_file
from dancecli.storage.workspace import Workspace
from dancecli.video.phash import LARGE, MOST_FRAMES, SMALL, PerceptualHashes

_COLUMNS = tuple(field.name for field in fields(ClipHashes))
_HASHES = tuple(field.name for field in fields(PerceptualHashes))
_WIDE = re.compile(rf"[0-9a-f]{{{LARGE * LARGE // 4}}}")
_LONG = re.compile(rf"(?:[0-9a-f]{{{SMALL * SMALL // 4}}}){{1,{MOST_FRAMES}}}")


@dataclass(frozen=True)
class Match:
    """A video that shows a clip of a fingerprint file.

    Attributes:
        clip_id: the clip.
        found: the video: a path, or a clip of the workspace.
        distance: share of the bits of their hashes that differ, 0 to 1; see `neighbors.SAME_PICTURE`.
    """

    clip_id: str
    found: str
    distance: float


@dataclass(frozen=True)
class AgainstResult:
    """What was found of a fingerprint file's clips.

    Attributes:
        num_listed: clips of the file.
        num_flat: of these, clips of one tone (black, gray), which nothing can be compared with.
        num_compared: videos that were compared with them.
        num_flat_compared: of these, videos of one tone, which show none of the clips.
        num_pending: clips of the workspace that are not hashed, in a dry run.
        matches: videos that show one of the clips, by clip, the closest first.
        unreadable: videos that do not decode, with the reason.
    """

    num_listed: int
    num_flat: int
    num_compared: int
    num_flat_compared: int
    num_pending: int
    matches: tuple[Match, ...]
    unreadable: dict[str, str]


def stored_fingerprint(workspace: Workspace, checksum_of: Mapping[str, str]) -> list[ClipHashes]:
    """Return the stored hashes of clips, by id.

    Args:
        workspace: stores them.
        checksum_of: the checksum of the file of each clip.

    Raises:
        UsageError: a clip is not hashed, or its file has changed since.
    """
    rows = tables.read_columns(workspace.hashes, ClipHashes) if workspace.hashes.exists() else ()
    found = [ClipHashes(*row) for row in rows if checksum_of.get(row[0]) == row[1]]
    if len(found) < len(checksum_of):
        raise UsageError(
            f"{len(checksum_of) - len(found)} of {len(checksum_of)} test clips are not hashed yet",
            "run dance dedup first",
        )
    return sorted(found)


def write_fingerprint(rows: Iterable[ClipHashes], path: Path) -> None:
    """Write a fingerprint file: CSV, hashes in hexadecimal."""
    with atomic_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(
            (row.clip_id, row.sha256, *(getattr(row, name).hex() for name in _HASHES)) for row in rows
        )


def read_fingerprint(path: Path) -> list[ClipHashes]:
    """Read a fingerprint file.

    Raises:
        InputError: it is none, or lists no clips.
    """
    table = read_csv(path, "fingerprint file")
    if set(table.columns) != set(_COLUMNS):
        what = f"is no fingerprint file: its columns must be {','.join(_COLUMNS)}"
        raise InputError.at(path, 1, what, "write one with dance export --format fingerprint")
    found = []
    for row in table.rows:
        cells = row.cells
        wide = _WIDE.fullmatch(cells["mean"]) and _WIDE.fullmatch(cells["motion"])
        long = _LONG.fullmatch(cells["frames"]) and len(cells["changes"]) == len(cells["frames"])
        if not (wide and long and _LONG.fullmatch(cells["changes"])):
            raise InputError.at(path, row.line, "is not hashes in hexadecimal", "get the file again")
        hashes = (bytes.fromhex(cells[name]) for name in _HASHES)
        found.append(ClipHashes(cells["clip_id"], cells["sha256"], *hashes))
    if not found:
        # Nothing would be found of a file that was cut short, as if nothing were there.
        raise InputError.at(path, 1, "lists no clips", "get the file again")
    return found


def folder_against(
    listed: Sequence[ClipHashes],
    folder: Path,
    videos: Iterable[Path],
    workers: int = 0,
    reporter: Reporter = SILENT,
) -> AgainstResult:
    """Find the videos of a folder that show one of the listed clips.

    The hashes are kept in the user's cache, so that a run that is stopped resumes, and another file is
    compared at once; a video that has changed is hashed again.

    Args:
        listed: the clips of a fingerprint file.
        folder: names the kept hashes.
        videos: files of it.
        workers: processes; 0 for one per core.
        reporter: told after every video.

    Raises:
        InputError: there is no such folder, or it contains no video.
    """
    key = sha256_lines([str(folder.resolve())])[:16]
    kept = user_cache_path("dancecli") / "hashes" / f"{key}.jsonl"
    hashed, unreadable = hash_files(
        {path.relative_to(folder).as_posix(): path for path in videos}, kept, workers, reporter
    )
    if not (hashed or unreadable):
        suffixes = " ".join(sorted(VIDEO_SUFFIXES))
        raise InputError(f"{folder}: contains no video", f"known suffixes: {suffixes}")
    arrays = HashArrays.of(tuple(hashed.values()))
    matches, num_flat = find_listed(listed, tuple(hashed), arrays)
    num_flat_here = int(arrays.flat.sum())
    return AgainstResult(len(listed), num_flat, len(hashed), num_flat_here, 0, matches, unreadable)


def workspace_against(
    listed: Sequence[ClipHashes],
    workspace: Workspace,
    workers: int = 0,
    reporter: Reporter = SILENT,
    *,
    engine: str,
    dry_run: bool = False,
) -> AgainstResult:
    """Find the clips of a workspace that show one of the listed clips.

    Args:
        listed: the clips of a fingerprint file.
        workspace: whose clips; they are hashed if they are not yet.
        workers: processes; 0 for one per core.
        reporter: told after every clip.
        engine: computes the hashes, `local` or `ray`, see `engine.factory`.
        dry_run: compare the clips that are hashed already, and change nothing.

    Raises:
        WorkspaceError: the workspace has no clips, or another dedup is at work.
    """
    clips = read_originals(workspace)
    if not len(clips):
        raise WorkspaceError(
            f"{workspace.root}: no clips here",
            "give the folder of videos to look through: dance dedup DIR --against FILE",
        )
    unreadable = {} if dry_run else compute_hashes(workspace, clips, workers, reporter, engine)
    rows, arrays = load_hashes(workspace, clips)
    ids = clips.column("clip_id").to_pylist()
    matches, num_flat = find_listed(listed, [ids[row] for row in rows.tolist()], arrays)
    num_pending = len(ids) - len(rows) - len(unreadable)
    num_flat_here = int(arrays.flat.sum())
    return AgainstResult(len(listed), num_flat, len(rows), num_flat_here, num_pending, matches, unreadable)


def find_listed(
    listed: Sequence[ClipHashes], names: Sequence[str], arrays: HashArrays
) -> tuple[tuple[Match, ...], int]:
    """Find what shows one of the listed clips.

    Args:
        listed: the clips.
        names: of the videos that are compared with them.
        arrays: the hashes of these videos, in the same order.

    Returns:
        The matches, and how many of the listed clips are of one tone, so that nothing can match them.
    """
    own = HashArrays.of([PerceptualHashes(row.mean, row.motion, row.frames, row.changes) for row in listed])
    together = own.joined(arrays)
    first, second = near_pairs(together)
    across = (first < len(own)) & (second >= len(own))
    first, second = first[across], second[across]
    distances = compare(together, first, second)[0].tolist()
    pairs = zip(first.tolist(), second.tolist(), distances, strict=True)
    matches = [Match(listed[i].clip_id, names[j - len(own)], round(far, 4)) for i, j, far in pairs]
    matches.sort(key=lambda match: (match.clip_id, match.distance, match.found))
    return tuple(matches), int(own.flat.sum())
