"""`dance report`: what it writes, and how it refuses what does not belong together."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.builders import Ran
from helpers.fake_run import make_run

from dancecli.cli.console import print_scores
from dancecli.core.errors import DanceError
from dancecli.core.records import Prediction, SplitClip
from dancecli.model.training.scoring import accuracy
from dancecli.report.plots.confusion_matrix import draw_confusion
from dancecli.report.report import ReportSettings, report
from dancecli.storage import tables
from dancecli.storage.workspace import Workspace

SIX = ("wave", "spin", "bounce", "step touch", "robot", "kick ball change")
GOLD = Path(__file__).parents[1] / "golden" / "report_metrics.json"
FILES = (
    "index.html", "metrics.json", "model-card.md", "references.bib", "confusion.csv",
)  # fmt: skip
RUN = "inception-demo-1"


@pytest.fixture
def made(workspace: Workspace) -> Workspace:
    return make_run(workspace.root, SIX, test=48, val=18)


def change_card(workspace: Workspace, **changed: Any) -> None:
    path = workspace.run(RUN) / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


def change_predictions(workspace: Workspace, change: Callable[[list[Prediction]], list[Prediction]]) -> None:
    path = workspace.run(RUN) / "predictions.parquet"
    meta = {k: v for k, v in tables.read_meta(path).items() if not k.startswith("dance.")}
    tables.write(path, Prediction, change(tables.read(path, Prediction)), meta)


def test_the_figures_are_those_of_the_gold_file(made: Workspace) -> None:
    result = report(made, ReportSettings())
    assert result.page.with_name("metrics.json").read_text() == GOLD.read_text()


def test_with_ties_the_run_record_the_terminal_and_the_page_give_the_same_counts(
    made: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    def tied(rows: list[Prediction]) -> list[Prediction]:
        """Round the scores, so that many share the first or the fifth place, and some are 0."""
        return [replace(r, scores=rounded(r.scores)) for r in rows]

    def rounded(scores: tuple[float, ...]) -> tuple[float, ...]:
        steps = [round(4 * score / max(scores)) for score in scores]
        return tuple(step / sum(steps) for step in steps)

    change_predictions(made, tied)
    rows = tables.read(made.run(RUN) / "predictions.parquet", Prediction)
    recorded = {s: accuracy([r for r in rows if r.subset == s]) for s in ("val", "test")}
    change_card(made, results=recorded)
    print_scores(json.loads((made.run(RUN) / "run.json").read_text()))
    terminal = capsys.readouterr().out
    result = report(made, ReportSettings())
    page = result.page.read_text()
    for subset, n in (("val", 18), ("test", 48)):
        found, figures = recorded[subset], result.document["subsets"][subset]
        assert found is not None
        assert (found["top1"], found["top5"]) == (figures["top1"]["k"], figures["top5"]["k"])
        assert f"{found['top1']}/{n} (" in terminal
        assert f"{found['top1']} of {n} clips" in page
        assert any(r.scores.count(max(r.scores)) > 1 for r in rows if r.subset == subset)
    assert result.headline.startswith(f"top-1 {recorded['test']['top1']}/48 ")  # type: ignore[index]


def test_a_label_that_the_figure_s_font_lacks_is_given_by_its_number(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    drawn = []
    for name, label in (("own", "\u65e5\u672c\u821e\u8e0a"), ("number", "class 0"), ("other", "class 1")):
        (tmp_path / name).mkdir()
        draw_confusion(tmp_path / name, [[2, 0], [1, 3]], [label, "salsa"])
        drawn.append((tmp_path / name / "confusion.svg").read_bytes())
    assert not recwarn.list
    assert drawn[0] == drawn[1] != drawn[2]


def test_what_is_written_agrees_with_itself(made: Workspace) -> None:
    result = report(made, ReportSettings())
    found = json.loads(result.page.with_name("metrics.json").read_text())["subsets"]["test"]
    rows = list(csv.reader(result.page.with_name("confusion.csv").open()))
    assert rows[0][1:] == [row[0] for row in rows[1:]] == list(SIX)
    counts = [[int(cell) for cell in row[1:]] for row in rows[1:]]
    assert counts == found["confusion"]
    assert sum(counts[i][i] for i in range(6)) == found["top1"]["k"]
    assert sum(map(sum, counts)) == found["top1"]["n"] == 48
    k = found["top1"]["k"]
    assert result.headline.startswith(f"top-1 {k}/48 = {100 * k / 48:.1f} % (")
    assert f"{k} of 48 clips correct" in result.page.read_text()


def test_made_again_it_is_the_same_to_the_byte(made: Workspace) -> None:
    folder = report(made, ReportSettings()).page.parent
    before = {name: (folder / name).read_bytes() for name in FILES}
    assert sorted(p.name for p in folder.iterdir()) == sorted(FILES)
    report(made, ReportSettings())
    assert {name: (folder / name).read_bytes() for name in FILES} == before


def test_the_time_spent_waiting_for_clips_is_shown_where_it_was_measured(made: Workspace) -> None:
    change_card(made, data_wait={"waited_s": 12.4, "of_s": 80.0})
    text = report(made, ReportSettings()).page.read_text()
    assert "Waiting for clips to be decoded: 12.4 s of 1 min 20 s of training steps, 15.5 %." in text
    for nothing in (None, {}, {"waited_s": 0.0, "of_s": 0.0}):
        change_card(made, data_wait=nothing)
        assert "waiting for clips" not in report(made, ReportSettings()).page.read_text().lower()


def test_the_model_card_reads_as_markdown_with_front_matter(workspace: Workspace) -> None:
    labels = ("a|b", "<b>c</b>", "d\\e", "f", "g", "h")
    made = make_run(workspace.root, labels, test=24)
    text = report(made, ReportSettings()).page.with_name("model-card.md").read_text()
    _, front, body = text.split("---\n", 2)
    assert re.search(r"type: accuracy, value: \d+\.\d\d, name: \"top-1, \d+/24\"", front)
    rows = [line for line in body.splitlines() if re.match(r"\| (a|\\<b|d|f|g|h)\S* \|", line)]
    assert len(rows) == 6
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {7}
    assert not re.search(r"(?<!\\)<b>", body)
    assert "&" not in body
    assert "dance finetune --pretrain inception --split demo --name inception-demo-1\n" in body


def test_it_takes_the_run_made_last_and_any_name(made: Workspace) -> None:
    make_run(made.root, SIX, test=12, name="another-1")
    result = report(made, ReportSettings(name="paper"))
    assert (result.run, result.page) == ("another-1", made.root / "reports" / "paper" / "index.html")


def test_validation_can_be_the_headline(made: Workspace) -> None:
    assert "/18 = " in report(made, ReportSettings(subset="val")).headline


@pytest.mark.parametrize(
    ("labels", "test", "val", "headline"),
    [
        (("only",), 1, 0, "top-1 1/1 = 100.0 % (20.7-100.0, chance 100.0)"),
        (SIX[:3], 7, 0, "top-1 "),
        (tuple(f"class {i}" for i in range(41)), 41, 5, "top-1 "),
    ],
)
def test_small_and_large(
    workspace: Workspace, labels: tuple[str, ...], test: int, val: int, headline: str
) -> None:
    result = report(make_run(workspace.root, labels, test, val, train=len(labels)), ReportSettings())
    assert result.headline.startswith(headline)
    assert ("top-5" in result.headline) == (len(labels) > 5)


def test_a_dry_run_writes_nothing(made: Workspace) -> None:
    assert not report(made, ReportSettings(), dry_run=True).page.parent.exists()


def test_a_page_loads_nothing_that_it_does_not_need(made: Workspace) -> None:
    code = (
        "import sys; from pathlib import Path; from dancecli.storage.workspace import Workspace;"
        "from dancecli.report.report import ReportSettings, report;"
        f"report(Workspace(Path({str(made.root)!r})), ReportSettings()); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "jinja2" in done.stdout.split()
    # A third of the processor time of the page of a thousand clips.
    assert not {"pandas", "pyarrow.compute", "matplotlib"} & set(done.stdout.split())


def swap_two(rows: list[Prediction]) -> list[Prediction]:
    first = rows[0]
    return [Prediction(first.clip_id, first.subset, (first.label_index + 1) % 6, first.scores), *rows[1:]]


def stretch(rows: list[Prediction]) -> list[Prediction]:
    first = rows[0]
    scores = tuple(2 * s for s in first.scores)
    return [Prediction(first.clip_id, first.subset, first.label_index, scores), *rows[1:]]


def shorten(rows: list[Prediction]) -> list[Prediction]:
    second = rows[1]
    return [rows[0], replace(second, scores=second.scores[:-1]), *rows[2:]]


def damage(workspace: Workspace, text: str, *subsets: str) -> None:
    workspace.root.joinpath(*subsets).write_text(text)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda s: damage(s, "{", "runs", RUN, "run.json"), "run.json: the run record is not valid JSON"),
        (lambda s: damage(s, "[]", "runs", RUN, "run.json"), "run.json: is not a run record"),
        (lambda s: damage(s, "PAR1", "runs", RUN, "predictions.parquet"), "is not a readable Parquet file"),
        (lambda s: damage(s, "{}\n{\n{}\n", "runs", RUN, "metrics.jsonl"), "metrics.jsonl:2: is not JSON"),
        (lambda s: change_card(s, schema=2), "written by a newer dance (schema 2, this one reads 1)"),
        (lambda s: change_card(s, name="other"), "is the record of run 'other'"),
        (lambda s: change_card(s, labels=list(SIX[:5])), "its labels are not those of run.json"),
        (lambda s: change_card(s, split={"name": "demo", "hash": "0" * 64}), "its split.hash is"),
        (lambda s: (s.run(RUN) / "predictions.parquet").unlink(), "has no predictions yet (it is 'done')"),
        (lambda s: s.clips.unlink(), "clips.parquet: there is no such manifest"),
        (lambda s: s.split("demo").unlink(), "demo.parquet: there is no such manifest"),
        (
            lambda s: tables.write(s.split("demo"), SplitClip, [], {"split.hash": "f" * 64}),
            "is now ffffffffffff",
        ),
        (lambda s: change_predictions(s, lambda rows: rows[:-2]), "test: 2 of 48 clips have no prediction"),
        (lambda s: change_predictions(s, lambda rows: [*rows, rows[-1]]), "is not a clip of that subset, or"),
        (lambda s: change_predictions(s, swap_two), "is 'spin' here and 'wave' in the split"),
        (lambda s: change_predictions(s, stretch), "predictions.parquet:1: the scores do not sum to 1"),
        (lambda s: change_predictions(s, shorten), "predictions.parquet:2: has 5 scores for 6 classes"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    made: Workspace, spoil: Callable[[Workspace], object], says: str
) -> None:
    spoil(made)
    with pytest.raises(DanceError) as caught:
        report(made, ReportSettings(run=RUN))
    assert says in caught.value.message
    assert "\n" not in caught.value.message
    assert not (made.root / "reports").exists()


def test_clips_shared_with_training_are_said_on_the_page(made: Workspace) -> None:
    path = made.split("demo")
    rows = tables.read(path, SplitClip)
    leaked = next(row.group for row in rows if row.subset == "test")
    rows[0] = SplitClip(rows[0].clip_id, "train", leaked, rows[0].label, rows[0].sha256)
    tables.write(path, SplitClip, rows, {"split.hash": tables.read_meta(path)["split.hash"]})
    page = report(made, ReportSettings()).page.read_text()
    assert "1 source video of this subset are also in the training set" in page
    assert "none of which is in the training set" not in page.split('data-subset="val"')[0]


def test_the_command(made: Workspace, dance: Callable[..., Ran]) -> None:
    ran = dance("report")
    assert (ran.code, ran.out.splitlines()[1]) == (0, str(made.report(RUN) / "index.html"))
    assert ran.out.startswith("top-1 ")
    assert f"run {RUN} (the latest)" in ran.err
    told = dance("report", "--run", RUN, "--name", "paper", "--json").json
    assert told["page"] == str(made.report("paper") / "index.html")
    assert told["subsets"]["test"]["top1"]["n"] == 48


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "error: there is no run in {root} to report on\n  hint: make one first: dance finetune\n"),
        (("--run", "x"), "error: there is no run 'x' in {root}\n  hint: make one: dance finetune\n"),
        (("--run", "../x"), "error: run name '../x' cannot be used\n"),
    ],
)
def test_no_run_is_one_line(
    workspace: Workspace, dance: Callable[..., Ran], args: tuple[str, ...], says: str
) -> None:
    ran = dance("report", *args)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(says.format(root=workspace.root))
