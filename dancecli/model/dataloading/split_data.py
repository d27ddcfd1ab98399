"""A split for training: its lists, clips and labels are read and checked against each other."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dancecli.core.errors import InputError, WorkspaceError
from dancecli.core.hashing import classes_in_few_folds
from dancecli.core.labels import LabelSet
from dancecli.core.records import Clip, SplitClip, Subset
from dancecli.core.text import agreeing
from dancecli.storage import tables
from dancecli.storage.corrections import newer_corrections
from dancecli.storage.files import atomic_file
from dancecli.storage.lockfile import subset_digest
from dancecli.storage.removals import missing_of, removal_note, removed_of
from dancecli.storage.workspace import Workspace

TRAIN_AND_VAL = "train-and-val"


@dataclass(frozen=True)
class Example:
    """One line of a list: a clip and its class.

    Attributes:
        clip_id: of an augmented clip, its own.
        path: relative to the workspace.
        sha256: of the file, as the manifest has it.
    """

    clip_id: str
    path: str
    label_index: int
    sha256: str


@dataclass(frozen=True)
class SplitData:
    """A split for training.

    Attributes:
        meta: the split manifest's metadata.
        examples: of each subset, in the order of its list; val may be empty.
        test_hash: SHA-256 over the sorted lines `clip_id sha256 label` of the test subset.
        clip_s: median length of the clips, in seconds.
        lengths: number of frames and frame rate of each listed clip.
        notes: what the user should know, one line each.
        folds: of a cross-validation, for each repeat the fold of each clip, from 1, by clip id. Then
            all clips are examples of train and of test, and `fold` gives those of one fold.
        lists: the file of each subset's list below the split's folder, without `.txt`.
        val_in_train: validation clips that are among the training clips; see `with_validation`.
    """

    name: str
    meta: dict[str, str]
    labels: tuple[str, ...]
    examples: dict[Subset, tuple[Example, ...]]
    test_hash: str
    clip_s: float
    lengths: tuple[tuple[int, float], ...]
    notes: tuple[str, ...]
    folds: tuple[Mapping[str, int], ...] = ()
    lists: Mapping[Subset, str] = field(default_factory=lambda: {s: s.value for s in Subset})
    val_in_train: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """Clips per subset, as listed."""
        return {subset.value: len(self.examples[subset]) for subset in Subset}

    @property
    def train_hash(self) -> str:
        """The hash of the training clips as listed, augmented ones with them; as `test_hash`."""
        return subset_hash(self.examples[Subset.TRAIN], self.labels)

    @property
    def val_hash(self) -> str:
        """The hash of the validation subset as listed; as `test_hash`."""
        return subset_hash(self.examples[Subset.VAL], self.labels)

    @property
    def train_counts(self) -> tuple[int, ...]:
        """Training clips per class, as listed."""
        found = Counter(example.label_index for example in self.examples[Subset.TRAIN])
        return tuple(found[i] for i in range(len(self.labels)))

    @property
    def num_copies(self) -> int:
        """Augmented clips among the training clips, as files."""
        return sum("." in example.clip_id for example in self.examples[Subset.TRAIN])

    def fold(self, repeat: int, number: int) -> SplitData:
        """Return the split that a fold of a cross-validation makes: it is tested, the others train."""
        fold_of, every = self.folds[repeat], self.examples[Subset.TEST]
        tested = tuple(example for example in every if fold_of[example.clip_id] == number)
        trained = tuple(example for example in every if fold_of[example.clip_id] != number)
        folder = f"fold{number}" if len(self.folds) == 1 else f"repeat{repeat + 1}-fold{number}"
        return replace(
            self,
            examples={Subset.TRAIN: trained, Subset.VAL: (), Subset.TEST: tested},
            lists={subset: f"{folder}/{subset}" for subset in Subset},
        )

    def with_validation(self) -> SplitData:
        """Return the split whose validation clips are trained on."""
        train, val = self.examples[Subset.TRAIN], self.examples[Subset.VAL]
        return replace(
            self,
            examples={**self.examples, Subset.TRAIN: (*train, *val), Subset.VAL: ()},
            lists={**self.lists, Subset.TRAIN: TRAIN_AND_VAL},
            val_in_train=len(val),
        )

    def only_train(self) -> SplitData:
        """Return the split without its validation and test subsets."""
        return replace(self, examples={**self.examples, Subset.VAL: (), Subset.TEST: ()})

    def only_evaluated(self) -> SplitData:
        """Return the split without its training subset."""
        return replace(self, examples={**self.examples, Subset.TRAIN: ()})

    def without_test(self) -> SplitData:
        """Return the split without its test subset, for model selection."""
        return replace(self, examples={**self.examples, Subset.TEST: ()})


def load_split(workspace: Workspace, name: str | None, *, folds: bool = False) -> SplitData:
    """Read a split and its lists and check one against the other.

    Args:
        workspace: where they are.
        name: the split; None for the latest.
        folds: for cross-validation, as only a split with folds can be read.

    Raises:
        WorkspaceError: no split, no lists, no clip file, nothing to train or test on, no folds where
            they are asked for, or folds where they are not.
        InputError: a list does not agree with the split.
    """
    name = workspace.find_split(name)
    path = workspace.split(name)
    meta, split_clips = tables.read_meta(path), tables.read(path, SplitClip)
    labels = tuple(json.loads(meta["split.labels"]))
    folder = workspace.annotations(name)
    _check_label_map(folder / "label_map.txt", labels, name)
    clips = {clip.path: clip for clip in tables.read(workspace.clips, Clip)}
    clip_of = {clip.clip_id: clip for clip in split_clips}
    examples = {
        subset: tuple(_read_list(workspace, folder / f"{subset}.txt", clips, clip_of, labels, subset, name))
        for subset in Subset
    }
    lists = {subset: subset.value for subset in Subset}
    fold_of = _folds(split_clips, name, wanted=folds)
    if fold_of:
        examples[Subset.TRAIN], lists[Subset.TRAIN] = examples[Subset.TEST], lists[Subset.TEST]
    for subset in (Subset.TRAIN, Subset.TEST):
        if not examples[subset]:
            raise WorkspaceError(
                f"split {name!r} has no clips in its {subset} subset", "make a split with more clips"
            )
    return SplitData(
        name=name,
        meta=meta,
        labels=labels,
        examples=examples,
        test_hash=subset_hash(examples[Subset.TEST], labels),
        clip_s=_median_s(clips, examples),
        lengths=tuple(
            (clips[path].num_frames, clips[path].fps_num / clips[path].fps_den)
            # Of folds each clip is in train and in test.
            for path in dict.fromkeys(example.path for subset in Subset for example in examples[subset])
        ),
        notes=(
            *_notes(name, examples, split_clips, removed_of(meta), missing_of(meta)),
            *filter(None, [newer_corrections(workspace, name)]),
        ),
        folds=fold_of,
        lists=lists,
    )


def write_train_list(workspace: Workspace, data: SplitData) -> None:
    """Write the list of the training clips and the validation clips among them, if there are any."""
    if data.val_in_train:
        path = workspace.annotations(data.name) / f"{TRAIN_AND_VAL}.txt"
        with atomic_file(path) as file:
            file.writelines(f"{e.path} {e.label_index}\n" for e in data.examples[Subset.TRAIN])


def few_folds(data: SplitData, repeat: int) -> dict[str, int]:
    """Find the classes that some folds of a repeat lack; see `classes_in_few_folds`."""
    tested = data.examples[Subset.TEST]
    labels = [data.labels[example.label_index] for example in tested]
    return classes_in_few_folds(labels, [data.folds[repeat][example.clip_id] for example in tested])


def _folds(split_clips: Sequence[SplitClip], name: str, *, wanted: bool) -> tuple[dict[str, int], ...]:
    """Return for each repeat the fold of each clip; empty for an ordinary split.

    Raises:
        WorkspaceError: the split has folds and they are not wanted, or the other way round.
    """
    numbers = {clip.clip_id: clip.folds.split("/") for clip in split_clips if clip.folds}
    if wanted and not numbers:
        raise WorkspaceError(f"split {name!r} has no folds", "make one with folds: dance split --folds 10")
    if numbers and not wanted:
        raise WorkspaceError(
            f"split {name!r} is one of cross-validation, without a train subset",
            f"cross-validate: dance finetune --folds --split {name}; or make another split",
        )
    repeats = len(next(iter(numbers.values()), ()))
    return tuple({clip: int(own[repeat]) for clip, own in numbers.items()} for repeat in range(repeats))


def count_repeats(workspace: Workspace, name: str | None) -> int:
    """Count the divisions into folds of a split; 0 for an ordinary split.

    Raises:
        WorkspaceError: there is no such split.
    """
    path = workspace.split(workspace.find_split(name))
    (folds,) = next(tables.read_columns(path, SplitClip, ("folds",)), ("",))
    return len(folds.split("/")) if folds else 0


def subset_hash(examples: Iterable[Example], labels: Sequence[str]) -> str:
    """Hash a subset: files, ids and labels, independent of their order."""
    return subset_digest((e.clip_id, e.sha256, labels[e.label_index]) for e in examples)


def _median_s(clips: dict[str, Clip], examples: dict[Subset, tuple[Example, ...]]) -> float:
    listed = (example for subset in examples.values() for example in subset)
    return round(statistics.median(clips[example.path].duration_s for example in listed), 3)


def _check_label_map(path: Path, labels: Sequence[str], split: str) -> None:
    if not path.exists():
        raise WorkspaceError(f"{path}: no such label map", f"run dance annotate --split {split}")
    found = LabelSet.read(path).names
    if found != tuple(labels):
        wrong = next(
            (i for i, pair in enumerate(zip(found, labels, strict=False)) if pair[0] != pair[1]), None
        )
        what = f"has {len(found)} labels, the split has {len(labels)}"
        if wrong is not None:
            what = f"has {found[wrong]!r} where the split has {labels[wrong]!r}"
        row = None if wrong is None else wrong + 1
        raise InputError.at(path, row, what, f"run dance annotate --split {split}")


def _read_list(
    workspace: Workspace,
    path: Path,
    clips: dict[str, Clip],
    split_clips: dict[str, SplitClip],
    labels: Sequence[str],
    subset: Subset,
    split: str,
) -> list[Example]:
    """Read one list; every line must be a clip of this subset with its own label, and the file must exist."""
    hint = f"run dance annotate --split {split}"
    if not path.exists():
        raise WorkspaceError(f"{path}: no such list", hint)
    found = []
    # What is not UTF-8 names no clip, and its row is told.
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    for row, line in enumerate(lines, start=1):
        file, _, index = line.partition(" ")
        if file not in clips or not index.isdecimal():
            raise InputError.at(
                path, row, f"{line[:80]!r} is not a clip of the workspace with a class index", hint
            )
        clip, label_index = clips[file], int(index)
        listed_in = split_clips.get(clip.parent_id or clip.clip_id)
        if listed_in is None or listed_in.subset != subset:
            raise InputError.at(path, row, f"{file} is not in the {subset} subset of split {split!r}", hint)
        # The split has the corrected label, the table of clips the listed one.
        if label_index >= len(labels) or labels[label_index] != listed_in.label:
            wanted = listed_in.label
            raise InputError.at(path, row, f"class {index} is not {wanted!r}, the label of {file}", hint)
        if clip.parent_id and subset is not Subset.TRAIN:
            raise InputError.at(path, row, f"{file} is an augmented clip, and may only be trained on", hint)
        if not (workspace.root / file).is_file():
            raise WorkspaceError(
                f"{workspace.root / file}: the clip's file is missing",
                f"bring it back (dance fetch, dance import, a backup); or {hint}, which leaves it out",
            )
        found.append(Example(clip.clip_id, file, label_index, clip.sha256))
    return found


def _notes(
    name: str,
    examples: dict[Subset, tuple[Example, ...]],
    split_clips: Sequence[SplitClip],
    removed: Mapping[str, int],
    missing: Mapping[str, int],
) -> Iterable[str]:
    folds = any(clip.folds for clip in split_clips)
    for subset in (Subset.TEST,) if folds else Subset:
        if removed.get(subset):
            own = sum(clip.subset == subset for clip in split_clips)
            note = removal_note(own, removed[subset], missing.get(subset, 0))
            yield f"{subset} subset of split {name}: {note}"
        listed = {example.clip_id for example in examples[subset]}
        lost = sum(p.subset == subset and p.clip_id not in listed for p in split_clips)
        if lost:
            yield f"left out of the {subset} subset of split {name}: {agreeing(lost, 'clip', 'has')} no file"
    if not examples[Subset.VAL] and not folds:
        yield f"split {name} has no validation subset: where epochs are trained, the last one is the result"


def split_record(data: SplitData) -> dict[str, Any]:
    """Record in `run.json` what a run is evaluated on."""
    return {
        "name": data.name,
        "hash": data.meta["split.hash"],
        "seed": int(data.meta["split.seed"]) if data.meta["split.seed"] else None,
        "ratios": data.meta["split.ratios"],
        "flags": data.meta.get("split.flags", ""),
        "counts": data.counts,
        **({"augmented": data.num_copies} if data.num_copies else {}),
        **({"val_in_train": data.val_in_train} if data.val_in_train else {}),
        "train_hash": data.train_hash,
        "val_hash": data.val_hash,
        "test_hash": data.test_hash,
        **({"removed": removed} if (removed := removed_of(data.meta)) else {}),
        **({"folds": max(data.folds[0].values()), "repeats": len(data.folds)} if data.folds else {}),
    }


def clip_files(workspace: Workspace, data: SplitData) -> list[Path]:
    """List the files of all clips of a split, each once."""
    paths = {example.path: None for examples in data.examples.values() for example in examples}
    return [workspace.root / path for path in paths]


def subset_groups(workspace: Workspace, data: SplitData, subset: Subset = Subset.TRAIN) -> list[str]:
    """Return the group of each clip of a subset; an augmented clip has that of its original."""
    group = {row.clip_id: row.group for row in tables.read(workspace.split(data.name), SplitClip)}
    ids = [example.clip_id for example in data.examples[subset]]
    return [group.get(clip_id) or group.get(clip_id.partition(".")[0]) or clip_id for clip_id in ids]
