"""How clips are assigned to the subsets of a split: which clips, how many, and which groups go where.

Pure functions of the clips and a seed. Groups are drawn in an order that a keyed hash gives; a
subset takes the next groups that still fit, which makes the sizes exact wherever single clips are
left to fill up with. Where none fits any more, a larger one that brings the size nearer is taken.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from operator import attrgetter
from typing import Protocol, TypeVar

from dancecli.core.errors import InputError, UsageError
from dancecli.core.hashing import assign_folds, keyed_order
from dancecli.core.records import SplitClip, Subset
from dancecli.core.text import agreeing, pluralize
from dancecli.sources import letsdance


class AssignedClip(Protocol):
    """What the assignment needs of a clip; see `dancecli.core.records.Clip`."""

    @property
    def clip_id(self) -> str:
        """Its id."""

    @property
    def video_id(self) -> str:
        """The id of its source video."""

    @property
    def label(self) -> str:
        """Its label."""

    @property
    def official_split(self) -> str:
        """Its subset in the annotation list; empty if the list has none."""

    @property
    def dataset(self) -> str:
        """The dataset that it is from."""

    @property
    def sha256(self) -> str:
        """The checksum of its file."""


AnyClip = TypeVar("AnyClip", bound=AssignedClip)
# The small subsets choose first: what remains is train, which can bear a clip more or less.
_DRAWN = (Subset.TEST, Subset.VAL)
_OFFICIAL_HELD_OUT = frozenset({"val", "test"})


def parse_ratios(text: str) -> dict[Subset, Fraction]:
    """Read `90/5/5` (train/val/test) or `90/10` (train/test) as shares that sum to one.

    Raises:
        UsageError: not two or three positive whole numbers that sum to 100.
    """
    words = text.split("/")
    numbers = [int(word) if word.isascii() and word.isdigit() else 0 for word in words]
    if len(numbers) not in (2, 3) or min(numbers) <= 0 or sum(numbers) != 100:
        raise UsageError(
            f"ratios {text!r} must be train/val/test or train/test in percent",
            "give two or three positive whole numbers that sum to 100, such as 90/5/5 or 90/10",
        )
    names = list(Subset) if len(numbers) == 3 else [Subset.TRAIN, Subset.TEST]
    return {name: Fraction(number, 100) for name, number in zip(names, numbers, strict=True)}


def draw_subset(clips: Sequence[AnyClip], size: int, seed: int) -> list[AnyClip]:
    """Draw clips video by video, every video equally likely; a smaller draw lies within a larger.

    Clips of Let's Dance are drawn only where there are no others: the paper's subsets are of
    Kinetics alone.

    Raises:
        InputError: there are fewer clips than requested.
    """
    pool = [clip for clip in clips if clip.dataset != letsdance.DATASET] or list(clips)
    if len(pool) < size:
        raise InputError(
            f"a subset of {pluralize(size, 'clip')} cannot be drawn from {len(pool)}",
            f"fetch more clips, or use --subset {len(pool)} or less",
        )
    by_clip = keyed_order(pool, lambda c: c.clip_id, seed=seed, purpose="subset-clip")
    videos = keyed_order({c.video_id for c in pool}, str, seed=seed, purpose="subset-video")
    place = {video: i for i, video in enumerate(videos)}
    return sorted(by_clip, key=lambda clip: place[clip.video_id])[:size]


def subset_sizes(total: int, ratios: Mapping[Subset, Fraction]) -> dict[Subset, int]:
    """Divide a number of clips by shares: each subset its whole share, the rest by largest remainder.

    Raises:
        InputError: a subset would be empty.
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
            f"{agreeing(total, 'clip', 'is')} too few: the {empty[0]} subset would be empty",
            "fetch more clips, or give --ratios with a larger share",
        )
    return sizes


def assign_subsets(
    clips: Sequence[AssignedClip],
    ratios: Mapping[Subset, Fraction],
    seed: int,
    group_of: Mapping[str, str],
    *,
    stratify: bool = False,
) -> list[SplitClip]:
    """Assign every clip to a subset; clips of one group share it. Sorted by clip id.

    Args:
        clips: what to divide.
        ratios: the share of each subset.
        seed: another seed gives another division.
        group_of: a clip's group by clip id; a clip that is not in it has its video as group.
        stratify: give every subset its share of each label, not only of the whole.

    Raises:
        InputError: a subset would be empty.
    """
    groups = _grouped(clips, group_of)
    order = keyed_order(groups, str, seed=seed, purpose="assign")
    sizes = subset_sizes(len(clips), ratios)
    chosen: dict[str, Subset] = {}
    seen, given = 0, dict.fromkeys(_DRAWN, 0)
    for stratum in _strata(order, groups) if stratify else [order]:
        seen += sum(len(groups[name]) for name in stratum)
        # Rounding the running total, not each stratum, keeps the sum over all strata exact.
        rooms = {n: round(Fraction(seen * sizes.get(n, 0), len(clips))) - given[n] for n in _DRAWN}
        drawn = _draw(stratum, groups, rooms)
        for name, subset in drawn.items():
            given[subset] += len(groups[name])
        chosen.update(drawn)
    return _as_split_clips(groups, chosen, ratios)


def assign_official(
    clips: Sequence[AssignedClip], ratios: Mapping[Subset, Fraction], seed: int, group_of: Mapping[str, str]
) -> list[SplitClip]:
    """Keep the official subsets. Sorted by clip id.

    Lists with val and test keep both. Of lists with only one of them, it becomes test, and the rest
    is divided into train and val. A group in several official subsets goes to the most held-out one
    as a whole: a clip that is moved out of training costs a clip, one that stays there is a leak.

    Raises:
        InputError: no clip is of an official val or test list, or all are, or a subset would be empty.
    """
    groups = _grouped(clips, group_of)
    held = {
        name: official
        for name, members in groups.items()
        if (official := max((c.official_split for c in members), key=_held_out_rank)) in _OFFICIAL_HELD_OUT
    }
    if not held or len(held) == len(groups):
        what = "no" if not held else "every"
        raise InputError(
            f"{what} clip is in an official val or test list, so there is no official split to keep",
            "fetch both the train and the val list, or omit --keep-official",
        )
    kinds = set(held.values())
    if kinds == _OFFICIAL_HELD_OUT:
        return _as_split_clips(groups, {name: Subset(word) for name, word in held.items()}, list(Subset))
    rest = {name: members for name, members in groups.items() if name not in held}
    total = sum(map(len, rest.values()))
    val = ratios.get(Subset.VAL, Fraction(0))
    room = round(total * val / (ratios[Subset.TRAIN] + val))
    chosen = dict.fromkeys(held, Subset.TEST)
    chosen |= _draw(keyed_order(rest, str, seed=seed, purpose="assign"), rest, {Subset.VAL: room})
    return _as_split_clips(groups, chosen, ratios)


def assign_to_folds(
    clips: Sequence[AssignedClip],
    folds: int,
    repeats: int,
    seed: int,
    group_of: Mapping[str, str],
    kinds: Sequence[str] = (),
) -> list[SplitClip]:
    """Divide clips into the folds of a cross-validation, stratified by label. Sorted by clip id.

    Args:
        clips: what to divide.
        folds: number of folds; each clip is tested in one.
        repeats: number of divisions, with the seeds `seed`, `seed + 1` and so on.
        seed: see `repeats`.
        group_of: a clip's group by clip id; a clip that is not in it has its video as group.
        kinds: of the user's groups, for the message.

    Raises:
        InputError: there are fewer groups than folds.
    """
    ordered = sorted(clips, key=attrgetter("clip_id"))
    groups = [group_of.get(clip.clip_id, clip.video_id) for clip in ordered]
    if len(set(groups)) < folds:
        stored = (
            "; groups that share a clip are one, so leave out the kind that joins the others with "
            f"--without-groups KIND (kinds: {', '.join(kinds)})"
        )
        raise InputError(
            f"{pluralize(len(set(groups)), 'group')} of clips "
            f"{'is' if len(set(groups)) == 1 else 'are'} too few for {folds} folds",
            "give --folds a smaller number, or fetch more videos" + (stored if kinds else ""),
        )
    labels = [clip.label for clip in ordered]
    drawn = [assign_folds(labels, groups, folds, seed + repeat) for repeat in range(repeats)]
    return [
        SplitClip(
            clip.clip_id,
            Subset.TEST.value,
            group,
            clip.label,
            clip.sha256,
            "/".join(str(fold[i] + 1) for fold in drawn),
        )
        for i, (clip, group) in enumerate(zip(ordered, groups, strict=True))
    ]


def torn_groups(clips: Iterable[AssignedClip], group_of: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Find the groups that the official subsets tear: by group, the subsets that it has clips in."""
    found: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        if clip.official_split:
            found[group_of.get(clip.clip_id, clip.video_id)].add(clip.official_split)
    return {group: tuple(sorted(subsets)) for group, subsets in sorted(found.items()) if len(subsets) > 1}


def count_overlaps(clips: Iterable[SplitClip]) -> int:
    """Count the groups that are in more than one subset or fold: the leak that a split must not have."""
    first: dict[str, str] = {}
    return len({clip.group for clip in clips if first.setdefault(clip.group, clip.part) != clip.part})


def _held_out_rank(official_split: str) -> int:
    return {"test": 2, "val": 1}.get(official_split, 0)


def _grouped(clips: Sequence[AssignedClip], group_of: Mapping[str, str]) -> dict[str, list[AssignedClip]]:
    groups: dict[str, list[AssignedClip]] = {}
    for clip in clips:
        groups.setdefault(group_of.get(clip.clip_id, clip.video_id), []).append(clip)
    return groups


def _strata(order: Iterable[str], groups: Mapping[str, Sequence[AssignedClip]]) -> list[list[str]]:
    """Bucket groups by the label of their first clip, in the order of the labels."""
    strata: dict[str, list[str]] = defaultdict(list)
    for name in order:
        strata[min(groups[name], key=lambda clip: clip.clip_id).label].append(name)
    return [strata[label] for label in sorted(strata)]


def _draw(
    order: Sequence[str], groups: Mapping[str, Sequence[AssignedClip]], rooms: Mapping[Subset, int]
) -> dict[str, Subset]:
    """Fill each subset with the next groups that fit its room, as near as whole groups allow.

    What is left is not named.
    """
    chosen: dict[str, Subset] = {}
    for subset, size in rooms.items():
        room = size
        for name in order:
            if name not in chosen and len(groups[name]) <= room:
                room -= len(groups[name])
                chosen[name] = subset
        left = (name for name in order if name not in chosen)
        smallest = min(left, key=lambda name: len(groups[name]), default=None)
        if smallest is not None and len(groups[smallest]) < 2 * room:
            chosen[smallest] = subset
    return chosen


def _as_split_clips(
    groups: Mapping[str, Sequence[AssignedClip]], chosen: Mapping[str, Subset], needed: Iterable[Subset]
) -> list[SplitClip]:
    filled = {chosen.get(name, Subset.TRAIN) for name in groups}
    empty = [name for name in needed if name not in filled]
    if empty:
        raise InputError(
            f"{pluralize(len(groups), 'group')} of clips {'is' if len(groups) == 1 else 'are'} too "
            f"few: the {empty[0]} subset would be empty",
            "fetch more videos, or give --ratios with a larger share",
        )
    words = {name: name.value for name in Subset}
    clips = [
        SplitClip(clip.clip_id, words[chosen.get(name, Subset.TRAIN)], name, clip.label, clip.sha256)
        for name, members in groups.items()
        for clip in members
    ]
    # By the id alone, which is unique: comparing whole records costs ten times as much.
    return sorted(clips, key=attrgetter("clip_id"))
