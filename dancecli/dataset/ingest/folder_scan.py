"""What lies below a folder: every file, with what its name, its folders and its header tell."""

from __future__ import annotations

import hashlib
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from dancecli.core.errors import MediaError
from dancecli.core.hashing import content_digest
from dancecli.core.progress import Reporter
from dancecli.core.text import shown
from dancecli.core.video_files import is_video_name, readable_part
from dancecli.dataset.ingest.own_files import OwnFiles
from dancecli.sources import letsdance
from dancecli.sources.layouts import Layout, NamedFile, are_downloads, detect_name, read_name
from dancecli.sources.local import SPLIT_FOLDER, subset_of, walk
from dancecli.video.source import probe

# Headers are read while the disk looks for the next one.
_READERS = 4


@dataclass(frozen=True, slots=True)
class FoundFile:
    """One file below a folder, or the pictures of one clip.

    Attributes:
        relative: its path below the folder, in text.
        media: what it is imported from.
        named: what its name tells; None if it is not to be imported.
        folders: names of the folders that may be its label, the outermost first.
        official_split: as a folder above says; else empty.
        length_ms: of the file, by its header; 0 if that cannot be told.
        fps: of the file, by its header; 0 if that cannot be told, or for pictures.
        digest: of its bytes, where its name does not tell which video it is, or another file's name tells
            the same.
        problem: a short stable word for why it is left out; else empty.
        text: what is wrong, in words.
    """

    relative: str
    media: Path | letsdance.FrameRun
    named: NamedFile | None = None
    folders: tuple[str, ...] = ()
    official_split: str = ""
    length_ms: int = 0
    fps: Fraction = Fraction(0)
    digest: str = ""
    problem: str = ""
    text: str = ""

    @property
    def video_id(self) -> str:
        """The id of the source video: as its name tells, else its name with its digest."""
        if self.named is not None and self.named.video_id:
            return self.named.video_id
        # What cannot be read is named by its place.
        digest = self.digest or hashlib.blake2b(self.relative.encode(), digest_size=4).hexdigest()
        return f"{readable_part(Path(self.relative).stem)}-{digest}"


def scan_folder(
    root: Path, layout: Layout | None, reporter: Reporter, own: OwnFiles | None = None
) -> list[FoundFile]:
    """Look at every file below a folder, in the order of their paths; what links lead to comes last.

    Args:
        root: the folder.
        layout: how its files are named; None to tell that by their names and lengths.
        reporter: gets the progress.
        own: tells which files are the workspace's own, which are left out; None: none is.

    Raises:
        InputError: there is no such folder.
    """
    candidates = list(_candidates(root, own))
    downloads = layout is None and are_downloads(
        file.media.stem for file in candidates if not file.problem and isinstance(file.media, Path)
    )
    found = []
    with ThreadPoolExecutor(_READERS) as readers:
        for number, file in enumerate(
            readers.map(lambda file: _looked_at(file, layout, downloads), candidates), start=1
        ):
            reporter.progress(number, len(candidates), "headers read")
            found.append(file)
    return _compared(found)


def _candidates(root: Path, own: OwnFiles | None) -> Iterator[FoundFile]:
    errors: list[OSError] = []
    repeated: list[FoundFile] = []

    def repeat(folder: Path, before: Path) -> None:
        text = f"the same folder as {shown(before.relative_to(root))}"
        repeated.append(FoundFile(shown(folder.relative_to(root)), folder, problem="repeated", text=text))

    for folder, names in walk(root, errors.append, own.is_folder if own is not None else None, repeat):
        written = own.among(folder, names) if own is not None else set()
        files = [name for name in names if name not in written]
        relative = folder.relative_to(root)
        folders, subset = _label_folders(root, folder), subset_of(root, folder)
        clips = list(letsdance.frame_clips(root, folder, files))
        pictures = {name for name in files if letsdance.is_picture_name(name)} if clips else set()
        for clip in clips:
            listed, run = clip.listed, clip.media
            named = NamedFile(Layout.LETSDANCE, listed.video_id, listed.start_ms, listed.end_ms)
            name = shown(relative / f"{run.stem}_*{run.suffix}")
            yield FoundFile(name, run, named, (listed.label,), subset, listed.timing.duration_ms)
        for name in files:
            if name in pictures:
                continue
            path = folder / name
            file = FoundFile(shown(relative / name), path, folders=folders, official_split=subset)
            problem, text = _problem_of(path, str(relative / name))
            yield replace(file, problem=problem, text=text)
    yield from repeated
    for error in errors:
        path = Path(error.filename)
        text = f"the folder cannot be read: {error.strerror}"
        yield FoundFile(shown(path.relative_to(root)), path, problem="unreadable", text=text)


def _problem_of(path: Path, relative: str) -> tuple[str, str]:
    """Why a file cannot be imported, as far as its name and its kind tell."""
    if not is_video_name(path.name):
        return "not-a-video", f"{path.suffix or 'no suffix'} is not the suffix of a video"
    if shown(relative) != relative:
        return "name-not-text", "the name is not text in UTF-8, or is more than one line; rename it"
    try:
        mode = path.stat().st_mode
    except OSError as error:
        said = "is a link to nothing" if path.is_symlink() else error.strerror or str(error)
        return "unreadable", said
    return ("", "") if stat.S_ISREG(mode) else ("unreadable", "is not a regular file")


def _looked_at(file: FoundFile, layout: Layout | None, downloads: bool) -> FoundFile:
    """Read a file's header and, where its name does not tell what it is, its bytes."""
    media = file.media
    if file.problem or not isinstance(media, Path):
        return file
    length_ms, fps, problem, text = _length_of(media)
    stem = media.stem
    if layout is None:
        named = detect_name(stem, file.folders, length_ms, among_downloads=downloads)
    else:
        named = read_name(stem, layout, file.folders) or NamedFile(Layout.PLAIN)
    if named.video_id and not named.end_ms:
        named = replace(named, end_ms=named.start_ms + length_ms)
    file = replace(file, named=named, length_ms=length_ms, fps=fps, problem=problem, text=text)
    return file if named.video_id else _with_digest(file)


def _compared(found: Sequence[FoundFile]) -> list[FoundFile]:
    """Read the bytes of files whose names tell one clip: whether they are one, no name proves."""

    def clip_of(file: FoundFile) -> tuple[str, int, int] | None:
        named = file.named
        if named is None or not named.video_id or file.problem:
            return None
        return named.video_id, named.start_ms, named.end_ms

    counts = Counter(map(clip_of, found))
    return [_with_digest(file) if clip_of(file) and counts[clip_of(file)] > 1 else file for file in found]


def _with_digest(file: FoundFile) -> FoundFile:
    try:
        if isinstance(file.media, Path):
            return replace(file, digest=content_digest(file.media))
        return replace(file, digest="".join(map(content_digest, file.media.pictures())))
    except OSError as error:
        return replace(file, problem="unreadable", text=error.strerror or str(error))


def _length_of(path: Path) -> tuple[int, Fraction, str, str]:
    """Length in milliseconds and frame rate; and why the file is left out, as a word and in words."""
    try:
        facts = probe(path, measure=True)
    except MediaError as error:
        return 0, Fraction(0), "unreadable", error.message
    if facts.duration_ms <= 0:
        return 0, Fraction(0), "unreadable", "does not tell its length"
    return facts.duration_ms, facts.fps, "", ""


def _label_folders(root: Path, folder: Path) -> tuple[str, ...]:
    """Names that may be the label: the folders below `root`, or `root` itself for what lies in it."""
    names = folder.relative_to(root).parts or (root.absolute().name,)
    return tuple(name for name in names if not SPLIT_FOLDER.fullmatch(name))
