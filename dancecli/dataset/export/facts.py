"""The facts of an export: everything that its card, its datasheet and its Croissant metadata state.

They are tables of numbers and names, each derived from the workspace. `dance verify --card` derives
them again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from statistics import median

from dancecli.core.records import NEAR_DUPLICATE, Clip, SplitClip, Subset, near_duplicates
from dancecli.dataset.export.formats import Row
from dancecli.dataset.export.licenses import may_be_shared
from dancecli.dataset.groups import read_all_groups
from dancecli.dataset.left_out import read_left_out
from dancecli.dataset.quality.audit import AuditSettings, audit
from dancecli.dataset.quality.stats import count_outcomes
from dancecli.storage import tables
from dancecli.storage.content import CONDITIONS, conditions_of
from dancecli.storage.corrections import Field, current, read_corrections
from dancecli.storage.lockfile import split_digest, subset_digest
from dancecli.storage.removals import read_removals, removed_of
from dancecli.storage.workspace import Workspace

Value = int | float | str

NOT_STATED = "(not stated)"
_LEAK = " in two subsets"


@dataclass(frozen=True)
class FactTable:
    """Facts of one kind.

    Attributes:
        title: of the table.
        columns: names of the columns, the first that of the rows' names.
        rows: by name, one value for each further column.
    """

    title: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[Value, ...]]


@dataclass(frozen=True)
class ExportFacts:
    """All facts of an export, a table for each kind; see `derive_facts`.

    Attributes:
        tables: by their titles.
    """

    tables: dict[str, FactTable]

    def value(self, title: str, row: str, column: int = 0) -> Value:
        """Return one fact."""
        return self.tables[title].rows[row][column]

    def words(self, title: str) -> str:
        """Return a table's rows as `3 name, 2 other`; `none` if it is empty."""
        rows = self.tables[title].rows
        return ", ".join(f"{values[0]} {name}" for name, values in rows.items()) or "none"


@dataclass(frozen=True)
class SplitFacts:
    """Facts of a split that can be derived without its clips in memory; see `derive_split_facts`.

    Attributes:
        split_hash: of the split.
        tables: the facts, in the order in which they are stated.
    """

    split_hash: str
    tables: tuple[FactTable, ...]


def derive_split_facts(workspace: Workspace, split: str, labels: Sequence[str]) -> SplitFacts:
    """Derive what needs tables of the workspace that are as large as that of the clips.

    Args:
        workspace: the workspace.
        split: name of its split.
        labels: the split's classes, in their order.

    Raises:
        InputError: a table of the workspace is damaged.
    """
    findings = Counter(
        finding.kind for finding in audit(workspace, AuditSettings(split, files=False)).findings
    )
    leaks = {kind: findings[kind] for kind in _leak_kinds(findings)}
    other = {kind: count for kind, count in sorted(findings.items()) if kind not in leaks}
    whole = (SplitClip(*row) for row in tables.read_columns(workspace.split(split), SplitClip))
    return SplitFacts(
        split_digest(whole, labels),
        (
            FactTable("Groups", ("kind", "groups", "clips"), _groups(workspace, split)),
            FactTable("Leaks", ("kind", "found"), {kind: (count,) for kind, count in leaks.items()}),
            FactTable("Other findings of the audit", ("kind", "found"), {k: (n,) for k, n in other.items()}),
            FactTable("Removed by request", ("of", "clips"), _removed(workspace, split)),
            FactTable("Corrections in force", ("field", "clips"), _corrected(workspace, split)),
            *_outcomes(workspace),
            FactTable("Files that imports left out", ("reason", "files"), _left_out(workspace)),
        ),
    )


def derive_facts(
    split: str,
    command: str,
    labels: Sequence[str],
    rows: Sequence[Row],
    missing: Sequence[str],
    of_split: SplitFacts,
) -> ExportFacts:
    """Derive the facts of an export.

    Args:
        split: name of its split.
        command: the command line that makes the export.
        labels: the split's classes, in their order.
        rows: the exported clips.
        missing: ids of the clips of the split that are not exported, their file being gone.
        of_split: see `derive_split_facts`.
    """
    own = [row.clip for row in rows if not row.clip.parent_id]
    found = [
        FactTable("Export", ("fact", "value"), _of_export(command, split, labels, rows, missing)),
        FactTable("Hashes", ("of", "SHA-256"), _hashes(of_split.split_hash, rows)),
        FactTable("Clips by class", ("class", "index", *Subset, "seconds"), _by_class(labels, rows)),
        FactTable("Length, size and rate", ("quantity", "minimum", "median", "maximum"), _ranges(own)),
        _counted("Resolutions", "pixels", (f"{clip.width} x {clip.height}" for clip in own)),
        _counted("Clips by annotation list", "list", (clip.dataset or NOT_STATED for clip in own)),
        _counted("Clips by source", "source", (clip.source for clip in own)),
        _counted("Clips by license", "license", (clip.license or NOT_STATED for clip in own)),
        _counted("Notes on clips", "note", (clip.note for clip in own if clip.note)),
        FactTable("Content", ("condition", "clips"), _content(own)),
        *of_split.tables,
    ]
    return ExportFacts({table.title: table for table in found})


def _of_export(
    command: str, split: str, labels: Sequence[str], rows: Sequence[Row], missing: Sequence[str]
) -> dict[str, tuple[Value, ...]]:
    own = [row.clip for row in rows if not row.clip.parent_id]
    facts: dict[str, Value] = {
        "made by": command,
        "split": split,
        "classes": len(labels),
        "clips": len(own),
        "augmented clips in addition": len(rows) - len(own),
        "clips of the split that have lost their file": len(missing),
        "source videos": len({clip.video_id for clip in own}),
        "bytes": sum(row.clip.num_bytes for row in rows),
        "seconds": round(sum(clip.duration_s for clip in own), 3),
        "clips with sound": sum(clip.has_audio for clip in own),
        "clips that name their uploader": sum(bool(clip.uploader) for clip in own),
        "uploaders": len({clip.uploader for clip in own if clip.uploader}),
        "clips with damaged frames": sum(clip.damaged_frames > 0 for clip in own),
        "clips whose license allows passing them on": sum(may_be_shared(clip.license) for clip in own),
    }
    return {name: (value,) for name, value in facts.items()}


def _hashes(split_hash: str, rows: Sequence[Row]) -> dict[str, tuple[Value, ...]]:
    found: dict[str, tuple[Value, ...]] = {"split": (split_hash,)}
    for subset in Subset:
        own = (row for row in rows if row.subset is subset and not row.clip.parent_id)
        found[subset] = (subset_digest((row.clip.clip_id, row.clip.sha256, row.label) for row in own),)
    return found


def _by_class(labels: Sequence[str], rows: Sequence[Row]) -> dict[str, tuple[Value, ...]]:
    counts: Counter[tuple[int, Subset]] = Counter()
    lengths_ms: Counter[int] = Counter()
    for row in rows:
        if not row.clip.parent_id:
            counts[row.label_index, row.subset] += 1
            lengths_ms[row.label_index] += round(1000 * row.clip.duration_s)
    found: dict[str, tuple[Value, ...]] = {
        label: (i, *(counts[i, subset] for subset in Subset), lengths_ms[i] / 1000)
        for i, label in enumerate(labels)
    }
    totals = [sum(counts[i, subset] for i in range(len(labels))) for subset in Subset]
    return {**found, "all classes": ("", *totals, sum(lengths_ms.values()) / 1000)}


def _ranges(clips: Sequence[Clip]) -> dict[str, tuple[Value, ...]]:
    quantities = {
        "length, s": [clip.duration_s for clip in clips],
        "short side, pixels": [float(min(clip.width, clip.height)) for clip in clips],
        "frames per second": [clip.fps_num / clip.fps_den for clip in clips],
    }
    return {
        name: tuple(round(value, 3) for value in (min(values), median(values), max(values)))
        for name, values in quantities.items()
        if values
    }


def _counted(title: str, column: str, names: Iterable[str]) -> FactTable:
    counts = sorted(Counter(names).items(), key=lambda item: (-item[1], item[0]))
    return FactTable(title, (column, "clips"), {name: (count,) for name, count in counts})


def _content(clips: Sequence[Clip]) -> dict[str, tuple[Value, ...]]:
    counts = Counter(chain.from_iterable(map(conditions_of, clips)))
    return {name: (counts[name],) for name in CONDITIONS}


def _groups(workspace: Workspace, split: str) -> dict[str, tuple[Value, ...]]:
    ids = {row[0] for row in tables.read_columns(workspace.split(split), SplitClip, ("clip_id",))}
    clips: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    groups = [row for row in read_all_groups(workspace) if row.clip_id in ids]
    rows = tables.read_columns(workspace.clips, Clip, ("clip_id", "video_id"))
    near = near_duplicates(groups, {clip_id: video for clip_id, video in rows if clip_id in ids})
    for row in groups:
        # Where there are no near-duplicates at all, that is a fact too.
        of_kind = clips[row.kind]
        if row.kind != NEAR_DUPLICATE or row.clip_id in near:
            of_kind[row.group].add(row.clip_id)
    return {kind: (len(found), len(set().union(*found.values()))) for kind, found in sorted(clips.items())}


def _leak_kinds(findings: Mapping[str, int]) -> list[str]:
    """Name the ways to leak: those that are always looked for, and those that were found."""
    always = [f"{what}{_LEAK}" for what in ("video", "equal bytes", f"{NEAR_DUPLICATE}s")]
    return [*always, *sorted(kind for kind in findings if kind.endswith(_LEAK) and kind not in always)]


def _removed(workspace: Workspace, split: str) -> dict[str, tuple[Value, ...]]:
    removed = removed_of(tables.read_meta(workspace.split(split)))
    found: dict[str, tuple[Value, ...]] = {subset: (removed.get(subset, 0),) for subset in Subset}
    return {**found, "all splits and none": (len(read_removals(workspace).rows),)}


def _corrected(workspace: Workspace, split: str) -> dict[str, tuple[Value, ...]]:
    ids = {row[0] for row in tables.read_columns(workspace.split(split), SplitClip, ("clip_id",))}
    changes = current(read_corrections(workspace))
    counts = Counter(field for clip_id, fields in changes.items() if clip_id in ids for field in fields)
    return {field.value: (counts[field.value],) for field in Field}


def _outcomes(workspace: Workspace) -> list[FactTable]:
    names = ("clip_id", "parent_id")
    here = {clip_id for clip_id, parent in tables.read_columns(workspace.clips, Clip, names) if not parent}
    states, reasons = count_outcomes(workspace, here)
    return [
        FactTable(title, (column, "clips"), {name: (count,) for name, count in counts.items()})
        for title, column, counts in (
            ("Outcomes of the requested clips", "outcome", states),
            ("Why requested clips are not available", "reason", reasons),
        )
    ]


def _left_out(workspace: Workspace) -> dict[str, tuple[Value, ...]]:
    counts = Counter(row.reason for row in read_left_out(workspace))
    return {name: (count,) for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))}
