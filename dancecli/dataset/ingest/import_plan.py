"""What an import will do with each file: pure decisions, which a dry run shows and a run carries out."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

from dancecli.core.hashing import digest_in, sha256_file
from dancecli.core.labels import LabelSet
from dancecli.core.records import Segment, clip_id_of
from dancecli.core.text import first_of
from dancecli.dataset.group_names import tidy_name
from dancecli.dataset.ingest.folder_list import FolderList, ListMatches
from dancecli.dataset.ingest.folder_scan import FoundFile
from dancecli.sources.layouts import Layout
from dancecli.sources.letsdance import DATASET as LETS_DANCE
from dancecli.sources.letsdance import FrameRun
from dancecli.sources.list_format import fold_label, spellings_of
from dancecli.storage.removals import REMOVED, Removal, Removals
from dancecli.video.ffmpeg import frames_in

# Reasons for which a file is left out although nothing is missing without it.
HARMLESS = frozenset({"not-a-video", "repeated", REMOVED})
NEW, THERE = "new", "there"
_UNCLEAR = "name-not-unique"
_SHOWN = 5
# Problems of files that bear no label either.
_NO_CLIPS = ("not-a-video", "name-not-text", "not-in-list", _UNCLEAR)


@dataclass(frozen=True, slots=True)
class ImportRow:
    """What an import does with one file.

    Attributes:
        path: the file, below the folder; pictures of one clip as `ID_SUFFIX_*.jpg`.
        status: `new`, `there` (imported before), or why it is left out.
        clip_id: of its clip; empty if it has none.
        label: of its clip.
        groups: kinds and names of what it must stay together with.
        start_ms: where it begins in its source video.
        length_ms: of the file, by its header; of pictures, by their number.
        official_split: the subset that its folder or its list names.
        layout: the form of its name that was believed.
        text: why it is left out, in words.
        conflict: what else is said of the same clip, as a sentence; what was there first counts.
    """

    path: str
    status: str
    clip_id: str = ""
    label: str = ""
    groups: tuple[tuple[str, str], ...] = ()
    start_ms: int = 0
    length_ms: int = 0
    official_split: str = ""
    layout: str = ""
    text: str = ""
    conflict: str = ""

    @property
    def is_clip(self) -> bool:
        """The file is, or becomes, a clip."""
        return self.status in (NEW, THERE)


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """A file with what names its label, its groups and its subset, from whatever source.

    Attributes:
        file: as it was found.
        labels: names that may be its label, the likeliest first.
        given: the user named the label (a list, a pattern), so that no folder's name is tried.
        groups: kinds and names.
        official_split: the subset; empty for none.
        problem: a short stable word for why it is left out; else empty.
        text: what is wrong, in words.
    """

    file: FoundFile
    labels: tuple[str, ...]
    given: bool
    groups: tuple[tuple[str, str], ...]
    official_split: str
    problem: str
    text: str


@dataclass(frozen=True)
class NamePatterns:
    """The user's regular expressions, searched in each file's path below the folder.

    Attributes:
        label: with the group `label`, or one group.
        groups: each named group of these is a kind of group; one without a name is the kind `group`.
    """

    label: re.Pattern[str] | None = None
    groups: tuple[re.Pattern[str], ...] = ()


def label_files(
    files: Iterable[FoundFile], listed: FolderList | None, patterns: NamePatterns
) -> list[LabelledFile]:
    """Put together what names each file's label and groups."""
    files = list(files)
    matches = _match_list(files, listed) if listed is not None else ListMatches({}, {})
    return [_labeled(file, listed, matches, patterns) for file in files]


def _match_list(files: Iterable[FoundFile], listed: FolderList) -> ListMatches:
    """Find the entries of files in their list; what is no video has one only under its whole name."""
    files = list(files)
    videos = listed.match(file.relative for file in files if file.problem != "not-a-video")
    named = {}
    for file in files:
        path = unicodedata.normalize("NFC", file.relative)
        for key in (path, Path(path).name):
            if file.problem == "not-a-video" and key in listed.files:
                named[file.relative] = key
    return replace(videos, entries=named | videos.entries)


def _labeled(
    file: FoundFile, listed: FolderList | None, matches: ListMatches, patterns: NamePatterns
) -> LabelledFile:
    named = file.named
    labels = (*named.labels, *reversed(file.folders)) if named is not None else ()
    groups = [*named.groups] if named is not None else []
    subset, problem, text, given = file.official_split, file.problem, file.text, False
    key = matches.entries.get(file.relative)
    if listed is not None and key is not None and not file.problem:
        entry = listed.files[key]
        labels, given = tuple(filter(None, entry.labels)), True
        groups += entry.groups
        subset = entry.official_split or subset
        if len(entry.labels) > 1:
            said = " and ".join(map(repr, entry.labels))
            problem, text = "two-labels", f"{listed.name} gives it {said}"
    elif listed is not None and not file.problem and file.relative in matches.unclear:
        problem, text = _UNCLEAR, _unclear_text(listed, matches.unclear[file.relative])
    elif listed is not None and not file.problem:
        problem, text = "not-in-list", f"{listed.name} does not name it"
    path = unicodedata.normalize("NFC", file.relative)
    if patterns.label is not None and not problem:
        match = patterns.label.search(path)
        labels, given = ((_label_group(match),) if match else ()), True
        if not match:
            text = f"does not match {patterns.label.pattern!r}"
    for pattern in patterns.groups:
        if match := pattern.search(path):
            groups += _groups_of(match)
    tidy = dict.fromkeys((tidy_name(kind), tidy_name(name)) for kind, name in groups)
    kept = tuple((kind, name) for kind, name in tidy if name)
    return LabelledFile(file, labels, given, kept, subset, problem, text)


def _unclear_text(listed: FolderList, key: str) -> str:
    """Say that an entry of a list names several files."""
    where = f"{listed.name}:{listed.files[key].row}"
    return f"{where} names {key!r}, and several files are called so: write its path below the folder there"


def _label_group(match: re.Match[str]) -> str:
    return (match.groupdict().get("label") or (match[1] if match.re.groups else match[0]) or "").strip()


def _groups_of(match: re.Match[str]) -> list[tuple[str, str]]:
    if match.re.groupindex:
        return [(kind, name) for kind, name in match.groupdict().items() if name]
    name = match[1] if match.re.groups else match[0]
    return [("group", name)] if name else []


def own_label(file: LabelledFile, root_name: str) -> str | None:
    """Give the label of a file where labels are made from the files themselves; None if it has none."""
    if file.problem in _NO_CLIPS:
        return None
    if file.given or (file.file.named is not None and file.file.named.labels):
        return spelled(file.labels[0]) if file.labels else None
    folders = file.file.folders
    if not folders or folders == (root_name,):
        return None
    return spelled(folders[0]) or None


def made_labels(files: Sequence[LabelledFile], root_name: str) -> tuple[LabelSet | None, tuple[str, ...]]:
    """Make a label set of the names that files bear, of several spellings the commonest; None for none.

    Returns:
        The set; and of each label that is spelled in several ways, a sentence.
    """
    counts: dict[str, Counter[str]] = {}
    for file in files:
        label = own_label(file, root_name)
        if label:
            counts.setdefault(fold_label(label), Counter())[label] += 1
    spellings = [sorted(found, key=lambda name: (-found[name], name)) for found in counts.values()]
    notes = tuple(
        f"{' and '.join(map(repr, others))}: read as the label {name!r} in another spelling; if that is "
        "another label, name it otherwise"
        for name, *others in sorted(spellings)
        if others
    )
    return LabelSet(tuple(sorted(name for name, *_ in spellings))) if spellings else None, notes


def spelled(name: str) -> str:
    """Write a folder's name as a label: in NFC, with spaces."""
    return unicodedata.normalize("NFC", name).replace("_", " ").strip()


class LabelNames:
    """Which of a file's names is a label of a set, be it in another spelling.

    Args:
        labels: the label set.
    """

    def __init__(self, labels: LabelSet) -> None:
        self._exact = frozenset(labels)
        self._spellings = spellings_of(labels)

    def find(self, names: Iterable[str]) -> tuple[str, str] | None:
        """Give the first of the names that is a label, and that label; None if none is."""
        for name in names:
            label = name if name in self._exact else self._spellings.get(fold_label(name))
            if label is not None:
                return name, label
        return None


def spelled_otherwise(files: Iterable[LabelledFile], labels: LabelSet) -> tuple[str, ...]:
    """Say which names are read as labels of another spelling; none if all are spelled as the set has them.

    Of a folder's name, `_` is no other spelling of a blank.
    """
    names, counts = LabelNames(labels), Counter[str]()
    for file in files:
        found = names.find(file.labels) if not file.problem else None
        if found is None:
            continue
        name, label = found
        if label not in (name, unicodedata.normalize("NFC", name) if file.given else spelled(name)):
            counts[f"{name} -> {label}"] += 1
    pairs = [f"{pair} ({count:,})" for pair, count in counts.most_common()]
    return (f"labels spelled otherwise: {first_of(pairs, _SHOWN)}",) if pairs else ()


@dataclass(frozen=True)
class Planned:
    """A row, and what a run needs to carry it out.

    Attributes:
        row: what is shown.
        segment: what the file becomes; None if it is left out.
        media: what it is made of.
        name: the clip's id, or what comes closest to one.
        fps: frame rate of the file, by its header; 0 if that cannot be told.
    """

    row: ImportRow
    segment: Segment | None
    media: Path | FrameRun
    name: str
    fps: Fraction = Fraction(0)

    def predicted(self, min_length_s: float, *, exact: bool) -> ImportRow:
        """Give the row as the length rules of a run will leave it.

        Args:
            min_length_s: shorter clips are refused.
            exact: refuse a clip whose length differs from its name's by more than a frame.
        """
        if self.row.status != NEW or self.segment is None or not self.fps:
            return self.row
        length_ms, named_ms = self.row.length_ms, self.segment.end_ms - self.segment.start_ms
        text = f"it holds {length_ms} ms, {named_ms} ms were asked for"
        diff = frames_in(length_ms, self.fps) - frames_in(named_ms, self.fps)
        if exact and abs(diff) > 1:
            return replace(self.row, status="too-long" if diff > 0 else "too-short", text=text)
        if length_ms < 1000 * min_length_s:
            return replace(self.row, status="too-short", text=text)
        return self.row


def plan_rows(
    files: Sequence[LabelledFile],
    labels: LabelSet,
    known: Mapping[str, Segment],
    there: Set[str],
    dataset: str | None,
    removed: Removals,
) -> list[Planned]:
    """Decide on every file, in their order.

    Args:
        files: what was found.
        labels: the label set.
        known: the workspace's segments by clip id.
        there: ids of the clips that are there.
        dataset: what the clips will name as their origin; None: as their layout.
        removed: the tombstones of clips that must not come back.
    """
    planner = _Planner(labels, known, there, dataset, removed)
    return [planner.plan(file) for file in files]


def without_removed(planned: Planned, removed: Removals) -> Planned:
    """Leave out a new file that is the very file of a removed clip: encoded again it has other bytes."""
    if planned.row.status != NEW or not isinstance(planned.media, Path) or not removed.has_checksums:
        return planned
    try:
        tombstone = removed.of_bytes(sha256_file(planned.media))
    except OSError:
        # The import says what is wrong with it.
        return planned
    return replace(planned, row=_removed(planned.row, tombstone), segment=None) if tombstone else planned


def _removed(row: ImportRow, tombstone: Removal) -> ImportRow:
    said = f"removed on {tombstone.removed_utc[:10]}: {tombstone.reason}"
    return replace(row, status=REMOVED, clip_id="", text=said)


def rows_of_entries(listed: FolderList, found: Iterable[FoundFile]) -> list[Planned]:
    """Give a row to each file that the list names and the folder lacks, or has several of."""
    matches = _match_list(found, listed)
    there, unclear = set(matches.entries.values()), set(matches.unclear.values())
    rows = []
    for key, entry in listed.files.items():
        if key in unclear:
            rows.append(ImportRow(key, _UNCLEAR, label=entry.labels[0], text=_unclear_text(listed, key)))
        elif key not in there:
            text = f"{listed.name}:{entry.row} names it"
            rows.append(ImportRow(key, "no-file", label=entry.labels[0], text=text))
    return [Planned(row, None, listed.path, row.path) for row in rows]


class _Planner:
    def __init__(
        self,
        labels: LabelSet,
        known: Mapping[str, Segment],
        there: Set[str],
        dataset: str | None,
        removed: Removals,
    ) -> None:
        self._labels = LabelNames(labels)
        self._known = known
        self._there = there
        self._dataset = dataset
        self._removed = removed
        self._taken: dict[str, tuple[str, str, Segment]] = {}
        # A plain file keeps its clip, whatever its name and its folder are called now. That clip is all of
        # it: others of the same video were cut from that one since.
        self._by_digest: dict[str, Stretch] = {
            digest: Stretch(segment.video_id, segment.start_ms, segment.end_ms)
            for segment in sorted(known.values(), key=lambda segment: segment.end_ms)
            if segment.start_ms == 0 and (digest := digest_in(segment.video_id)) is not None
        }

    def plan(self, labelled: LabelledFile) -> Planned:
        file = labelled.file
        row = ImportRow(
            path=file.relative,
            status=labelled.problem,
            groups=labelled.groups,
            official_split=labelled.official_split,
            layout=file.named.layout.value if file.named is not None else "",
            text=labelled.text,
        )
        stretch = self._stretch_of(file)
        found = self._labels.find(labelled.labels)
        label = found[1] if found is not None else None
        # A file alone in the folder that was typed: nothing contradicts the label that its clip has.
        alone = "/" not in file.relative and not labelled.given
        if label is None and alone and stretch is not None and stretch.clip_id in self._known:
            label = self._known[stretch.clip_id].label
        row = replace(row, label=label or "")
        if stretch is not None:
            length_ms = file.length_ms or stretch.end_ms - stretch.start_ms
            row = replace(row, clip_id=stretch.clip_id, start_ms=stretch.start_ms, length_ms=length_ms)
        name = row.clip_id or file.video_id
        tombstone = self._removed.find(*stretch) if stretch is not None else None
        if tombstone is not None:
            return Planned(_removed(row, tombstone), None, file.media, name)
        if row.status or stretch is None:
            return Planned(replace(row, status=row.status or "unreadable"), None, file.media, name)
        if label is None:
            names = ", ".join(map(repr, labelled.labels)) or "it has none"
            said = row.text or f"none of its names is a label: {names}"
            return Planned(replace(row, status="no-label", text=said), None, file.media, name)
        origin = self._dataset or _DATASETS.get(row.layout, row.layout)
        segment = Segment(*stretch, label, labelled.official_split, origin)
        return replace(self._settle(row, segment, file), fps=file.fps)

    def _settle(self, row: ImportRow, segment: Segment, file: FoundFile) -> Planned:
        """Compare a clip with the same clip before it, in this folder or in the workspace."""
        clip_id, media = segment.clip_id, file.media
        if clip_id in self._taken:
            path, digest, before = self._taken[clip_id]
            if file.digest != digest:
                text = (
                    f"its name is that of the clip of {path}, but not its bytes: remove the worse copy, or "
                    "rename both if they are two recordings"
                )
                return Planned(
                    replace(row, status="other-bytes", clip_id="", text=text), None, media, clip_id
                )
            status = "two-labels" if segment.label != before.label else "repeated"
            conflict = _contradiction(segment, before)
            row = replace(row, status=status, text=f"the same clip as {path}", conflict=conflict)
            return Planned(row, None, media, clip_id)
        kept = self._known.get(clip_id, segment)
        self._taken[clip_id] = row.path, file.digest, kept
        row = replace(
            row,
            status=THERE if clip_id in self._there else NEW,
            label=kept.label,
            official_split=kept.official_split,
            conflict=_contradiction(segment, kept),
        )
        return Planned(row, kept, media, clip_id)

    def _stretch_of(self, file: FoundFile) -> Stretch | None:
        """Give the stretch of video that a file holds; None if it cannot be told."""
        named = file.named
        if named is None:
            return None
        if named.video_id:
            stretch = Stretch(named.video_id, named.start_ms, named.end_ms)
        elif file.digest in self._by_digest:
            return self._by_digest[file.digest]
        else:
            stretch = Stretch(file.video_id, 0, file.length_ms)
        if stretch.end_ms <= stretch.start_ms or not (named.video_id or file.digest):
            return None
        if not named.video_id:
            self._by_digest[file.digest] = stretch
        return stretch


class Stretch(NamedTuple):
    """A stretch of a source video, in milliseconds."""

    video_id: str
    start_ms: int
    end_ms: int

    @property
    def clip_id(self) -> str:
        """The id of its clip."""
        return clip_id_of(*self)


_DATASETS = {Layout.LETSDANCE.value: LETS_DANCE}


def _contradiction(segment: Segment, before: Segment) -> str:
    if segment.label != before.label:
        return f"{segment.clip_id} is {segment.label!r} here and {before.label!r} before"
    if segment.official_split and before.official_split != segment.official_split:
        return (
            f"{segment.clip_id} is in {segment.official_split!r} here and in "
            f"{before.official_split or 'no subset'!r} before"
        )
    return ""
