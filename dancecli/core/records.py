"""The records that the steps exchange, and their Parquet schemas.

Times are integer milliseconds and frame rates exact fractions, so that a record is equal after a
round trip through a file. All records are frozen: a step creates new records and never changes
existing ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, get_type_hints

from dancecli.core.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

# Video ids of any site that are safe in a path: no dots, slashes or spaces.
VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
# How a timeline names its recording in WebVTT and in CSV; an ELAN file has a place for it.
RECORDING_NOTE, RECORDING_COLUMN = "NOTE recording: ", "recording"
# The tier of a timeline; an ELAN file may have others, for remarks.
TIER = "dance"


class Subset(StrEnum):
    """The subsets of a split, in the order in which they are listed everywhere."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class Control(StrEnum):
    """What is taken away from the test clips before a trained model sees them, to learn what it looks at."""

    ONE_FRAME = "one-frame"
    STILL = "still"
    SHUFFLED = "shuffled"
    REVERSED = "reversed"
    BACKGROUND = "background"
    PERSON = "person"


class OutcomeClass(StrEnum):
    """Class of the outcome of one attempt at a clip.

    `SESSION` is not caused by the clip (a bot check, a rate limit): the clip stays pending.
    `TRANSIENT` is worth a retry, `PERMANENT` is not (removed, private). `SOURCE_SHORT`
    means that the video ends before the segment, `CORRUPT` that the download cannot be
    decoded.
    """

    DONE = "done"
    SESSION = "session"
    TRANSIENT = "transient"
    PERMANENT = "permanent"
    SOURCE_SHORT = "source-short"
    CORRUPT = "corrupt"


def clip_id_of(video_id: str, start_ms: int, end_ms: int) -> str:
    """Return the id of the clip of a video between two times in milliseconds.

    Raises:
        InputError: the id contains a character that is unsafe in a path, or the end is not after
            the start.
    """
    if not VIDEO_ID.fullmatch(video_id):
        shown = video_id if len(video_id) <= 80 else video_id[:77] + "..."
        raise InputError(
            f"video id {shown!r} must consist of 1 to 64 letters, digits, '-' and '_'",
            "fix the id in the annotation list, or remove the row",
        )
    if not 0 <= start_ms < end_ms:
        raise InputError(f"segment {start_ms}-{end_ms} ms of video {video_id} must end after its start")
    return f"{video_id}_{start_ms}_{end_ms}"


@dataclass(frozen=True, slots=True, order=True)
class Segment:
    """One row of an annotation list: a labeled segment of a source video.

    Attributes:
        video_id: id at the source site.
        start_ms, end_ms: the segment, in milliseconds from the start of the video.
        label: a name in the label set.
        official_split: `train`, `val` or `test` as in the annotation list, or empty.
        dataset: dataset of the row, for example `kinetics700-2020`.
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
    """A clip that exists on disk, as validated by a full decode.

    Attributes:
        clip_id: for an original `<video id>_<start ms>_<end ms>`; for an augmented clip
            `<parent's id>.<operation>`.
        video_id: id of the source video at its site.
        start_ms, end_ms: segment of the source video, in milliseconds.
        label: a name in the label set.
        official_split: `train`, `val` or `test` as in the annotation list, or empty.
        dataset: dataset of the clip, for example `kinetics700-2020`.
        path: path relative to the workspace, with forward slashes.
        num_frames: number of decoded frames.
        fps_num, fps_den: frame rate as an exact fraction.
        width, height: frame size in pixels.
        has_audio: whether the file has an audio stream.
        num_bytes, sha256: size and checksum of the file.
        source: source of the clip (`youtube`, `mirror`, `url-template`, `folder`).
        parent_id: for an augmented clip, the id of its original; else empty.
        op: for an augmented clip, the operation with its parameters; else empty.
        note: what was tolerated or changed when the clip was created, in words; empty if nothing.
        damaged_frames: number of frames that the decoder could not fully restore.
        length_diff_ms: duration minus the requested duration, in milliseconds.
        original_path: the user's file that the clip was created from; empty for a download.
        title, uploader, upload_date, license: metadata of the source video from its site.
        source_width, source_height, source_fps, source_codec: properties of the source file.
        source_format: format id of the download, or container of a local file.
        black_share, frozen_share: fraction of frames that are black, or equal the previous frame.
        bars_share: fraction of the frame that black bars cover.
        loudness_lufs: integrated loudness (EBU R 128); 0 without audio.
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
        """Duration of the decoded frames, in seconds."""
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


NEAR_DUPLICATE = "near-duplicate"


def near_duplicates(groups: Iterable[Group], video_of: Mapping[str, str]) -> dict[str, str]:
    """Keep of dedup's groups those with clips of several videos: every other clip has one to itself.

    Args:
        groups: of any kind.
        video_of: the source video of each clip that counts.

    Returns:
        The group of each clip that has near-duplicates.
    """
    group_of = {g.clip_id: g.group for g in groups if g.kind == NEAR_DUPLICATE and g.clip_id in video_of}
    videos: dict[str, set[str]] = {}
    for clip_id, group in group_of.items():
        videos.setdefault(group, set()).add(video_of[clip_id])
    return {clip_id: group for clip_id, group in group_of.items() if len(videos[group]) > 1}


@dataclass(frozen=True, slots=True, order=True)
class SplitClip:
    """Membership of one clip in a split.

    Attributes:
        clip_id: the clip.
        subset: `train`, `val` or `test`.
        group: group that must stay in one subset; the source video's id unless groups were joined.
        label: the clip's label.
        sha256: checksum of the clip's file, to rebuild the split and to detect changes.
        folds: of a cross-validation, the fold that tests the clip, from 1, one for each repeat, as
            `3` or `3/7/1`; its subset is `test` then. Empty for an ordinary split.
    """

    clip_id: str
    subset: str
    group: str
    label: str
    sha256: str
    folds: str = ""

    @property
    def part(self) -> str:
        """What a group may not be in two of: the subset, or the folds as `fold 3/7/1`."""
        return f"fold {self.folds}" if self.folds else self.subset


@dataclass(frozen=True, slots=True, order=True)
class Flow:
    """The stored optical flow of a clip, as validated by a full decode; see `flow_format`.

    Attributes:
        clip_id: id of the clip or augmented clip.
        method: method of computation; see `FlowMethod`.
        path: path relative to the workspace, with forward slashes.
        sha256, num_bytes: checksum and size of the file.
        of_sha256: checksum of the clip's file that it was computed from.
        frames: number of flow fields: the clip's number of frames at `fps`, minus one.
        width, height: size of a field.
        scale: `width` divided by the clip's width: below 1 if the clip was downscaled first.
        fps, bound_px: frame rate and clipping bound of the stored format.
        error_px: mean absolute error of the stored flow, over both components, in pixels.
        coding: version of the stored format; flow in another format is recomputed.
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


@dataclass(frozen=True, slots=True, order=True)
class ClipPose:
    """The stored poses of a clip, or the reason why it has none; see `pose_files`.

    Attributes:
        clip_id: id of the clip.
        path: path relative to the workspace, with forward slashes; empty if there are none.
        sha256, num_bytes: checksum and size of the file.
        of_sha256: checksum of the clip's file that they were computed from or imported for.
        method: network, start of the tracks, most people and version, or `imported` with the format.
        engine: program that computed the network, with its version; for an import the file's name.
        people: number of people.
        frames: number of frames with a pose or without; see `found_frames`.
        found_frames: of them, those in which the main dancer was found.
        mean_score: mean score of the main dancer's joints in those frames.
        agreement: share of the joints on which a second start agreed; 1 for an import.
        reason: why there are no poses, such as that nobody was found; empty if there are.
    """

    clip_id: str
    path: str
    sha256: str
    num_bytes: int
    of_sha256: str
    method: str
    engine: str
    people: int
    frames: int
    found_frames: int
    mean_score: float
    agreement: float
    reason: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Trajectories:
    """The stored trajectories of a clip, or the reason why it has none; see `trajectory_files`.

    Attributes:
        clip_id: id of the clip.
        path: path relative to the workspace, with forward slashes; empty if there are none.
        sha256, num_bytes: checksum and size of the file.
        of_sha256: checksum of the clip's file that they were computed from.
        of_poses: checksum of the poses by which people were left out; empty if there were none.
        method: version, method of the flow, and how many are stored at most.
        found, stored: number of trajectories in the clip, and in the file.
        reason: why there are none, such as that nothing moves; empty if there are.
    """

    clip_id: str
    path: str
    sha256: str
    num_bytes: int
    of_sha256: str
    of_poses: str
    method: str
    found: int
    stored: int
    reason: str = ""


@dataclass(frozen=True, slots=True, order=True)
class ClipHashes:
    """The perceptual hashes of a clip; see `dancecli.video.phash`.

    Attributes:
        clip_id: the clip.
        sha256: of the file that was hashed, so that a changed file is hashed again.
        mean, motion: 256 bits each.
        frames, changes: 64 bits per sampled frame.
    """

    clip_id: str
    sha256: str
    mean: bytes
    motion: bytes
    frames: bytes
    changes: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of one attempt at one clip.

    Attributes:
        clip_id: the requested clip.
        video_id: id of its source video.
        outcome: class of the outcome; see `OutcomeClass`.
        reason: short stable keyword for counting (`private`, `http-404`, `ok`).
        text: raw message of the source.
        attempt: number of the attempt, counted from 1 over all runs.
        time_utc: time in ISO 8601, to the microsecond: attempts are in its order.
        num_bytes: number of bytes downloaded for it.
        source: the source that was asked.
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
        scores: one probability per class, in the order of the label set; they sum to 1.
    """

    clip_id: str
    subset: str
    label_index: int
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Suspect:
    """A reason to look at a clip again.

    Attributes:
        clip_id: the clip.
        kind: `label` (a model that was not trained on it takes it for another class), `near-duplicate`
            (another clip of the same content has another label), `outlier` (its features are far from
            those of every class), a condition of its content such as `black` or `static`, or `no-pose` (no
            dancer was found in it).
        label: its label when it was found.
        suggested: a label that fits better; empty if none is known.
        probability: of kind `label`, that the label is wrong; of kind `outlier`, the share of clips that
            are nearer to others; else 1.
        queued: True if somebody should look at it. Of kind `label` every scored clip has a row, and
            those are queued that hold the false-discovery rate.
        detail: the reason in words.
    """

    clip_id: str
    kind: str
    label: str
    suggested: str
    probability: float
    queued: bool
    detail: str


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
