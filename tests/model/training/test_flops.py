"""The cost of a view, against the tables of MMAction2's READMEs, and the speed that a run records."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dancecli.core.recipe import Recipe
from dancecli.model.networks.base import build_model_config, model_base
from dancecli.model.networks.zoo import find_entry
from dancecli.model.training.flops import cost_of_view, speed_record


def test_the_cost_is_that_of_the_readme_at_its_own_view() -> None:
    entry = find_entry("resnet50")
    base = model_base(entry)
    base.model["backbone"]["pretrained"] = None
    found = cost_of_view(entry, base.model, base, Recipe(crop=256))
    assert found["gflops_view"] == pytest.approx(entry.gflops, rel=0.01)
    assert found["gflops_from"] == "counted for this view"
    half = cost_of_view(entry, base.model, base, Recipe(crop=256, clip_len=16))
    assert half["gflops_view"] == pytest.approx(found["gflops_view"] / 2, rel=0.02)


@pytest.mark.parametrize("name", ["swin-tiny", "videomae-base", "uniformer-small"])
def test_transformers_are_counted_too(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    entry = find_entry(name)
    base = model_base(entry)
    found = cost_of_view(entry, build_model_config(base, Recipe(), 2, None), base, Recipe())
    assert found["gflops_from"] == "counted for this view"
    assert found["gflops_view"] == pytest.approx(entry.gflops, rel=0.01)
    assert capfd.readouterr().out == ""


def test_a_view_of_flow_is_counted_with_its_own_channels() -> None:
    rgb, flow = (find_entry(name) for name in ("inception", "inception-flow"))
    costs = [cost_of_view(e, model_base(e).model, model_base(e), Recipe()) for e in (rgb, flow)]
    assert [cost["gflops_from"] for cost in costs] == ["counted for this view"] * 2
    # The first layer alone looks at two numbers a place instead of three.
    first = 32 * 112 * 112 * 64 * 7**3 / 1e9
    assert costs[0]["gflops_view"] - costs[1]["gflops_view"] == pytest.approx(first, abs=0.02)
    stacks = find_entry("tsn-flow")
    base = replace(model_base(stacks), flow="dis")
    base.model["backbone"]["pretrained"] = None
    assert cost_of_view(stacks, base.model, base, Recipe())["gflops_from"] == "counted for this view"


def test_what_cannot_be_counted_is_the_zoo_s_and_said_so() -> None:
    entry = find_entry("resnet50")
    base = model_base(entry)
    found = cost_of_view(entry, {"type": "NoSuchNetwork"}, base, Recipe())
    assert found == {"gflops_view": 43.5, "gflops_from": "of the zoo, for the model's own view"}


def test_speed_is_that_of_the_clips_of_this_run() -> None:
    assert speed_record({"features": 10.0, "evaluate": 0.1}, 40, 12, cached=True) == {
        "clips_per_s": 4.0,
        "clips": 40,
        "of": "decoding and the frozen backbone",
    }
    uncached = speed_record({"features": 0.0, "evaluate": 6.0}, 0, 12, cached=False)
    assert uncached is not None
    assert uncached["clips_per_s"] == 2.0
    # All of it was stored by an earlier run: nothing was measured.
    assert speed_record({"features": 0.01, "evaluate": 0.1}, 0, 12, cached=True) is None
