"""The output of `dance tune`; the search itself is tested in tests/model/tuning."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable

import pytest
from helpers.builders import Ran
from helpers.fake_study import make_study

from dancecli.cli.models import finetune, tune
from dancecli.model.tuning import tune as search
from dancecli.model.tuning.results import StudyFolder
from dancecli.storage.workspace import Workspace

Dance = Callable[..., Ran]


@pytest.fixture
def studied(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace in which the study has just been trained."""
    make_study(workspace.root)
    folder = StudyFolder(workspace.study_folder("fake"))
    record = json.loads(folder.record.read_text())
    monkeypatch.setattr(search, "tune", lambda *_: search.TuneResult("fake", folder, record, 20))
    return workspace


def test_the_choice_is_printed_with_its_accuracy_and_the_next_command(
    studied: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    tune.command(studied.root, trials=20)
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert "trial 6 is chosen: 53/60 (88.3 %, 95 % interval 77.8\u201394.2) of the validation clips" in lines
    assert "next: dance finetune --pretrain inception --split full --recipe studies/fake/best.toml" in lines
    assert (studied.report("fake") / "index.html").exists()
    assert "1 trial is still training in other processes" in printed.err


def test_one_document_holds_trials_and_choice(studied: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    tune.command(studied.root, json_output=True)
    document = json.loads(capsys.readouterr().out)
    assert document["choice"]["chosen"] == document["best"] == 6
    assert len(document["trials"]) == 20


def test_a_trial_is_trained_as_finetune_would_train_it() -> None:
    taken, offered = (
        set(inspect.signature(command).parameters) for command in (tune.command, finetune.command)
    )
    # A trial is one run by epochs on the whole training subset, which is overfitted and named by no user.
    of_one_run = {"head", "protocol", "folds", "curve", "input_", "seeds", "preflight", "resume"}
    assert offered - taken == of_one_run


def test_a_study_can_be_compiled_and_decoded_as_a_run(
    studied: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    made = search.tune
    monkeypatch.setattr(search, "tune", lambda *given: asked.append(given[1]) or made(*given))
    tune.command(studied.root, compiled=True, decoder="ffmpeg", json_output=True)
    assert (asked[0].execution.compiled, asked[0].execution.decoder) == (True, "ffmpeg")


def test_a_split_is_needed(workspace: Workspace, dance: Dance) -> None:
    ran = dance("tune")
    assert ran.code == 1
    assert "there is no split" in ran.err
