"""Adopt: clips that are already on disk become clips of the workspace.

Three forms are known, and may lie in one folder: Kinetics downloads (see `sources.folder`), Let's
Dance frame folders (see `sources.letsdance`), and any videos in a folder per class, each of which
becomes one clip from its beginning to its end.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dancecli.core.errors import InputError, MediaError
from dancecli.core.labels import DEFAULT_LABELS, LabelSet
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import Segment, clip_id_of
from dancecli.dataset.clips import clips_there, read_segments, workspace_labels
from dancecli.dataset.ingest.importer import ClipOutcomes, ImportOptions, Refused, import_clips
from dancecli.dataset.ingest.worker import Intake
from dancecli.sources import letsdance
from dancecli.sources.list_format import fold_label
from dancecli.sources.local import SPLIT_FOLDER, labels_by_fold, parse_clip_name, scan
from dancecli.storage.workspace import Workspace
from dancecli.video.decode import probe

KINETICS, LETS_DANCE, PLAIN = "kinetics", letsdance.DATASET, "plain"
# 64 bits in eleven characters of six: the last one takes one of sixteen values.
_YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{10}[AEIMQUYcgkosw048]")
# Bytes that are no UTF-8, as Python has them in a name, and what ends a line.
_NO_TEXT = re.compile("[\ud800-\udfff\x00-\x1f\x7f-\x9f\u2028\u2029]")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_SHOWN = 3


@dataclass(frozen=True)
class ImportSettings:
    """What to adopt, and how.

    Attributes:
        folder: where the clips lie.
        labels: a label file; None: the workspace's own set, else the default one if a folder
            bears one of its names, else one made of the folders' names.
        dataset: what the clips will say they come from; None: as their form says.
        intake: how they are taken in.
        dry_run: change nothing.
    """

    folder: Path
    labels: Path | None = None
    dataset: str | None = None
    intake: ImportOptions = field(default_factory=ImportOptions)
    dry_run: bool = False


@dataclass(frozen=True)
class ImportResult:
    """What was found, and what became of it.

    Attributes:
        labels: the label set's names, in order.
        labels_from: where that set is from, in words.
        forms: clips found, by form.
        found: clips to adopt, by label; those that are there already included.
        there: of these, those that were there before, by label.
        left_out: files that are not adopted, by reason.
        conflicts: clips under two labels, as sentences; the first label is kept.
        intake: what became of the clips; None after a dry run.
    """

    labels: tuple[str, ...]
    labels_from: str
    forms: dict[str, int]
    found: dict[str, int]
    there: dict[str, int]
    left_out: dict[str, int]
    conflicts: tuple[str, ...]
    intake: ClipOutcomes | None


def import_folder(
    workspace: Workspace, settings: ImportSettings, reporter: Reporter = SILENT
) -> ImportResult:
    """Import the clips below a folder.

    Raises:
        InputError: the folder or the label file is wrong, or nothing in it can be adopted.
        WorkspaceError: a fetch is at work here, or the disk is full; what was done is kept.
    """
    files = [_checked(find) for find in _finds(settings.folder, reporter)]
    labels, labels_from = _choose_labels(workspace, settings, files)
    plan = _plan(workspace, settings, files, labels)
    if settings.dry_run:
        # A run records them, with what is wrong.
        plan.left_out.update(refused.reason for refused in plan.refused)
    there = clips_there(workspace)
    segments = [intake.segment for intake in plan.intakes]
    intake = None
    if not settings.dry_run:
        intake = import_clips(workspace, plan.intakes, plan.refused, labels, settings.intake, reporter)
    return ImportResult(
        labels=labels.names,
        labels_from=labels_from,
        forms=dict(Counter(find.form for find in files)),
        found=dict(Counter(segment.label for segment in segments)),
        there=dict(Counter(segment.label for segment in segments if segment.clip_id in there)),
        left_out=dict(plan.left_out.most_common()),
        conflicts=tuple(plan.conflicts),
        intake=intake,
    )


def plain_video_id(relative: Path) -> str:
    """Name a video by its place in the folder: YouTube's id if it bears one, else name and hash."""
    if _YOUTUBE_ID.fullmatch(relative.stem):
        return relative.stem
    place = hashlib.blake2b(os.fsencode(relative.as_posix()), digest_size=4).hexdigest()
    return f"{_UNSAFE.sub('-', relative.stem).strip('-')[:40] or 'video'}-{place}"


@dataclass(frozen=True, slots=True)
class _Find:
    """A clip on disk, its label not yet known; `problem` if it cannot be read."""

    form: str
    media: Path | letsdance.FrameRun
    folders: tuple[str, ...]
    video_id: str
    start_ms: int
    end_ms: int
    official_split: str = ""
    problem: str = ""

    @property
    def place(self) -> Path:
        return self.media if isinstance(self.media, Path) else self.media.folder / self.media.stem


@dataclass
class _Plan:
    intakes: list[Intake] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    conflicts: list[str] = field(default_factory=list)


def _finds(root: Path, reporter: Reporter) -> Iterator[_Find]:
    for clip in letsdance.scan_frames(root):
        listed = clip.listed
        yield _Find(LETS_DANCE, clip.media, (listed.label,), listed.video_id, listed.start_ms, listed.end_ms)
    videos = list(scan(root))
    for number, video in enumerate(videos):
        reporter.progress(number, len(videos), "read")
        folders = _label_folders(root, video.path.parent)
        named = parse_clip_name(video.path.name)
        if named is not None:
            yield _Find(KINETICS, video.path, folders, *named, official_split=video.official_split)
            continue
        video_id = plain_video_id(video.path.relative_to(root))
        try:
            length_ms, problem = probe(video.path).duration_ms, "does not say how long it is"
        except MediaError as error:
            length_ms, problem = 0, error.message
        split, said = video.official_split, "" if length_ms > 0 else problem
        yield _Find(PLAIN, video.path, folders, video_id, 0, length_ms, split, said)


def _checked(find: _Find) -> _Find:
    """Let a clip through whose place is text that fits into a line, since folders become labels.

    Raises:
        InputError: it is not.
    """
    if _NO_TEXT.search(str(find.place)):
        raise InputError(
            f"{str(find.place)!r}: the name is not text in UTF-8, or is more than one line",
            "rename it and run the same command again",
        )
    return find


def _label_folders(root: Path, folder: Path) -> tuple[str, ...]:
    """Names that may be the label: the folders below `root`, or `root` itself for what lies in it."""
    names = folder.relative_to(root).parts or (root.absolute().name,)
    return tuple(name for name in names if not SPLIT_FOLDER.fullmatch(name))


def _choose_labels(
    workspace: Workspace, settings: ImportSettings, finds: Iterable[_Find]
) -> tuple[LabelSet, str]:
    own = workspace_labels(workspace)
    if settings.labels is not None:
        given = LabelSet.read(settings.labels)
        lost = {segment.label for segment in read_segments(workspace).values()} - set(given)
        if lost:
            what = f"lacks the label {min(lost)!r}, which clips of the workspace bear"
            raise InputError.at(settings.labels, None, what, "add it, or use another workspace")
        return given, str(settings.labels)
    if own is not None:
        return own, "the workspace"
    default = LabelSet.read(DEFAULT_LABELS)
    folders = {find.folders for find in finds if find.folders}
    folds = set(labels_by_fold(default))
    if any(fold_label(name) in folds for names in folders for name in names):
        return default, DEFAULT_LABELS.name
    top = settings.folder.absolute().name
    made = sorted({_spelled(names[0]) for names in folders if names != (top,)})
    if not made:
        raise InputError.at(
            settings.folder,
            None,
            "holds no folder of clips that could name a label",
            "put the clips into a folder per label, or use dance fetch with an annotation list",
        )
    return LabelSet(tuple(made)), "the folders' names"


def _spelled(folder: str) -> str:
    return folder.replace("_", " ").strip()


def _plan(workspace: Workspace, settings: ImportSettings, finds: Iterable[_Find], labels: LabelSet) -> _Plan:
    plan = _Plan()
    spellings = labels_by_fold(labels)
    known = read_segments(workspace)
    taken: dict[str, Segment] = {}
    strangers: Counter[str] = Counter()
    for find in finds:
        label = next((spellings[f] for f in map(fold_label, reversed(find.folders)) if f in spellings), None)
        if label is None:
            strangers["/".join(find.folders) or "."] += 1
            plan.left_out["no-label"] += 1
            continue
        try:
            clip_id = clip_id_of(find.video_id, find.start_ms, find.end_ms)
        except InputError:
            text = f"{find.place}: {find.problem}"
            plan.refused.append(Refused(find.video_id, find.video_id, "unreadable", text))
            continue
        segment = Segment(
            find.video_id,
            find.start_ms,
            find.end_ms,
            label,
            find.official_split,
            settings.dataset or find.form,
        )
        before = taken.get(clip_id) or known.get(clip_id)
        if before is not None and before.label != label:
            plan.conflicts.append(f"{find.place}: {clip_id} is {label!r} here and {before.label!r} before")
        if clip_id in taken:
            plan.left_out["repeated"] += 1
            continue
        taken[clip_id] = before or segment
        how = settings.intake
        plan.intakes.append(
            Intake(workspace.root, before or segment, _absolute(find), how.link, how.keep_audio)
        )
    if not plan.intakes and not plan.refused:
        raise _nothing(settings.folder, strangers, labels)
    return plan


def _absolute(find: _Find) -> Path | letsdance.FrameRun:
    return find.media.absolute() if isinstance(find.media, Path) else find.media


def _nothing(folder: Path, strangers: Counter[str], labels: LabelSet) -> InputError:
    if not strangers:
        hint = "clips are videos in a folder per label, or Let's Dance frames"
        return InputError.at(folder, None, "holds no clip in a known form", hint)
    common = ", ".join(f"{name!r} ({n})" for name, n in strangers.most_common(_SHOWN))
    what = f"none of its folders bears one of the {len(labels)} labels; it has {common}"
    hint = "give the label file that belongs to it with --labels; Let's Dance is brought in by dance merge"
    return InputError.at(folder, None, what, hint)
