"""The arithmetic of a split: which clips, how many a part, and which part each group goes to.

Pure functions of the clips and a seed. Groups are drawn in an order that a keyed hash gives; a
part takes the next groups that still fit, which makes the sizes exact wherever single clips are
left to fill up with. Where none fits any more, a larger one that brings the size nearer is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from operator import attrgetter

from dancecli.core.errors import InputError, UsageError
from dancecli.core.hashing import keyed_order
from dancecli.core.records import Clip, SplitClip, Subset
from dancecli.sources import letsdance

# What the lists call the part that this tool holds out as the test part under --keep-official.
_OFFICIAL_TEST = frozenset({"val", "test"})
# The small parts choose first: what remains is train, which can bear a clip more or less.
_DRAWN = (Subset.TEST, Subset.VAL)


def parse_ratios(text: str) -> dict[Subset, Fraction]:
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
    names = list(Subset) if len(numbers) == 3 else [Subset.TRAIN, Subset.TEST]
    return {name: Fraction(number, 100) for name, number in zip(names, numbers, strict=True)}


def draw_subset(clips: Sequence[Clip], size: int, seed: int) -> list[Clip]:
    """Draw clips video by video, every video equally likely; a smaller draw lies within a larger.

    Clips of Let's Dance are drawn only where there are no others: the paper's subsets are of
    Kinetics alone.

    Raises:
        InputError: there are fewer clips than asked for.
    """
    pool = [clip for clip in clips if clip.dataset != letsdance.DATASET] or list(clips)
    if len(pool) < size:
        raise InputError(
            f"a subset of {size} clips cannot be drawn from {len(pool)}",
            f"fetch more clips, or ask for --subset {len(pool)} or less",
        )
    by_clip = keyed_order(pool, lambda c: c.clip_id, seed=seed, purpose="subset-clip")
    videos = keyed_order({c.video_id for c in pool}, str, seed=seed, purpose="subset-video")
    place = {video: i for i, video in enumerate(videos)}
    return sorted(by_clip, key=lambda clip: place[clip.video_id])[:size]


def part_sizes(total: int, ratios: Mapping[Subset, Fraction]) -> dict[Subset, int]:
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


def assign_parts(
    clips: Sequence[Clip],
    ratios: Mapping[Subset, Fraction],
    seed: int,
    group_of: Mapping[str, str],
    *,
    stratify: bool = False,
) -> list[SplitClip]:
    """Give every clip its part; clips of one group share it. Sorted by clip id.

    Args:
        clips: what to divide.
        ratios: the share of each part.
        seed: another seed gives another division.
        group_of: a clip's group by clip id; a clip that is not in it has its video as group.
        stratify: give every part its share of each label, not only of the whole.

    Raises:
        InputError: a part would be empty.
    """
    groups = _grouped(clips, group_of)
    order = keyed_order(groups, str, seed=seed, purpose="assign")
    sizes = part_sizes(len(clips), ratios)
    strata = [order]
    if stratify:
        label_of = {name: min(members, key=lambda c: c.clip_id).label for name, members in groups.items()}
        strata = [[g for g in order if label_of[g] == label] for label in sorted(set(label_of.values()))]
    chosen: dict[str, Subset] = {}
    seen, given = 0, dict.fromkeys(_DRAWN, 0)
    for stratum in strata:
        seen += sum(len(groups[name]) for name in stratum)
        # Rounding the running total, not each stratum, keeps the sum over all strata exact.
        rooms = {n: round(Fraction(seen * sizes.get(n, 0), len(clips))) - given[n] for n in _DRAWN}
        drawn = _draw(stratum, groups, rooms)
        for name, part in drawn.items():
            given[part] += len(groups[name])
        chosen.update(drawn)
    return _as_parts(groups, chosen, ratios)


def assign_official(
    clips: Sequence[Clip], ratios: Mapping[Subset, Fraction], seed: int, group_of: Mapping[str, str]
) -> list[SplitClip]:
    """Keep the lists' own held-out part as test, and divide the rest into train and val.

    A group that the lists have on both sides goes to test whole: what is moved out of training
    costs a clip, what is left there would be a leak.

    Raises:
        InputError: no clip is of an official val or test list, or all are, or a part would be empty.
    """
    groups = _grouped(clips, group_of)
    held = {n for n, members in groups.items() if any(c.official_split in _OFFICIAL_TEST for c in members)}
    if not held or len(held) == len(groups):
        what = "no" if not held else "every"
        raise InputError(
            f"{what} clip is of an official val or test list, so there is no official split to keep",
            "fetch both the train and the val list, or leave --keep-official out",
        )
    rest = {name: members for name, members in groups.items() if name not in held}
    total = sum(map(len, rest.values()))
    val = ratios.get(Subset.VAL, Fraction(0))
    room = round(total * val / (ratios[Subset.TRAIN] + val))
    chosen = dict.fromkeys(held, Subset.TEST)
    chosen |= _draw(keyed_order(rest, str, seed=seed, purpose="assign"), rest, {Subset.VAL: room})
    return _as_parts(groups, chosen, ratios)


def count_overlaps(parts: Iterable[SplitClip]) -> int:
    """Count the groups that stand in more than one part: the leak that a split must not have."""
    first: dict[str, str] = {}
    return len({part.group for part in parts if first.setdefault(part.group, part.subset) != part.subset})


def _grouped(clips: Sequence[Clip], group_of: Mapping[str, str]) -> dict[str, list[Clip]]:
    groups: dict[str, list[Clip]] = {}
    for clip in clips:
        groups.setdefault(group_of.get(clip.clip_id, clip.video_id), []).append(clip)
    return groups


def _draw(
    order: Sequence[str], groups: Mapping[str, Sequence[Clip]], rooms: Mapping[Subset, int]
) -> dict[str, Subset]:
    """Fill each part with the next groups that fit its room, as near as whole groups allow.

    What is left is not named.
    """
    chosen: dict[str, Subset] = {}
    for part, size in rooms.items():
        room = size
        for name in order:
            if name not in chosen and len(groups[name]) <= room:
                room -= len(groups[name])
                chosen[name] = part
        left = (name for name in order if name not in chosen)
        smallest = min(left, key=lambda name: len(groups[name]), default=None)
        if smallest is not None and len(groups[smallest]) < 2 * room:
            chosen[smallest] = part
    return chosen


def _as_parts(
    groups: Mapping[str, Sequence[Clip]], chosen: Mapping[str, Subset], ratios: Iterable[Subset]
) -> list[SplitClip]:
    filled = {chosen.get(name, Subset.TRAIN) for name in groups}
    empty = [name for name in ratios if name not in filled]
    if empty:
        raise InputError(
            f"{len(groups)} groups of clips are too few: the {empty[0]} part would be empty",
            "fetch more videos, or give --ratios with a larger share",
        )
    words = {name: name.value for name in Subset}
    parts = [
        SplitClip(clip.clip_id, words[chosen.get(name, Subset.TRAIN)], name, clip.label, clip.sha256)
        for name, members in groups.items()
        for clip in members
    ]
    # By the id alone, which is unique: comparing whole records costs ten times as much.
    return sorted(parts, key=attrgetter("clip_id"))
