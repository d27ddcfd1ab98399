"""Attributes of clips, by which accuracy is sliced: of the manifests, of groups, and of any CSV file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import NamedTuple

from dancecli.core.csv_files import CsvTable, read_csv
from dancecli.core.errors import InputError
from dancecli.core.records import NEAR_DUPLICATE, Clip, ClipPose, Group, near_duplicates
from dancecli.core.text import agreeing, pluralize
from dancecli.storage import tables
from dancecli.storage.content import CONDITIONS
from dancecli.storage.workspace import Workspace

# An attribute with more values is cut down to the most frequent ones.
MOST_VALUES = 24
OTHER = "(other)"
ID_COLUMNS = ("clip_id", "clip", "video_id", "video")
_SECONDS = (2.0, 5.0, 9.5)
_LINES = (240, 360, 480, 720, 1080)


@dataclass(frozen=True)
class Attributes:
    """The attributes of clips.

    Attributes:
        values: for each name the value of each clip for which it is known.
        notes: what was read of files, one sentence each.
    """

    values: Mapping[str, Mapping[str, str]]
    notes: tuple[str, ...] = ()

    def of(self, clips: Sequence[str]) -> dict[str, list[str]]:
        """Give each attribute's value of these clips; empty where it is not known.

        An attribute of more than 24 values keeps the most frequent ones, and joins the others.
        """
        found = {}
        for name, values in self.values.items():
            own = [values.get(clip, "") for clip in clips]
            counts = Counter(value for value in own if value)
            if len(counts) > MOST_VALUES:
                ordered = sorted(counts, key=lambda v: (-counts[v], v))
                kept = set(ordered[: MOST_VALUES - 1])
                own = [value if value in kept or not value else OTHER for value in own]
            found[name] = own
        return found


class _Row(NamedTuple):
    """The columns that are read of the manifest of clips, see `Clip`."""

    clip_id: str
    parent_id: str
    video_id: str
    dataset: str
    num_frames: int
    fps_num: int
    fps_den: int
    width: int
    height: int
    source_width: int
    source_height: int
    upload_date: str
    has_audio: bool
    black_share: float
    frozen_share: float
    bars_share: float
    damaged_frames: int


def read_attributes(workspace: Workspace, files: Sequence[Path] = ()) -> Attributes:
    """Read what the workspace knows of its clips, and further attributes of CSV files.

    Raises:
        InputError: a file is no table of attributes.
    """
    there = workspace.clips.exists()
    clips = [*map(_Row._make, tables.read_columns(workspace.clips, Clip, _Row._fields))] if there else []
    values = _of_manifest([clip for clip in clips if not clip.parent_id])
    if workspace.groups.exists():
        values |= _of_groups(tables.read(workspace.groups, Group), {c.clip_id: c.video_id for c in clips})
    if workspace.poses.exists():
        values["people followed"] = {
            clip: str(people)
            for clip, people, reason in tables.read_columns(
                workspace.poses, ClipPose, ("clip_id", "people", "reason")
            )
            if not reason
        }
    videos: dict[str, list[str]] = {}
    for clip in clips:
        videos.setdefault(clip.video_id, []).append(clip.clip_id)
    notes = []
    for path in files:
        further, note = _of_file(path, read_csv(path, "table of attributes"), videos)
        values |= further
        notes.append(note)
    return Attributes({name: of for name, of in values.items() if of}, tuple(notes))


def _of_groups(groups: Sequence[Group], video_of: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Name the user's own groups; of dedup's, which are many and small, whether a clip is in one."""
    near = near_duplicates(groups, video_of)
    found: dict[str, dict[str, str]] = {}
    for row in groups:
        if row.kind == NEAR_DUPLICATE:
            found.setdefault("near-duplicates", {})[row.clip_id] = "yes" if row.clip_id in near else "no"
        else:
            found.setdefault(f"group: {row.kind}", {})[row.clip_id] = row.group
    return found


def _of_manifest(clips: Sequence[_Row]) -> dict[str, dict[str, str]]:
    ids = [clip.clip_id for clip in clips]

    def known(values: Iterable[str]) -> dict[str, str]:
        return {clip: value for clip, value in zip(ids, values, strict=True) if value}

    def yes_or_no(meets: Callable[[_Row], bool]) -> dict[str, str]:
        return known("yes" if meets(clip) else "no" for clip in clips)

    sides = (min(c.source_width or c.width, c.source_height or c.height) for c in clips)
    return {
        "dataset": known(clip.dataset for clip in clips),
        "source resolution": known(map(_resolution, sides)),
        "length": known(_length(clip.num_frames * clip.fps_den / clip.fps_num) for clip in clips),
        "year of upload": known(clip.upload_date[:4] for clip in clips),
        "sound": yes_or_no(lambda clip: clip.has_audio),
        **{name: yes_or_no(meets) for name, meets in CONDITIONS.items()},
    }


@cache
def _resolution(side: int) -> str:
    """Name the class of the short side of the source, as far as it is known, else of the clip."""
    place = sum(side >= edge for edge in _LINES)
    if place == 0:
        return f"below {_LINES[0]}p"
    return f"{_LINES[-1]}p and more" if place == len(_LINES) else f"{_LINES[place - 1]}-{_LINES[place] - 1}p"


@cache
def _length(seconds: float) -> str:
    place = sum(seconds >= edge for edge in _SECONDS)
    if place == 0:
        return f"below {_SECONDS[0]:g} s"
    if place == len(_SECONDS):
        return f"{_SECONDS[-1]:g} s and more"
    return f"{_SECONDS[place - 1]:g} to {_SECONDS[place]:g} s"


def _of_file(
    path: Path, table: CsvTable, videos: Mapping[str, Sequence[str]]
) -> tuple[dict[str, dict[str, str]], str]:
    """Read a table with one row per clip or video; give its attributes, and what was read."""
    key = table.first_of(ID_COLUMNS)
    names = [column for column in table.columns if column and column not in ID_COLUMNS]
    if not key or not names:
        raise InputError.at(
            path,
            1,
            f"is no table of attributes: it needs a column {' or '.join(ID_COLUMNS[:3])}, and others",
            "name the columns in the first line",
        )
    known = {clip for clips in videos.values() for clip in clips}
    by_video = key in ("video_id", "video")
    cells: dict[str, dict[str, str]] = {name: {} for name in names}
    unknown = 0
    for row in table.rows:
        one = row.cells[key]
        clips = videos.get(one, ()) if by_video else [one] if one in known else ()
        unknown += not clips
        for clip in clips:
            for name in names:
                if value := row.cells[name]:
                    cells[name][clip] = value
    if table.rows and unknown == len(table.rows):
        raise InputError.at(
            path, table.rows[0].line, f"no row names a {key.removesuffix('_id')} of this workspace"
        )
    note = f"{path.name}: {', '.join(names)} of {pluralize(len(table.rows) - unknown, 'row')}"
    if unknown:
        note += f"; {unknown} {'names' if unknown == 1 else 'name'} nothing of this workspace"
    found = {name: _quarters(of) for name, of in cells.items()}
    if lost := sum(len(of) - len(found[name]) for name, of in cells.items()):
        note += f"; {agreeing(lost, 'cell', 'is')} not finite and left out"
    return found, note


def _quarters(values: Mapping[str, str]) -> dict[str, str]:
    """Give numbers of more than a dozen values as the quarter that they are in; `nan` and `inf` are none."""
    try:
        read = {clip: float(text) for clip, text in values.items()}
    except ValueError:
        return dict(values)
    numbers = {clip: number for clip, number in read.items() if isfinite(number)}
    if len(set(numbers.values())) <= 12:
        return {clip: values[clip] for clip in numbers}
    ordered = sorted(numbers.values())
    edges = sorted({ordered[round(len(ordered) * q / 4)] for q in (1, 2, 3)} - {ordered[0]})
    ends = [ordered[0], *edges, ordered[-1]]
    texts = [f"{low:g} to {high:g}" for low, high in pairwise(ends)]
    return {
        clip: texts[min(len(texts) - 1, sum(value >= edge for edge in edges))]
        for clip, value in numbers.items()
    }
