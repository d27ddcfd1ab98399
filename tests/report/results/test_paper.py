"""What the paper printed, read and evaluated by its own arithmetic."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from dancecli.core.errors import InputError
from dancecli.core.recipe import RECIPES, recipe_names
from dancecli.report.results.paper import read_experiments, read_sources
from dancecli.report.results.reproduction import Reproduced, arithmetic, choices, printed
from dancecli.report.statistics.grim import possible_sizes

PAPER = {one.name: one for one in read_experiments()}


def test_the_counts_behind_the_figures() -> None:
    for name, k, n in (("resnet50", 48, 93), ("scheduled", 28, 58), ("tuned", 33, 58)):
        found = printed(PAPER[name].top1, PAPER[name].clips)
        assert found is not None
        assert (found.k, found.n) == (k, n)
    assert printed(PAPER["tuned"].top5, 58) is None


def test_what_does_not_work_out_is_said() -> None:
    tuned = arithmetic(PAPER["tuned"])
    assert tuned[0] == (
        "86.31 % is no count of 58 clips: the nearest, 50 of 58, is 86.21 %. A mean over batches of unequal "
        "size could be, with batches of 21, 30, 42: for example 25 right in a batch of 30 and 25 in a last "
        "one of 28."
    )
    assert "10 % of 525 clips is 52 or 53, of which none of its figures is a count" in tuned[-1]
    assert arithmetic(PAPER["resnet50"]) == [
        "7 % of 1,500 clips is 105, of which none of its figures is a count; 93 clips fit better."
    ]
    streams = arithmetic(PAPER["two-stream"])
    assert streams == ["15.45, 7.42, 9.61 and 11.87 % exist together for no set of fewer than 1,145 clips."]


def test_where_the_paper_prints_no_n_no_count_is_given() -> None:
    for name in ("two-stream", "two-stream-baseline"):
        assert PAPER[name].clips == 0
        assert printed(PAPER[name].top1, 0) is None
        assert "no count of" not in " ".join(arithmetic(PAPER[name]))


def test_the_sizes_that_two_figures_allow() -> None:
    assert possible_sizes(["51.61", "82.80"], 200) == [93, 186]
    assert possible_sizes(["48.28", "79.31"], 60) == [29, 58]


def test_the_gain_of_the_paper_is_not_shown_even_in_the_best_case() -> None:
    choice, of_streams = choices([Reproduced(one) for one in PAPER.values()])
    assert of_streams.counts is None  # the paper prints no n for them
    assert choice.counts == (28, 33, 58)
    assert choice.best_case == pytest.approx(0.0625)
    assert choice.published is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[a", "is not valid TOML"),
        ("[a]\nodd = 1", "[a] has no key 'odd'"),
        ("[a]\ntitle = 1", "[a] title is 1, not what it is to be"),
        ("[a]\ntitle = 'x'", "[a] is not whole"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "experiments.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_experiments(path)
    assert says in caught.value.message


@pytest.mark.parametrize("recipe", [name for name in recipe_names() if name.startswith("paper-")])
def test_each_value_of_a_paper_recipe_says_who_states_it(recipe: str) -> None:
    marked = read_sources(recipe)
    table = tomllib.loads((RECIPES / f"{recipe}.toml").read_text())
    assert {one.key for one in marked} | {"description"} == set(table)
    for one in marked:
        assert tomllib.loads(f"value = {one.text}")["value"] == table[one.key]
    assert {one.source for one in marked} >= {"paper", "ours"}


def test_a_value_without_a_mark_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("epochs = 3  # paper\nlr = 0.1\n")
    with pytest.raises(InputError, match=r"mine\.toml:2: does not say who states this value"):
        read_sources("mine", tmp_path)
