"""Merge: add Let's Dance to the workspace, each clip with the reason why it is added or left out.

From its lists alone, segments are remembered and written as a list that `dance fetch` reads; from
frames or videos on disk, clips are made as well. What the workspace contains already, by id and time
or as a near-duplicate, is kept once: the workspace's own.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from dancecli.core.errors import InputError, MediaError
from dancecli.core.labels import DEFAULT_LABELS, MANIFESTS, LabelMap, LabelSet
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import OutcomeClass, Segment
from dancecli.dataset.clips import clips_there, read_segments, remember_segments, workspace_labels
from dancecli.dataset.ingest.importer import ClipOutcomes, ImportOptions, import_clips
from dancecli.dataset.ingest.merge_rules import Conflict, Decision, TwoLabels, Verdict, decide, widened
from dancecli.dataset.ingest.remove import Removal, remove_clips
from dancecli.dataset.ingest.worker import ImportJob
from dancecli.dataset.similarity.hashes import compute_hashes, find_duplicates, load_hashes, read_originals
from dancecli.sources.kinetics import NEEDED
from dancecli.sources.letsdance import (
    DATASET,
    LONGEST_S,
    FoundVideo,
    FrameRun,
    ListedClip,
    read_list,
    scan_frames,
    scan_videos,
)
from dancecli.sources.list_format import RefusedRow
from dancecli.storage import ledger
from dancecli.storage.files import atomic_file
from dancecli.storage.removals import read_removals
from dancecli.storage.workspace import Workspace
from dancecli.video.source import probe

LETS_DANCE_MAP = MANIFESTS / "label-maps" / "lets-dance.csv"
_GONE = (OutcomeClass.PERMANENT, OutcomeClass.SOURCE_SHORT, OutcomeClass.CORRUPT)


@dataclass(frozen=True)
class MergeSettings:
    """What to merge, and how.

    Attributes:
        sources: lists of the release, folders of its frames, folders of its videos.
        label_map: names of its classes to ours.
        labels: a label file, for a workspace that has no set yet.
        keep_unmapped: classes without a counterpart are added too, after those of the set.
        two_labels: what to do with videos that bear two labels.
        options: how clips are made of files.
        dry_run: change nothing.
    """

    sources: tuple[Path, ...]
    label_map: Path = LETS_DANCE_MAP
    labels: Path | None = None
    keep_unmapped: bool = False
    two_labels: TwoLabels = TwoLabels.DROP
    options: ImportOptions = field(default_factory=ImportOptions)
    dry_run: bool = False


@dataclass(frozen=True)
class MergeResult:
    """What was added, what was left out, and why: every row given has a decision or is refused.

    Attributes:
        labels: the label set afterwards.
        added: of these, the classes that this merge adds.
        decisions: one per clip, in the order of the sources.
        refused: lines of the lists, and videos of the folders, that cannot be used.
        conflicts: videos that bear several labels.
        num_shared_videos: videos of which the workspace contains other clips.
        guessed_rates: clips whose rate their number of frames does not tell for sure.
        listed: the list of clips that were added without a file, for `dance fetch`; None for none.
        label_file: the label file that belongs to it; None where the default one does.
        outcomes: what became of the files; None without files, or after a dry run.
    """

    labels: tuple[str, ...]
    added: tuple[str, ...]
    decisions: tuple[Decision, ...]
    refused: tuple[RefusedRow, ...]
    conflicts: tuple[Conflict, ...]
    num_shared_videos: int
    guessed_rates: int
    listed: Path | None
    label_file: Path | None
    outcomes: ClipOutcomes | None

    @property
    def given(self) -> int:
        """Rows and clips that the sources hold."""
        return len(self.decisions) + len(self.refused)

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Number of clips by class and verdict."""
        found: dict[str, Counter[str]] = {}
        for decision in self.decisions:
            found.setdefault(decision.clip.label, Counter())[decision.verdict.value] += 1
        return {label: dict(found[label]) for label in sorted(found)}


def merge(workspace: Workspace, settings: MergeSettings, reporter: Reporter = SILENT) -> MergeResult:
    """Merge Let's Dance into the workspace.

    Raises:
        InputError: a source, the map or a label file is wrong, or a source holds no clip.
        WorkspaceError: a fetch is at work here, or the disk is full; what was done is kept.
    """
    clips, media, refused = _read_sources(settings.sources)
    known = read_segments(workspace)
    own = workspace_labels(workspace)
    base = own or LabelSet.read(settings.labels or DEFAULT_LABELS)
    target = LabelMap.read(settings.label_map, base).target
    base = _unwidened(base, known.values(), target)
    labels = widened(base, target, {clip.label for clip in clips}) if settings.keep_unmapped else base
    existing = _existing(workspace, known.values())
    decisions, conflicts = decide(clips, existing, target, labels, settings.two_labels)
    decisions = _without_removed(workspace, _without_known_duplicates(workspace, decisions))
    listed = label_file = outcomes = None
    if not settings.dry_run:
        workspace.begin(reporter)
        coming = [(d.clip.name, d.segment) for d in decisions if d.verdict is Verdict.IN and d.segment]
        remove_clips(workspace, _stale(decisions, known))
        remember_segments(workspace, [segment for _, segment in coming], labels, exactly=True)
        if media:
            outcomes = _import(workspace, settings, coming, media, labels, reporter)
            decisions = _drop_duplicates(workspace, decisions, settings.options.workers, reporter)
        without_file = [segment for name, segment in coming if name not in media]
        listed, label_file = _write_list(workspace, without_file, labels)
    mine = {segment.video_id for segment in existing}
    return MergeResult(
        labels=labels.names,
        added=labels.names[len(base) :],
        decisions=tuple(decisions),
        refused=refused,
        conflicts=tuple(conflicts),
        num_shared_videos=len({clip.video_id for clip in clips} & mine),
        guessed_rates=sum(clip.num_frames > 0 and not clip.timing.certain for clip in clips),
        listed=listed,
        label_file=label_file,
        outcomes=outcomes,
    )


def _read_sources(
    sources: Sequence[Path],
) -> tuple[list[ListedClip], dict[str, Path | FrameRun], tuple[RefusedRow, ...]]:
    """Read lists and folders; a clip that is in both is one, with the list's class and length."""
    clips: list[ListedClip] = []
    refused: list[RefusedRow] = []
    media: dict[str, Path | FrameRun] = {}
    for source in (path for path in sources if not path.is_dir()):
        listed = read_list(source)
        clips += listed.clips
        refused += listed.refused
    named = {clip.name for clip in clips}
    for source in (path for path in sources if path.is_dir()):
        frames, (videos, misnamed) = list(scan_frames(source)), scan_videos(source)
        if not frames and not videos:
            hint = "frames are <class>/<clip>_<number>.jpg, videos <class>/<clip>.mp4"
            raise InputError.at(source, None, "holds no clip of Let's Dance", hint)
        on_disk = {f.listed.name: f.media for f in videos} | {f.listed.name: f.media for f in frames}
        media = on_disk | media
        clips += (found.listed for found in frames if found.listed.name not in named)
        clips += (_measured(found) for found in videos if found.listed.name not in named)
        refused += misnamed
    return clips, media, tuple(refused)


def _measured(video: FoundVideo) -> ListedClip:
    try:
        duration_ms = probe(video.media, measure=True).duration_ms
    except MediaError:
        return video.listed  # it is tried all the same, and its failure recorded
    return replace(video.listed, duration_ms=min(duration_ms, 1000 * LONGEST_S))


def _unwidened(labels: LabelSet, segments: Iterable[Segment], target: Mapping[str, str]) -> LabelSet:
    """Give the set as it was before a merge added classes, so that another decision is free."""
    lasting: set[str] = set()
    added: set[str] = set()
    for segment in segments:
        (added if segment.dataset == DATASET else lasting).add(segment.label)
    names = list(labels.names)
    while len(names) > 1 and names[-1] in added - lasting - set(target.values()):
        names.pop()
    return LabelSet(tuple(names))


def _existing(workspace: Workspace, segments: Iterable[Segment]) -> list[Segment]:
    """The segments of other datasets that are there, or are still retrievable."""
    standing = ledger.latest(workspace.root)
    gone = {clip_id for clip_id, known in standing.items() if known.outcome in _GONE}
    return [s for s in segments if s.dataset != DATASET and s.clip_id not in gone]


def _without_known_duplicates(workspace: Workspace, decisions: Sequence[Decision]) -> list[Decision]:
    """Leave out what an earlier merge found to be a near-duplicate of a clip that is still there."""
    standing = ledger.latest(workspace.root)
    there = clips_there(workspace)
    decided = []
    for decision in decisions:
        known = standing.get(decision.clip_id)
        if decision.verdict is Verdict.IN and known and known.reason == Verdict.SAME_PICTURE:
            duplicate = ledger.history(workspace.root, decision.clip_id)[-1].text
            if duplicate in there:
                decided.append(replace(decision, verdict=Verdict.SAME_PICTURE, text=duplicate))
                continue
        decided.append(decision)
    return decided


def _without_removed(workspace: Workspace, decisions: Sequence[Decision]) -> list[Decision]:
    """Leave out what was removed by request."""
    removed = read_removals(workspace)

    def decided(one: Decision) -> Decision:
        clip = one.clip
        tombstone = removed.find(clip.video_id, clip.start_ms, clip.end_ms)
        return replace(one, verdict=Verdict.REMOVED, text=tombstone.reason) if tombstone else one

    return [decided(decision) for decision in decisions]


def _stale(decisions: Sequence[Decision], known: Mapping[str, Segment]) -> dict[str, Removal]:
    """What an earlier merge added and this one leaves out."""
    coming = {decision.clip_id for decision in decisions if decision.verdict is Verdict.IN}
    left_out = {
        decision.clip_id: Removal(decision.verdict.value, decision.text)
        for decision in decisions
        if decision.verdict not in (Verdict.REPEATED, Verdict.SAME_PICTURE) and decision.clip_id not in coming
    }
    return {
        clip_id: why
        for clip_id, why in left_out.items()
        if (before := known.get(clip_id)) is not None and before.dataset == DATASET
    }


def _import(
    workspace: Workspace,
    settings: MergeSettings,
    segments: Iterable[tuple[str, Segment]],
    media: Mapping[str, Path | FrameRun],
    labels: LabelSet,
    reporter: Reporter,
) -> ClipOutcomes:
    jobs, how = [], settings.options
    for name, segment in segments:
        if name in media:
            found = media[name]
            whole = found.absolute() if isinstance(found, Path) else found
            jobs.append(ImportJob(workspace.root, segment, whole, how.link, how.keep_audio, how.rules))
    return import_clips(workspace, jobs, (), labels, how, reporter)


def _drop_duplicates(
    workspace: Workspace, decisions: Sequence[Decision], workers: int, reporter: Reporter
) -> list[Decision]:
    """Remove those that are near-duplicates of a clip which the workspace had."""
    mine = {decision.clip_id for decision in decisions if decision.verdict is Verdict.IN}
    clips = read_originals(workspace)
    ids = clips["clip_id"].to_pylist()
    if mine.issuperset(ids):
        return list(decisions)
    compute_hashes(workspace, clips, workers, reporter)
    rows, arrays = load_hashes(workspace, clips)
    duplicates = find_duplicates([ids[row] for row in rows], arrays, mine)
    remove_clips(
        workspace, {i: Removal(Verdict.SAME_PICTURE.value, duplicate) for i, duplicate in duplicates.items()}
    )
    return [
        replace(d, verdict=Verdict.SAME_PICTURE, text=duplicates[d.clip_id])
        if d.verdict is Verdict.IN and d.clip_id in duplicates
        else d
        for d in decisions
    ]


def _write_list(
    workspace: Workspace, segments: Sequence[Segment], labels: LabelSet
) -> tuple[Path | None, Path | None]:
    """Write what has no file yet as a list that `dance fetch` reads, with its labels if need be."""
    if not segments:
        return None, None
    listed = workspace.segments.parent / f"{DATASET}.csv"
    with atomic_file(listed) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow((*NEEDED, "split"))
        for segment in segments:
            times = (f"{ms / 1000:.3f}".removesuffix(".000") for ms in (segment.start_ms, segment.end_ms))
            rows.writerow((segment.label, segment.video_id, *times, segment.official_split))
    if labels == LabelSet.read(DEFAULT_LABELS):
        return listed, None
    label_file = listed.with_suffix(".labels.txt")
    with atomic_file(label_file) as file:
        file.writelines(f"{name}\n" for name in labels)
    return listed, label_file
