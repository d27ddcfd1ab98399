"""The dataset in figures: what was requested, what is available, and what became of the rest."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from statistics import median

from dancecli.core.errors import WorkspaceError
from dancecli.core.records import Clip, OutcomeClass, Segment, SplitClip, Subset, clip_id_of
from dancecli.dataset.split.split import label_names
from dancecli.storage import ledger, tables
from dancecli.storage.content import conditions_of
from dancecli.storage.workspace import Workspace

PENDING = "pending"
# Names of uploaders that are shown; the others are counted.
_UPLOADERS = 20


@dataclass(frozen=True)
class LabelStats:
    """One label, or all together.

    Attributes:
        num_segments: clips that were requested.
        num_clips: clips that are available.
        subsets: clips per subset of the split; empty without one.
        seconds: length of the available clips.
        num_bytes: their size.
    """

    label: str
    num_segments: int
    num_clips: int
    subsets: dict[str, int]
    seconds: float
    num_bytes: int

    @property
    def availability(self) -> float:
        """Share of the requested clips that are available."""
        return self.num_clips / self.num_segments if self.num_segments else 0.0


@dataclass(frozen=True)
class Range:
    """Minimum, median and maximum of a quantity."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class DatasetStats:
    """A workspace in figures.

    Attributes:
        labels: one row per label, in the order of the label set.
        total: all of them together.
        outcomes: requested clips by outcome, `pending` for those not yet tried.
        reasons: of those that are not available, by reason.
        sources: where the clips come from.
        datasets: the annotation lists that they are in.
        duration_s, short_side, fps: of the available clips.
        num_with_audio: clips with sound.
        num_videos: source videos.
        num_augmented: augmented clips, not counted elsewhere.
        num_not_listed: clips that a fetch at work has recorded and not yet put into the manifest.
        content: clips that are black, static, letterboxed or damaged; see `storage.content`.
        notes: clips by the note of their import or download.
        licenses: clips by license, as the site names it; empty for none.
        uploaders: clips of the uploaders with the most.
        num_uploaders: uploaders in all.
        split, split_hash: the split whose subsets are counted; empty without one.
        folds: such as `5 folds`, where the split is for cross-validation and has no subsets; else empty.
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
    num_augmented: int
    num_not_listed: int
    content: dict[str, int]
    notes: dict[str, int]
    licenses: dict[str, int]
    uploaders: dict[str, int]
    num_uploaders: int
    split: str
    split_hash: str
    folds: str


def stats(workspace: Workspace, split_name: str | None = None) -> DatasetStats:
    """Count a workspace.

    Args:
        workspace: the workspace.
        split_name: the split whose subsets are counted; None for the latest, if any.

    Raises:
        WorkspaceError: there are no clips, or no such split.
    """
    name = workspace.find_split(split_name) if split_name or workspace.splits() else ""
    of_split = tables.read_meta(workspace.split(name)) if name else {}
    folds = of_split.get("split.ratios", "") if "folds" in of_split.get("split.ratios", "") else ""
    subsets = bool(name) and not folds
    tally = _count_clips(workspace, _subsets(workspace, name))
    if not tally.ids:
        raise WorkspaceError(f"{workspace.root}: there are no clips yet", "run dance fetch or dance import")
    requested, states, reasons, num_not_listed = _count_segments(workspace, tally.ids)
    labels = label_names(workspace)
    uploaders = _by_count(tally.uploaders)
    return DatasetStats(
        labels=tuple(tally.of_label[label].stats(label, requested[label], subsets) for label in labels),
        total=tally.total.stats("", sum(requested.values()), subsets),
        outcomes=_by_count(states),
        reasons=_by_count(reasons),
        sources=_by_count(tally.sources),
        datasets=_by_count(tally.datasets),
        duration_s=_range(tally.durations_s),
        short_side=_range(tally.short_sides),
        fps=_range(tally.rates),
        num_with_audio=tally.num_with_audio,
        num_videos=len(tally.videos),
        num_augmented=tally.num_augmented,
        num_not_listed=num_not_listed,
        content=_by_count(tally.content),
        notes=_by_count(tally.notes),
        licenses=_by_count(tally.licenses),
        uploaders=dict(list(uploaders.items())[:_UPLOADERS]),
        num_uploaders=len(uploaders),
        split=name,
        split_hash=of_split.get("split.hash", ""),
        folds=folds,
    )


@dataclass(frozen=True, slots=True)
class _Counted:
    """The columns that are counted; see `dancecli.core.records.Clip`."""

    clip_id: str
    video_id: str
    label: str
    dataset: str
    source: str
    num_frames: int
    fps_num: int
    fps_den: int
    width: int
    height: int
    has_audio: bool
    num_bytes: int
    parent_id: str
    note: str
    damaged_frames: int
    black_share: float
    frozen_share: float
    bars_share: float
    license: str
    uploader: str


@dataclass
class _LabelTally:
    num_clips: int = 0
    num_bytes: int = 0
    seconds: float = 0.0
    subsets: Counter[str] = field(default_factory=Counter)

    def add(self, clip: _Counted, seconds: float, subset: str) -> None:
        self.num_clips += 1
        self.num_bytes += clip.num_bytes
        self.seconds += seconds
        if subset:
            self.subsets[subset] += 1

    def stats(self, label: str, num_segments: int, has_subsets: bool) -> LabelStats:
        subsets = {subset.value: self.subsets[subset] for subset in Subset} if has_subsets else {}
        return LabelStats(label, num_segments, self.num_clips, subsets, self.seconds, self.num_bytes)


@dataclass
class _Tally:
    """The clips counted so far, one pass over the manifest."""

    ids: set[str] = field(default_factory=set)
    videos: set[str] = field(default_factory=set)
    of_label: dict[str, _LabelTally] = field(default_factory=lambda: defaultdict(_LabelTally))
    total: _LabelTally = field(default_factory=_LabelTally)
    sources: Counter[str] = field(default_factory=Counter)
    datasets: Counter[str] = field(default_factory=Counter)
    content: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    licenses: Counter[str] = field(default_factory=Counter)
    uploaders: Counter[str] = field(default_factory=Counter)
    durations_s: array[float] = field(default_factory=lambda: array("d"))
    short_sides: array[float] = field(default_factory=lambda: array("d"))
    rates: array[float] = field(default_factory=lambda: array("d"))
    num_with_audio: int = 0
    num_augmented: int = 0

    def add(self, clip: _Counted, subset: str) -> None:
        seconds = clip.num_frames * clip.fps_den / clip.fps_num
        self.ids.add(clip.clip_id)
        self.videos.add(clip.video_id)
        self.of_label[clip.label].add(clip, seconds, subset)
        self.total.add(clip, seconds, subset)
        self.sources[clip.source] += 1
        self.datasets[clip.dataset] += 1
        self.content.update(conditions_of(clip))
        if clip.note:
            self.notes[clip.note] += 1
        self.licenses[clip.license] += 1
        if clip.uploader:
            self.uploaders[clip.uploader] += 1
        self.durations_s.append(seconds)
        self.short_sides.append(min(clip.width, clip.height))
        self.rates.append(clip.fps_num / clip.fps_den)
        self.num_with_audio += clip.has_audio


def _subsets(workspace: Workspace, split: str) -> dict[str, str]:
    rows = tables.read_columns(workspace.split(split), SplitClip, ("clip_id", "subset")) if split else ()
    return dict(rows)


def _count_clips(workspace: Workspace, subset_of: Mapping[str, str]) -> _Tally:
    tally = _Tally()
    names = [column.name for column in fields(_Counted)]
    rows = tables.read_columns(workspace.clips, Clip, names) if workspace.clips.exists() else ()
    for row in rows:
        clip = _Counted(*row)
        if clip.parent_id:
            tally.num_augmented += 1
        else:
            tally.add(clip, subset_of.get(clip.clip_id, ""))
    return tally


def count_outcomes(workspace: Workspace, here: set[str]) -> tuple[dict[str, int], dict[str, int]]:
    """Count requested clips by outcome, and those that are not available by reason, the most first.

    Args:
        workspace: whose clips.
        here: ids of the clips of its manifest.
    """
    _, states, reasons, _ = _count_segments(workspace, here)
    return _by_count(states), _by_count(reasons)


def _count_segments(
    workspace: Workspace, here: set[str]
) -> tuple[Counter[str], Counter[str], Counter[str], int]:
    """Count requested clips by label, by outcome, and by reason where they are not available.

    The last number is of clips that are recorded and not in the manifest of clips.
    """
    latest = ledger.latest(workspace.root)
    requested, states, reasons = Counter[str](), Counter[str](), Counter[str]()
    num_not_listed = 0
    for clip_id, label in _segments(workspace):
        requested[label] += 1
        found = latest.get(clip_id)
        # The manifest of clips is written when a fetch ends; the ledger knows before.
        if clip_id in here or (found and found.outcome is OutcomeClass.DONE):
            states[OutcomeClass.DONE.value] += 1
            num_not_listed += clip_id not in here
        elif found:
            states[found.outcome.value] += 1
            reasons[found.reason] += 1
        else:
            states[PENDING] += 1
    return requested, states, reasons, num_not_listed


def _segments(workspace: Workspace) -> Iterator[tuple[str, str]]:
    names = ("video_id", "start_ms", "end_ms", "label")
    for video_id, start_ms, end_ms, label in tables.read_columns(workspace.segments, Segment, names):
        yield clip_id_of(video_id, start_ms, end_ms), label


def _by_count(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _range(values: Sequence[float]) -> Range:
    return Range(min(values), median(values), max(values))
