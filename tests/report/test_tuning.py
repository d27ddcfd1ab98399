from __future__ import annotations

import json

import numpy as np
import pytest
from helpers.fake_study import make_study

from dancecli.core.errors import InputError, WorkspaceError
from dancecli.report.plots.tuning_layout import Dot, study_panels
from dancecli.report.statistics.selection import compare_with_best
from dancecli.report.tuning import tuning


def test_a_study_is_told_with_what_its_choice_is_worth(tmp_path):
    space = make_study(tmp_path)
    found = tuning(space, "fake")
    record = json.loads((space.study_folder("fake") / "study.json").read_text())
    rows = {t["number"]: t for t in record["trials"]}
    best = rows[record["best"]]
    assert found.trials[0].number == record["best"]
    assert found.trials[0].status.startswith("chosen")
    others = [t for t in record["trials"] if t["state"] == "done" and t is not best]
    order = [best, *others]
    flags = np.array([[c == "1" for c in t["right"]] for t in order])
    ps = compare_with_best(flags, 0, record["val"]["groups"])[1:]
    assert found.document["p"] == {str(t["number"]): p for t, p in zip(others, ps, strict=True)}
    tied = [t["number"] for t, p in zip(others, ps, strict=True) if p >= 0.05]
    assert sorted(found.document["tied"]) == sorted(tied)
    assert 0 < len(tied) < len(others)
    k, n = best["val"]["top1"], best["val"]["n"]
    assert found.lines[0].startswith(f"trial {best['number']} is chosen: {k}/{n} ({100 * k / n:.1f} %, 95 %")
    told = f"on these 60 clips of 60 source videos, {len(tied)} of the {len(others)} others"
    assert found.lines[1].startswith(told)
    by_number = {t.number: t.status for t in found.trials}
    assert by_number[17] == "pruned after epoch 3"
    assert by_number[18] == "failed: the loss was no number in epoch 1"
    assert by_number[19] == "running"
    assert [t.number for t in found.trials[-2:]] == [18, 19]
    assert found.command == "dance finetune --pretrain inception --split full --recipe studies/fake/best.toml"


def test_what_the_default_is_not_is_said_with_what_compares_it(tmp_path):
    space = make_study(tmp_path)
    assert not tuning(space, "fake").solved
    path = space.study_folder("fake") / "study.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"solved_by_default": True}))
    found = tuning(space, "fake")
    assert found.solved == f"{found.command} --head linear" == found.document["solved_command"]
    assert "dance finetune alone solves the head at once, with which no trial is compared" in found.lines[-1]
    assert found.solved in found.page.read_text()


def test_the_command_takes_the_flow_and_the_freezing_of_the_chosen_trial(tmp_path):
    space = make_study(tmp_path)
    path = space.study_folder("fake") / "study.json"
    record = json.loads(path.read_text())
    for trial in record["trials"]:
        trial["params"]["freeze"] = "3"
    record |= {"flow_method": "tvl1", "weights": {"given": "none", "sha256": ""}}
    path.write_text(json.dumps(record))
    command = tuning(space, "fake").command
    assert command.endswith("--weights none --flow-method tvl1 --freeze 3")


def test_the_page_holds_the_tables_and_the_figure_and_is_the_same_again(tmp_path):
    space = make_study(tmp_path)
    found = tuning(space, "fake")
    page = found.page.read_text()
    assert "Published, tuned" in page
    assert page.count('<figure class="chart">') == 4
    assert page.count("<tr>") == 2 + 20 + 4
    picture = space.report("fake") / "trials.png"
    before = (found.page.read_bytes(), picture.read_bytes())
    tuning(space, "fake")
    assert (found.page.read_bytes(), picture.read_bytes()) == before


def test_one_trial_is_not_the_best_of_many(tmp_path):
    page = tuning(make_study(tmp_path, trials=1), "fake").page.read_text()
    assert "<h1>One trial finished</h1>" in page
    assert "partly luck" not in page


def test_a_study_without_a_result_has_a_page_too(tmp_path):
    space = make_study(tmp_path, trials=0)
    found = tuning(space, "fake")
    assert found.lines == ("no trial has a result yet",)
    assert "No result yet" in found.page.read_text()


def test_points_stand_where_their_values_are():
    from dancecli.report.statistics.intervals import Estimate

    space = {"lr": {"low": 1e-4, "high": 1e-2, "log": True}, "flip": {"choices": [True, False]}}
    rates = [0.2, 0.6, 0.4]
    dots = [
        Dot(i, {"lr": 10.0 ** (-4 + i), "flip": i != 1}, Estimate(rate, rate - 0.1, rate + 0.1), kind, "")
        for i, (rate, kind) in enumerate(zip(rates, ("worse", "chosen", "tied"), strict=True))
    ]
    history, lr, flip = study_panels(dots, space)
    places = {p.kind: p for p in lr.points}
    assert [places[kind].x for kind in ("worse", "chosen", "tied")] == [52, 211, 370]
    assert places["worse"].y - places["tied"].y == pytest.approx(
        places["tied"].y - places["chosen"].y, abs=0.02
    )
    assert [text for _, text in lr.y_ticks] == ["0 %", "20 %", "40 %", "60 %", "80 %"]
    assert [text for _, text in lr.x_ticks] == ["0.0001", "0.001", "0.01"]
    assert lr.points[-1].kind == "chosen"
    assert history.best.count("V") == 1
    sides = {p.kind: p.x < 211 for p in flip.points}
    assert sides == {"worse": True, "chosen": False, "tied": True}


def test_what_is_no_study_is_refused(tmp_path):
    space = make_study(tmp_path)
    with pytest.raises(WorkspaceError, match="there is no study 'other'") as caught:
        tuning(space, "other")
    assert "fake" in caught.value.hint
    (space.study_folder("fake") / "study.json").write_text("{")
    with pytest.raises(InputError, match="the study record is not valid JSON"):
        tuning(space, "fake")


def test_the_first_screen_says_how_far_ahead_the_chosen_trial_is(tmp_path):
    found = tuning(make_study(tmp_path), "fake")
    page = found.page.read_text()
    hero = page[page.index('class="hero"') : page.index('id="trials"')]
    best = found.trials[0].top1
    base = next(t for t in found.trials if t.baseline)
    assert hero.count('<div class="figure">') == 3
    assert f"+{best.k - base.top1.k} of {best.n} clips" in hero
    assert f"p&#8239;=&#8239;{base.p:.2g}" in hero
    assert "Not a significant difference, the chosen trial being the best of 17." in hero
