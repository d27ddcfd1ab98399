"""The first screen of the page of the paper: which claims hold, what cannot be, what was run."""

from __future__ import annotations

from dataclasses import replace

import pytest
from helpers.fake_run import make_run

from dancecli.report.pages.reproduction_page import (
    claims_of,
    headline,
    impossible,
    render_reproduction,
    what_ran,
)
from dancecli.report.results.paper import read_experiments
from dancecli.report.results.reproduction import Reproduced, read_ran

LABELS = tuple(f"dance {i}" for i in range(19))
PAPER = {one.name: one for one in read_experiments()}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Reproduced]:
    """The tuned network is better here; the two-stream networks were not run."""
    space = make_run(tmp_path_factory.mktemp("paper") / "space", LABELS, test=190, val=19, name="poor-1")
    make_run(space.root, LABELS, test=190, val=19, name="good-1", skill=5.0, salt="b")
    poor, good = (read_ran(space, name) for name in ("poor-1", "good-1"))
    runs = {"resnet50": (poor, good), "scheduled": (poor, poor), "tuned": (good, good)}
    return [
        Reproduced(one, *runs[one.name]) if one.name in runs else Reproduced(one, why="there is no flow")
        for one in PAPER.values()
    ]


def test_each_claim_has_a_verdict(found: list[Reproduced]) -> None:
    tuned, streams = claims_of(found)
    assert (tuned.better, tuned.worse) == (PAPER["tuned"].title, PAPER["scheduled"].title)
    assert tuned.verdict == "holds here"
    assert "in the paper 33 against 28 of 58 clips, in the best case not significant" in tuned.evidence
    assert (streams.verdict, streams.evidence) == ("not tested yet", "in the paper without a number of clips")
    assert headline(found) == (
        "1 of 2 claims of the paper holds here, 1 not tested yet; 1 figure is no count of clips"
    )


def test_a_claim_that_is_not_significant_or_the_other_way_round_does_not_hold(
    found: list[Reproduced],
) -> None:
    by_name = {one.experiment.name: one for one in found}
    tuned, scheduled = by_name["tuned"], by_name["scheduled"]

    def verdict(first: Reproduced, second: Reproduced) -> str:
        both = [replace(scheduled, ours=first.ours), replace(tuned, ours=second.ours)]
        return claims_of(both)[0].verdict

    assert verdict(tuned, tuned) == "not shown here"
    assert verdict(tuned, scheduled) == "the reverse holds here"


def test_the_figures_that_cannot_be_are_named(found: list[Reproduced]) -> None:
    assert impossible(found) == [
        "86.31\u202f% top-5 of “I3D NonLocal, tuned rate and dropout”: no count of 58 clips gives it"
    ]


def test_what_was_run_and_what_not_is_on_the_first_screen(found: list[Reproduced]) -> None:
    said = what_ran(found)
    assert said.startswith("3 of 5 experiments, by 2 runs on 269 clips. Not run: “Two-stream")
    assert said.endswith("(there is no flow).")
    page = render_reproduction(found, [], quick="")
    hero = page[page.index('class="hero"') : page.index('id="figures"')]
    assert said in hero
    assert "model inception instead of resnet50; 269 clips instead of 1,500; " in hero
    assert what_ran([Reproduced(PAPER["tuned"])]) == f"0 of 1 experiment. Not run: “{PAPER['tuned'].title}”."
