"""The dataset in figures: what was asked for, what is there, and what became of the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from dancecli.core.records import Clip, Segment, SplitClip, Subset
from dancecli.dataset.split.split import label_names, originals
from dancecli.storage import ledger, tables
from dancecli.storage.workspace import Workspace

PENDING = "pending"


@dataclass(frozen=True)
class LabelStats:
    """One label, or all together.

    Attributes:
        num_segments: clips that were asked for.
        num_clips: clips that are there.
        parts: clips a part of the split; empty without one.
        seconds: length of the clips that are there.
        num_bytes: their size.
    """

    label: str
    num_segments: int
    num_clips: int
    parts: dict[str, int]
    seconds: float
    num_bytes: int

    @property
    def survival(self) -> float:
        """Share of what was asked for that is there."""
        return self.num_clips / self.num_segments if self.num_segments else 0.0


@dataclass(frozen=True)
class Range:
    """Smallest, middle and largest of a quantity."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class DatasetStats:
    """A workspace in figures.

    Attributes:
        labels: a row a label, in the order of the label set.
        total: all of them together.
        outcomes: clips that were asked for by where they stand, `pending` for those not yet tried.
        reasons: of those that are not there, by reason.
        sources: where the clips were had from.
        datasets: which lists they stand on.
        duration_s, short_side, fps: of the clips that are there.
        num_with_audio: clips with sound.
        num_videos: source videos.
        num_copies: augmented copies, not counted elsewhere.
        split, split_hash: the split whose parts are counted; empty without one.
    """

    labels: tuple[LabelStats, ...]
    total: LabelStats
    outcomes: dict[str, int]
    reasons: dict[str, int]
    sources: dict[str, int]
    datasets: dict[str, int]
    duration_s: Range
    short_side: Range
    fps: Range
    num_with_audio: int
    num_videos: int
    num_copies: int
    split: str
    split_hash: str


def stats(workspace: Workspace, split_name: str | None = None) -> DatasetStats:
    """Count a workspace.

    Args:
        workspace: the workspace.
        split_name: the split whose parts are counted; None for the one made last, if any.

    Raises:
        WorkspaceError: there are no clips, or no such split.
    """
    clips = originals(workspace)
    num_copies = tables.read_table(workspace.clips, Clip).num_rows - len(clips)
    segments = tables.read(workspace.segments, Segment)
    name = workspace.find_split(split_name) if split_name or workspace.splits() else ""
    parts = tables.read(workspace.split(name), SplitClip) if name else []
    part_of = {part.clip_id: part.subset for part in parts}
    here = {clip.clip_id for clip in clips}
    latest = ledger.latest(workspace.root)
    absent = [s.clip_id for s in segments if s.clip_id not in here]
    states = [latest[c].outcome.value if c in latest else PENDING for c in absent]
    asked = Counter(s.label for s in segments)
    clips_of: dict[str, list[Clip]] = {}
    for clip in clips:
        clips_of.setdefault(clip.label, []).append(clip)
    return DatasetStats(
        labels=tuple(
            _count(label, asked[label], clips_of.get(label, []), part_of) for label in label_names(workspace)
        ),
        total=_count("", len(segments), clips, part_of),
        outcomes={"done": len(clips), **_sorted(states)},
        reasons=_sorted(latest[c].reason for c in absent if c in latest),
        sources=_sorted(c.source for c in clips),
        datasets=_sorted(c.dataset for c in clips),
        duration_s=_range([c.duration_s for c in clips]),
        short_side=_range([min(c.width, c.height) for c in clips]),
        fps=_range([c.fps_num / c.fps_den for c in clips]),
        num_with_audio=sum(c.has_audio for c in clips),
        num_videos=len({c.video_id for c in clips}),
        num_copies=num_copies,
        split=name,
        split_hash=tables.read_meta(workspace.split(name))["split.hash"] if name else "",
    )


def _count(label: str, num_segments: int, clips: Sequence[Clip], part_of: dict[str, str]) -> LabelStats:
    parts = Counter(part_of[c.clip_id] for c in clips if c.clip_id in part_of)
    return LabelStats(
        label=label,
        num_segments=num_segments,
        num_clips=len(clips),
        parts={part.value: parts[part.value] for part in Subset} if part_of else {},
        seconds=sum(c.duration_s for c in clips),
        num_bytes=sum(c.num_bytes for c in clips),
    )


def _sorted(names: Iterable[str]) -> dict[str, int]:
    counts = Counter(names)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _range(values: Sequence[float]) -> Range:
    return Range(min(values), median(values), max(values))
