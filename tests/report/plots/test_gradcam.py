"""Which clips are looked into, and the pictures on the page."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable

import numpy as np
import pytest
from helpers.builders import Ran
from helpers.fake_run import make_run
from PIL import Image

from dancecli.core.errors import InputError
from dancecli.report.plots.gradcam import pick_clips, picked, read_gradcam
from dancecli.report.report import ReportSettings, report
from dancecli.report.results.run_results import SubsetScores, read_run_results
from dancecli.storage.workspace import Workspace

LABELS = ("wave", "spin", "<b>bounce</b>", "step", "robot", "kick")
RUN = "inception-demo-1"


@pytest.fixture
def made(workspace: Workspace) -> Workspace:
    return make_run(workspace.root, LABELS, test=48, val=12, skill=1.5)


def draw(workspace: Workspace, clips: tuple[tuple[str, int], ...]) -> bytes:
    folder = workspace.run(RUN) / "gradcam"
    folder.mkdir()
    held = io.BytesIO()
    Image.new("RGB", (60, 10), "red").save(held, "JPEG")
    for clip, _ in clips:
        (folder / f"{clip}.jpg").write_bytes(held.getvalue())
    rows = [{"clip_id": clip, "class_index": of} for clip, of in clips]
    (folder / "index.json").write_text(json.dumps({"schema": 1, "clips": rows}))
    return held.getvalue()


def test_the_worst_mistakes_come_first_and_some_right_ones_too() -> None:
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3], [0.1, 0.9], [0.4, 0.6]])
    truth = np.array([0, 0, 0, 1, 1, 1])
    subset = SubsetScores(tuple("abcdef"), tuple("abcdef"), truth, scores)
    assert picked(subset, 3) == (("b", 1), ("d", 0), ("a", 0))
    # The wrong ones are few: the surest of each class fill the rest, and no clip stands twice.
    assert picked(subset, 9) == (("b", 1), ("d", 0), ("a", 0), ("e", 1))


def test_pictures_stand_on_the_page_and_those_of_another_answer_do_not(made: Workspace) -> None:
    clips = pick_clips(made, RUN, "test", 6)
    content = draw(made, ((clips[0][0], (clips[0][1] + 1) % 6), *clips[1:]))
    found = read_gradcam(made, read_run_results(made, RUN))
    assert len(found["test"]) == 5
    assert found["val"] == []
    page = report(made, ReportSettings(RUN)).page.read_text()
    assert page.count("<img src=") == 5
    assert base64.b64encode(content).decode() in page
    assert 'id="heat"' in page
    assert "<b>bounce" not in page


def test_a_run_that_nobody_looked_into_has_no_such_section(made: Workspace) -> None:
    assert 'id="heat"' not in report(made, ReportSettings(RUN)).page.read_text()


def test_a_damaged_picture_or_index_is_refused(made: Workspace) -> None:
    clips = pick_clips(made, RUN, "test", 2)
    draw(made, clips)
    path = made.run(RUN) / "gradcam" / f"{clips[0][0]}.jpg"
    path.write_bytes(b"<script>")
    with pytest.raises(InputError, match="is not there, or no JPEG"):
        report(made, ReportSettings(RUN))
    path.with_name("index.json").write_text("[]")
    with pytest.raises(InputError, match="is not the index of a run's pictures"):
        report(made, ReportSettings(RUN))


def test_a_run_without_weights_is_one_line(made: Workspace, dance: Callable[..., Ran]) -> None:
    ran = dance("report", "--grad-cam", "4")
    assert ran.code == 1
    assert ran.err.startswith(f"error: run '{RUN}'")
