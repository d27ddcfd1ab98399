"""The benchmark of poses: its tables are of the runs' own figures, and its corpora are made first."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest
from helpers.fake_run import make_run

from benchmarks import pose_variants
from benchmarks.pose_variants import FLOW, PICTURES, PLANTED, POSE, Corpus
from dancecli.core.records import Control, Prediction, SplitClip
from dancecli.storage import tables
from dancecli.storage.runs import RunFolder
from dancecli.storage.workspace import Workspace

LABELS = ("salsa", "swing", "tango", "zumba")
TRAINED = "inception-demo-1"


def made_up(root: Path, name: str, skills: dict[str, float]) -> Corpus:
    """A workspace with runs of these skills, the first of which is that of `dance demo`."""
    for run, skill in skills.items():
        make_run(root, LABELS, test=40, val=20, name=run, skill=skill, salt=run)
    path = root / "runs" / next(iter(skills)) / "run.json"
    settings = {"pretrain": "inception", "recipe": "demo", "freeze": None}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"settings": settings}))
    return Corpus(root, name)


def table(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    """The cells of the printed table, without its rule."""
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def right(corpus: Corpus, run: str) -> int:
    """Of the 40 test clips."""
    rows = tables.read(RunFolder(corpus.root / "runs" / run).predictions, Prediction)
    return sum(row.scores.index(max(row.scores)) == row.label_index for row in rows if row.subset == "test")


def test_poses_are_compared_with_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = made_up(tmp_path, "misleading", {TRAINED: 0.5, POSE: 6.0})
    pose_variants.against_poses([corpus])
    head, row = table(capsys)
    assert row[0] == "misleading"
    one, other = right(corpus, TRAINED), right(corpus, POSE)
    assert row[1].startswith(f"{one}/40 (")
    assert row[2].startswith(f"{other}/40 (")
    assert row[3].startswith(f"{100 * (other - one) / 40:+.0f} (+")
    assert float(row[4]) < 0.01
    assert len(head) == len(row)


def test_what_survives_a_control_is_that_of_the_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = made_up(tmp_path, "misleading", {PLANTED: 6.0})
    folder = RunFolder(tmp_path / "runs" / PLANTED)
    rows = [row for row in tables.read(folder.predictions, Prediction) if row.subset == "test"]
    path = folder.controlled(Control.BACKGROUND)
    path.parent.mkdir()
    tables.write(path, Prediction, rows, {"test.hash": tables.read_meta(folder.predictions)["test.hash"]})
    pose_variants.under_controls([corpus])
    row = table(capsys)[1]
    assert row[:2] == ["planted", "background"]
    assert row[2] == row[3]
    assert (row[4], row[6]) == ("25 %", "1")
    assert row[5].startswith("100 % (")


def test_an_ensemble_is_tested_against_each_stream(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = made_up(tmp_path, "demo", {PICTURES: 2.0, FLOW: 2.0, POSE: 2.0})
    pose_variants.streams(corpus)
    head, *rows = table(capsys)
    assert [row[0] for row in rows] == [PICTURES, FLOW, POSE, pose_variants.ALL]
    assert all(len(row) == len(head) for row in rows)
    assert sum(float(row[2]) for row in rows[:3]) == pytest.approx(1, abs=0.02)
    whole = right(corpus, pose_variants.ALL)
    assert rows[3][1].startswith(f"{whole}/40 (")
    for name, row in zip((PICTURES, FLOW, POSE), rows[:3], strict=True):
        assert row[1].startswith(f"{right(corpus, name)}/40 (")
        assert row[5].startswith(f"{100 * (whole - right(corpus, name)) / 40:+.0f} (")


def test_a_run_is_trained_resumed_or_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = made_up(tmp_path, "demo", {PICTURES: 2.0, POSE: 2.0})
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(Corpus, "dance", lambda _, *words: asked.append(words) or "")
    corpus.train_poses()
    assert asked == []
    path = tmp_path / "runs" / POSE / "run.json"
    path.write_text(path.read_text().replace('"done"', '"interrupted"'))
    corpus.train_poses()
    corpus.train_streams()
    assert asked[0] == ("finetune", "--resume", "--name", POSE)
    assert [words[0] for words in asked[1:]] == ["flow", "finetune"]
    assert asked[2][-2:] == ("--name", FLOW)


def test_planted_backgrounds_are_tested_on_videos_of_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = made_up(tmp_path, "misleading", {TRAINED: 2.0})
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(Corpus, "dance", lambda _, *words: asked.append(words) or "")
    corpus.plant()
    listed = tmp_path / "planted.csv"
    assert asked[0] == ("split", "--keep-official", str(listed), "--name", PLANTED)
    assert asked[1][-2:] == ("--name", PLANTED)
    subsets = dict(line.split(",") for line in listed.read_text().splitlines()[1:])
    old = {row.clip_id: row for row in tables.read(Workspace(tmp_path).split("demo"), SplitClip)}
    assert set(subsets) == {clip for clip, row in old.items() if row.subset != "test"}
    assert all(subset == "val" for clip, subset in subsets.items() if old[clip].subset == "val")
    held = Counter(old[clip].label for clip, subset in subsets.items() if subset == "test")
    kept = Counter(old[clip].label for clip, subset in subsets.items() if subset == "train")
    assert held == dict.fromkeys(LABELS, 5)
    assert kept == dict.fromkeys(LABELS, 10)


def test_every_corpus_is_made_before_its_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, ...]] = []
    for step in ("make", "find_poses", "train_poses", "plant", "take_away", "train_streams"):
        monkeypatch.setattr(Corpus, step, lambda self, step=step: made.append((self.name, step)))
    for shown in ("against_poses", "under_controls"):
        monkeypatch.setattr(
            pose_variants, shown, lambda of, shown=shown: made.append((shown, *[c.name for c in of]))
        )
    monkeypatch.setattr(pose_variants, "streams", lambda of: made.append(("streams", of.name)))
    monkeypatch.setattr(sys, "argv", ["pose_variants", str(tmp_path)])
    pose_variants.main()
    poses = ("make", "find_poses", "train_poses")
    assert made == [
        *[("misleading", step) for step in (*poses, "plant", "take_away")],
        *[("hidden-limbs", step) for step in poses],
        *[("demo", step) for step in (*poses, "take_away", "train_streams")],
        ("against_poses", "misleading", "hidden-limbs", "demo"),
        ("under_controls", "misleading", "demo"),
        ("streams", "demo"),
    ]
