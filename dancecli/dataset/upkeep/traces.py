"""Where a workspace holds traces of clips: the files, folders, splits and runs that come from them."""

from __future__ import annotations

import csv
import json
import os
import re
import stat
import unicodedata
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from dancecli.core.errors import DanceError
from dancecli.core.recipe import KNN
from dancecli.core.records import Clip, ClipPose, Flow, SplitClip, Trajectories
from dancecli.dataset.clips import read_segments
from dancecli.dataset.upkeep.predicted import Predicted, find_predicted
from dancecli.storage import ledger, tables
from dancecli.storage.removals import VIDEO, is_reference, video_of
from dancecli.storage.runs import RunFolder, recorded
from dancecli.storage.workspace import PREDICTION, Workspace

# Files of a report or a run that may name clips; the others are pictures, weights and numbers.
TEXTS = frozenset((".json", ".jsonl", ".csv", ".txt", ".log", ".toml", ".md", ".html", ".py", ".svg", ".tex"))
_STAMP = ".dance-export.json"
# What is not looked into for names: media, and what is stored by name elsewhere.
_NOT_SEARCHED = ("clips", "augmented", "flow", "pose", "trajectories", "sources", "cache", "tmp", ".locks")


# `Gala.csv` is a list, not the recording `Gala`; what else follows a dot may be made of it, as subtitles are.
_LIST_SUFFIX = re.compile(rb"\.(?:csv|tsv|xlsx?|ods)(?![\w-])", re.IGNORECASE)


class Names:
    """Finds names in any file, as whole words: what is neither a letter, a digit, `_` nor `-` ends one.

    Args:
        names: ids and checksums.
        videos: ids of videos, which people name by words: to them a letter of any Latin alphabet belongs,
            and a list's suffix makes them another file's name.
    """

    def __init__(self, names: Iterable[str], videos: Iterable[str] = ()) -> None:
        self._videos = frozenset(name.encode() for name in videos)
        self._names = self._videos.union(name.encode() for name in names)
        # One pattern of all names would try each of thousands at every place of every file; the few that
        # are more than one word (a foreign lock may have some) are tried, unless their first is a name.
        odd = (name for name in sorted(self._names) if not re.fullmatch(rb"[\w-]+", name))
        tried = [re.escape(name) for name in odd if re.split(rb"(?![\w-])", name)[0] not in self._names]
        lengths = {len(name) for name in self._names} or {1}
        word = rb"[\w-]{%d,%d}" % (min(lengths), max(lengths))
        self._pattern = re.compile(rb"(?<![\w-])(?:" + b"|".join((*tried, word)) + rb")(?![\w-])")

    def in_text(self, content: bytes) -> bool:
        """Return whether a text has one of the names."""
        return any(
            match[0] in self._names and not (match[0] in self._videos and _is_other_name(match))
            for match in self._pattern.finditer(content)
        )

    def replace(self, content: bytes, reference_for: Callable[[bytes], bytes]) -> bytes:
        """Put something in the place of each name in a text."""
        return self._pattern.sub(
            lambda match: reference_for(match[0]) if match[0] in self._names else match[0], content
        )


def _is_other_name(match: re.Match[bytes]) -> bool:
    """Return whether a video's id is a part of a longer word, or of a list's name."""
    # A character of UTF-8 has up to four bytes; of those beside it a part may be cut off.
    before = match.string[max(match.start() - 4, 0) : match.start()].decode(errors="replace")[-1:]
    after = match.string[match.end() : match.end() + 4].decode(errors="replace")[:1]
    in_word = any(unicodedata.name(one, "").startswith("LATIN") for one in before + after)
    return in_word or _LIST_SUFFIX.match(match.string, match.end()) is not None


@dataclass(frozen=True)
class Traces:
    """Everything that comes from some clips.

    Attributes:
        clip_ids: the clips.
        checksum_of: checksum of each clip's file, as far as it is known.
        checksums: those of the clips, of their augmented clips, flow, poses and trajectories.
        gone_videos: source videos of which no other clip is known.
        files: files to delete, relative to the workspace.
        folders: folders to delete: reports and exports that contain the clips.
        splits: names of the splits that contain them.
        runs: names of the runs with predictions of them.
        num_bytes: size of the files and folders.
        predicted: what `dance predict` stored of their videos; its files are among the others.
    """

    clip_ids: frozenset[str]
    checksum_of: dict[str, str]
    checksums: frozenset[str]
    gone_videos: frozenset[str]
    files: tuple[str, ...]
    folders: tuple[str, ...]
    splits: tuple[str, ...]
    runs: tuple[str, ...]
    num_bytes: int
    predicted: Predicted = field(default_factory=Predicted)

    def about(self, name: str) -> bool:
        """Return whether an id is that of one of the clips, or of what was made of it (`CLIP.hflip`)."""
        return name.partition(".")[0] in self.clip_ids

    @cached_property
    def names(self) -> Names:
        """Ids and checksums of the clips."""
        return Names(self.clip_ids | self.checksums)


def find_traces(workspace: Workspace, scopes: Mapping[str, str], names: Sequence[str]) -> Traces:
    """Find everything that comes from some clips of a workspace.

    Args:
        workspace: where they are.
        scopes: the clips, each with the scope of its removal.
        names: what was given as their names.
    """
    ids = frozenset(scopes)
    rows = list(_clip_rows(workspace, ids))
    checksum_of = {clip_id: sha256 for clip_id, sha256, _ in rows if clip_id in ids}
    streams = list(_streams(workspace, ids))
    checksums = frozenset(sha256 for _, sha256, _ in (*rows, *streams) if sha256)
    videos = {video_of(clip_id) for clip_id in ids}
    splits = tuple(path.stem for path in workspace.split_tables() if _split_has(path, ids))
    root = workspace.root
    own = Traces(ids, checksum_of, checksums, frozenset(), (), (), splits, (), 0).names
    whole = {video_of(clip_id) for clip_id, scope in scopes.items() if scope == VIDEO}
    gone = frozenset(videos - _other_videos(workspace, ids))
    predicted = find_predicted(workspace, ids, whole, gone, checksums, names)
    files = {path for _, _, path in (*rows, *streams)}
    files |= {_relative(root, path) for path in _pictures_and_sources(workspace, ids, videos, checksums)}
    files |= {_relative(root, path) for path in (*_feature_banks(workspace, splits), *predicted.files)}
    folders = {_relative(root, path) for path in (*_reports(root, own), *_exports(root, splits))}
    folders |= {_relative(root, path) for path in predicted.folders}
    # The counts of a board are those of its splits as they were.
    board = workspace.report("board")
    if board.is_dir() and (splits or not ids.isdisjoint(locked_clips(root))):
        folders.add(_relative(root, board))
    within = tuple(f"{folder}/" for folder in folders)
    there = sorted(path for path in files if _exists(root / path) and not path.startswith(within))
    return Traces(
        clip_ids=ids,
        checksum_of=checksum_of,
        checksums=checksums,
        gone_videos=gone,
        files=tuple(there),
        folders=tuple(sorted(folders)),
        splits=splits,
        runs=tuple(path.name for path in workspace.run_folders() if _run_has(RunFolder(path), ids)),
        num_bytes=sum(size_of(root / path) for path in (*there, *folders)),
        predicted=predicted,
    )


def size_of(path: Path) -> int:
    """Return the size of a file, or of all files of a folder; a link counts as itself."""
    return sum(state.st_size for state in states_of(path) if not stat.S_ISDIR(state.st_mode))


def states_of(path: Path) -> list[os.stat_result]:
    """Return the states of a file, or of a folder and all in it; what vanishes meanwhile is left out."""
    paths = [path]
    if path.is_dir() and not path.is_symlink():
        for where, folders, files in os.walk(path):
            paths += (Path(where) / name for name in (*folders, *files))
    found = []
    for one in paths:
        with suppress(FileNotFoundError):
            found.append(one.lstat())
    return found


def texts_of(folder: Path) -> Iterator[Path]:
    """Yield the text files below a folder."""
    return (path for path in sorted(folder.rglob("*")) if path.suffix in TEXTS and path.is_file())


def searched_files(root: Path) -> Iterator[Path]:
    """Yield the files of a workspace that may name clips, whoever wrote them."""
    for path in sorted(root.iterdir()):
        if path.name not in _NOT_SEARCHED:
            inside = sorted(path.rglob("*")) if path.is_dir() else [path]
            yield from (file for file in inside if file.is_file())


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


def _exists(path: Path) -> bool:
    # A link whose file is gone is one too.
    return path.is_symlink() or path.exists()


def _clip_rows(workspace: Workspace, ids: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """Yield id, checksum and path of the clips and of their augmented clips."""
    seen = set()
    if workspace.clips.exists():
        for clip_id, parent_id, sha256, path in tables.read_columns(
            workspace.clips, Clip, ("clip_id", "parent_id", "sha256", "path")
        ):
            if clip_id in ids or parent_id in ids:
                seen.add(clip_id)
                yield clip_id, sha256, path
    # A killed command may have committed clips that the table does not list yet.
    for clip_id in ids:
        if clip_id not in seen:
            clip = ledger.last_clip(workspace.root, clip_id)
            path = clip.path if clip else _relative(workspace.root, workspace.clip(clip_id))
            yield clip_id, clip.sha256 if clip else "", path


def _streams(workspace: Workspace, ids: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """Yield id, checksum and path of the clips' flow, poses and trajectories, augmented clips included."""
    stored: tuple[tuple[Path, type[Flow] | type[ClipPose] | type[Trajectories]], ...]
    stored = (
        *((workspace.flows, Flow), (workspace.poses, ClipPose)),
        (workspace.trajectories, Trajectories),
    )
    for table, record in stored:
        if table.exists():
            for clip_id, sha256, path in tables.read_columns(table, record, ("clip_id", "sha256", "path")):
                if clip_id.partition(".")[0] in ids and path:
                    yield clip_id, sha256, path


def _pictures_and_sources(
    workspace: Workspace, ids: Collection[str], videos: Collection[str], checksums: Iterable[str]
) -> Iterator[Path]:
    """Yield what shows a clip beside its own files: thumbnails, contact sheets, kept downloads."""
    root = workspace.root
    # They show many clips, and are drawn again by the command that drew them.
    yield workspace.group_sheet
    yield from (
        root / "augmented" / "preview.png",
        root / "pose" / "preview.png",
        root / "pose" / "preview.mp4",
    )
    # Of all clips: the map, their movement, which to label next.
    yield from root.glob("cache/app/*")
    # What a killed verify had noted.
    yield workspace.segments.parent / "verified.txt"
    yield from (workspace.thumbnail(sha256) for sha256 in checksums)
    yield from (path for path in root.glob("sources/*") if path.stem in videos)
    yield from (path for path in root.glob("refused/*") if path.name.partition(".")[0] in ids)
    yield from (path for path in root.glob("runs/*/gradcam/*.jpg") if path.stem in ids)
    # The leaderboard would refuse them: their lock has clips that the split has no more.
    yield from (path for path in workspace.submissions() if _submission_has(path, ids))
    # Those that `dance submit` wrote here, under any name.
    zips = (path for path in searched_files(root) if path.suffix.lower() == ".zip")
    yield from (path for path in zips if _submission_has(path, ids, "submission.json"))
    yield from _exported_features(root, ids)


def _exported_features(root: Path, ids: Collection[str]) -> Iterator[Path]:
    """Yield the files of `dance features` that have a row of a clip."""
    for path in root.glob("exports/*.parquet"):
        if not _clips_of_table(path).isdisjoint(ids):
            yield path
    for path in root.glob("exports/*.csv"):
        if not _clips_of_list(path).isdisjoint(ids):
            # The values are beside the list of their rows.
            yield from (path, path.with_suffix(".npy"))


def _clips_of_table(path: Path) -> set[str]:
    """Read the column `clip_id` of a Parquet file; empty if it has none, or is something else."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            return set(file.read(columns=["clip_id"])[0].to_pylist()) if "clip_id" in names else set()
    # Damage within a page is an OSError.
    except (pa.ArrowInvalid, OSError):
        return set()


def _clips_of_list(path: Path) -> set[str]:
    """Read the column `clip_id` of a CSV; empty if it has none, or is something else."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return {row.get("clip_id") or "" for row in csv.DictReader(file)}
    except (UnicodeDecodeError, csv.Error):
        return set()


def _submission_has(path: Path, ids: Collection[str], card: str = "lock.csv") -> bool:
    """Return whether a zip file with a member `card` has a lock that names a clip."""
    try:
        with zipfile.ZipFile(path) as archive:
            archive.getinfo(card)
            lock = archive.read("lock.csv").decode()
    except (OSError, KeyError, ValueError, zipfile.BadZipFile):
        return False
    return any(line.partition(",")[0] in ids for line in lock.splitlines())


def _feature_banks(workspace: Workspace, splits: Collection[str]) -> Iterator[Path]:
    """Yield the files of runs that hold the training clips' features themselves, not what was learned."""
    for folder in map(RunFolder, workspace.run_folders()):
        try:
            record = recorded(folder)
        except DanceError:
            continue
        split, head = (record.get("split") or {}).get("name"), (record.get("recipe") or {}).get("head")
        if split not in splits:
            continue
        if head == KNN:
            yield from (path for path in folder.root.rglob("*.pth") if path != folder.detector)
        # Of a run on poses it holds how the training clips move, one by one.
        if (record.get("model") or {}).get("pose") and folder.detector.exists():
            yield folder.detector


def _reports(root: Path, names: Names) -> Iterator[Path]:
    """Yield the reports that name a clip: their pages contain frames of it; predictions have none."""
    for folder in sorted(path for path in root.glob("reports/*") if path.is_dir()):
        if (folder / PREDICTION).exists():
            continue
        if any(names.in_text(path.read_bytes()) for path in texts_of(folder)):
            yield folder


def _exports(root: Path, splits: Collection[str]) -> Iterator[Path]:
    """Yield the exports, finished or not, of splits that a clip is in."""
    for stamp in sorted(root.glob(f"exports/*/{_STAMP}")):
        try:
            split = json.loads(stamp.read_text(encoding="utf-8")).get("split")
        except (ValueError, AttributeError):
            continue
        if split in splits:
            yield stamp.parent


def _split_has(table: Path, ids: Collection[str]) -> bool:
    rows = tables.read_columns(table, SplitClip, ("clip_id",))
    return any(clip_id in ids for (clip_id,) in rows)


def _run_has(folder: RunFolder, ids: Collection[str]) -> bool:
    return folder.predictions.exists() and not _clips_of_table(folder.predictions).isdisjoint(ids)


def lock_files(root: Path) -> list[Path]:
    """Return the lock files of the splits and of the reproduction."""
    return [*sorted(root.glob("manifests/splits/*.lock.csv")), *sorted(root.glob("reproduction/*.lock.csv"))]


def locked_clips(root: Path) -> set[str]:
    """Return the clips of the lock files: a workspace that only ranks results has no others."""
    found = set()
    for path in lock_files(root):
        # What is no table names no clips; `dance audit` says so of a lock.
        with suppress(csv.Error), path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            found |= {row.get("clip_id") or "" for row in csv.DictReader(file)}
    return {clip_id for clip_id in found if clip_id and not is_reference(clip_id)}


def _other_videos(workspace: Workspace, ids: Collection[str]) -> set[str]:
    known = ledger.latest(workspace.root).keys() | read_segments(workspace).keys()
    known |= locked_clips(workspace.root)
    return {video_of(clip_id) for clip_id in known if clip_id not in ids}
