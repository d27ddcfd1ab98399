"""Which clips of another dataset are added, and why the others are left out: pure rules.

Every clip gets one verdict. The workspace's own clips always stay as they are; what contradicts
or repeats them is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from dancecli.core.labels import LabelSet
from dancecli.core.records import Segment, clip_id_of
from dancecli.sources.letsdance import DATASET, ListedClip


class Verdict(StrEnum):
    """What the rules decide on a clip: `in`, or why it is left out."""

    IN = "in"
    UNMAPPED = "unmapped"  # its class has no counterpart
    REPEATED = "repeated"  # listed before, under the same label
    TWO_LABELS = "two-labels"  # its video bears another label too
    SAME_VIDEO = "same-video"  # the workspace contains this stretch of the video
    SAME_PICTURE = "same-picture"  # the workspace contains a near-duplicate
    REMOVED = "removed-here"  # it was removed by request


class TwoLabels(StrEnum):
    """What to do with videos that bear two labels.

    `DROP` leaves out all their clips; `KEEP` those only whose time another label claims too.
    """

    DROP = "drop"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict on one clip.

    Attributes:
        clip: as the other dataset lists it.
        segment: what it is or would be here; None if its class has no name here.
        verdict: what was decided.
        text: why, in words, where the verdict does not tell it all.
    """

    clip: ListedClip
    segment: Segment | None
    verdict: Verdict
    text: str = ""

    @property
    def clip_id(self) -> str:
        """The clip's id here, in or not."""
        return clip_id_of(self.clip.video_id, self.clip.start_ms, self.clip.end_ms)


@dataclass(frozen=True, slots=True)
class Conflict:
    """A video that bears several labels, with what bears each."""

    video_id: str
    labels: tuple[str, ...]
    clips: tuple[str, ...]


def widened(labels: LabelSet, target: Mapping[str, str], classes: Iterable[str]) -> LabelSet:
    """Add the classes that have no counterpart after those of the set, in alphabetical order."""
    added = {name for name in classes if not target.get(name)} - set(labels)
    return LabelSet((*labels.names, *sorted(added)))


def decide(
    clips: Sequence[ListedClip],
    existing: Iterable[Segment],
    target: Mapping[str, str],
    labels: LabelSet,
    two_labels: TwoLabels,
) -> tuple[list[Decision], list[Conflict]]:
    """Decide on every clip of another dataset.

    Args:
        clips: what it lists, in the order of the lists.
        existing: the segments of other datasets in the workspace.
        target: our label by class; empty or missing for none.
        labels: the label set, widened if classes without a counterpart are to be added.
        two_labels: what to do with videos that bear two labels.

    Returns:
        One decision per clip, in the same order, and the videos with several labels.
    """
    mine = _by_video(existing)
    segments = [_segment(clip, target, labels) for clip in clips]
    bearers = _bearers(clips, segments, mine)
    conflicts = [
        Conflict(video, tuple(sorted(by_label)), tuple(sorted(set().union(*by_label.values()))))
        for video, by_label in sorted(bearers.items())
        if len(by_label) > 1
    ]
    conflict_of = {conflict.video_id: conflict for conflict in conflicts}
    coming = _by_video(segment for segment in segments if segment)
    decisions: list[Decision] = []
    seen: set[tuple[str, str]] = set()
    for clip, segment in zip(clips, segments, strict=True):
        if (clip.name, clip.label) in seen:
            decisions.append(Decision(clip, segment, Verdict.REPEATED))
            continue
        seen.add((clip.name, clip.label))
        others = [*mine.get(clip.video_id, ()), *coming.get(clip.video_id, ())]
        decisions.append(_decide_one(clip, segment, others, conflict_of.get(clip.video_id), two_labels))
    return decisions, conflicts


def overlap(one: Segment, other: Segment) -> bool:
    """Tell whether two segments share a moment of one video."""
    same = one.video_id == other.video_id
    return same and one.start_ms < other.end_ms and other.start_ms < one.end_ms


def _decide_one(
    clip: ListedClip,
    segment: Segment | None,
    others: Sequence[Segment],
    conflict: Conflict | None,
    two_labels: TwoLabels,
) -> Decision:
    if segment is None:
        return Decision(clip, None, Verdict.UNMAPPED, f"class {clip.label!r} has no counterpart")
    meeting = [other for other in others if overlap(segment, other)]
    rival = next((other for other in meeting if other.label != segment.label), None)
    if conflict is not None and (rival is not None or two_labels is TwoLabels.DROP):
        text = f"its video is {' and '.join(repr(label) for label in conflict.labels)}"
        return Decision(clip, segment, Verdict.TWO_LABELS, text)
    duplicate = next((other for other in meeting if other.dataset != DATASET), None)
    if duplicate is not None:
        return Decision(
            clip,
            segment,
            Verdict.SAME_VIDEO,
            f"{duplicate.clip_id} of {duplicate.dataset or 'the workspace'}",
        )
    return Decision(clip, segment, Verdict.IN)


def _segment(clip: ListedClip, target: Mapping[str, str], labels: LabelSet) -> Segment | None:
    label = target.get(clip.label) or clip.label
    if label not in labels:
        return None
    return Segment(clip.video_id, clip.start_ms, clip.end_ms, label, "", DATASET)


def _by_video(segments: Iterable[Segment]) -> dict[str, list[Segment]]:
    found: dict[str, list[Segment]] = {}
    for segment in segments:
        found.setdefault(segment.video_id, []).append(segment)
    return found


def _bearers(
    clips: Sequence[ListedClip], segments: Sequence[Segment | None], mine: Mapping[str, list[Segment]]
) -> dict[str, dict[str, set[str]]]:
    """Give the labels of every listed video, and the clips that bear each."""
    found: dict[str, dict[str, set[str]]] = {}
    for clip, segment in zip(clips, segments, strict=True):
        if segment is not None:
            found.setdefault(clip.video_id, {}).setdefault(segment.label, set()).add(clip.name)
    for video_id, by_label in found.items():
        for segment in mine.get(video_id, ()):
            by_label.setdefault(segment.label, set()).add(segment.clip_id)
    return found
