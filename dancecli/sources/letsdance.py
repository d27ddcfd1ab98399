"""Let's Dance (Castro et al. 2018, arXiv:1801.07388): its lists, frame folders and clip names.

A clip is named `<video id>_<start>`: the id is the first eleven characters (it may hold `_`), the
start is minutes and seconds run together (`_952` is 9:52). Frames lie in
`rgb/<class>/<clip>_<frame, four digits>.jpg`, and lists are tab-separated lines
`class  clip  number of frames` without a header. The release names no frame rate; it follows from
the number of frames, since clips are ten seconds long, or some whole seconds less.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dancecli.core.errors import InputError
from dancecli.core.text import shown
from dancecli.core.video_files import is_video_name
from dancecli.sources.list_format import RefusedRow, RowError, short
from dancecli.sources.local import walk
from dancecli.sources.text_files import is_text, open_text

DATASET = "lets-dance"
LONGEST_S = 10
_NAME = re.compile(r"(?P<video_id>[A-Za-z0-9_-]{11})_(?P<minutes>\d{1,3})(?P<seconds>[0-5]\d)")
_NAMED = "an id of 11 characters, '_' and a start in minutes and seconds"
_RENAME = "rename it as the release does, such as <id>_106.mp4 for 1:06, or import it: dance import DIR"
_FRAME = re.compile(r"(?P<clip>.+)_(?P<number>\d{4,6})(?P<suffix>\.(?:jpg|jpeg|png))", re.IGNORECASE)
_RATES = (24, 25, 30, 50, 60)
# Inclusive ends and a frame of grace: ten seconds at 24 a second come as 240 to 242 frames.
_EXTRA_FRAMES = 2
# Flow and pose lie beside the pictures, under the same names.
_OTHER_MODALITIES = frozenset({"flow", "densepose", "pose", "skeleton", "flows", "optical_flow"})


@dataclass(frozen=True, slots=True)
class Timing:
    """A clip's frame rate and length, as its number of frames tells them.

    Attributes:
        certain: the number is that of whole seconds at a usual rate; else the rate is a guess.
    """

    fps: int
    duration_ms: int
    certain: bool


@dataclass(frozen=True, slots=True, order=True)
class ListedClip:
    """A clip of the release.

    Attributes:
        label: the release's own class name.
        name: the clip's name in the release.
        num_frames: 0 if not known.
        duration_ms: measured, where the number of frames is not known; else 0.
    """

    label: str
    name: str
    video_id: str
    start_ms: int
    num_frames: int
    duration_ms: int = 0

    @property
    def timing(self) -> Timing:
        """Its rate, 0 if not known, and its length, ten seconds if nothing tells it."""
        if self.num_frames:
            return timing(self.num_frames)
        return Timing(0, self.duration_ms or LONGEST_S * 1000, certain=False)

    @property
    def end_ms(self) -> int:
        """Where it ends in its video."""
        return self.start_ms + self.timing.duration_ms


@dataclass(frozen=True)
class ReleaseList:
    """A list of the release: its clips, and the lines that cannot be used."""

    clips: tuple[ListedClip, ...]
    refused: tuple[RefusedRow, ...]


@dataclass(frozen=True, slots=True)
class FrameRun:
    """The pictures of one clip in a folder, numbered consecutively but for missing ones.

    Attributes:
        folder: where they lie.
        stem: what stands before the number and its `_`.
        suffix: of their names, with the dot.
        digits: of their numbers, with leading zeros.
        first, last: their numbers.
        missing: numbers between them that have no picture.
    """

    folder: Path
    stem: str
    suffix: str
    digits: int
    first: int
    last: int
    missing: frozenset[int]

    @property
    def num_frames(self) -> int:
        """From the first to the last, the missing ones included: their time passed too."""
        return self.last - self.first + 1

    def pictures(self) -> Iterator[Path]:
        """Give one picture per frame; in place of a missing one, the one before it."""
        shown = self.first
        for number in range(self.first, self.last + 1):
            shown = shown if number in self.missing else number
            yield self.folder / f"{self.stem}_{shown:0{self.digits}d}{self.suffix}"


@dataclass(frozen=True, slots=True)
class FoundFrames:
    """A clip of the release on disk, as pictures."""

    listed: ListedClip
    media: FrameRun


@dataclass(frozen=True, slots=True)
class FoundVideo:
    """A clip of the release on disk, as a video."""

    listed: ListedClip
    media: Path


def parse_name(name: str) -> tuple[str, int] | None:
    """Read a clip's name as video id and start in milliseconds; None if it is none."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    return match["video_id"], (60 * int(match["minutes"]) + int(match["seconds"])) * 1000


def timing(num_frames: int) -> Timing:
    """Tell a clip's rate and length from its number of frames.

    The longest stretch of whole seconds that some usual rate explains is taken: 301 frames are
    ten seconds at 30, not six at 50. A number that none explains (frames are missing) is taken at
    the lowest usual rate at which it fits into ten seconds.
    """
    for seconds in range(LONGEST_S, 0, -1):
        extra = _EXTRA_FRAMES if seconds == LONGEST_S else 1
        for fps in _RATES:
            if 0 <= num_frames - fps * seconds <= extra:
                return Timing(fps, seconds * 1000, certain=True)
    fps = next((rate for rate in _RATES if num_frames <= LONGEST_S * rate), _RATES[-1])
    return Timing(fps, min(LONGEST_S * 1000, round(1000 * num_frames / fps)), certain=False)


def read_list(path: Path) -> ReleaseList:
    """Read a list of the release; lines that are none of its lines are refused, the others are read.

    Raises:
        InputError: the file is missing, empty or not such a list; the message names the line.
    """
    clips, refused = [], []
    with open_text(path, "list of Let's Dance") as (text, _):
        for row, line in enumerate(text, start=1):
            if not line.strip():
                continue
            try:
                clips.append(_read_line(line))
            except RowError as error:
                refused.append(RefusedRow(str(path), row, str(error), error.hint))
    if not clips and not refused:
        raise InputError.at(path, None, "the list is empty", "give a list that is not empty")
    if not clips:
        raise InputError(str(refused[0]), refused[0].hint)
    return ReleaseList(tuple(clips), tuple(refused))


def _read_line(line: str) -> ListedClip:
    hint = "a line is 'class<tab>clip<tab>number of frames'"
    separator = next((one for one in ("\t", ";", ",") if one in line), "\t")
    words = [word.strip().strip('"') for word in line.split(separator)]
    if len(words) != 3 or not words[0]:
        raise RowError(f"has {len(words)} columns, not 3", hint)
    label, name, frames = words
    if not is_text(line):
        raise RowError("is not UTF-8 text", "save the list as UTF-8 (in Excel: CSV UTF-8)")
    parsed = parse_name(name)
    if parsed is None:
        raise RowError(f"clip {short(name)} is not {_NAMED}", hint)
    if not (frames.isascii() and frames.isdigit() and 0 < int(frames) < 100_000):
        raise RowError(f"{short(frames)} is not a number of frames", hint)
    return ListedClip(label, name, *parsed, int(frames))


def scan_frames(root: Path) -> Iterator[FoundFrames]:
    """Find the release's clips below a folder that lie there as pictures.

    Flow and pose folders are left out, since they repeat the names of `rgb`.

    Raises:
        InputError: there is no such folder.
    """
    for folder, files in walk(root):
        yield from frame_clips(root, folder, files)


def scan_videos(root: Path) -> tuple[list[FoundVideo], list[RefusedRow]]:
    """Find the release's clips below a folder that lie there as videos, named as the release does.

    Returns:
        The clips, and the videos that are named otherwise.

    Raises:
        InputError: there is no such folder.
    """
    found, refused = [], []
    for folder, files in walk(root):
        for path in map(folder.joinpath, filter(is_video_name, files)):
            parsed = parse_name(path.stem)
            if parsed is None:
                place = shown(path.relative_to(root))
                refused.append(RefusedRow(shown(root), place, f"is not named by {_NAMED}", _RENAME))
            else:
                found.append(FoundVideo(ListedClip(folder.absolute().name, path.stem, *parsed, 0), path))
    return found, refused


def is_picture_name(name: str) -> bool:
    """Tell whether a file is named as a picture of a clip is."""
    match = _FRAME.fullmatch(name)
    return match is not None and parse_name(match["clip"]) is not None


def frame_clips(root: Path, folder: Path, files: Iterable[str]) -> Iterator[FoundFrames]:
    """Find the clips whose pictures are among the files of one folder below `root`; see `scan_frames`."""
    if not _OTHER_MODALITIES.isdisjoint(folder.relative_to(root).parts):
        return
    runs: dict[tuple[str, str], set[str]] = {}
    for name in files:
        match = _FRAME.fullmatch(name)
        if match is not None:
            runs.setdefault((match["clip"], match["suffix"]), set()).add(match["number"])
    label = folder.absolute().name
    for (clip, suffix), written in sorted(runs.items()):
        parsed = parse_name(clip)
        if parsed is not None:
            # Of numbers with leading zeros alone the longer ones have as many digits.
            numbers, digits = set(map(int, written)), min(map(len, written))
            first, last = min(numbers), max(numbers)
            missing = frozenset(range(first, last + 1)) - numbers
            run = FrameRun(folder, clip, suffix, digits, first, last, missing)
            yield FoundFrames(ListedClip(label, clip, *parsed, run.num_frames), run)
