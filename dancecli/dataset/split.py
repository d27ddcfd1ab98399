"""Split the clips into train, val and test: by source video, by seed, exact in size.

What comes from one source video is in one part. Groups are drawn in an order that a keyed hash
gives, so the same clips and seed give the same split anywhere; a part takes the next groups that
still fit, which makes the sizes exact wherever single clips are left to fill up with.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from dancecli import manifest
from dancecli.dataset.order import keyed_order
from dancecli.errors import InputError, UsageError, WorkspaceError
from dancecli.schema import Clip, Part, PartName
from dancecli.workspace import Workspace, checked_name

DEFAULT_RATIOS = "90/5/5"
# The paper's own: 93/7 of 1500 and 90/10 of 525.
SUBSET_RATIOS = {1500: "93/7", 525: "90/10"}


@dataclass(frozen=True)
class SplitSettings:
    """How to split.

    Attributes:
        ratios: `train/val/test` or `train/test` in per cent; None for the default of the subset.
        subset: draw this many clips (of Kinetics, if the workspace has any) instead of all.
        seed: another seed gives another split.
        name: of the split; None names it after the other settings.
    """

    ratios: str | None = None
    subset: int | None = None
    seed: int = 0
    name: str | None = None

    @property
    def ratio_text(self) -> str:
        """The ratios as given, or as the subset implies."""
        return self.ratios or SUBSET_RATIOS.get(self.subset or 0, DEFAULT_RATIOS)

    @property
    def split_name(self) -> str:
        """The name given, or one in which every setting that is not a default shows."""
        if self.name is not None:
            return checked_name(self.name, "split")
        words = [f"subset{self.subset}" if self.subset else "full"]
        if self.ratios and self.ratios != SplitSettings(subset=self.subset).ratio_text:
            words.append(self.ratios.replace("/", "-"))
        if self.seed:
            words.append(f"seed{self.seed}")
        return "-".join(words)


@dataclass(frozen=True)
class SplitResult:
    """A split and its proof.

    Attributes:
        counts: clips a part, in the order train, val, test.
        groups: source videos a part.
        overlaps: groups that stand in more than one part; a split that is written has 0.
        missing_labels: labels of the set that have no clip in it.
        digest: SHA-256 over every clip, part, label and checksum, and the labels' order.
        changed: False if the very same split was there already.
    """

    name: str
    ratios: str
    seed: int
    labels: tuple[str, ...]
    parts: tuple[Part, ...]
    counts: dict[str, int]
    groups: dict[str, int]
    overlaps: int
    missing_labels: tuple[str, ...]
    digest: str
    changed: bool


def split(workspace: Workspace, settings: SplitSettings, *, dry_run: bool = False) -> SplitResult:
    """Split the workspace's clips and write `manifests/splits/<name>.parquet`.

    Raises:
        WorkspaceError: there are no clips, or runs exist that used another split of this name.
        InputError: the ratios or the subset cannot be had.
    """
    name = settings.split_name
    ratios = parse_ratios(settings.ratio_text)
    clips = originals(workspace)
    labels = label_names(workspace)
    if settings.subset is not None:
        clips = draw_subset(clips, settings.subset, settings.seed)
    parts = assign_parts(clips, ratios, settings.seed)
    digest = split_digest(parts, labels)
    result = SplitResult(
        name=name,
        ratios=settings.ratio_text,
        seed=settings.seed,
        labels=labels,
        parts=tuple(parts),
        counts=_counts(p.part for p in parts),
        groups=_counts(part for _, part in {(p.group, p.part) for p in parts}),
        overlaps=count_overlaps(parts),
        missing_labels=tuple(sorted(set(labels) - {p.label for p in parts}, key=labels.index)),
        digest=digest,
        changed=_recorded_digest(workspace, name) != digest,
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
    clips = manifest.read(workspace.clips, Clip) if workspace.clips.exists() else []
    clips = [clip for clip in clips if not clip.parent_id]
    if not clips:
        raise WorkspaceError(f"{workspace.root}: there are no clips to split", "run dance fetch first")
    return clips


def label_names(workspace: Workspace) -> tuple[str, ...]:
    """Give the label set that the clips were fetched under, in its order."""
    return tuple(json.loads(manifest.read_meta(workspace.segments)["labels"]))


def parse_ratios(text: str) -> dict[PartName, Fraction]:
    """Read `90/5/5` (train/val/test) or `90/10` (train/test) as shares that sum to one.

    Raises:
        UsageError: not two or three positive whole numbers that sum to 100.
    """
    words = text.split("/")
    numbers = [int(word) if word.isascii() and word.isdigit() else 0 for word in words]
    if len(numbers) not in (2, 3) or min(numbers) <= 0 or sum(numbers) != 100:
        raise UsageError(
            f"ratios {text!r} are not train/val/test or train/test in per cent",
            "give two or three whole numbers that sum to 100, such as 90/5/5 or 90/10",
        )
    names = (
        [PartName.TRAIN, PartName.VAL, PartName.TEST]
        if len(numbers) == 3
        else [
            PartName.TRAIN,
            PartName.TEST,
        ]
    )
    return {name: Fraction(number, 100) for name, number in zip(names, numbers, strict=True)}


def draw_subset(clips: Sequence[Clip], size: int, seed: int) -> list[Clip]:
    """Draw clips video by video, every video equally likely; a smaller draw lies within a larger.

    Where there are clips of Kinetics, only they are drawn from, as in the paper.

    Raises:
        InputError: there are fewer clips than asked for.
    """
    kinetics = [clip for clip in clips if clip.dataset.startswith("kinetics")]
    pool = kinetics or list(clips)
    if len(pool) < size:
        raise InputError(
            f"a subset of {size} clips cannot be drawn from {len(pool)}",
            f"fetch more clips, or ask for --subset {len(pool)} or less",
        )
    by_clip = keyed_order(pool, lambda c: c.clip_id, seed=seed, purpose="subset-clip")
    place = {
        video: i
        for i, video in enumerate(
            keyed_order({c.video_id for c in pool}, str, seed=seed, purpose="subset-video")
        )
    }
    return sorted(by_clip, key=lambda clip: place[clip.video_id])[:size]


def part_sizes(total: int, ratios: dict[PartName, Fraction]) -> dict[PartName, int]:
    """Divide a number of clips by shares: each part its whole share, the rest by largest remainder.

    Raises:
        InputError: a part would be empty.
    """
    exact = {name: total * share for name, share in ratios.items()}
    sizes = {name: int(share) for name, share in exact.items()}
    order = list(ratios)
    by_remainder = sorted(order, key=lambda name: (sizes[name] - exact[name], order.index(name)))
    for name in by_remainder[: total - sum(sizes.values())]:
        sizes[name] += 1
    empty = [name for name, size in sizes.items() if size == 0]
    if empty:
        raise InputError(
            f"{total} clips are too few: the {empty[0]} part would be empty",
            "fetch more clips, or give --ratios with a larger share",
        )
    return sizes


def assign_parts(clips: Sequence[Clip], ratios: dict[PartName, Fraction], seed: int) -> list[Part]:
    """Give every clip its part; clips of one source video share it. Sorted by clip id."""
    sizes = part_sizes(len(clips), ratios)
    groups: dict[str, list[Clip]] = {}
    for clip in clips:
        groups.setdefault(clip.video_id, []).append(clip)
    left = keyed_order(groups, str, seed=seed, purpose="part")
    chosen: dict[str, PartName] = {}
    # The small parts choose first: what remains is train, which can bear a clip more or less.
    for name in (PartName.TEST, PartName.VAL):
        room = sizes.get(name, 0)
        rest = []
        for group in left:
            if len(groups[group]) <= room:
                room -= len(groups[group])
                chosen[group] = name
            else:
                rest.append(group)
        left = rest
    chosen.update(dict.fromkeys(left, PartName.TRAIN))
    return sorted(Part(c.clip_id, chosen[c.video_id].value, c.video_id, c.label, c.sha256) for c in clips)


def count_overlaps(parts: Iterable[Part]) -> int:
    """Count the groups that stand in more than one part: the leak that a split must not have."""
    places: dict[str, set[str]] = {}
    for part in parts:
        places.setdefault(part.group, set()).add(part.part)
    return sum(len(names) > 1 for names in places.values())


def split_digest(parts: Iterable[Part], labels: Sequence[str]) -> str:
    """Hash a split: the labels' order, then every clip with part, label and checksum."""
    lines = [f"{p.clip_id}\t{p.part}\t{p.label}\t{p.sha256}" for p in parts]
    return hashlib.sha256("\n".join([*labels, *sorted(lines)]).encode()).hexdigest()


def _counts(names: Iterable[str]) -> dict[str, int]:
    found = Counter(names)
    return {name.value: found.get(name.value, 0) for name in PartName}


def _recorded_digest(workspace: Workspace, name: str) -> str:
    path = workspace.split(name)
    return manifest.read_meta(path).get("split.hash", "") if path.exists() else ""


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
        "split.seed": str(result.seed),
        "split.ratios": result.ratios,
        "split.labels": json.dumps(result.labels, ensure_ascii=False),
        "split.counts": json.dumps(result.counts),
    }
    manifest.write(workspace.split(result.name), Part, result.parts, meta)
