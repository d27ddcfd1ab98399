from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from helpers.builders import Ran, fill, make_clip

from dancecli.core.errors import InputError, UsageError, WorkspaceError
from dancecli.core.records import NEAR_DUPLICATE, Clip, Group, SplitClip
from dancecli.dataset.split.split import SplitSettings, split
from dancecli.storage import tables
from dancecli.storage.corrections import Correction, append_corrections
from dancecli.storage.lockfile import split_digest
from dancecli.storage.workspace import Workspace


@pytest.mark.parametrize(
    ("given", "name", "ratios"),
    [
        (SplitSettings(), "full", "90/5/5"),
        (SplitSettings(subset=525), "subset525", "90/10"),
        (SplitSettings(subset=1500), "subset1500", "93/7"),
        (SplitSettings(subset=1500, ratios="93/7"), "subset1500", "93/7"),
        (SplitSettings(subset=700, ratios="80/20", seed=3), "subset700-80-20-seed3", "80/20"),
        (SplitSettings(name="mine"), "mine", "90/5/5"),
        (SplitSettings(stratify=True), "full-stratified", "90/5/5"),
        (SplitSettings(keep_official=True), "full-official", "90/5/5"),
    ],
)
def test_a_splits_name_shows_its_settings(given: SplitSettings, name: str, ratios: str) -> None:
    assert (given.split_name, given.ratio_text) == (name, ratios)


LABELS = ("tap dancing", "zumba", "krumping")


@pytest.fixture
def filled(workspace: Workspace) -> Workspace:
    clips = [make_clip(i, LABELS[i % 2]) for i in range(200)]
    copies = [make_clip(0, clip_id="copy", parent_id=clips[0].clip_id, op="hflip")]
    fill(workspace, [*clips, *copies], LABELS)
    return workspace


def test_a_split_is_written_with_its_evidence_and_only_once(filled: Workspace) -> None:
    result = split(filled, SplitSettings())
    assert (result.changed, result.overlaps, result.missing_labels) == (True, 0, ("krumping",))
    assert result.counts == {"train": 180, "val": 10, "test": 10}
    meta = tables.read_meta(filled.split("full"))
    assert meta["split.hash"] == result.digest == split_digest(result.clips, LABELS)
    assert json.loads(meta["split.labels"]) == list(LABELS)
    assert tables.read(filled.split("full"), SplitClip) == list(result.clips)
    before = filled.split("full").stat().st_mtime_ns
    assert split(filled, SplitSettings()).changed is False
    assert filled.split("full").stat().st_mtime_ns == before


def test_the_hash_tells_clips_parts_labels_checksums_and_label_order_apart() -> None:
    part = SplitClip("c", "train", "g", "a", "1")
    digests = {
        split_digest([p], labels)
        for p, labels in [
            (part, "ab"),
            (part, "ba"),
            (SplitClip("d", "train", "g", "a", "1"), "ab"),
            (SplitClip("c", "test", "g", "a", "1"), "ab"),
            (SplitClip("c", "train", "g", "b", "1"), "ab"),
            (SplitClip("c", "train", "g", "a", "2"), "ab"),
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
    run.write_text(json.dumps({"schema": 1, "status": "done", "split": {"name": "s"}}))
    assert not split(filled, SplitSettings(name="s")).changed
    with pytest.raises(WorkspaceError, match="run 'r' was made with it") as caught:
        split(filled, SplitSettings(name="s", seed=1))
    assert "--name" in caught.value.hint


def test_a_published_lock_outlives_a_kill_while_its_split_is_made_again(
    filled: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = split(filled, SplitSettings(name="s"))
    lock = filled.split_lock("s").read_bytes()
    fill(filled, [make_clip(i, LABELS[i % 2]) for i in range(210)], LABELS)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tables, "write", Mock(side_effect=KeyboardInterrupt))
        split(filled, SplitSettings(name="s"))
    split(filled, SplitSettings(name="s"))
    assert filled.split_lock("s").with_name(f"s.{published.digest[:12]}.lock.csv").read_bytes() == lock
    assert filled.split_lock("s").read_bytes() != lock


def test_without_clips_the_next_step_is_reported(workspace: Workspace) -> None:
    with pytest.raises(WorkspaceError, match="no clips yet") as caught:
        split(workspace, SplitSettings())
    assert caught.value.hint == "run dance fetch or dance import"


def test_a_subset_larger_than_the_dataset_is_refused(filled: Workspace) -> None:
    with pytest.raises(InputError, match="525 clips cannot be drawn from 200"):
        split(filled, SplitSettings(subset=525))


def test_the_same_split_under_another_hash_seed(filled: Workspace) -> None:
    code = (
        "from pathlib import Path; from dancecli.storage.workspace import Workspace\n"
        "from dancecli.dataset.split.split import *\n"
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


ELSEWHERE = """
from dancecli.dataset.split.assign import assign_subsets, draw_subset, parse_ratios
from dancecli.storage.lockfile import split_digest
from dancecli.core.records import Clip

def clip(i):
    video, label, sha = f"v{i // 2}", "abc"[i % 3], f"{i:064x}"
    return Clip(f"{video}_{i}_{i + 1}", video, i, i + 1, label, "", "", "", 1, 25, 1, 4, 4, False, 1, sha, "")

clips = [clip(i) for i in range(2000)]
some = draw_subset(clips, 525, 7)
print(split_digest(assign_subsets(clips, parse_ratios("90/5/5"), 7, {}), "abc"))
print(split_digest(assign_subsets(clips, parse_ratios("90/5/5"), 7, {}, stratify=True), "abc"))
print(split_digest(assign_subsets(some, parse_ratios("90/10"), 7, {}), "abc"))
"""
# Changed once before 0.1.0, when all keyed draws became one construction (`core.hashing`).
DIGESTS = [
    "84ed934c2e703ec356f5611ea2c16dd86060e910413b3828e640a5edefb0bfbd",
    "33f24af38ea69c6d735df6d09d8582434280604d5f5c39b88b0adedcf308829e",
    "b3fa17ee9dcc0beab5ca672eb0b458657cc736ebb1abb17feaeba30b84d42799",
]


def pythons() -> list[str]:
    """This Python, and those beside it that the package runs on."""
    named = [shutil.which(f"python3.{minor}") for minor in range(11, 16)]
    kept = (Path.home() / ".pyenv" / "versions").glob("3.1[1-9].*/bin/python")
    return [
        sys.executable,
        *(path for path in named if path and "shims" not in path),
        *map(str, sorted(kept)),
    ]


@pytest.mark.parametrize("python", pythons())
def test_the_same_split_under_any_python(python: str) -> None:
    # Dividing needs no package, so that another Python does not need to have any.
    root = Path(__file__).parents[3]
    env = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    ran = subprocess.run(
        [python, "-S", "-c", ELSEWHERE], env=env, capture_output=True, text=True, check=False
    )
    assert ran.stdout.split() == DIGESTS, ran.stderr


def test_groups_that_dedup_found_stay_together(filled: Workspace) -> None:
    clips = [make_clip(i) for i in range(0, 200, 2)]
    tables.write(filled.groups, Group, [Group(c.clip_id, "same", NEAR_DUPLICATE) for c in clips[:20]])
    found = split(filled, SplitSettings()).clips
    joined = [p for p in found if p.group == clips[0].video_id]
    assert len({p.subset for p in joined}) == 1
    # With them, the other clips of their videos.
    assert len(joined) > 20


def test_a_clip_that_came_after_dedup_stays_with_its_video(filled: Workspace) -> None:
    clips = tables.read(filled.clips, Clip)
    one, other = clips[0], next(c for c in clips if c.video_id != clips[0].video_id)
    tables.write(
        filled.groups,
        Group,
        [Group(one.clip_id, "g", NEAR_DUPLICATE), Group(other.clip_id, "g", NEAR_DUPLICATE)],
    )
    later = replace(one, clip_id="later", start_ms=one.end_ms, end_ms=one.end_ms + 9)
    tables.write(filled.clips, Clip, [*clips, later])
    groups = {p.clip_id: p.group for p in split(filled, SplitSettings()).clips}
    assert groups["later"] == groups[one.clip_id] == groups[other.clip_id]


def test_the_official_part_is_the_test_part(filled: Workspace) -> None:
    clips = tables.read(filled.clips, Clip)
    held = {c.clip_id for c in clips[:30] if not c.parent_id}
    tables.write(
        filled.clips,
        Clip,
        [replace(c, official_split="val" if c.clip_id in held else "train") for c in clips],
    )
    found = split(filled, SplitSettings(keep_official=True, ratios="90/10"))
    assert held <= {p.clip_id for p in found.clips if p.subset == "test"}
    assert found.counts == {"train": 200 - found.counts["test"], "val": 0, "test": found.counts["test"]}


def test_official_splits_and_strata_do_not_mix(filled: Workspace) -> None:
    with pytest.raises(UsageError, match="combines with neither"):
        split(filled, SplitSettings(keep_official=True, stratify=True))


def test_corrections_are_applied_and_counted(dance: Callable[..., Ran], workspace: Workspace) -> None:
    clips = [make_clip(i, LABELS[i % 2]) for i in range(0, 60, 3)]
    fill(workspace, clips, LABELS)
    before = dance("split", "--ratios", "70/15/15", "--name", "a", "--json").json
    rows = [
        Correction(clips[0].clip_id, "label", clips[0].label, LABELS[1]),
        Correction(clips[1].clip_id, "exclude", "", "yes"),
        *(Correction(clip.clip_id, "group", "", "one dancer") for clip in clips[2:8]),
    ]
    append_corrections(workspace, rows)
    ran = dance("split", "--ratios", "70/15/15", "--name", "b", "--json")
    after = ran.json
    assert (after["excluded"], after["relabeled"]) == ([clips[1].clip_id], [clips[0].clip_id])
    assert after["hash"] != before["hash"]
    assert "corrections: 1 clip excluded, 1 relabeled (labels.csv)" in ran.err
    table = {row.clip_id: row for row in tables.read(workspace.split("b"), SplitClip)}
    assert clips[1].clip_id not in table
    assert table[clips[0].clip_id].label == LABELS[1]
    assert len({table[clip.clip_id].subset for clip in clips[2:8]}) == 1
    assert not (workspace.root / "manifests" / "groups.parquet").exists()
    append_corrections(workspace, [Correction(clips[3].clip_id, "label", "", "walz")])
    ran = dance("split", "--name", "c")
    assert ran.code == 1
    assert "the label 'walz', which is not of this workspace's label set" in ran.err


def test_folds_hold_every_clip_once_in_whole_groups_and_follow_the_seed(filled: Workspace) -> None:
    assert SplitSettings(folds=10).split_name == "folds10"
    assert SplitSettings(folds=5, repeats=3, subset=100, seed=2).split_name == "subset100-folds5x3-seed2"
    result = split(filled, SplitSettings(folds=5, repeats=2))
    assert (result.overlaps, result.counts) == (0, {"train": 0, "val": 0, "test": 200})
    rows = tables.read(filled.split("folds5x2"), SplitClip)
    first, second = zip(*(row.folds.split("/") for row in rows), strict=True)
    assert set(first) == set(second) == set("12345")
    assert first != second
    for fold in "12345":
        labels = [row.label for row, own in zip(rows, first, strict=True) if own == fold]
        assert abs(labels.count("tap dancing") - labels.count("zumba")) <= 2
    assert not split(filled, SplitSettings(folds=5, repeats=2)).changed
    # The first repeat is the division that the seed alone gives, the second that of the next seed.
    single = split(filled, SplitSettings(folds=5, seed=1)).clips
    assert [row.folds for row in single] == list(second)


def test_folds_are_rebuilt_from_their_lock(filled: Workspace) -> None:
    before = split(filled, SplitSettings(folds=4))
    lock = filled.split_lock("folds4")
    assert lock.read_text().startswith("clip_id,subset,group,label,sha256,folds\n")
    again = split(filled, SplitSettings(lock=lock, name="again"))
    assert (again.digest, again.clips) == (before.digest, before.clips)
    torn = lock.read_text().splitlines()
    row = torn[1].split(",")
    torn.append(",".join(["other", *row[1:5], str(int(row[5]) % 4 + 1)]))
    lock.with_name("torn.lock.csv").write_text("\n".join(torn))
    with pytest.raises(InputError, match="the split would leak"):
        split(filled, SplitSettings(lock=lock.with_name("torn.lock.csv")))


def test_folds_that_cannot_be_are_refused(filled: Workspace) -> None:
    with pytest.raises(InputError, match="groups of clips are too few for 500 folds"):
        split(filled, SplitSettings(folds=500))
    with pytest.raises(UsageError, match="--folds and --ratios exclude each other"):
        split(filled, SplitSettings(folds=5, ratios="80/20"))
    with pytest.raises(UsageError, match="--repeats repeats a division"):
        split(filled, SplitSettings(repeats=2))


def test_what_a_small_test_subset_can_show_is_said(dance: Callable[..., Ran], workspace: Workspace) -> None:
    fill(workspace, [make_clip(i, LABELS[i % 2]) for i in range(36)], LABELS)
    told = dance("split", "--ratios", "50/50", "--name", "half").out
    assert (
        "minimum detectable difference: none with 18 test clips if 20 % of them are discordant (80 % power, "
        "McNemar's exact test); a difference is significant from 6 clips, of as many groups, that one "
        "run alone has right"
    ) in told
    few = dance("split", "--ratios", "90/10", "--name", "few").out
    num = len({r.group for r in tables.read(workspace.split("few"), SplitClip) if r.subset == "test"})
    assert f"none, too few for any difference: clips of 6 groups are needed, and there are {num}\n" in few


def test_classes_without_clips_in_a_subset_are_named(dance: Callable[..., Ran], workspace: Workspace) -> None:
    clips = [make_clip(i, LABELS[0] if i else LABELS[1]) for i in range(40)]
    fill(workspace, clips, LABELS)
    ran = dance("split", "--ratios", "80/10/10", "--json")
    absent = ran.json["absent_classes"]
    rows = tables.read(workspace.split("full-80-10-10"), SplitClip)
    home = next(row.subset for row in rows if row.label == LABELS[1])
    assert absent == {subset: [LABELS[1]] for subset in ("train", "val", "test") if subset != home}
    assert f"1 class without a clip in {'test' if home != 'test' else 'train'}: zumba" in ran.err
    ran = dance("split", "--folds", "4")
    assert "1 class with all clips in one fold, so never one to train on: zumba" in ran.err
