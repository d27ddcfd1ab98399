from __future__ import annotations

import json

import pytest
from model.conftest import LABELS

from dancecli.core.errors import DanceError
from dancecli.core.records import Clip, Segment, Subset
from dancecli.core.video_files import clip_path
from dancecli.dataset.split.annotations import annotate
from dancecli.dataset.split.split import SplitSettings, split
from dancecli.model.dataloading.split_data import load_split
from dancecli.storage import tables
from dancecli.storage.corrections import Correction, append_corrections


def test_a_sound_split_gives_its_examples_in_the_order_of_its_lists(corpus):
    workspace = corpus(val=0)
    data = load_split(workspace, None)
    assert (data.name, data.counts) == ("small", {"train": 9, "val": 0, "test": 3})
    lines = (workspace.annotations("small") / "test.txt").read_text().splitlines()
    assert [f"{e.path} {e.label_index}" for e in data.examples[Subset.TEST]] == lines
    assert any("no validation subset" in note for note in data.notes)
    assert (
        data.test_hash
        == load_split(workspace, "small").test_hash
        != load_split(corpus(test=4), "small").test_hash
    )


def change(text, old, new):
    assert old in text
    return text.replace(old, new, 1)


def path_of(video: str) -> str:
    return clip_path("clips", f"{video}_0_2000.mp4")


@pytest.mark.parametrize(
    ("file", "edit", "sentence"),
    [
        ("label_map.txt", lambda t: change(t, "sliding", "gliding"), "label_map.txt:2: has 'gliding'"),
        ("label_map.txt", lambda t: change(t, "turning\n", ""), "has 2 labels, the split has 3"),
        ("label_map.txt", lambda t: None, "no such label map"),
        ("train.txt", lambda t: None, "no such list"),
        ("train.txt", lambda t: change(t, ".mp4 0", ".mp4 1"), "train.txt:1: class 1 is not 'bouncing'"),
        ("train.txt", lambda t: change(t, ".mp4 0", ".mp4 9"), "train.txt:1: class 9 is not 'bouncing'"),
        ("train.txt", lambda t: change(t, "vid00", "vid99"), "is not a clip of the workspace"),
        ("train.txt", lambda t: change(t, ".mp4 0", ".mp4"), "is not a clip of the workspace"),
        ("train.txt", lambda t: change(t, "vid00", "vid\udce9"), "train.txt:1: 'clips/"),
        ("train.txt", lambda t: change(t, ".mp4 0", ".mp4 ²"), "is not a clip of the workspace"),
        (
            "test.txt",
            lambda t: change(t, path_of("vid09"), path_of("vid00")),
            "is not in the test subset of split 'small'",
        ),
        ("test.txt", lambda t: "", "has no clips in its test subset"),
    ],
)
def test_lists_that_do_not_agree_with_the_split_are_named_with_their_line(corpus, file, edit, sentence):
    workspace = corpus()
    path = workspace.annotations("small") / file
    text = edit(path.read_text())
    path.unlink() if text is None else path.write_text(text, errors="surrogateescape")
    with pytest.raises(DanceError) as caught:
        load_split(workspace, "small")
    assert sentence in caught.value.message
    assert "\n" not in caught.value.message


def test_a_clip_that_is_gone_and_a_split_that_never_was(corpus):
    workspace = corpus()
    workspace.clip("vid03_0_2000").unlink()
    with pytest.raises(DanceError, match="the clip's file is missing"):
        load_split(workspace, "small")
    with pytest.raises(DanceError, match="there is no split 'large'") as caught:
        load_split(workspace, "large")
    assert caught.value.hint == "known splits: small"


def test_an_augmented_copy_trains_with_its_parent_and_is_never_tested_on(corpus):
    workspace = corpus()
    clips = tables.read(workspace.clips, Clip)
    from dataclasses import replace

    for parent in (clips[0], clips[-1]):
        copy = replace(parent, clip_id=f"{parent.clip_id}.hflip", parent_id=parent.clip_id, op="hflip")
        clips.append(replace(copy, path=f"augmented/{copy.clip_id}.mp4"))
        (workspace.root / "augmented").mkdir(exist_ok=True)
        (workspace.root / clips[-1].path).write_bytes(b"x")
    tables.write(workspace.clips, Clip, clips)
    folder = workspace.annotations("small")
    with (folder / "train.txt").open("a") as file:
        file.write(f"{clips[-2].path} 0\n")
    assert load_split(workspace, "small").counts["train"] == 8
    with (folder / "test.txt").open("a") as file:
        file.write(f"{clips[-1].path} 2\n")
    with pytest.raises(DanceError, match="is an augmented clip"):
        load_split(workspace, "small")


def test_a_corrected_label_is_the_one_that_is_trained_on(corpus):
    workspace = corpus()
    clip = tables.read(workspace.clips, Clip)[0]
    tables.write(workspace.segments, Segment, [], {"labels": json.dumps(LABELS)})
    other = next(label for label in LABELS if label != clip.label)
    append_corrections(workspace, [Correction(clip.clip_id, "label", clip.label, other)])
    split(workspace, SplitSettings(ratios="60/20/20", name="corrected"))
    annotate(workspace, "corrected")
    data = load_split(workspace, "corrected")
    trained = {e.clip_id: data.labels[e.label_index] for own in data.examples.values() for e in own}
    assert trained[clip.clip_id] == other
    assert not any("corrections" in note for note in data.notes)
