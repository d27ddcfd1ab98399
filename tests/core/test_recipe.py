from __future__ import annotations

import tomllib
from dataclasses import fields

import pytest

from dancecli.core.errors import InputError
from dancecli.core.recipe import RECIPES, Recipe, read_recipe, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_that_comes_along_can_be_read_and_says_what_it_is_for(name):
    assert read_recipe(name).description


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("epoch = 3", "has no key 'epoch'"),
        ("epochs = 0", "epochs 0 is below 1"),
        ("epochs = 2.5", "'epochs' is 2.5, not of type int"),
        ("flip = 1", "'flip' is 1, not of type bool"),
        ("epochs = true", "'epochs' is True"),
        ("freeze = '5'", "freeze '5' is not one of none, stem, 1, 2, 3, 4"),
        ("crop = 224\nshort_side = 112", "crop 224 is larger than short_side 112"),
        ("milestones = [1.5]", "'milestones' is not a list of whole numbers"),
        ("num_crops = 2", "num_crops 2 is not 1 (center) or 3"),
        ("dropout = 1.0", "dropout 1.0 is not below 1"),
        ("ema = 1", "ema 1.0 is not below 1"),
        ("lr = inf", "lr inf is no finite number"),
        ("weight_decay = nan", "weight_decay nan is no finite number"),
        ("augment = 'spin'", "augment: there is no operation 'spin'"),
        ("class_weights = 'all'", "class_weights 'all' is not one of none, balanced"),
        ("epochs = ", "is not valid TOML"),
    ],
)
def test_a_wrong_recipe_is_named_with_its_file_and_key(tmp_path, text, sentence):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_recipe(str(path))
    assert caught.value.message.startswith(f"{path}: ")
    assert sentence in caught.value.message


def test_a_recipe_that_is_not_there_names_those_that_are():
    with pytest.raises(InputError) as caught:
        read_recipe("nope")
    assert "default" in caught.value.hint


def test_the_rate_of_a_recipe_is_scaled_to_the_batch_and_one_that_is_typed_is_not():
    recipe = Recipe(lr=0.01, lr_batch=64, batch=64)
    assert recipe.with_changes(batch=16, accumulate=2).scaled_lr() == pytest.approx(0.005)
    assert recipe.with_changes(batch=16, accumulate=2, lr=0.02).scaled_lr() == pytest.approx(0.02)
    assert recipe.with_changes(batch=16).scaled_lr() == pytest.approx(0.0025)
    assert recipe.with_changes(batch=16, lr=0.02).scaled_lr() == pytest.approx(0.02)
    assert recipe.with_changes(epochs=None) == recipe


def test_numbers_may_stand_for_fractions(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("lr = 1\nmilestones = [4, 8]\nschedule = 'step'\n")
    assert (read_recipe(str(path)).lr, read_recipe(str(path)).milestones) == (1.0, (4, 8))


def test_any_key_can_be_set_by_a_text():
    recipe = Recipe().with_set(
        ("ema=0.99", "milestones = [2, 3]", "schedule=step", "flip=false", "freeze=3", "augment=hflip,noise")
    )
    assert (recipe.ema, recipe.milestones, recipe.schedule, recipe.flip) == (0.99, (2, 3), "step", False)
    assert (recipe.freeze, recipe.chains) == ("3", (("hflip",), ("noise",)))
    assert Recipe().with_set(()) == Recipe()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("ema", "--set ema: is not KEY=VALUE"),
        ("emma=0.9", "--set: a recipe has no key 'emma'"),
        ("ema=high", "--set: 'ema' is 'high', not of type float"),
        ("ema=2", "--set: ema 2.0 is not below 1"),
    ],
)
def test_a_text_that_sets_nothing_is_refused(text, sentence):
    with pytest.raises(InputError) as caught:
        Recipe().with_set((text,))
    assert sentence in caught.value.message


def test_the_default_recipe_names_every_key_and_says_what_it_means():
    text = (RECIPES / "default.toml").read_text(encoding="utf-8")
    named = [line.lstrip("# ").partition("=")[0].strip() for line in text.splitlines() if "=" in line]
    assert {field.name for field in fields(Recipe)} <= set(named)
    shown = "\n".join(line.removeprefix("# ") for line in text.splitlines() if "= " in line)
    plain = {key: value for key, value in tomllib.loads(shown).items() if key != "description"}
    for key, value in plain.items():
        default = getattr(Recipe(), key)
        assert (tuple(value) if isinstance(value, list) else value) == default or default is None, key
