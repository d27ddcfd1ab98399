from __future__ import annotations

import pytest

from dancecli.core.errors import InputError
from dancecli.core.recipe import Recipe, read_recipe
from dancecli.model.tuning.search_space import read_space, space_names


def test_the_papers_space_holds_the_default_recipe():
    space = read_space("paper", read_recipe("default"))
    assert space_names() == ["paper"]
    assert space.table() == {
        "lr": {"low": 1e-5, "high": 1e-2, "log": True},
        "dropout": {"low": 0.2, "high": 0.7},
        "optimizer": {"choices": ["adam", "sgd"]},
    }
    assert space.point_of(Recipe()) == {"lr": 1e-3, "dropout": 0.5, "optimizer": "adam"}
    assert space.point_of(Recipe(batch=32)) == {"lr": 1e-3 * 2**0.5, "dropout": 0.5, "optimizer": "adam"}
    assert space.point_of(Recipe(optimizer="adamw")) is None
    assert space.point_of(Recipe(dropout=0.1)) is None


def test_any_key_of_a_recipe_can_be_searched(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        "[batch]\nlow = 4\nhigh = 64\nlog = true\n[crop]\nlow = 96\nhigh = 224\nstep = 32\n"
        "[freeze]\nchoices = ['3', '4']\n[flip]\nchoices = [true, false]\n[lr]\nlow = 0.5\nhigh = 1\n"
    )
    space = read_space(str(file), Recipe())
    kinds = {key: repr(value) for key, value in space.distributions().items()}
    assert space.keys == ("batch", "crop", "freeze", "flip", "lr")
    assert kinds["batch"] == "IntDistribution(high=64, log=True, low=4, step=1)"
    assert kinds["crop"] == "IntDistribution(high=224, log=False, low=96, step=32)"
    assert kinds["freeze"] == "CategoricalDistribution(choices=('3', '4'))"
    assert kinds["lr"] == "FloatDistribution(high=1.0, log=False, low=0.5, step=None)"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[lrr]\nlow = 1\nhigh = 2", r"\[lrr\] is not a recipe key"),
        ("[lr]\nlow = 'x'\nhigh = 1", r"\[lr\] 'lr' must be of type float, not 'x'"),
        ("[lr]\nlow = 1e-5", r"\[lr\] needs either low and high, or choices"),
        ("[lr]\nlow = 1\nhigh = 0.1", r"\[lr\] low 1.0 is not below high 0.1"),
        ("[lr]\nlow = 0\nhigh = 1\nlog = true", r"\[lr\] low is 0.0; with log it must be"),
        ("[lr]\nlow = 0\nhigh = inf", r"\[lr\] lr must be finite"),
        ("[lr]\nlow = 1\nhigh = 2\nlogg = true", r"\[lr\] has no entry 'logg'"),
        ("[dropout]\nlow = 0.2\nhigh = 1.2", r"\[dropout\] dropout must be below 1"),
        ("[optimizer]\nchoices = ['adam', 'foo']", r"\[optimizer\] optimizer 'foo' is not one of"),
        ("[optimizer]\nchoices = ['adam']", r"\[optimizer\] choices must be a list of at least two"),
        ("[optimizer]\nlow = 'adam'\nhigh = 'sgd'", r"\[optimizer\] is not a number"),
        ("[milestones]\nchoices = [[1], [2]]", r"\[milestones\] is a list"),
        ("[epochs]\nlow = 1\nhigh = 5", r"\[epochs\] cannot be searched: it is the budget"),
        (
            "[num_crops]\nchoices = [1, 3]",
            r"\[num_crops\] cannot be searched: it is part of the eval",
        ),
        ("[batch]\nlow = 4\nhigh = 8\nstep = 0.5", r"\[batch\] step is 0.5, not an integer"),
        ("[lr]\nlow = 0\nhigh = 1\nstep = inf", r"\[lr\] step is inf, not a number above 0"),
        ("lr = 1", "'lr' must be a table"),
        ("", "has no dimension to search"),
        ("[lr", "is not valid TOML"),
    ],
)
def test_an_invalid_space_is_reported_with_file_and_key(tmp_path, text, sentence):
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=sentence) as caught:
        read_space(str(file), Recipe())
    assert caught.value.message.startswith(str(file))


def test_a_space_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(InputError, match="there is no space 'papier'") as caught:
        read_space("papier", Recipe())
    assert "paper" in caught.value.hint
