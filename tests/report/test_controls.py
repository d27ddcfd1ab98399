from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.builders import Ran
from helpers.fake_run import make_run

from dancecli.core.errors import InputError
from dancecli.core.records import Control, Prediction
from dancecli.report.controls import controlled, survival
from dancecli.report.report import ReportSettings, report
from dancecli.storage import tables
from dancecli.storage.runs import RunFolder
from dancecli.storage.workspace import Workspace

LABELS = ("salsa", "swing", "tango", "zumba")
RUN = "inception-demo-1"


def add_control(workspace: Workspace, control: Control, *, lose: int, leave_out: int = 0) -> Path:
    """Write the run's own test scores as those under a control, the first `lose` of them wrong."""
    folder = RunFolder(workspace.run(RUN))
    rows = [row for row in tables.read(folder.predictions, Prediction) if row.subset == "test"]
    rows.sort(key=lambda row: row.clip_id)
    wrong = [
        replace(row, scores=tuple(float(i == (row.label_index + 1) % 4) for i in range(4)))
        if n < lose
        else row
        for n, row in enumerate(rows)
    ]
    path = folder.controlled(control)
    path.parent.mkdir(exist_ok=True)
    meta = tables.read_meta(folder.predictions)
    tables.write(path, Prediction, wrong[leave_out:], {"test.hash": meta["test.hash"]})
    return path


@pytest.fixture
def made(workspace: Workspace) -> Workspace:
    return make_run(workspace.root, LABELS, test=80, val=8, skill=4.0)


def test_a_report_says_what_survives_each_control(made: Workspace) -> None:
    before = report(made, ReportSettings())
    assert "controls" not in before.document
    assert 'id="controls"' not in before.page.read_text()
    add_control(made, Control.REVERSED, lose=0)
    add_control(made, Control.STILL, lose=60)
    add_control(made, Control.PERSON, lose=0, leave_out=20)
    found = report(made, ReportSettings())
    still, reverse, person = found.document["controls"]
    assert [one["control"] for one in (still, reverse, person)] == ["still", "reversed", "person"]
    right = found.document["subsets"]["test"]["top1"]["k"]
    assert (still["intact"]["k"], still["intact"]["n"]) == (right, 80)
    assert (still["under"]["n"], person["under"]["n"], person["intact"]["n"]) == (80, 60, 60)
    assert still["under"]["k"] < 25
    assert still["chance_in_interval"]
    share = (still["under"]["k"] / 80 - 0.25) / (right / 80 - 0.25)
    assert still["survives"]["share"] == pytest.approx(share)
    assert still["survives"]["low"] < share < still["survives"]["high"] < 0.5
    assert reverse["survives"]["share"] == 1
    assert (still["p_adjusted"] < 0.01, reverse["p_adjusted"], person["p_adjusted"]) == (True, 1, 1)
    page = found.page.read_text()
    section = page[page.index('<section id="controls">') :].partition("</section>")[0]
    assert f"{right}/80" in section
    assert "chance is within the interval" in section
    assert "the one trained model on changed input" in section
    assert '<a href="#controls">' in page
    assert (
        json.loads((found.page.parent / "metrics.json").read_text())["controls"] == found.document["controls"]
    )


def test_the_controls_are_in_the_tables_and_figures_for_papers(
    made: Workspace, dance: Callable[..., Ran]
) -> None:
    assert "Survives" not in dance("report", "--latex").out
    add_control(made, Control.STILL, lose=60)
    add_control(made, Control.SHUFFLED, lose=10)
    for form, row in (("latex", "still & 80 & "), ("markdown", "| still | 80 | ")):
        told = dance("report", f"--{form}", "--figures").out
        assert (
            told.index("per-class results") < told.index(row) < told.index(row.replace("still", "shuffled"))
        )
    assert "Survives" not in dance("report", "--latex", "--subset", "val").out
    csv = dance("report", "--csv")
    assert "still" not in csv.out
    assert "not in this table: the controls" in csv.err
    folder = made.report(RUN) / "figures"
    assert {path.name for path in folder.glob("controls.*")} == {"controls.pdf", "controls.svg"}


def test_scores_of_other_clips_are_refused(made: Workspace) -> None:
    path = add_control(made, Control.STILL, lose=0)
    rows = tables.read(path, Prediction)
    tables.write(path, Prediction, rows, {"test.hash": "of another split"})
    with pytest.raises(InputError, match=r"still\.parquet.* is not of the test clips of the run") as caught:
        report(made, ReportSettings())
    assert caught.value.hint == f"evaluate again: dance evaluate --run {RUN} --control still"


GROUPS = [f"video{i // 2}" for i in range(80)]


def flags(right: int, of: int = 80, start: int = 0) -> np.ndarray:
    found = np.zeros(of, dtype=bool)
    found[(start + np.arange(right) * 7) % of] = True
    return found


def test_all_survives_where_nothing_changes_and_nothing_at_chance() -> None:
    intact = flags(64)
    same = survival(intact, intact, 0.2, GROUPS)
    assert same is not None
    assert same.share == pytest.approx(1)
    assert 0.9 < same.low < 1 < same.high < 1.1
    lost = survival(flags(16, start=3), intact, 0.2, GROUPS)
    assert lost is not None
    assert lost.share == pytest.approx(0)
    assert -0.3 < lost.low < 0 < lost.high < 0.3


def test_half_survives_where_half_of_what_is_above_chance_is_left() -> None:
    # 20 % is chance: 64 of 80 is 60 points above, 40 of 80 is 30.
    half = survival(flags(40), flags(64), 0.2, GROUPS)
    assert half is not None
    assert half.share == pytest.approx(0.5)
    assert half.low < 0.5 < half.high
    # Clips of one video are one piece of information.
    tied = np.repeat(flags(20, 40), 2)
    together = survival(tied, flags(64), 0.2, GROUPS)
    alone = survival(tied, flags(64), 0.2, [str(i) for i in range(80)])
    assert together is not None
    assert alone is not None
    assert together.high - together.low > 1.2 * (alone.high - alone.low)


def test_nothing_can_survive_where_nothing_is_above_chance() -> None:
    assert survival(flags(16), flags(18), 0.2, GROUPS) is None
    assert survival(flags(40), flags(4), 0.2, GROUPS) is None


def test_a_control_at_chance_is_told_from_one_that_is_not() -> None:
    at, above = (controlled("still", flags(k), flags(72), 0.2, GROUPS) for k in (18, 50))
    assert (at.at_chance, above.at_chance) == (True, False)
    assert (at.under.k, at.intact.k, at.under.n) == (18, 72, 80)
    assert at.paired.difference == pytest.approx((72 - 18) / 80)
    assert at.p < 0.001
