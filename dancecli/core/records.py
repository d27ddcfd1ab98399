"""The records that pass between the steps, and how each is laid out in Parquet.

Times are whole milliseconds and frame rates exact fractions, so that a record read back is
equal to the one written. Everything here is frozen: a step makes new records, it does not
change old ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, get_type_hints

from dancecli.core.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

# What may stand in a path: a video id of any site, without dots, slashes or spaces.
VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Subset(StrEnum):
    """The parts of a split, in the order in which they are listed everywhere."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class OutcomeClass(StrEnum):
    """What became of one attempt at a clip.

    `SESSION` is no fault of the clip (a bot check, a rate limit): it stays pending.
    `TRANSIENT` is worth another try, `PERMANENT` is not (removed, private). `SOURCE_SHORT`
    means that the video ends before the segment does, `CORRUPT` that what came cannot be
    decoded.
    """

    DONE = "done"
    SESSION = "session"
    TRANSIENT = "transient"
    PERMANENT = "permanent"
    SOURCE_SHORT = "source-short"
    CORRUPT = "corrupt"


def clip_id_of(video_id: str, start_ms: int, end_ms: int) -> str:
    """Name the clip of a video between two times in milliseconds.

    Raises:
        InputError: the id holds a character that may not stand in a path, or the times are
            not in order.
    """
    if not VIDEO_ID.fullmatch(video_id):
        shown = video_id if len(video_id) <= 80 else video_id[:77] + "..."
        raise InputError(
            f"video id {shown!r} is not made of 1 to 64 letters, digits, '-' and '_'",
            "correct the id in the list, or remove the row",
        )
    if not 0 <= start_ms < end_ms:
        raise InputError(f"segment {start_ms}-{end_ms} ms of {video_id} does not end after its start")
    return f"{video_id}_{start_ms}_{end_ms}"


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """One row of an annotation list: a labelled stretch of a source video.

    Attributes:
        video_id: id at the source site.
        start_ms, end_ms: the stretch, in milliseconds from the start of the video.
        label: a name of the label set.
        official_split: `train`, `val`, `test` as the list said, or empty.
        dataset: where the row comes from, for example `kinetics700-2020`.
    """

    video_id: str
    start_ms: int
    end_ms: int
    label: str
    official_split: str = ""
    dataset: str = ""

    @property
    def clip_id(self) -> str:
        """`<video id>_<start ms>_<end ms>`."""
        return clip_id_of(self.video_id, self.start_ms, self.end_ms)


@dataclass(frozen=True, slots=True, order=True)
class Clip:
    """A clip that exists on disk, as proven by a full decode.

    Attributes:
        clip_id: for an original `<video id>_<start ms>_<end ms>`; for a copy
            `<parent's id>.<operation>`.
        video_id: of the source video, at its site.
        start_ms, end_ms: the stretch of the source video, in milliseconds.
        label: a name of the label set.
        official_split: `train`, `val`, `test` as the list said, or empty.
        dataset: where it comes from, for example `kinetics700-2020`.
        path: relative to the workspace, with forward slashes.
        num_frames: frames that were decoded.
        fps_num, fps_den: the frame rate as an exact fraction.
        width, height: of a frame, in pixels.
        has_audio: the file has a sound track.
        num_bytes, sha256: of the file as published.
        source: what it was made from (`youtube`, `mirror`, `url-template`, `folder`).
        parent_id: of an augmented copy, the clip it was made from; else empty.
        op: of an augmented copy, the operation with its parameters; else empty.
        note: what was tolerated or changed on the way in, in words; empty if nothing was.
        damaged_frames: frames that the decoder could not restore whole.
        length_diff_ms: how much longer (or, below 0, shorter) the clip is than was asked for.
        original_path: the user's own file that it was made from; empty for a download.
        title, uploader, upload_date, license: what the site says of the source video.
        source_width, source_height, source_fps, source_codec: of the source as it came.
        source_format: the format id that was downloaded, or the container of a file.
        black_share, frozen_share: share of the frames that are black, or repeat the one before.
        bars_share: share of the picture that black bars take.
        loudness_lufs: integrated loudness (EBU R 128); 0 where there is no sound.
    """

    clip_id: str
    video_id: str
    start_ms: int
    end_ms: int
    label: str
    official_split: str
    dataset: str
    path: str
    num_frames: int
    fps_num: int
    fps_den: int
    width: int
    height: int
    has_audio: bool
    num_bytes: int
    sha256: str
    source: str
    parent_id: str = ""
    op: str = ""
    note: str = ""
    damaged_frames: int = 0
    length_diff_ms: int = 0
    original_path: str = ""
    title: str = ""
    uploader: str = ""
    upload_date: str = ""
    license: str = ""
    source_width: int = 0
    source_height: int = 0
    source_fps: float = 0.0
    source_codec: str = ""
    source_format: str = ""
    black_share: float = 0.0
    frozen_share: float = 0.0
    bars_share: float = 0.0
    loudness_lufs: float = 0.0

    @property
    def duration_s(self) -> float:
        """Length of what was decoded, in seconds."""
        return self.num_frames * self.fps_den / self.fps_num


@dataclass(frozen=True, slots=True, order=True)
class Group:
    """A clip's membership in a group of clips that a split keeps in one subset.

    Attributes:
        clip_id: the clip.
        group: a name that all clips of the group share, unique within its kind.
        kind: `near-duplicate` for what dedup found; else the user's own, such as `dancer`.
    """

    clip_id: str
    group: str
    kind: str


@dataclass(frozen=True, slots=True, order=True)
class SplitClip:
    """One clip's place in a split.

    Attributes:
        clip_id: the clip.
        subset: `train`, `val` or `test`.
        group: what must stay together; the source video's id, unless groups joined several.
        label: the clip's label.
        sha256: of the clip's file, so that the split can be rebuilt and drift seen.
    """

    clip_id: str
    subset: str
    group: str
    label: str
    sha256: str


@dataclass(frozen=True, slots=True, order=True)
class Flow:
    """The stored optical flow of a clip, as proven by a full decode; see `flowform`.

    Attributes:
        clip_id: of the clip, or of the augmented copy.
        method: how it was computed.
        path: relative to the workspace, with forward slashes.
        sha256, num_bytes: of the file as published.
        of_sha256: of the clip's file that it was computed from.
        frames: number of fields, one fewer than the clip has frames at `fps`.
        width, height: of a field.
        scale: `width` as a share of the clip's: below 1 where the clip was made smaller first.
        fps, bound_px: of the stored form.
        error_px: mean distance, over both components, of what is stored from what was computed.
        coding: the stored form, so that another one is redone.
    """

    clip_id: str
    method: str
    path: str
    sha256: str
    num_bytes: int
    of_sha256: str
    frames: int
    width: int
    height: int
    scale: float
    fps: int
    bound_px: int
    error_px: float
    coding: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one attempt at one clip.

    Attributes:
        clip_id: the clip that was to be.
        video_id: of its source video.
        outcome: the class, see `OutcomeClass`.
        reason: a short stable word, for counting (`private`, `http-404`, `ok`).
        text: the raw text behind it, as it came.
        attempt: counted from 1 over all runs.
        time_utc: ISO 8601, seconds.
        num_bytes: what was downloaded for it; 0 if nothing.
        source: where it was asked for.
    """

    clip_id: str
    video_id: str
    outcome: OutcomeClass
    reason: str
    text: str
    attempt: int
    time_utc: str
    num_bytes: int
    source: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """A run's scores for one clip.

    Attributes:
        clip_id: the clip.
        subset: the subset of the clip, `val` or `test`.
        label_index: the true class.
        scores: one probability a class, in the order of the label set; they sum to 1.
    """

    clip_id: str
    subset: str
    label_index: int
    scores: tuple[float, ...]


def arrow_schema(record: type) -> pa.Schema:
    """Derive the Arrow schema of a record class from its fields: one column each, no nulls."""
    import pyarrow as pa

    kinds: dict[object, pa.DataType] = {
        str: pa.string(),
        int: pa.int64(),
        bool: pa.bool_(),
        float: pa.float64(),
        bytes: pa.binary(),
        tuple[float, ...]: pa.list_(pa.float64()),
    }
    hints = get_type_hints(record)
    return pa.schema([pa.field(f.name, kinds[hints[f.name]], nullable=False) for f in fields(record)])
