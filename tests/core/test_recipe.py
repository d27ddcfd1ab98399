from __future__ import annotations

import tomllib
from dataclasses import fields, replace

import pytest

from dancecli.core.errors import InputError, UsageError
from dancecli.core.recipe import RECIPES, Recipe, read_recipe, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_every_built_in_recipe_is_valid_and_has_a_description(name):
    assert read_recipe(name).description


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("epoch = 3", "unknown recipe key 'epoch'"),
        ("epochs = 0", "epochs must be at least 1, not 0"),
        ("epochs = 2.5", "'epochs' must be of type int, not 2.5"),
        ("flip = 1", "'flip' must be of type bool, not 1"),
        ("epochs = true", "'epochs' must be of type int, not True"),
        ("freeze = '5'", "freeze '5' is not one of none, stem, 1, 2, 3, 4"),
        ("crop = 224\nshort_side = 112", "crop 224 is larger than short_side 112"),
        ("milestones = [1.5]", "'milestones' must be a list of integers"),
        ("num_crops = 2", "num_crops must be 1 (center) or 3"),
        ("dropout = 1.0", "dropout must be below 1, not 1.0"),
        ("ema = 1", "ema must be below 1, not 1.0"),
        ("lr = inf", "lr must be finite, not inf"),
        ("weight_decay = nan", "weight_decay must be finite, not nan"),
        ("augment = 'spin'", "augment: there is no operation 'spin'"),
        ("class_weights = 'all'", "class_weights 'all' is not one of none, balanced"),
        ("epochs = ", "is not valid TOML"),
    ],
)
def test_an_invalid_recipe_is_reported_with_file_and_key(tmp_path, text, sentence):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_recipe(str(path))
    assert caught.value.message.startswith(f"{path}: ")
    assert sentence in caught.value.message


def test_a_recipe_that_an_editor_marked_as_utf8_is_read(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbfepochs = 7\n")
    assert read_recipe(str(path)).epochs == 7


def test_an_unknown_recipe_lists_the_known_ones():
    with pytest.raises(InputError) as caught:
        read_recipe("nope")
    assert "default" in caught.value.hint


def test_the_rate_of_a_recipe_is_scaled_to_the_batch_and_one_that_is_typed_is_not():
    recipe = Recipe(lr=0.01, lr_batch=64, batch=64, optimizer="sgd")
    assert recipe.with_changes(batch=16, accumulate=2).scaled_lr() == pytest.approx(0.005)
    assert recipe.with_changes(batch=16, accumulate=2, lr=0.02).scaled_lr() == pytest.approx(0.02)
    assert recipe.with_changes(batch=16).scaled_lr() == pytest.approx(0.0025)
    assert recipe.with_changes(batch=16, lr=0.02).scaled_lr() == pytest.approx(0.02)
    assert recipe.with_changes(epochs=None) == recipe
    # --set lr means the same as --lr.
    assert recipe.with_set(("lr=0.02", "batch=16")).scaled_lr() == pytest.approx(0.02)
    assert recipe.with_set(("batch=16",)).with_set(("lr=0.02",)).scaled_lr() == pytest.approx(0.02)
    assert recipe.with_set(("lr=0.02", "lr_batch=64", "batch=16")).scaled_lr() == pytest.approx(0.005)
    assert replace(recipe, optimizer="adam").with_changes(batch=16).scaled_lr() == pytest.approx(0.005)


def test_integers_are_accepted_for_floats(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("lr = 1\nmilestones = [4, 8]\nschedule = 'step'\n")
    assert (read_recipe(str(path)).lr, read_recipe(str(path)).milestones) == (1.0, (4, 8))


def test_any_key_can_be_set_by_text():
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
        ("emma=0.9", "--set: unknown recipe key 'emma'"),
        ("ema=high", "--set: 'ema' must be of type float, not 'high'"),
        ("ema=2", "--set: ema must be below 1, not 2.0"),
    ],
)
def test_an_invalid_set_option_is_rejected(text, sentence):
    with pytest.raises(UsageError) as caught:
        Recipe().with_set((text,))
    assert sentence in caught.value.message


def test_the_default_recipe_documents_every_key():
    text = (RECIPES / "default.toml").read_text(encoding="utf-8")
    named = [line.lstrip("# ").partition("=")[0].strip() for line in text.splitlines() if "=" in line]
    assert {field.name for field in fields(Recipe)} <= set(named)
    shown = "\n".join(line.removeprefix("# ") for line in text.splitlines() if "= " in line)
    plain = {key: value for key, value in tomllib.loads(shown).items() if key not in ("description", "head")}
    assert 'head = "solved"' in shown
    for key, value in plain.items():
        default = getattr(Recipe(), key)
        assert (tuple(value) if isinstance(value, list) else value) == default or default is None, key
