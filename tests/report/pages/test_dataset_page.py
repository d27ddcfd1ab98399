from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.builders import Ran, fill, make_clip

from dancecli.dataset.split.split import SplitSettings, split
from dancecli.report.pages.dataset_page import pictures
from dancecli.storage.workspace import Workspace
from dancecli.video.ffmpeg import run_ffmpeg

LABELS = ("tap dancing", "a<script>alert(1)</script>", "krumping")


@pytest.fixture
def filmed(workspace: Workspace) -> Workspace:
    """40 clips, of which 10 can be read."""
    clips = [make_clip(i, LABELS[i % 2], num_frames=25) for i in range(40)]
    fill(workspace, clips, LABELS)
    source_video = workspace.root / "film.mp4"
    run_ffmpeg(
        [
            "-f",
            "lavfi",
            "-i",
            "testsrc2=size=128x96:rate=25:duration=1",
            "-pix_fmt",
            "yuv420p",
            str(source_video),
        ]
    )
    for clip in clips[:10]:
        (workspace.root / clip.path).write_bytes(source_video.read_bytes())
    return workspace


def draw(dance: Callable[..., Ran]) -> str:
    ran = dance("stats")
    assert ran.code == 0, ran.err
    path = re.search(r"page: (.+)", ran.err)
    assert path
    return Path(path[1]).read_text(encoding="utf-8")


def test_the_page_shows_the_figures_and_needs_nothing_else(
    filmed: Workspace, dance: Callable[..., Ran]
) -> None:
    split(filmed, SplitSettings(ratios="80/10/10"))
    page = draw(dance)
    assert "<h1>40 clips</h1>" in page
    assert page.count("<img ") == sum(map(len, pictures(filmed, LABELS).values())) > 0
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert draw(dance) == page


def test_folds_are_no_empty_training_set(filmed: Workspace, dance: Callable[..., Ran]) -> None:
    split(filmed, SplitSettings(folds=4, name="four"))
    page = draw(dance)
    assert "Split “four”: 4 folds for cross-validation." in page
    assert "dance finetune --folds --split four" in page
    assert "train</button>" not in page
    found = dance("stats", "--json").json
    assert (found["folds"], found["total"]["subsets"]) == ("4 folds", {})
    assert "Split `four`: 4 folds for cross-validation; hash" in (
        filmed.report("dataset") / "README.md"
    ).read_text(encoding="utf-8")


def test_markup_in_a_label_is_shown_not_run(filmed: Workspace, dance: Callable[..., Ran]) -> None:
    page = draw(dance)
    assert page.count("<script") == 2  # the page's data, and its own script
    assert "<script>alert" not in page
    assert "a&lt;script&gt;alert(1)" in page


def test_a_clip_that_cannot_be_read_has_no_picture(filmed: Workspace) -> None:
    for path in (filmed.root / "clips").rglob("*.mp4"):
        path.write_bytes(b"no video")
    assert pictures(filmed, LABELS) == {label: [] for label in LABELS}


def test_one_number_of_clips_is_no_range_and_clips_that_cannot_be_read_are_clips(
    workspace: Workspace, dance: Callable[..., Ran]
) -> None:
    fill(workspace, [make_clip(i, LABELS[i % 2]) for i in range(4)], LABELS[:2])
    page = draw(dance)
    assert "Each class has 2 clips." in page
    assert page.count("no picture of its clips") == 2
