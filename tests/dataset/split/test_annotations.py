from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.builders import fill, make_clip

from dancecli.core.errors import WorkspaceError
from dancecli.core.records import Clip, SplitClip
from dancecli.core.video_files import clip_path
from dancecli.dataset.split.annotations import annotate
from dancecli.dataset.split.split import SplitSettings, split
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace

LABELS = ("zumba", "tap dancing", "belly dancing")


@pytest.fixture
def cut(workspace: Workspace) -> tuple[Workspace, tuple[SplitClip, ...]]:
    fill(workspace, [make_clip(i, LABELS[i % 3]) for i in range(60)], LABELS)
    return workspace, split(workspace, SplitSettings()).clips


def test_lists_hold_a_path_without_spaces_and_the_class_index(
    cut: tuple[Workspace, tuple[SplitClip, ...]],
) -> None:
    workspace, found = cut
    result = annotate(workspace)
    lines = [
        (name, *line.split(" "))
        for name in ("train", "val", "test")
        for line in (result.folder / f"{name}.txt").read_text().splitlines()
    ]
    assert sorted(lines) == sorted(
        (p.subset, clip_path("clips", f"{p.clip_id}.mp4"), str(LABELS.index(p.label))) for p in found
    )
    assert (result.folder / "label_map.txt").read_text().splitlines() == list(LABELS)
    assert result.counts == {"train": 54, "val": 3, "test": 3}


def test_a_clip_without_its_file_is_reported(
    cut: tuple[Workspace, tuple[SplitClip, ...]],
) -> None:
    workspace, found = cut
    gone = next(p for p in found if p.subset == "test")
    workspace.clip(gone.clip_id).unlink()
    result = annotate(workspace, "full")
    assert result.missing == (gone.clip_id,)
    assert result.counts["test"] == 2
    assert gone.clip_id not in (result.folder / "test.txt").read_text()


def test_augmented_clips_are_of_training_clips_alone_and_can_be_left_out(
    cut: tuple[Workspace, tuple[SplitClip, ...]],
) -> None:
    workspace, found = cut
    clips = {clip.clip_id: clip for clip in tables.read(workspace.clips, Clip)}
    one_of_each = {p.subset: p for p in found}
    copies = [
        replace(
            clips[p.clip_id],
            clip_id=f"{part}-copy",
            parent_id=p.clip_id,
            op="hflip",
            path=f"augmented/{part}.mp4",
        )
        for part, p in one_of_each.items()
    ]
    gone = replace(copies[0], clip_id="gone", path="augmented/gone.mp4")
    fill(workspace, [*clips.values(), *copies, gone], LABELS)
    (workspace.root / gone.path).unlink()

    result = annotate(workspace)
    assert (result.num_augmented, result.counts) == (1, {"train": 55, "val": 3, "test": 3})
    lists = "".join((result.folder / f"{part}.txt").read_text() for part in one_of_each)
    assert f"augmented/train.mp4 {LABELS.index(one_of_each['train'].label)}\n" in lists
    assert lists.count("augmented/") == 1
    assert result.missing == ()

    without = annotate(workspace, augmented=False)
    assert (without.num_augmented, without.counts["train"]) == (0, 54)
    assert "augmented/" not in (without.folder / "train.txt").read_text()


def test_an_unknown_split_is_refused_with_the_known_ones(
    cut: tuple[Workspace, tuple[SplitClip, ...]],
) -> None:
    with pytest.raises(WorkspaceError, match="there is no split 'none'") as caught:
        annotate(cut[0], "none")
    assert "full" in caught.value.hint


def test_without_a_split_the_next_step_is_reported(workspace: Workspace) -> None:
    with pytest.raises(WorkspaceError, match="there is no split"):
        annotate(workspace)


def test_lists_that_are_right_stay_and_a_dry_run_writes_none(
    cut: tuple[Workspace, tuple[SplitClip, ...]],
) -> None:
    workspace, _ = cut
    folder = workspace.annotations("full")
    assert annotate(workspace, dry_run=True).counts == {"train": 54, "val": 3, "test": 3}
    assert not folder.exists()
    annotate(workspace)
    written = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    (folder / "val.txt").write_text("changed")
    annotate(workspace)
    again = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {path.name for path in again if again[path] != written[path]} == {"val.txt"}
    assert (folder / "val.txt").read_text() != "changed"
