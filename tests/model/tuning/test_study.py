"""Studies without a model: who asks what, and what follows from kills, interruptions and bad storages."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import optuna
import pytest

from dancecli.core.errors import InputError, WorkspaceError
from dancecli.core.recipe import Recipe
from dancecli.model.tuning.search_space import read_space
from dancecli.model.tuning.storage import open_study
from dancecli.model.tuning.trial import TrialResult

RECIPE = Recipe(epochs=4)

# Another process at the study `s` of a folder: asks two at a time, up to `wanted`, then sleeps or ends.
WORKER = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_study
from dancecli.model.tuning.trial import TrialResult
study = test_study.opened(Path({folder!r}))
with study.at_work():
    while asked := study.ask(2, {wanted}):
        print(json.dumps([[a.number, dict(a.params)] for a in asked]), flush=True)
        if {hang}:
            time.sleep(600)
        for a in asked:
            study.end(a, TrialResult(top1=0.5, right=(True, False), loss=1.0, epoch=4, epochs=4))
"""


def opened(folder, **identity):
    url, space = f"sqlite:///{folder / 's.db'}", read_space("paper", RECIPE)
    return open_study("s", url, space, RECIPE, 7, {"split": "a", **identity}, folder / "locks")


def worker(folder, wanted, hang):
    from pathlib import Path

    code = WORKER.format(tests=str(Path(__file__).parent), folder=str(folder), wanted=wanted, hang=hang)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def finish(study, asked, top1=0.5):
    study.end(asked, TrialResult(top1=top1, right=(True, False), loss=1.0, epoch=4, epochs=4))


def test_a_study_repeats_and_begins_with_the_recipe_as_it_is(tmp_path):
    params = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        study = opened(tmp_path / name)
        with study.at_work():
            while asked := study.ask(3, 5):
                for trial in asked:
                    finish(study, trial, top1=0.1 * trial.number)
        params.append([dict(row.params) for row in study.rows()])
    assert params[0] == params[1]
    assert params[0][0] == {"lr": 1e-3, "dropout": 0.5, "optimizer": "adam"}
    assert len({row["lr"] for row in params[0]}) == len(params[0]) == 6
    # A reopened study continues with other draws than its first ones.
    again = opened(tmp_path / "one")
    with again.at_work():
        [more] = again.ask(8, 6)
    assert more.params["lr"] not in {row["lr"] for row in params[0]}


def test_a_killed_process_loses_only_the_trials_in_flight_and_they_are_tried_again(tmp_path):
    process = worker(tmp_path, 3, hang=True)
    in_flight = json.loads(process.stdout.readline())
    study = opened(tmp_path)
    with study.at_work():
        # While the other is alive, its trials are its own.
        [mine] = study.ask(1, 3)
        assert mine.number == 2
        finish(study, mine)
        process.send_signal(signal.SIGKILL)
        process.wait()
        again = study.ask(8, 3)
        assert [dict(a.params) for a in again[:2]] == [params for _, params in in_flight]
        for asked in again:
            finish(study, asked)
        assert study.ask(8, 3) == []
    rows = study.rows()
    assert [row.state for row in rows] == ["failed", "failed", "done", "done", "done", "done"]
    assert sum(row.ended for row in rows) == 4
    assert rows[3].note == "repeats trial 0"
    assert rows[3].baseline


def test_a_trial_that_kills_its_process_every_time_is_given_up(tmp_path):
    killed = 0
    while killed < 6:
        process = worker(tmp_path, 1, hang=True)
        if not process.stdout.readline():
            break
        process.kill()
        process.wait()
        killed += 1
    study = opened(tmp_path)
    with study.at_work():
        assert study.ask(8, 1) == []
    # The baseline and the one point, both three times.
    assert killed == 3
    assert sum(row.ended for row in study.rows()) == 2


def test_two_processes_share_a_study_and_reach_its_number_together(tmp_path):
    opened(tmp_path)
    processes = [worker(tmp_path, 9, hang=False) for _ in range(2)]
    numbers = []
    for process in processes:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        numbers += [number for line in out.splitlines() for number, _ in json.loads(line)]
    assert sorted(numbers) == list(range(10))
    assert [row.state for row in opened(tmp_path).rows()] == ["done"] * 10


def test_what_is_in_flight_when_the_work_is_interrupted_waits_for_the_next(tmp_path):
    study = opened(tmp_path)
    with pytest.raises(KeyboardInterrupt), study.at_work():
        first = study.ask(3, 3)
        finish(study, first[0])
        raise KeyboardInterrupt
    assert [row.state for row in study.rows()] == ["done", "failed", "failed", "waiting", "waiting"]
    again = opened(tmp_path)
    with again.at_work():
        asked = again.ask(8, 3)
        assert [a.params for a in asked[:2]] == [a.params for a in first[1:]]
        assert len(asked) == 3


def test_a_trial_below_the_median_is_pruned_and_one_that_failed_is_not_tried_again(tmp_path):
    study = opened(tmp_path)
    with study.at_work():
        for trial in study.ask(6, 8):
            for epoch in (1, 2, 3, 4):
                assert not study.report(trial, epoch, 0.5)
            finish(study, trial)
        poor, wild, good = study.ask(8, 8)
        assert not study.report(poor, 1, 0.1)
        assert study.report(poor, 2, 0.2)
        assert not study.report(good, 2, 0.6)
        study.end(poor, TrialResult(top1=0.2, epoch=2, epochs=2, pruned=True))
        study.end(wild, TrialResult(failed="the loss was no number in epoch 1"))
        finish(study, good)
        assert study.ask(8, 8) == []
    rows = {row.number: row for row in study.rows()}
    assert (rows[6].state, rows[6].curve) == ("pruned", (0.1, 0.2))
    assert (rows[7].state, rows[7].note) == ("failed", "the loss was no number in epoch 1")


def test_a_trial_that_another_machine_took_away_is_given_up(tmp_path):
    study, other = opened(tmp_path), opened(tmp_path)
    with study.at_work():
        reported, ended, kept = study.ask(3, 2)
        with pytest.MonkeyPatch.context() as patch, other.at_work():
            # The other machine sees no lock, and its clock is ahead.
            patch.setattr(other, "_locks", tmp_path / "elsewhere")
            (tmp_path / "elsewhere").mkdir()
            later = time.time() + 400
            patch.setattr("time.time", lambda: later)
            others = other.ask(2, 2)
            assert [asked.params for asked in others] == [reported.params, ended.params]
            patch.undo()
            assert study.report(reported, 1, 0.5)
            assert not study.end(reported, TrialResult(top1=0.5, epoch=1, epochs=1, pruned=True))
            assert not study.end(ended, TrialResult(top1=0.5, right=(True,), epoch=4, epochs=4))
            for asked in others:
                finish(other, asked)
        assert not study.end(kept, TrialResult(failed="no number"))
        [again] = study.ask(8, 2)
        assert again.params == kept.params
        assert study.end(again, TrialResult(top1=0.5, right=(True,), epoch=4, epochs=4))
    assert [row.state for row in study.rows()] == ["failed"] * 3 + ["done"] * 3


def test_a_study_that_was_begun_otherwise_is_refused(tmp_path):
    opened(tmp_path, recipe={"epochs": 4})
    with pytest.raises(WorkspaceError, match="study 's' was created with epochs 4, not 5"):
        opened(tmp_path, recipe={"epochs": 5})
    with pytest.raises(WorkspaceError, match="created with split a, not b"):
        opened(tmp_path, **{"split": "b"})
    # What only a newer version knows does not matter.
    opened(tmp_path, recipe={"epochs": 4, "new": 1})


@pytest.mark.parametrize(
    ("url", "error", "sentence"),
    [
        ("mysql://u@host:port/x", InputError, "is not a storage URL"),
        ("sqlite:///file:{folder}/fixed.db?mode=ro&uri=true", WorkspaceError, "write a readonly database"),
        ("sqlite:///{folder}/old.db", WorkspaceError, "no longer compatible with the table schema"),
        ("sqlite:///{folder}/own.db", WorkspaceError, "is not one of dance tune"),
        ("no address", InputError, "'no address' is not a storage URL"),
        ("mysql://u:secret@localhost/x", WorkspaceError, "No module named 'MySQLdb'"),
        ("sqlite:////proc/nowhere/s.db", WorkspaceError, "unable to open database file"),
        ("sqlite:///{folder}/broken.db", WorkspaceError, "file is not a database"),
    ],
)
def test_an_unusable_storage_is_one_error(tmp_path, url, error, sentence):
    (tmp_path / "broken.db").write_bytes(b"no database at all, just some text" * 40)
    for name in ("fixed", "old"):
        optuna.create_study(storage=f"sqlite:///{tmp_path / name}.db", study_name="other")
    with closing(sqlite3.connect(tmp_path / "old.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = 'v2.6.0.a'")
        database.commit()
    optuna.create_study(storage=f"sqlite:///{tmp_path / 'own.db'}", study_name="s").ask()
    space = read_space("paper", RECIPE)
    with pytest.raises(error, match=sentence):
        open_study("s", url.format(folder=tmp_path), space, RECIPE, 0, {}, tmp_path / "locks")


def test_a_study_that_is_deleted_while_it_is_at_work_is_one_error(tmp_path):
    study = opened(tmp_path)
    with study.at_work():
        asked, _ = study.ask(2, 5)
        optuna.delete_study(study_name="s", storage=f"sqlite:///{tmp_path / 's.db'}")
        for work in (lambda: study.report(asked, 1, 0.5), lambda: finish(study, asked), study.rows):
            with pytest.raises(WorkspaceError, match="somebody has deleted it"):
                work()
