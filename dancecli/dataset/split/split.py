"""Split the clips into train, val and test: by source video, by seed, exact in size, and frozen.

What comes from one source video, or looks the same, is in one part. A split is a Parquet
manifest, and a lock: a text file that names every clip with part and checksum, from which the
same split is built again elsewhere, however many of its videos are gone by then.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dancecli.core.errors import UsageError, WorkspaceError
from dancecli.core.hashing import sha256_text
from dancecli.core.records import Clip, SplitClip, Subset
from dancecli.dataset.groups import join_groups, read_groups
from dancecli.dataset.split.assign import (
    assign_official,
    assign_parts,
    count_overlaps,
    draw_subset,
    parse_ratios,
)
from dancecli.dataset.split.lockfile import Drift, parts_from_lock, write_lock
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace, checked_name

DEFAULT_RATIOS = "90/5/5"
# The paper's own: 93/7 of 1500 and 90/10 of 525.
SUBSET_RATIOS = {1500: "93/7", 525: "90/10"}


@dataclass(frozen=True)
class SplitSettings:
    """How to split.

    Attributes:
        ratios: `train/val/test` or `train/test` in per cent; None for the default of the subset.
        subset: draw this many clips (not of Let's Dance, where there are others) instead of all.
        seed: another seed gives another split.
        name: of the split; None names it after the other settings.
        stratify: give every part its share of each label.
        keep_official: the lists' own held-out part is the test part.
        lock: build the split that this lock file names, and report the drift; goes with `name` alone.
    """

    ratios: str | None = None
    subset: int | None = None
    seed: int = 0
    name: str | None = None
    stratify: bool = False
    keep_official: bool = False
    lock: Path | None = None

    @property
    def ratio_text(self) -> str:
        """The ratios as given, or as the subset implies."""
        return self.ratios or SUBSET_RATIOS.get(self.subset or 0, DEFAULT_RATIOS)

    @property
    def split_name(self) -> str:
        """The name given, or one in which every setting that is not a default shows."""
        if self.name is not None:
            return checked_name(self.name, "split")
        if self.lock is not None:
            return checked_name(self.lock.name.partition(".")[0], "split")
        words = [f"subset{self.subset}" if self.subset else "full"]
        if self.ratios and self.ratios != SplitSettings(subset=self.subset).ratio_text:
            words.append(self.ratios.replace("/", "-"))
        words += ["stratified"] if self.stratify else []
        words += ["official"] if self.keep_official else []
        words += [f"seed{self.seed}"] if self.seed else []
        return "-".join(words)

    @property
    def flags(self) -> tuple[str, ...]:
        """What `dance split` is to be told to make this split again from the same clips.

        A split that came from a lock comes again from its own lock, which names the clips that were here.
        """
        if self.lock is not None:
            return ("--lock", f"{self.split_name}.lock.csv", "--name", self.split_name)
        words = ["--name", self.split_name, "--ratios", self.ratio_text, "--seed", str(self.seed)]
        words += ["--subset", str(self.subset)] if self.subset else []
        words += ["--stratify"] if self.stratify else []
        words += ["--keep-official"] if self.keep_official else []
        return tuple(words)


@dataclass(frozen=True)
class SplitResult:
    """A split and its proof.

    Attributes:
        ratios: as asked for, or `as locked`.
        seed: None for a split built from a lock, which does not say it.
        flags: what makes it again.
        counts: clips a part, in the order train, val, test.
        groups: groups a part: source videos, joined where dedup found one picture in several.
        overlaps: groups that stand in more than one part; a split that is written has 0.
        missing_labels: labels of the set that have no clip in it.
        digest: SHA-256 over every clip, part, label and checksum, and the labels' order.
        changed: False if the very same split was there already.
        drift: for a split built from a lock.
    """

    name: str
    ratios: str
    seed: int | None
    flags: tuple[str, ...]
    labels: tuple[str, ...]
    parts: tuple[SplitClip, ...]
    counts: dict[str, int]
    groups: dict[str, int]
    overlaps: int
    missing_labels: tuple[str, ...]
    digest: str
    changed: bool
    drift: Drift | None = None


def split(workspace: Workspace, settings: SplitSettings, *, dry_run: bool = False) -> SplitResult:
    """Split the workspace's clips; write `manifests/splits/<name>.parquet` and its lock.

    Raises:
        WorkspaceError: there are no clips, or runs exist that used another split of this name.
        InputError: the subset or the lock cannot be had.
        UsageError: the settings do not go together, or are none.
    """
    if settings.lock and settings != SplitSettings(lock=settings.lock, name=settings.name):
        raise UsageError(
            "--lock says which clip is where, so of the other settings it goes with --name alone"
        )
    name = settings.split_name
    clips = originals(workspace)
    labels = label_names(workspace)
    drift = None
    if settings.lock is not None:
        parts, drift = parts_from_lock(settings.lock, clips, labels)
    else:
        parts = _divide(workspace, clips, settings)
    digest = split_digest(parts, labels)
    result = SplitResult(
        name=name,
        ratios="as locked" if drift else settings.ratio_text,
        seed=None if drift else settings.seed,
        flags=settings.flags,
        labels=labels,
        parts=tuple(parts),
        counts=_counts(p.subset for p in parts),
        groups=_counts(part for _, part in {(p.group, p.subset) for p in parts}),
        overlaps=count_overlaps(parts),
        missing_labels=tuple(sorted(set(labels) - {p.label for p in parts}, key=labels.index)),
        digest=digest,
        changed=_recorded_digest(workspace, name) != digest,
        drift=drift,
    )
    if result.changed and not dry_run:
        _refuse_if_used(workspace, name)
        _write(workspace, result)
    return result


def originals(workspace: Workspace) -> list[Clip]:
    """Read the workspace's clips without their augmented copies.

    Raises:
        WorkspaceError: there are none.
    """
    clips = tables.read(workspace.clips, Clip) if workspace.clips.exists() else []
    clips = [clip for clip in clips if not clip.parent_id]
    if not clips:
        raise WorkspaceError(f"{workspace.root}: there are no clips yet", "run dance fetch first")
    return clips


def label_names(workspace: Workspace) -> tuple[str, ...]:
    """Give the label set that the clips were fetched under, in its order."""
    return tuple(json.loads(tables.read_meta(workspace.segments)["labels"]))


def split_digest(parts: Iterable[SplitClip], labels: Sequence[str]) -> str:
    """Hash a split: the labels' order, then every clip with part, label and checksum."""
    lines = [f"{p.clip_id}\t{p.subset}\t{p.label}\t{p.sha256}" for p in parts]
    return sha256_text("\n".join([*labels, *sorted(lines)]))


def _divide(workspace: Workspace, clips: list[Clip], settings: SplitSettings) -> list[SplitClip]:
    if settings.keep_official and (settings.stratify or settings.subset):
        raise UsageError(
            "--keep-official fixes the test part, so it goes with neither --stratify nor --subset"
        )
    ratios = parse_ratios(settings.ratio_text)
    group_of = join_groups(clips, read_groups(workspace))
    if settings.subset is not None:
        clips = draw_subset(clips, settings.subset, settings.seed)
    if settings.keep_official:
        return assign_official(clips, ratios, settings.seed, group_of)
    return assign_parts(clips, ratios, settings.seed, group_of, stratify=settings.stratify)


def _counts(names: Iterable[str]) -> dict[str, int]:
    found = Counter(names)
    return {name.value: found.get(name.value, 0) for name in Subset}


def _recorded_digest(workspace: Workspace, name: str) -> str:
    path = workspace.split(name)
    return tables.read_meta(path).get("split.hash", "") if path.exists() else ""


def _refuse_if_used(workspace: Workspace, name: str) -> None:
    """Keep the split that a run was trained on: its numbers would lose their test set."""
    if not workspace.split(name).exists():
        return
    for run in workspace.runs():
        record = json.loads((workspace.run(run) / "run.json").read_text(encoding="utf-8"))
        if record.get("split", {}).get("name") == name:
            raise WorkspaceError(
                f"split {name!r} would change, and run {run!r} was made with it as it is",
                "give the new split another name with --name",
            )


def _write(workspace: Workspace, result: SplitResult) -> None:
    meta = {
        "split.name": result.name,
        "split.hash": result.digest,
        "split.seed": "" if result.seed is None else str(result.seed),
        "split.ratios": result.ratios,
        "split.flags": shlex.join(result.flags),
        "split.labels": json.dumps(result.labels, ensure_ascii=False),
        "split.counts": json.dumps(result.counts),
    }
    write_lock(workspace.split_lock(result.name), result.parts)
    tables.write(workspace.split(result.name), SplitClip, result.parts, meta)
