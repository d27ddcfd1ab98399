"""Split the clips into train, val and test: by group, by seed, exact in size, and frozen.

Clips that share a source video, equal bytes, a near-duplicate or a group that the user named are in
one subset. A split is a Parquet manifest, and a lock: a text file that names every clip with subset
and checksum, from which the same split is built again elsewhere, however many of its videos are
gone by then.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

from dancecli.core.errors import InputError, UsageError, WorkspaceError
from dancecli.core.hashing import classes_in_few_folds, uneven_folds_note
from dancecli.core.records import NEAR_DUPLICATE, Group, SplitClip, Subset
from dancecli.core.text import in_ascii, shown
from dancecli.dataset.clip_lookup import ClipLookup
from dancecli.dataset.clips import read_imports
from dancecli.dataset.groups import (
    CORRECTED,
    KnownGroups,
    add_groups,
    join_groups,
    join_spellings,
    known_groups,
    read_group_file,
)
from dancecli.dataset.left_out import files_of_clips
from dancecli.dataset.split.assign import (
    assign_official,
    assign_subsets,
    assign_to_folds,
    count_overlaps,
    draw_subset,
    parse_ratios,
    torn_groups,
)
from dancecli.dataset.split.candidates import Candidate, read_candidates
from dancecli.dataset.split.lockfile import Drift, clips_from_lock
from dancecli.dataset.split.official import official_subsets
from dancecli.storage import tables
from dancecli.storage.content import conditions_of
from dancecli.storage.corrections import (
    apply_corrections,
    corrections_file,
    current,
    read_corrections,
)
from dancecli.storage.lockfile import split_digest, write_lock
from dancecli.storage.removals import read_removals, refuse_still_here
from dancecli.storage.runs import read_records
from dancecli.storage.workspace import Workspace, checked_name

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9]+")
DEFAULT_RATIOS = "90/5/5"
# The paper's own: 93/7 of 1500 and 90/10 of 525.
SUBSET_RATIOS = {1500: "93/7", 525: "90/10"}


@dataclass(frozen=True)
class SplitSettings:
    """How to split.

    Attributes:
        ratios: `train/val/test` or `train/test` in percent; None for the default of the subset.
        folds: divide into so many folds of a cross-validation, stratified, instead of subsets.
        repeats: number of such divisions, with the seeds `seed`, `seed + 1` and so on.
        subset: draw this many clips (not of Let's Dance, where there are others) instead of all.
        seed: another seed gives another split.
        name: of the split; None names it after the other settings.
        stratify: give every subset its share of each label.
        keep_official: keep the official subsets of the annotation lists, or of `official_lists`.
        lock: build the split that this lock file names, and report the drift; combines with `name` only.
        official_lists: files or folders with an official split; see `dataset.split.official`.
        groups: CSV files of further groups to keep whole; see `dataset.groups.read_group_file`.
        drop: conditions of clips to leave out; see `storage.content.CONDITIONS`.
        without_groups: kinds of groups that need not be kept whole; they stay stored.
    """

    ratios: str | None = None
    folds: int | None = None
    repeats: int = 1
    subset: int | None = None
    seed: int = 0
    name: str | None = None
    stratify: bool = False
    keep_official: bool = False
    lock: Path | None = None
    official_lists: tuple[Path, ...] = ()
    groups: tuple[Path, ...] = ()
    drop: tuple[str, ...] = ()
    # No part of the text of a recipe that has none: those of older splits lack it.
    without_groups: tuple[str, ...] = field(default=(), repr=False)

    @property
    def ratio_text(self) -> str:
        """The ratios as given, or as the subset implies; of a cross-validation its folds."""
        if self.folds:
            return f"{self.folds} folds" + (f" x {self.repeats} repeats" if self.repeats > 1 else "")
        return self.ratios or SUBSET_RATIOS.get(self.subset or 0, DEFAULT_RATIOS)

    @property
    def split_name(self) -> str:
        """The name given, or one in which every setting that is not a default shows."""
        if self.name is not None:
            return checked_name(self.name, "split")
        if self.lock is not None:
            return checked_name(self.lock.name.partition(".")[0], "split")
        words = [f"subset{self.subset}"] if self.subset else [] if self.folds else ["full"]
        if self.folds:
            words.append(f"folds{self.folds}" + (f"x{self.repeats}" if self.repeats > 1 else ""))
        if self.ratios and self.ratios != SplitSettings(subset=self.subset).ratio_text:
            words.append(self.ratios.replace("/", "-"))
        words += ["stratified"] if self.stratify else []
        words += ["official"] if self.keep_official else []
        words += [f"no-{name}" for name in self.drop]
        words += [f"without-{_NOT_IN_NAMES.sub('-', in_ascii(kind))}" for kind in self.without_groups]
        words += [f"seed{self.seed}"] if self.seed else []
        return "-".join(words)

    def flags(self, *, own_groups: bool) -> tuple[str, ...]:
        """What `dance split` is given to make this split again from the same clips.

        What the clips alone do not tell (a lock, official lists, the user's own groups) is in the
        split's own lock, from which it is made again.
        """
        if self.lock is not None or self.official_lists or own_groups or self.without_groups:
            kinds = chain.from_iterable(("--without-groups", kind) for kind in self.without_groups)
            return ("--lock", f"{self.split_name}.lock.csv", "--name", self.split_name, *kinds)
        words = ["--name", self.split_name, "--seed", str(self.seed)]
        words += ["--folds", str(self.folds)] if self.folds else ["--ratios", self.ratio_text]
        words += ["--repeats", str(self.repeats)] if self.repeats > 1 else []
        words += ["--subset", str(self.subset)] if self.subset else []
        words += ["--stratify"] if self.stratify else []
        words += ["--keep-official"] if self.keep_official else []
        words += ["--drop", ",".join(self.drop)] if self.drop else []
        return tuple(words)

    @property
    def recipe(self) -> str:
        """All settings but the name, as text: two splits with another one are different splits."""
        settings = replace(self, name="", ratios=self.ratio_text, groups=(), lock=None, official_lists=())
        lists = [path.name for path in self.official_lists]
        kinds = [sorted(self.without_groups)] if self.without_groups else []
        return json.dumps([repr(settings), self.lock.name if self.lock else "", lists, *kinds])


@dataclass(frozen=True)
class LeftOut:
    """Clips that are in no subset of a split, and why.

    Attributes:
        gone: clips whose file is gone.
        dropped: clips that were dropped, by condition; a clip with two conditions is under both.
        not_official: clips that the official lists do not name.
        unknown_names: names in group files that match no clip.
        excluded: ids of clips that corrections exclude.
    """

    gone: tuple[str, ...] = ()
    dropped: dict[str, tuple[str, ...]] | None = None
    not_official: tuple[str, ...] = ()
    unknown_names: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True)
class SplitResult:
    """A split and its evidence.

    Attributes:
        ratios: as requested, or `as locked`.
        seed: None for a split built from a lock, which does not say it.
        flags: what makes it again.
        counts: clips per subset, in the order train, val, test.
        groups: groups per subset.
        overlaps: groups in more than one subset or fold; a split that is written has 0.
        missing_labels: labels of the set that have no clip in it.
        digest: SHA-256 over every clip, subset, label and checksum, and the labels' order.
        changed: False if the very same split existed already.
        known: which kinds of groups are known of its clips.
        left_out: clips that are in no subset.
        relabeled: ids of clips whose label is a correction's.
        torn: groups in several official subsets, with those subsets; each is in one subset here.
        moved: clips that are in another subset than the official one for it.
        notes: what else the user should know, one sentence each.
        drift: for a split built from a lock.
    """

    name: str
    ratios: str
    seed: int | None
    flags: tuple[str, ...]
    labels: tuple[str, ...]
    clips: tuple[SplitClip, ...]
    counts: dict[str, int]
    groups: dict[str, int]
    overlaps: int
    missing_labels: tuple[str, ...]
    digest: str
    changed: bool
    known: KnownGroups
    left_out: LeftOut
    relabeled: tuple[str, ...]
    torn: dict[str, tuple[str, ...]]
    moved: int
    notes: tuple[str, ...]
    drift: Drift | None = None


@dataclass(frozen=True)
class _Pool:
    """The clips to divide, and what is known of them."""

    clips: list[Candidate]
    groups: list[Group]
    own_groups: list[Group]
    notes: tuple[str, ...]
    left_out: LeftOut
    relabeled: tuple[str, ...]


def split(workspace: Workspace, settings: SplitSettings, *, dry_run: bool = False) -> SplitResult:
    """Split the workspace's clips; write `manifests/splits/<name>.parquet` and its lock.

    Raises:
        WorkspaceError: there are no clips, another split of this name exists, runs used it, or clips of
            `removed.csv` are still here.
        InputError: the subset is too large, or a lock, group file or official list is wrong.
        UsageError: the settings do not go together, or are wrong.
    """
    _check(settings)
    name = settings.split_name
    pool = _pool(workspace, settings)
    # Its lock is what a benchmark publishes.
    refuse_still_here(workspace, (clip.clip_id for clip in pool.clips))
    labels = label_names(workspace)
    group_of = join_groups(pool.clips, pool.groups)
    drift, torn = None, dict[str, tuple[str, ...]]()
    if settings.lock is not None:
        clips, drift = clips_from_lock(settings.lock, pool.clips, labels, group_of, read_removals(workspace))
    else:
        kinds = sorted({row.kind for row in pool.groups} - {NEAR_DUPLICATE})
        clips = _divide(pool.clips, settings, group_of, kinds)
        torn = torn_groups(pool.clips, group_of) if settings.keep_official else {}
    digest = split_digest(clips, labels)
    changed = _recorded(workspace, name, "split.hash") != digest
    notes = _refuse_overwrite(workspace, settings) if changed else []
    known = known_groups(workspace, pool.clips, pool.groups)
    result = SplitResult(
        name=name,
        ratios="as locked" if drift else settings.ratio_text,
        seed=None if drift else settings.seed,
        flags=settings.flags(own_groups=bool(set(known.kinds) - {NEAR_DUPLICATE})),
        labels=labels,
        clips=tuple(clips),
        counts=_counts(clip.subset for clip in clips),
        groups=_counts(subset for _, subset in {(clip.group, clip.subset) for clip in clips}),
        overlaps=count_overlaps(clips),
        missing_labels=tuple(sorted(set(labels) - {clip.label for clip in clips}, key=labels.index)),
        digest=digest,
        changed=changed,
        known=known,
        left_out=pool.left_out,
        relabeled=pool.relabeled,
        torn=torn,
        moved=_moved(pool.clips, clips) if torn else 0,
        notes=(*pool.notes, *notes),
        drift=drift,
    )
    if not dry_run:
        if settings.groups or pool.notes:
            add_groups(workspace, pool.own_groups)
        if changed:
            _write(workspace, result, settings)
    return result


def label_names(workspace: Workspace) -> tuple[str, ...]:
    """Return the label set that the clips were fetched under, in its order."""
    return tuple(json.loads(tables.read_meta(workspace.segments)["labels"]))


def absent_classes(clips: Sequence[SplitClip], labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Find classes that have clips, but none in a subset that has some.

    Returns:
        The labels by subset. In a cross-validation, under `train` those with clips in one fold only:
        the model that is tested on them was not trained on any.
    """
    there = {clip.label for clip in clips}
    if any(clip.folds for clip in clips):
        parts = {(clip.label, clip.part) for clip in clips}
        once = Counter(label for label, _ in parts)
        present = {"train": {label for label in there if once[label] > 1}}
    else:
        subsets = {clip.subset for clip in clips}
        present = {
            name.value: {clip.label for clip in clips if clip.subset == name}
            for name in Subset
            if name.value in subsets
        }
    found = {name: tuple(label for label in labels if label in there - has) for name, has in present.items()}
    return {name: absent for name, absent in found.items() if absent}


def uneven_folds(clips: Sequence[SplitClip]) -> str:
    """Say which classes some folds of a cross-validation lack; empty if none do, or there are no folds."""
    fold_of = [clip.folds.partition("/")[0] for clip in clips]
    few = classes_in_few_folds([clip.label for clip in clips], fold_of)
    return uneven_folds_note(few, len(set(fold_of))) if few else ""


def _check(settings: SplitSettings) -> None:
    if settings.lock and settings != SplitSettings(
        lock=settings.lock,
        name=settings.name,
        groups=settings.groups,
        without_groups=settings.without_groups,
    ):
        raise UsageError(
            "--lock says which clip is where, so it combines with --name, --groups and --without-groups only",
            "omit the other flags, or omit --lock",
        )
    if settings.keep_official and (settings.stratify or settings.subset):
        raise UsageError(
            "--keep-official fixes the held-out subsets, so it combines with neither --stratify nor --subset"
        )
    if settings.folds and (settings.ratios or settings.keep_official):
        other = "--ratios" if settings.ratios else "--keep-official"
        raise UsageError(
            f"--folds and {other} exclude each other", f"omit {other}: every clip is tested once"
        )
    if settings.repeats > 1 and not settings.folds:
        raise UsageError("--repeats repeats a division into folds", "add --folds, such as --folds 10")


def _pool(workspace: Workspace, settings: SplitSettings) -> _Pool:
    """Read the clips and their groups, and leave out what the settings leave out."""
    clips, gone = read_candidates(workspace)
    changes = current(read_corrections(workspace))
    corrected = apply_corrections(clips, changes)
    clips = corrected.clips
    _refuse_unknown_labels(workspace, clips, corrected.relabeled)
    lookup = ClipLookup(())
    if settings.groups or settings.official_lists:
        roots = {shown(words[0]) for runs in read_imports(workspace).values() for words in runs}
        lookup = ClipLookup([*clips, *files_of_clips(workspace, clips)], roots)
    given = [read_group_file(path, lookup) for path in settings.groups]
    # At once: the groups of one file do not replace those of the file before it.
    groups, notes = join_spellings(workspace, chain.from_iterable(file.rows for file in given), changes)
    unknown = [name for file in given for name in file.unknown]
    dropped: dict[str, tuple[str, ...]] = {}
    if settings.drop:
        why = {clip.clip_id: [n for n in conditions_of(clip) if n in settings.drop] for clip in clips}
        for condition in settings.drop:
            dropped[condition] = tuple(i for i, names in why.items() if condition in names)
        clips = [clip for clip in clips if not why[clip.clip_id]]
        if not clips:
            raise InputError("every clip meets a condition of --drop, so none is left to split")
    not_official: tuple[str, ...] = ()
    if settings.official_lists:
        subset_of = official_subsets(settings.official_lists, lookup)
        not_official = tuple(clip.clip_id for clip in clips if clip.clip_id not in subset_of)
        clips = [
            replace(clip, official_split=subset_of[clip.clip_id].value)
            for clip in clips
            if clip.clip_id in subset_of
        ]
        if not clips:
            names = ", ".join(str(path) for path in settings.official_lists)
            raise InputError(
                f"{names}: no row names a clip of this workspace",
                "import the dataset's own files, whose names the lists give",
            )
    return _Pool(
        clips,
        _without(settings, groups),
        [row for row in groups if row.kind not in (NEAR_DUPLICATE, CORRECTED)],
        (*chain.from_iterable(file.notes for file in given), *notes),
        LeftOut(tuple(gone), dropped, not_official, tuple(unknown), corrected.excluded),
        corrected.relabeled,
    )


def _without(settings: SplitSettings, groups: list[Group]) -> list[Group]:
    """Leave out the groups that need not be kept whole.

    Raises:
        InputError: there is no group of a kind; not of a lock, which may be from where there are some.
    """
    kinds = sorted({row.kind for row in groups} - {NEAR_DUPLICATE})
    unknown = [kind for kind in settings.without_groups if kind not in kinds]
    if unknown and settings.lock is None:
        there = f"the kinds are {', '.join(kinds)}" if kinds else "omit it: there are none of your own"
        raise InputError(f"--without-groups {unknown[0]!r}: there are no groups of that kind", there)
    return [row for row in groups if row.kind not in settings.without_groups]


def _refuse_unknown_labels(
    workspace: Workspace, clips: Sequence[Candidate], relabeled: Sequence[str]
) -> None:
    labels, changed = set(label_names(workspace)), set(relabeled)
    for clip in clips:
        if clip.clip_id in changed and clip.label not in labels:
            raise InputError.at(
                corrections_file(workspace),
                None,
                f"gives {clip.clip_id} the label {clip.label!r}, which is not of this workspace's label set",
                "correct it in dance app, or import the labels first",
            )


def _divide(
    clips: list[Candidate], settings: SplitSettings, group_of: Mapping[str, str], kinds: Sequence[str]
) -> list[SplitClip]:
    if settings.subset is not None:
        clips = draw_subset(clips, settings.subset, settings.seed)
    if settings.folds:
        return assign_to_folds(clips, settings.folds, settings.repeats, settings.seed, group_of, kinds)
    ratios = parse_ratios(settings.ratio_text)
    if settings.keep_official:
        return assign_official(clips, ratios, settings.seed, group_of)
    return assign_subsets(clips, ratios, settings.seed, group_of, stratify=settings.stratify)


def _moved(candidates: Iterable[Candidate], clips: Iterable[SplitClip]) -> int:
    """Count the clips that are held out here though the official subset for them is another one."""
    official = {clip.clip_id: clip.official_split for clip in candidates}
    held_out = {subset for subset in official.values() if subset in (Subset.VAL, Subset.TEST)}
    # Where the lists have only one held-out subset, it is the test subset here, and val is drawn.
    only = len(held_out) == 1
    return sum(
        official[clip.clip_id] not in held_out
        if only and clip.subset == Subset.TEST
        else not only and official[clip.clip_id] != clip.subset
        for clip in clips
        if official[clip.clip_id]
    )


def _counts(names: Iterable[str]) -> dict[str, int]:
    found = Counter(names)
    return {name.value: found.get(name.value, 0) for name in Subset}


def _recorded(workspace: Workspace, name: str, key: str) -> str:
    path = workspace.split(name)
    return tables.read_meta(path).get(key, "") if path.exists() else ""


def _refuse_overwrite(workspace: Workspace, settings: SplitSettings) -> list[str]:
    """Keep a split that a run was trained on, or that other settings made.

    Returns:
        What could not be checked, one sentence each.

    Raises:
        WorkspaceError: the split has to be kept.
    """
    name = settings.split_name
    if not workspace.split(name).exists():
        return []
    hint = "give the new split another name with --name"
    records, unreadable = read_records(workspace)
    notes = [
        f"run {run!r} was not checked for using split {name!r}: {error.message}"
        for run, error in unreadable.items()
    ]
    for run, record in records.items():
        if (record.get("split") or {}).get("name") == name:
            raise WorkspaceError(
                f"split {name!r} would change, and run {run!r} was made with it as it is", hint
            )
    lock = workspace.split_lock(name).name
    if _recorded(workspace, name, "split.recipe") != settings.recipe:
        raise WorkspaceError(
            f"split {name!r} exists and was made with other settings; it and its lock {lock} are kept", hint
        )
    before = _recorded(workspace, name, "split.hash")[:12]
    notes.append(
        f"split {name!r} changed with the clips or their groups; its lock before is {name}.{before}.lock.csv"
    )
    return notes


def _write(workspace: Workspace, result: SplitResult, settings: SplitSettings) -> None:
    meta = {
        "split.name": result.name,
        "split.hash": result.digest,
        "split.seed": "" if result.seed is None else str(result.seed),
        "split.ratios": result.ratios,
        "split.flags": shlex.join(result.flags),
        "split.recipe": settings.recipe,
        "split.labels": json.dumps(result.labels, ensure_ascii=False),
        "split.counts": json.dumps(result.counts),
    }
    if settings.without_groups:
        meta["split.without_groups"] = json.dumps(settings.without_groups, ensure_ascii=False)
    if result.drift and result.drift.removed:
        meta["split.removed"] = json.dumps(result.drift.removed)
    if result.drift and result.drift.num_missing:
        meta["split.missing"] = json.dumps(result.drift.num_missing)
    if result.drift and result.drift.num_other_files:
        meta["split.other_files"] = json.dumps(result.drift.num_other_files)
    path, lock = workspace.split(result.name), workspace.split_lock(result.name)
    if path.exists() and lock.exists():
        # Somebody may have published the lock before.
        kept = lock.with_name(
            f"{result.name}.{_recorded(workspace, result.name, 'split.hash')[:12]}.lock.csv"
        )
        # It is there if the split was the same before, or a kill kept the new one from being written.
        if not kept.exists():
            lock.replace(kept)
    write_lock(lock, result.clips)
    tables.write(path, SplitClip, result.clips, meta)
