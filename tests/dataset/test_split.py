from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter

import pytest
from conftest import fill, make_clip
from hypothesis import given, settings
from hypothesis import strategies as st

from dancecli import manifest
from dancecli.dataset.split import (
    SplitSettings,
    assign_parts,
    count_overlaps,
    draw_subset,
    parse_ratios,
    part_sizes,
    split,
    split_digest,
)
from dancecli.errors import InputError, UsageError, WorkspaceError
from dancecli.schema import Clip, Part
from dancecli.workspace import Workspace

RATIOS = st.sampled_from(["90/5/5", "90/10", "93/7", "70/10/20", "34/33/33"])


@st.composite
def clips_of_videos(draw: st.DrawFn) -> list[Clip]:
    """Clips whose videos hold one to seven each; at least 40."""
    sizes = draw(st.lists(st.integers(1, 7), min_size=40, max_size=300))
    return [
        make_clip(100 * v + k, video_id=f"v{v}", clip_id=f"v{v}_{k}_{k + 1}")
        for v, size in enumerate(sizes)
        for k in range(size)
    ]


@settings(max_examples=60, deadline=None)
@given(clips_of_videos(), RATIOS, st.integers(0, 5), st.randoms())
def test_no_video_straddles_and_sizes_are_exact_up_to_the_videos(
    clips: list[Clip], ratios: str, seed: int, random: object
) -> None:
    shares = parse_ratios(ratios)
    parts = assign_parts(clips, shares, seed)
    assert count_overlaps(parts) == 0
    assert sorted(p.clip_id for p in parts) == sorted(c.clip_id for c in clips)
    wanted, got = part_sizes(len(clips), shares), Counter(p.part for p in parts)
    largest = max(Counter(c.video_id for c in clips).values())
    for name in shares:
        assert abs(got[name] - wanted[name]) < largest * 2
    shuffled = list(clips)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert assign_parts(shuffled, shares, seed) == parts


@given(st.integers(40, 2000), RATIOS)
def test_single_clip_videos_give_exact_sizes(total: int, ratios: str) -> None:
    clips = [make_clip(3 * i) for i in range(total)]
    shares = parse_ratios(ratios)
    assert Counter(p.part for p in assign_parts(clips, shares, 0)) == part_sizes(total, shares)


@settings(max_examples=30, deadline=None)
@given(clips_of_videos(), st.integers(0, 3), st.data())
def test_a_smaller_subset_lies_within_a_larger_one(clips: list[Clip], seed: int, data: st.DataObject) -> None:
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


def test_a_subset_is_drawn_from_kinetics_alone_where_there_is_any() -> None:
    ours = [make_clip(i) for i in range(10)]
    theirs = [make_clip(i, dataset="letsdance") for i in range(10, 90)]
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
    assert list(part_sizes(total, parse_ratios(ratios)).values()) == sizes


def test_an_empty_part_is_refused() -> None:
    with pytest.raises(InputError, match="9 clips are too few: the test part would be empty"):
        part_sizes(9, parse_ratios("90/5/5"))


@pytest.mark.parametrize(
    "text", ["", "90", "90/5", "90/5/6", "100/0", "90/5/5/0", "a/b", "-10/110", "90/\u0665/5"]
)
def test_ratios_that_make_no_sense_are_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError, match="are not train/val/test"):
        parse_ratios(text)


@pytest.mark.parametrize(
    ("given", "name", "ratios"),
    [
        (SplitSettings(), "full", "90/5/5"),
        (SplitSettings(subset=525), "subset525", "90/10"),
        (SplitSettings(subset=1500), "subset1500", "93/7"),
        (SplitSettings(subset=1500, ratios="93/7"), "subset1500", "93/7"),
        (SplitSettings(subset=700, ratios="80/20", seed=3), "subset700-80-20-seed3", "80/20"),
        (SplitSettings(name="mine"), "mine", "90/5/5"),
    ],
)
def test_a_splits_name_shows_its_settings(given: SplitSettings, name: str, ratios: str) -> None:
    assert (given.split_name, given.ratio_text) == (name, ratios)


LABELS = ("tap dancing", "zumba", "krumping")


@pytest.fixture
def filled(space: Workspace) -> Workspace:
    clips = [make_clip(i, LABELS[i % 2]) for i in range(200)]
    copies = [make_clip(0, clip_id="copy", parent_id=clips[0].clip_id, op="hflip")]
    fill(space, [*clips, *copies], LABELS)
    return space


def test_a_split_is_written_with_its_evidence_and_only_once(filled: Workspace) -> None:
    result = split(filled, SplitSettings())
    assert (result.changed, result.overlaps, result.missing_labels) == (True, 0, ("krumping",))
    assert result.counts == {"train": 180, "val": 10, "test": 10}
    meta = manifest.read_meta(filled.split("full"))
    assert meta["split.hash"] == result.digest == split_digest(result.parts, LABELS)
    assert json.loads(meta["split.labels"]) == list(LABELS)
    assert manifest.read(filled.split("full"), Part) == list(result.parts)
    before = filled.split("full").stat().st_mtime_ns
    assert split(filled, SplitSettings()).changed is False
    assert filled.split("full").stat().st_mtime_ns == before


def test_the_hash_tells_clips_parts_labels_checksums_and_label_order_apart() -> None:
    part = Part("c", "train", "g", "a", "1")
    digests = {
        split_digest([p], labels)
        for p, labels in [
            (part, "ab"),
            (part, "ba"),
            (Part("d", "train", "g", "a", "1"), "ab"),
            (Part("c", "test", "g", "a", "1"), "ab"),
            (Part("c", "train", "g", "b", "1"), "ab"),
            (Part("c", "train", "g", "a", "2"), "ab"),
        ]
    }
    assert len(digests) == 6


def test_a_dry_run_writes_nothing(filled: Workspace) -> None:
    assert split(filled, SplitSettings(), dry_run=True).changed
    assert not filled.split("full").exists()


def test_a_split_that_a_run_was_made_with_is_kept(filled: Workspace) -> None:
    split(filled, SplitSettings(name="s"))
    run = filled.run("r") / "run.json"
    run.parent.mkdir(parents=True)
    run.write_text(json.dumps({"split": {"name": "s"}}))
    assert not split(filled, SplitSettings(name="s")).changed
    with pytest.raises(WorkspaceError, match="run 'r' was made with it") as caught:
        split(filled, SplitSettings(name="s", seed=1))
    assert "--name" in caught.value.hint


def test_without_clips_the_next_step_is_said(space: Workspace) -> None:
    with pytest.raises(WorkspaceError, match="no clips to split") as caught:
        split(space, SplitSettings())
    assert caught.value.hint == "run dance fetch first"


def test_a_subset_larger_than_the_dataset_is_refused(filled: Workspace) -> None:
    with pytest.raises(InputError, match="525 clips cannot be drawn from 200"):
        split(filled, SplitSettings(subset=525))


def test_the_same_split_under_another_hash_seed(filled: Workspace) -> None:
    code = (
        "from pathlib import Path; from dancecli.workspace import Workspace\n"
        "from dancecli.dataset.split import *\n"
        f"print(split(Workspace(Path({str(filled.root)!r})), SplitSettings(), dry_run=True).digest)"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
