"""The cost of a view, against the tables of MMAction2's READMEs, and the speed that a run records."""

from __future__ import annotations

import pytest

from dancecli.model.config import model_base
from dancecli.model.flops import cost_of_view, speed_record
from dancecli.model.recipe import Recipe
from dancecli.model.zoo import find_entry


def test_the_cost_is_that_of_the_readme_at_its_own_view() -> None:
    entry = find_entry("resnet50")
    base = model_base(entry)
    base.model["backbone"]["pretrained"] = None
    found = cost_of_view(entry, base.model, base, Recipe(crop=256))
    assert found["gflops_view"] == pytest.approx(entry.gflops, rel=0.01)
    assert found["gflops_from"] == "counted for this view"
    half = cost_of_view(entry, base.model, base, Recipe(crop=256, clip_len=16))
    assert half["gflops_view"] == pytest.approx(found["gflops_view"] / 2, rel=0.02)


def test_what_cannot_be_counted_is_the_zoo_s_and_said_so() -> None:
    entry = find_entry("resnet50")
    base = model_base(entry)
    found = cost_of_view(entry, {"type": "NoSuchNetwork"}, base, Recipe())
    assert found == {"gflops_view": 43.5, "gflops_from": "of the zoo, for the model's own view"}


def test_speed_is_of_what_was_looked_at_in_this_run() -> None:
    assert speed_record({"features": 10.0, "evaluate": 0.1}, 40, 12, cached=True) == {
        "clips_per_s": 4.0,
        "clips": 40,
        "of": "decoding and the frozen part",
    }
    uncached = speed_record({"features": 0.0, "evaluate": 6.0}, 0, 12, cached=False)
    assert uncached is not None
    assert uncached["clips_per_s"] == 2.0
    # All of it was stored by an earlier run: nothing was measured.
    assert speed_record({"features": 0.01, "evaluate": 0.1}, 0, 12, cached=True) is None
