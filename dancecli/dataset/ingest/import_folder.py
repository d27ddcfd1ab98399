"""Import: videos that are already on disk become clips of the workspace.

The layouts of known datasets (see `sources.layouts`), frame folders of Let's Dance, any videos in a
folder per label, and a folder with a list (see `folder_list`) may be given. Every file of the folder
has one row: the clip that it becomes, or why it is left out; a dry run gives the same rows.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from dancecli.core.errors import InputError, UsageError
from dancecli.core.labels import DEFAULT_LABELS, LabelSet
from dancecli.core.progress import SILENT, Reporter
from dancecli.core.records import Clip, Group
from dancecli.core.text import first_of, pluralize, shown
from dancecli.dataset.clip_lookup import ClipLookup, NamedFile
from dancecli.dataset.clips import clips_there, read_segments, refuse_lost_labels, workspace_labels
from dancecli.dataset.group_names import find_spellings, replaced_names
from dancecli.dataset.groups import add_groups, merge_groups, read_group_file, read_groups
from dancecli.dataset.ingest.folder_list import FolderList, find_list
from dancecli.dataset.ingest.folder_scan import FoundFile, scan_folder
from dancecli.dataset.ingest.import_plan import (
    HARMLESS,
    NEW,
    THERE,
    ImportRow,
    LabelledFile,
    NamePatterns,
    Planned,
    label_files,
    made_labels,
    plan_rows,
    rows_of_entries,
    spelled_otherwise,
    without_removed,
)
from dancecli.dataset.ingest.importer import ClipOutcomes, ImportOptions, Refused, import_clips
from dancecli.dataset.ingest.own_files import OwnFiles
from dancecli.dataset.ingest.worker import ImportJob
from dancecli.dataset.left_out import LeftOut, replace_left_out
from dancecli.sources.layouts import Layout
from dancecli.sources.letsdance import FrameRun
from dancecli.sources.list_format import fold_label
from dancecli.storage import tables
from dancecli.storage.removals import REMOVED, read_removals, video_of
from dancecli.storage.workspace import Workspace

FOLDERS = "the folders' names"
_COMMONEST = 3
# A label that differs by more is another label.
_NEAR = 0.8
# Forms that come with a label set of their own: all other classes of it are other labels.
_PUBLISHED = (Layout.KINETICS, Layout.LETSDANCE, Layout.ACTIVITYNET)


@dataclass(frozen=True)
class ImportSettings:
    """What to import, and how.

    Attributes:
        folder: where the files are.
        labels: a label file; None: the workspace's own set, else the default one if the folder is a
            download of its datasets, else one made of the names that the files bear.
        dataset: what the clips name as their origin; None: as their layout.
        layout: how the files are named; None to tell that by their names and lengths.
        label_pattern: a regular expression that finds the label in a file's path below the folder.
        group_patterns: regular expressions that find groups there.
        groups: a CSV of further groups.
        options: how clips are made.
        dry_run: change nothing.
    """

    folder: Path
    labels: Path | None = None
    dataset: str | None = None
    layout: Layout | None = None
    label_pattern: str = ""
    group_patterns: tuple[str, ...] = ()
    groups: Path | None = None
    options: ImportOptions = field(default_factory=ImportOptions)
    dry_run: bool = False


@dataclass(frozen=True)
class ImportResult:
    """What was found, and what became of it: `given` files are `clips` and those `left_out`.

    Attributes:
        labels: the label set's names, in order.
        labels_from: where that set is from, in words.
        layouts: clips by the layout of their file's name.
        files: one row per file, in the order of their paths.
        notes: what was inferred, and what should be checked, in sentences.
        outcomes: what became of the clips; None after a dry run.
    """

    labels: tuple[str, ...]
    labels_from: str
    layouts: dict[str, int]
    files: tuple[ImportRow, ...]
    notes: tuple[str, ...]
    outcomes: ClipOutcomes | None

    @property
    def given(self) -> int:
        """Files found; the pictures of one clip count as one."""
        return len(self.files)

    @property
    def clips(self) -> dict[str, int]:
        """Clips by label; those that were there before included."""
        return _sorted(Counter(row.label for row in self.files if row.is_clip))

    @property
    def there(self) -> dict[str, int]:
        """Of these, those that were there before, by label."""
        return _sorted(Counter(row.label for row in self.files if row.status == THERE))

    @property
    def left_out(self) -> dict[str, int]:
        """Files that are no clips, by reason, the commonest first."""
        return dict(Counter(row.status for row in self.files if not row.is_clip).most_common())

    @property
    def conflicts(self) -> tuple[str, ...]:
        """Clips under two labels or in two subsets, as sentences; what was there first counts."""
        return tuple(f"{row.path}: {row.conflict}" for row in self.files if row.conflict)

    @property
    def complete(self) -> bool:
        """Nothing is missing: what is left out is no video, or was given twice."""
        return all(row.is_clip or row.status in HARMLESS for row in self.files)


def import_folder(
    workspace: Workspace, settings: ImportSettings, reporter: Reporter = SILENT
) -> ImportResult:
    """Import the clips below a folder.

    Raises:
        InputError: the folder, its list, a label file or a group file is wrong, or nothing in the folder
            can be imported.
        UsageError: a pattern is not a regular expression.
        WorkspaceError: a fetch is at work here, or the disk is full; what was done is kept.
    """
    patterns = _patterns(settings)
    own = OwnFiles(workspace, settings.folder)
    found = scan_folder(settings.folder, settings.layout, reporter, own)
    if own.notes and all(file.problem == "not-a-video" for file in found):
        raise InputError(own.notes[0])
    others: list[str] = []
    listed = find_list(
        settings.folder,
        own.among(settings.folder, (p.name for p in settings.folder.iterdir())),
        others.append,
    )
    if listed is not None:
        found = [_without_list(file, listed) for file in found]
    files = label_files(found, listed, patterns)
    labels, labels_from, merged = _choose_labels(workspace, settings, files)
    known, removed = read_segments(workspace), read_removals(workspace)
    planned = plan_rows(files, labels, known, clips_there(workspace), settings.dataset, removed)
    planned = [without_removed(one, removed) for one in planned]
    if listed is not None:
        planned += rows_of_entries(listed, found)
    if not any(one.segment or one.row.status in ("unreadable", REMOVED) for one in planned):
        raise _nothing(settings.folder, files, labels)
    notes = (*own.notes, *others, *merged, *_notes(settings, listed, planned, files, labels_from))
    if settings.groups is not None:
        planned, more = _with_groups(settings.groups, settings.folder, planned)
        notes += more
    planned, joined = _with_one_spelling(workspace, planned)
    notes += joined
    rules, outcomes = settings.options.rules, None
    rows = tuple(one.predicted(rules.min_length_s, exact=rules.exact) for one in planned)
    if not settings.dry_run:
        workspace.begin(reporter)
        outcomes = _carry_out(workspace, settings, planned, labels, reporter)
        rows = tuple(_after(one.row, outcomes) for one in planned)
        _remember(workspace, settings, rows)
    return ImportResult(
        labels=labels.names,
        labels_from=labels_from,
        layouts=_sorted(Counter(row.layout for row in rows if row.is_clip)),
        files=rows,
        notes=notes,
        outcomes=outcomes,
    )


def _patterns(settings: ImportSettings) -> NamePatterns:
    def compiled(flag: str, text: str) -> re.Pattern[str]:
        try:
            return re.compile(text)
        except re.error as error:
            raise UsageError(f"{flag} {text!r} is not a regular expression: {error}") from None

    return NamePatterns(
        compiled("--label-pattern", settings.label_pattern) if settings.label_pattern else None,
        tuple(compiled("--group-pattern", text) for text in settings.group_patterns),
    )


def _without_list(file: FoundFile, listed: FolderList) -> FoundFile:
    if file.media != listed.path:
        return file
    return replace(file, text="is the list of these files")


def _choose_labels(
    workspace: Workspace, settings: ImportSettings, files: Sequence[LabelledFile]
) -> tuple[LabelSet, str, tuple[str, ...]]:
    """Give the label set, where it is from in words, and what should be checked, in sentences."""
    own = workspace_labels(workspace)
    if settings.labels is not None:
        given = LabelSet.read(settings.labels)
        refuse_lost_labels(settings.labels, given, read_segments(workspace).values())
        return given, shown(settings.labels), spelled_otherwise(files, given)
    if own is not None:
        return own, "the workspace", spelled_otherwise(files, own)
    default = LabelSet.read(DEFAULT_LABELS)
    if _is_of(default, files):
        return default, DEFAULT_LABELS.name, spelled_otherwise(files, default)
    made, merged = made_labels(files, settings.folder.absolute().name)
    if made is None:
        failed = next((f for f in files if f.problem and f.problem not in HARMLESS), None)
        seen = f" ({failed.file.relative}: {failed.text})" if failed is not None else ""
        raise InputError.at(
            settings.folder,
            None,
            f"holds no folder of clips that could name a label{seen}",
            "put the clips into a folder per label, add a list (file,label), or give --label-pattern",
        )
    return made, _names_of(settings, files), merged


def _names_of(settings: ImportSettings, files: Sequence[LabelledFile]) -> str:
    """Tell in words what made labels are made of."""
    if settings.label_pattern:
        return "--label-pattern"
    if any(file.given for file in files):
        return "the list"
    return "the files' names" if any(f.file.named and f.file.named.labels for f in files) else FOLDERS


def _is_of(default: LabelSet, files: Sequence[LabelledFile]) -> bool:
    """Tell whether a folder's labels are those of a set: its datasets' form, or no label but its own."""
    folds = {fold_label(label) for label in default}
    named = [file for file in files if file.labels and not file.problem and file.file.named is not None]
    fitting = [file for file in named if any(fold_label(label) in folds for label in file.labels)]
    published = any(file.file.named is not None and file.file.named.layout in _PUBLISHED for file in fitting)
    return bool(fitting) and (published or len(fitting) == len(named))


def _nothing(folder: Path, files: Sequence[LabelledFile], labels: LabelSet) -> InputError:
    strangers = Counter("/".join(reversed(f.labels)) or "." for f in files if not f.problem)
    if not strangers:
        hint = "clips are videos in a folder per label, or Let's Dance frames"
        return InputError.at(folder, None, "holds no clip in a known form", hint)
    common = ", ".join(f"{name!r} ({n})" for name, n in strangers.most_common(_COMMONEST))
    what = f"none of its folders bears one of the {len(labels)} labels; it has {common}"
    hint = "give the label file that belongs to it with --labels; Let's Dance is added by dance merge"
    return InputError.at(folder, None, what, hint)


def _notes(
    settings: ImportSettings,
    listed: FolderList | None,
    planned: Sequence[Planned],
    files: Sequence[LabelledFile],
    labels_from: str,
) -> tuple[str, ...]:
    notes = list(listed.notes) if listed is not None else []
    clips = [(one.row, file) for one, file in zip(planned, files, strict=False) if one.row.is_clip]
    found = {row.label for row, _ in clips}
    below = sorted({file.file.folders[1] for _, file in clips if len(file.file.folders) > 1})
    if len(found) == 1 and len(below) > 1 and labels_from == FOLDERS:
        label, names = next(iter(found)), ", ".join(map(repr, below[:_COMMONEST]))
        top = shown(settings.folder / clips[0][1].file.folders[0])
        notes.append(
            f"every clip has the label {label!r}; if the labels are the folders below it ({names}), "
            f"use another workspace and run dance import {top}"
        )
    if labels_from == FOLDERS:
        default = {fold_label(label) for label in LabelSet.read(DEFAULT_LABELS)}
        known = sorted(name for name in found if fold_label(name) in default)
        if known:
            notes.append(
                f"not all labels are among the {len(default)} default ones, so they are those of the files; "
                f"to import only those ({', '.join(known[:_COMMONEST])}): --labels {DEFAULT_LABELS}"
            )
    if settings.labels is not None:
        notes += _labels_without_clips(LabelSet.read(settings.labels), found, files)
    unmatched = sum(not file.groups for _, file in clips) if settings.group_patterns else 0
    if unmatched:
        notes.append(f"{unmatched} of {len(clips)} clips match no --group-pattern")
    return tuple(notes)


def _with_groups(
    path: Path, folder: Path, planned: Sequence[Planned]
) -> tuple[list[Planned], tuple[str, ...]]:
    """Add the groups of a file to the rows, and tell which of its names match no clip, or several.

    Of a clip that several files hold, the groups of each are the clip's. Removed files have rows that say so.
    """
    root = shown(folder.absolute())
    clip_videos = {one.row.clip_id: one.segment.video_id for one in planned if one.segment is not None}
    named = [
        NamedFile(one.row.clip_id, clip_videos[one.row.clip_id], f"{root}/{one.row.path}")
        for one in planned
        if one.row.clip_id in clip_videos
    ]
    gone = [
        NamedFile(one.name, video_of(one.name), f"{root}/{one.row.path}")
        for one in planned
        if one.row.status == REMOVED
    ]
    given, removed = read_group_file(path, ClipLookup(named, [root])), ClipLookup(gone, [root])
    of_clip: dict[str, list[tuple[str, str]]] = {}
    for group in given.rows:
        of_clip.setdefault(group.clip_id, []).append((group.kind, group.group))
    rows = [replace(one, row=_with_more_groups(one.row, of_clip.get(one.row.clip_id, ()))) for one in planned]
    unknown = [repr(name) for name in given.unknown if not removed.find(name)]
    if not unknown:
        return rows, given.notes
    count = pluralize(len(unknown), "name")
    return rows, (*given.notes, f"{shown(path)}: {count} of no clip in the folder: {first_of(unknown)}")


def _with_one_spelling(
    workspace: Workspace, planned: Sequence[Planned]
) -> tuple[list[Planned], tuple[str, ...]]:
    """Write each group in its commonest spelling, here and in the workspace.

    Returns:
        The rows; and which spellings are joined and which groups replaced, in sentences.
    """
    of_clip = {
        Group(one.row.clip_id, group, kind)
        for one in planned
        if one.row.clip_id
        for kind, group in one.row.groups
    }
    before = read_groups(workspace) if of_clip else []
    spellings = find_spellings((row.kind, row.group) for row in merge_groups(before, of_clip))
    rows = []
    for one in planned:
        groups = dict.fromkeys(spellings.of(kind, name) for kind, name in one.row.groups)
        rows.append(replace(one, row=replace(one.row, groups=tuple(groups))))
    return rows, (*spellings.notes, *replaced_names(before, of_clip))


def _with_more_groups(row: ImportRow, groups: Iterable[tuple[str, str]]) -> ImportRow:
    return replace(row, groups=tuple(dict.fromkeys((*row.groups, *groups)))) if row.is_clip else row


def _labels_without_clips(
    labels: LabelSet, found: Set[str], files: Sequence[LabelledFile]
) -> tuple[str, ...]:
    """Tell which labels of a label file no clip has, each with the nearest name that a file has."""
    names = {name.casefold(): name for file in files for name in file.labels}
    missing = []
    for label in labels:
        if label not in found:
            near = difflib.get_close_matches(label.casefold(), names, n=1, cutoff=_NEAR)
            missing.append(f"{label!r} (did you mean {names[near[0]]!r}?)" if near else repr(label))
    if not missing:
        return ()
    missing.sort(key=lambda text: "did you mean" not in text)
    more = f" and {len(missing) - _COMMONEST} more" if len(missing) > _COMMONEST else ""
    return (f"labels that no clip has: {', '.join(missing[:_COMMONEST])}{more}",)


def _carry_out(
    workspace: Workspace,
    settings: ImportSettings,
    planned: Sequence[Planned],
    labels: LabelSet,
    reporter: Reporter,
) -> ClipOutcomes:
    options = settings.options
    jobs = [
        ImportJob(
            workspace.root,
            one.segment,
            _absolute(one.media),
            options.link,
            options.keep_audio,
            options.rules,
            media_ms=one.row.length_ms,
        )
        for one in planned
        if one.segment is not None
    ]
    where = shown(settings.folder)
    refused = [
        Refused(one.name, one.name, one.row.status, f"{where}/{one.row.path}: {one.row.text}")
        for one in planned
        if one.row.status == "unreadable"
    ]
    return import_clips(workspace, jobs, refused, labels, options, reporter, _command(settings))


def _command(settings: ImportSettings) -> list[str]:
    """Give the folder, and the options that select what is imported; paths are absolute."""
    words = [str(settings.folder.absolute())]
    paths = (("--labels", settings.labels), ("--groups", settings.groups))
    texts = (
        ("--layout", settings.layout.value if settings.layout is not None else ""),
        ("--label-pattern", settings.label_pattern),
        *(("--group-pattern", pattern) for pattern in settings.group_patterns),
        ("--dataset", settings.dataset or ""),
    )
    words += [word for name, path in paths if path is not None for word in (name, str(path.absolute()))]
    words += [word for name, text in texts if text for word in (name, text)]
    return [*words, "--link"] if settings.options.link else words


def _absolute(media: Path | FrameRun) -> Path | FrameRun:
    return media.absolute() if isinstance(media, Path) else media


def _after(row: ImportRow, outcomes: ClipOutcomes) -> ImportRow:
    """Give a row as the run left it."""
    if row.status != NEW:
        return row
    failed = outcomes.failed.get(row.clip_id)
    return replace(row, status=failed.reason, text=failed.text) if failed is not None else row


def _remember(workspace: Workspace, settings: ImportSettings, rows: Sequence[ImportRow]) -> None:
    """Write the groups of what came in, and the files that did not, copies of what was there included."""
    clips = {row.clip_id for row in rows if row.is_clip}
    # Also those of a second file that holds the same clip.
    groups = {
        Group(row.clip_id, group, kind) for row in rows if row.clip_id in clips for kind, group in row.groups
    }
    if groups:
        add_groups(workspace, groups)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    folder = shown(settings.folder.absolute())
    left_out = [
        LeftOut(f"{folder}/{row.path}", row.status, row.text, row.clip_id, row.label, now)
        for row in rows
        if not row.is_clip
    ]
    replace_left_out(workspace, folder, [*left_out, *_copies(workspace, folder, rows, now)])


def _copies(workspace: Workspace, folder: str, rows: Sequence[ImportRow], now: str) -> Iterator[LeftOut]:
    """Give the files whose bytes are a clip that was made of another file; only these rows name them."""
    there = [row for row in rows if row.status == THERE and row.layout == Layout.PLAIN]
    original_of: dict[str, str] = {}
    if there:
        original_of = dict(tables.read_columns(workspace.clips, Clip, ("clip_id", "original_path")))
    for row in there:
        path, original = f"{folder}/{row.path}", original_of.get(row.clip_id, "")
        if original and path != original and _place(path) != _place(original):
            text = f"the same clip as {original}"
            yield LeftOut(path, "repeated", text, row.clip_id, row.label, now)


def _place(path: str) -> Path:
    """Give a file's path with its folder as it is, however that was typed; a link has a name of its own."""
    return Path(path).parent.resolve() / Path(path).name


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return {name: counts[name] for name in sorted(counts)}
