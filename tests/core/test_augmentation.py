from __future__ import annotations

import pytest

from dancecli.core.augmentation import OPERATIONS, Op, describe, draw, parse_chains, slug
from dancecli.core.errors import UsageError


def test_chains_are_read_in_their_order() -> None:
    assert parse_chains("hflip, noise,vflip+jitter") == (("hflip",), ("noise",), ("vflip", "jitter"))
    assert slug(("vflip", "jitter")) == "vflip-jitter"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("blur", "no operation 'blur'"),
        ("hflip+", "no operation ''"),
        ("hflip+jitter+hflip", "names an operation twice"),
        ("hflip,noise,hflip", "the same clip twice"),
        (" , ", "no operation is named"),
    ],
)
def test_what_makes_no_copy_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        parse_chains(text)
    assert "\n" not in str(caught.value)


def test_parameters_fill_their_range_and_stay_in_it() -> None:
    for name, known in OPERATIONS.items():
        lowest, highest = (draw((name,), lambda _, at=at: at)[0] for at in (0.0, 1 - 2**-53))
        for one in known.ranges:
            assert (lowest[one.name], highest[one.name]) == (one.low, one.high)


def test_the_text_holds_every_value_that_is_used() -> None:
    ops = (
        Op("hflip"),
        Op("jitter", (("brightness", 0.12), ("saturation", 0.85))),
        Op("noise", (("seed", 999_999),)),
    )
    assert describe(ops) == "hflip+jitter(brightness=0.12,saturation=0.85)+noise(seed=999999)"


def test_chance_is_asked_once_for_each_parameter_by_name() -> None:
    asked: list[str] = []

    def chance(name: str) -> float:
        asked.append(name)
        return 0.5

    draw(("hflip", "jitter", "noise"), chance)
    assert asked == ["jitter.brightness", "jitter.saturation", "noise.sigma", "noise.seed"]
