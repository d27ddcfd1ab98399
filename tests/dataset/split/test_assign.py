from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from fractions import Fraction
from random import Random

import pytest
from helpers.builders import make_clip
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from dancecli.core.errors import InputError, UsageError
from dancecli.core.records import Clip
from dancecli.dataset.split.assign import (
    assign_official,
    assign_subsets,
    count_overlaps,
    draw_subset,
    parse_ratios,
    subset_sizes,
)

PLAIN = make_clip(0)
SEEDS = st.integers(0, 2**32 - 1)
RATIOS = st.sampled_from(["90/5/5", "90/10", "93/7", "70/10/20", "34/33/33"])


@dataclass(frozen=True)
class Population:
    """Clips of videos with one to seven each, and groups of one to four videos."""

    clips: list[Clip]
    group_of: dict[str, str]


@st.composite
def populations(draw: st.DrawFn) -> Population:
    """Up to 10,000 clips; the size is drawn, what is in them follows from a seed."""
    # A drawn random would take its thousands of numbers out of what Hypothesis may draw.
    total, random = draw(st.integers(40, 10_000)), Random(draw(SEEDS))
    clips: list[Clip] = []
    group_of = {}
    group = video = 0
    while len(clips) < total:
        video += 1
        group = group if random.random() < 0.2 else video
        for k in range(min(random.randint(1, 7), total - len(clips))):
            clips.append(replace(PLAIN, clip_id=f"v{video}_{k}_{k + 1}", video_id=f"v{video}"))
            group_of[clips[-1].clip_id] = f"v{group}"
    return Population(clips, group_of)


@settings(max_examples=30)
@given(populations(), RATIOS, st.integers(0, 5), SEEDS)
def test_no_group_straddles_and_sizes_are_exact_up_to_the_groups(
    population: Population, ratios: str, seed: int, order: int
) -> None:
    shares, clips, group_of = parse_ratios(ratios), population.clips, population.group_of
    try:
        found = assign_subsets(clips, shares, seed, group_of)
    except InputError as error:
        assert "subset would be empty" in error.message
        reject()  # few clips of large groups
    assert count_overlaps(found) == 0
    assert len({(population.group_of[p.clip_id], p.subset) for p in found}) == len(
        set(population.group_of.values())
    )
    assert sorted(p.clip_id for p in found) == sorted(c.clip_id for c in clips)
    wanted, got = subset_sizes(len(clips), shares), Counter(p.subset for p in found)
    largest = max(Counter(group_of.values()).values())
    for name in shares:
        assert abs(got[name] - wanted[name]) < largest * 2
    shuffled = list(clips)
    Random(order).shuffle(shuffled)
    assert assign_subsets(shuffled, shares, seed, group_of) == found


def videos(count: int, clips: int) -> list[Clip]:
    return [make_clip(i, video_id=f"v{i // clips}") for i in range(count * clips)]


@pytest.mark.parametrize(
    ("count", "each", "ratios", "sizes"),
    [
        (14, 3, "90/5/5", {"train": 36, "val": 3, "test": 3}),  # 2 are due: 3 are nearer than none
        (12, 5, "90/5/5", {"train": 50, "val": 5, "test": 5}),  # 3 are due
        (30, 4, "90/10", {"train": 108, "test": 12}),
        (31, 4, "90/10", {"train": 112, "test": 12}),  # 12 of 124 fit, and no other brings it nearer
    ],
)
def test_whole_videos_come_as_near_as_they_can(
    count: int, each: int, ratios: str, sizes: dict[str, int]
) -> None:
    found = assign_subsets(videos(count, each), parse_ratios(ratios), 0, {})
    assert Counter(p.subset for p in found) == sizes


@pytest.mark.parametrize(
    ("count", "each", "ratios", "subset"),
    [(10, 10, "90/5/5", "val"), (2, 10, "34/33/33", "train"), (5, 10, "90/10", "test")],
)
def test_a_subset_that_no_video_fits_is_refused(count: int, each: int, ratios: str, subset: str) -> None:
    with pytest.raises(InputError, match=f"{count} groups of clips are too few: the {subset} subset"):
        assign_subsets(videos(count, each), parse_ratios(ratios), 0, {})


@given(st.integers(40, 2000), RATIOS)
def test_single_clip_videos_give_exact_sizes(total: int, ratios: str) -> None:
    clips = [make_clip(3 * i) for i in range(total)]
    shares = parse_ratios(ratios)
    assert Counter(p.subset for p in assign_subsets(clips, shares, 0, {})) == subset_sizes(total, shares)


@settings(max_examples=20)
@given(populations(), st.integers(0, 3), st.data())
def test_a_smaller_draw_lies_within_a_larger_one(
    population: Population, seed: int, data: st.DataObject
) -> None:
    clips = population.clips
    large = data.draw(st.integers(2, len(clips)))
    small = data.draw(st.integers(1, large))
    inner, outer = draw_subset(clips, small, seed), draw_subset(clips, large, seed)
    assert (len(inner), len(outer)) == (small, large)
    assert {c.clip_id for c in inner} <= {c.clip_id for c in outer}


def test_every_video_is_equally_likely_in_a_subset() -> None:
    clips = [make_clip(3 * i) for i in range(20)]
    drawn = Counter(c.clip_id for seed in range(2000) for c in draw_subset(clips, 5, seed))
    # 500 expected each, standard deviation 19.4.
    assert all(abs(count - 500) < 6 * 19.4 for count in drawn.values())


def test_a_subset_leaves_lets_dance_out_where_there_are_others() -> None:
    ours = [make_clip(i) for i in range(10)]
    theirs = [make_clip(i, dataset="lets-dance") for i in range(10, 90)]
    assert {c.dataset for c in draw_subset(ours + theirs, 10, 0)} == {"kinetics700"}
    assert len(draw_subset(theirs, 10, 0)) == 10


@pytest.mark.parametrize(
    ("total", "ratios", "sizes"),
    [
        (1500, "93/7", [1395, 105]),
        (525, "90/10", [473, 52]),
        (950, "90/5/5", [855, 48, 47]),
        (19_000, "90/5/5", [17_100, 950, 950]),
    ],
)
def test_sizes_by_largest_remainder(total: int, ratios: str, sizes: list[int]) -> None:
    assert list(subset_sizes(total, parse_ratios(ratios)).values()) == sizes


def test_an_empty_part_is_refused() -> None:
    with pytest.raises(InputError, match="9 clips are too few: the test subset would be empty"):
        subset_sizes(9, parse_ratios("90/5/5"))


@pytest.mark.parametrize(
    "text", ["", "90", "90/5", "90/5/6", "100/0", "90/5/5/0", "a/b", "x/99", "99/x", "-10/110", "90/\u0665/5"]
)
def test_ratios_that_make_no_sense_are_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="must be train/val/test"):
        parse_ratios(text)


def test_one_per_cent_is_a_share() -> None:
    assert list(parse_ratios("98/1/1").values()) == [Fraction(98, 100), Fraction(1, 100), Fraction(1, 100)]


def test_strata_are_made_only_where_they_are_asked_for() -> None:
    clips = [make_clip(3 * i, "ab"[i % 2]) for i in range(200)]
    whole, strata = (assign_subsets(clips, parse_ratios("90/5/5"), 0, {}, stratify=s) for s in (False, True))
    assert whole != strata
    assert assign_subsets(clips, parse_ratios("90/5/5"), 0, {}) == whole


@settings(max_examples=40)
@given(st.lists(st.sampled_from("abcd"), min_size=60, max_size=400), RATIOS, st.integers(0, 3))
def test_strata_get_their_share_and_the_whole_stays_exact(labels: list[str], ratios: str, seed: int) -> None:
    clips = [make_clip(3 * i, label) for i, label in enumerate(labels)]
    shares = parse_ratios(ratios)
    found = assign_subsets(clips, shares, seed, {}, stratify=True)
    got, wanted = Counter(p.subset for p in found), subset_sizes(len(clips), shares)
    assert all(abs(got[name] - wanted[name]) <= 1 for name in shares)
    for label, count in Counter(labels).items():
        for name in shares:
            here = sum(p.label == label and p.subset == name for p in found)
            # Of the subset's whole size, which itself is rounded.
            assert abs(here - Fraction(count * wanted[name], len(clips))) <= (2 if name == "train" else 1)


def test_a_share_that_ends_in_a_half_goes_to_the_even_count() -> None:
    clips = [make_clip(3 * i, "aabb"[i]) for i in range(4)]
    found = assign_subsets(clips, parse_ratios("50/25/25"), 0, {}, stratify=True)
    # After "a" half a clip is due to val and to test: none. After "b" a whole one is.
    assert [(p.label, p.subset) for p in found if p.label == "a"] == [("a", "train")] * 2
    assert {p.subset for p in found if p.label == "b"} == {"val", "test"}


def test_near_duplicates_stay_together_across_videos() -> None:
    clips = [make_clip(3 * i) for i in range(200)]
    groups = {c.clip_id: f"g{i // 4}" for i, c in enumerate(clips)}
    found = assign_subsets(clips, parse_ratios("70/10/20"), 0, groups)
    assert count_overlaps(found) == 0
    assert {p.group for p in found} == set(groups.values())


def test_an_overlap_is_counted() -> None:
    found = assign_subsets([make_clip(3 * i) for i in range(40)], parse_ratios("90/5/5"), 0, {})
    leaked = [
        p if i else type(p)(p.clip_id, p.subset, found[-1].group, p.label, p.sha256)
        for i, p in enumerate(found)
    ]
    together = found[0].subset == found[-1].subset
    assert count_overlaps(leaked) == (0 if together else 1)


def official(i: int, name: str, video: str | None = None) -> Clip:
    clip = make_clip(3 * i, official_split=name)
    return clip if video is None else make_clip(3 * i, official_split=name, video_id=video)


def test_the_official_held_out_part_is_the_test_part() -> None:
    clips = [official(i, "train") for i in range(90)] + [official(i, "val") for i in range(90, 110)]
    found = assign_official(clips, parse_ratios("50/30/20"), 0, {})
    assert {p.clip_id for p in found if p.subset == "test"} == {c.clip_id for c in clips[90:]}
    # 30 of the 80 per cent that are not test, of 90 clips: 33.75.
    assert Counter(p.subset for p in found) == {"train": 56, "val": 34, "test": 20}


def test_a_video_on_both_official_sides_goes_to_test_whole() -> None:
    clips = [official(i, "train") for i in range(40)] + [official(50, "train", "v"), official(51, "val", "v")]
    found = assign_official(clips, {**parse_ratios("90/10")}, 0, {})
    assert {p.subset for p in found if p.group == "v"} == {"test"}
    assert Counter(p.subset for p in found) == {"train": 40, "test": 2}


@pytest.mark.parametrize(("name", "what"), [("train", "no clip"), ("val", "every clip")])
def test_one_official_side_alone_is_refused(name: str, what: str) -> None:
    with pytest.raises(InputError, match=what):
        assign_official([official(i, name) for i in range(40)], parse_ratios("90/5/5"), 0, {})


def test_shares_are_exact_fractions() -> None:
    assert sum(parse_ratios("33/33/34").values()) == Fraction(1)
