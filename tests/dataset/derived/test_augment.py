from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import clip_workspace
from helpers.builders import Ran
from helpers.clip_workspace import populate

from dancecli.core.errors import UsageError
from dancecli.core.hashing import sha256_file
from dancecli.core.progress import Progress, Reporter
from dancecli.core.records import Clip, SplitClip
from dancecli.core.video_files import clip_path
from dancecli.dataset.clips import rebuild_clips
from dancecli.dataset.derived.augment import AugmentSettings, augment, targets_of
from dancecli.dataset.derived.augment_log import log_of
from dancecli.dataset.split.annotations import annotate
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace
from dancecli.video.decode import decode

clip_files, populated = clip_workspace.clip_files, clip_workspace.populated

TWO = AugmentSettings(ops="hflip,jitter", workers=1)


def copies(workspace: Workspace) -> dict[str, Clip]:
    return {c.clip_id: c for c in tables.read(workspace.clips, Clip) if c.parent_id}


def files(workspace: Workspace) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in (workspace.root / "augmented").rglob("*.mp4")}


def stamps(workspace: Workspace) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (workspace.root / "augmented").rglob("*.mp4")}


def test_copies_are_recorded_as_what_they_are(populated: Workspace) -> None:
    result = augment(populated, AugmentSettings(ops="hflip,hflip+jitter", workers=2))
    assert (result.num_parents, result.made, result.failed) == (3, {"hflip": 3, "hflip-jitter": 3}, ())
    parents = {c.clip_id: c for c in tables.read(populated.clips, Clip) if not c.parent_id}
    assert len(copies(populated)) == 6
    for copy in copies(populated).values():
        parent = parents[copy.parent_id]
        path = populated.root / copy.path
        assert copy.clip_id == f"{parent.clip_id}.{copy.op.partition('(')[0].replace('+', '-')}"
        assert copy.path == clip_path("augmented", f"{copy.clip_id}.mp4")
        assert decode(path).num_frames == copy.num_frames == parent.num_frames
        assert (copy.sha256, copy.num_bytes) == (sha256_file(path), path.stat().st_size)
        assert (copy.label, copy.video_id) == (parent.label, parent.video_id)
        assert copy.op == "hflip" or copy.op.startswith("hflip+jitter(brightness=")


def test_the_same_seed_gives_the_same_bytes_whatever_is_made_with_them(
    populated: Workspace, clip_files: list[Path], tmp_path: Path
) -> None:
    augment(populated, replace(TWO, workers=2))
    other = Workspace(tmp_path / "other")
    populate(other, clip_files)
    augment(other, AugmentSettings(ops="noise", workers=1))
    augment(other, AugmentSettings(ops="jitter,vflip,hflip", workers=1))
    assert files(populated).items() <= files(other).items()


def test_running_again_is_free(populated: Workspace) -> None:
    augment(populated, TWO)
    before, manifest_before = stamps(populated), populated.clips.stat().st_mtime_ns
    again = augment(populated, TWO)
    assert again.made == {"hflip": 0, "jitter": 0}
    assert again.num_bytes == sum(c.num_bytes for c in copies(populated).values())
    assert stamps(populated) == before
    assert populated.clips.stat().st_mtime_ns == manifest_before


def test_lines_of_the_log_that_cannot_be_read_cost_their_copy_alone(populated: Workspace) -> None:
    augment(populated, TWO)
    log = log_of(populated).path
    lines = log.read_bytes().splitlines(keepends=True)
    other_form = b'{"clip": {"clip_id": "a"}}\n[]\n3\n'
    log.write_bytes(b"".join(lines[1:]) + other_form + b'{"clip": {"clip_id": "a", "label": "w\xc3')
    assert sum(augment(populated, TWO).made.values()) == 1
    assert sum(augment(populated, TWO).made.values()) == 0


def test_another_seed_redoes_only_what_is_drawn(populated: Workspace) -> None:
    augment(populated, TWO)
    before, ops = files(populated), {i: c.op for i, c in copies(populated).items()}
    result = augment(populated, replace(TWO, seed=1))
    assert result.made == {"hflip": 0, "jitter": 3}
    changed = {name for name, digest in files(populated).items() if digest != before[name]}
    assert changed == {name for name in before if name.endswith(".jitter.mp4")}
    assert {i for i, c in copies(populated).items() if c.op != ops[i]} == {
        n.removesuffix(".mp4") for n in changed
    }


def test_another_operation_adds_to_those_that_are_there(populated: Workspace) -> None:
    augment(populated, replace(TWO, ops="hflip"))
    assert augment(populated, replace(TWO, ops="vflip")).made == {"vflip": 3}
    assert len(copies(populated)) == 6


def test_a_lost_copy_and_one_of_a_changed_parent_are_made_again(
    populated: Workspace, clip_files: list[Path]
) -> None:
    augment(populated, TWO)
    clips = tables.read(populated.clips, Clip)
    first, second = sorted(c.clip_id for c in clips if not c.parent_id)[:2]
    populated.augmented(first, "hflip").unlink()
    # The second clip is fetched anew, and is now another film.
    shutil.copyfile(clip_files[4], populated.clip(second))
    facts = {
        "num_frames": 24,
        "num_bytes": clip_files[4].stat().st_size,
        "sha256": sha256_file(clip_files[4]),
    }
    renewed = [replace(c, **facts) if c.clip_id == second else c for c in clips]
    tables.write(populated.clips, Clip, renewed)
    assert augment(populated, TWO).made == {"hflip": 2, "jitter": 1}
    assert copies(populated)[f"{second}.jitter"].num_frames == 24


def test_a_corrected_label_reaches_the_copies_without_work(populated: Workspace) -> None:
    augment(populated, TWO)
    renamed = [c if c.parent_id else replace(c, label="tango") for c in tables.read(populated.clips, Clip)]
    tables.write(populated.clips, Clip, renamed)
    assert augment(populated, TWO).made == {"hflip": 0, "jitter": 0}
    assert {c.label for c in copies(populated).values()} == {"tango"}


def test_a_fetch_leaves_the_copies_in_the_manifest(populated: Workspace) -> None:
    augment(populated, TWO)
    before = copies(populated)
    rebuild_clips(populated)
    assert copies(populated) == before


def test_a_clip_that_cannot_be_copied_is_a_row_and_the_others_are_made(
    populated: Workspace, dance: Callable[..., Ran]
) -> None:
    clips = sorted(c.clip_id for c in tables.read(populated.clips, Clip))
    broken, lost = populated.clip(clips[0]), populated.clip(clips[1])
    whole = broken.read_bytes()
    broken.write_bytes(whole[:-100])
    lost.unlink()
    ran = dance("augment", "--ops", "hflip,noise", "--json")
    assert ran.code == 3
    assert [clip_id for clip_id, _ in ran.json["failed"]] == sorted(
        f"{clip_id}.{op}" for clip_id in clips[:2] for op in ("hflip", "noise")
    )
    assert ran.json["made"] == {"hflip": 1, "noise": 1}
    assert "changed since it was committed" in ran.err
    # The file comes back: the next run makes what is missing.
    broken.write_bytes(whole)
    assert dance("augment", "--ops", "hflip,noise", "--json").json["made"] == {"hflip": 1, "noise": 1}


def test_a_copy_that_is_shorter_than_its_parent_is_refused(populated: Workspace) -> None:
    clips = tables.read(populated.clips, Clip)
    tables.write(populated.clips, Clip, [replace(c, num_frames=c.num_frames + 1) for c in clips])
    result = augment(populated, replace(TWO, ops="hflip"))
    assert len(result.failed) == 3
    assert "20 frames of 128x96, not 21" in result.failed[0][1]
    assert not files(populated)
    assert not copies(populated)


def test_an_interrupted_run_resumes(populated: Workspace) -> None:
    def stop(now: Progress) -> None:
        if now.done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        augment(populated, TWO, Reporter(stop))
    assert len(copies(populated)) == 2
    assert augment(populated, TWO).made == {"hflip": 2, "jitter": 2}


def test_a_killed_run_leaves_nothing_half_made_and_resumes(
    populated: Workspace, clip_files: list[Path], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "dancecli", "augment", "--workers", "1"]
    process = subprocess.Popen(
        command, cwd=populated.root, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    log = populated.root / "manifests" / "augmented.jsonl"
    deadline_s = time.monotonic() + 60
    while not (log.exists() and log.stat().st_size > 1) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for path in (populated.root / "augmented").rglob("*.mp4"):
        if ".tmp" not in path.parts:
            decode(path)
    with log.open("a") as file:
        file.write('{"parent_sha256": "half a li')
    result = augment(populated, AugmentSettings(workers=2))
    assert 0 < sum(result.made.values()) < 12
    assert not result.failed
    assert not (populated.root / "augmented" / ".tmp").exists()
    untouched = Workspace(tmp_path / "untouched")
    populate(untouched, clip_files)
    augment(untouched, AugmentSettings(workers=2))
    assert files(populated) == files(untouched)
    assert copies(populated) == copies(untouched)
    assert augment(populated, AugmentSettings()).made == dict.fromkeys(result.made, 0)


@pytest.mark.parametrize("subset", ["val", "test", "all"])
def test_held_out_clips_are_not_augmented(
    populated: Workspace, dance: Callable[..., Ran], subset: str
) -> None:
    with pytest.raises(UsageError, match=f"the {subset} subset is not augmented"):
        augment(populated, AugmentSettings(subset=subset))
    ran = dance("augment", "--subset", subset)
    assert (ran.code, ran.out) == (2, "")
    assert not (populated.root / "augmented").exists()


def test_a_dry_run_counts_and_writes_nothing(populated: Workspace, dance: Callable[..., Ran]) -> None:
    augment(populated, replace(TWO, ops="hflip"))
    before = sorted(populated.root.rglob("*"))
    ran = dance("augment", "--ops", "hflip,noise", "--dry-run", "--json")
    assert (ran.code, ran.json["made"]) == (0, {"hflip": 0, "noise": 3})
    assert sorted(populated.root.rglob("*")) == before


def test_the_preview_is_a_picture_and_no_copy_stays(populated: Workspace, dance: Callable[..., Ran]) -> None:
    from PIL import Image

    ran = dance("augment", "--ops", "vflip,noise", "--preview", "--json")
    assert ran.code == 0
    with Image.open(ran.json["sheet"]) as sheet:
        # Three clips of 128x96 and two copies of each, with room for their captions.
        assert sheet.width > 3 * 128
        assert sheet.height > 3 * 96
    assert not files(populated)
    assert not copies(populated)


def test_the_lists_hold_copies_of_training_clips_alone(
    populated: Workspace, dance: Callable[..., Ran]
) -> None:
    ran = dance("augment", "--ops", "hflip")
    assert ran.code == 0
    assert "train 6, 3 of them augmented" in ran.out
    folder = populated.annotations("full")
    train = (folder / "train.txt").read_text().splitlines()
    labels = dict(line.split(" ") for line in train)
    for path, index in labels.items():
        if path.startswith("augmented/"):
            assert index == labels[path.replace("augmented/", "clips/").replace(".hflip", "")]
    held_out = (folder / "val.txt").read_text() + (folder / "test.txt").read_text()
    assert "augmented" not in held_out
    # Another split holds out a clip that was augmented: its copy is not listed there.
    parts = tables.read(populated.split("full"), SplitClip)
    moved = [replace(p, subset="test" if i == 0 else p.subset) for i, p in enumerate(parts)]
    tables.write(populated.split("other"), SplitClip, moved, tables.read_meta(populated.split("full")))
    assert (annotate(populated, "other").counts["train"], annotate(populated, "other").num_augmented) == (
        4,
        2,
    )
    assert parts[0].clip_id not in (populated.annotations("other") / "train.txt").read_text()
    assert dance("audit", "--split", "other").code == 0


def test_the_copies_can_be_left_out_of_the_lists(populated: Workspace, dance: Callable[..., Ran]) -> None:
    augment(populated, replace(TWO, ops="hflip"))
    assert dance("annotate", "--no-augmented", "--json").json["counts"]["train"] == 3
    assert dance("annotate", "--json").json["augmented"] == 3
    next((populated.root / "augmented").rglob("*.mp4")).unlink()
    assert annotate(populated).counts["train"] == 5


def test_one_operation_is_drawn_apart_in_each_chain(populated: Workspace) -> None:
    parent = tables.read(populated.clips, Clip)[0]
    alone, chained = targets_of(populated, parent, (("jitter",), ("hflip", "jitter")), 0)
    assert alone.ops[-1].name == chained.ops[-1].name == "jitter"
    assert alone.ops[-1] != chained.ops[-1]
