from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dancecli.core.hashing import keyed_order

NAMES = st.lists(st.text(max_size=8), unique=True, max_size=30)


@given(NAMES, st.randoms())
def test_the_order_does_not_depend_on_the_input_order(names: list[str], random: object) -> None:
    shuffled = list(names)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert keyed_order(shuffled, str, seed=1, purpose="p") == keyed_order(names, str, seed=1, purpose="p")


@given(NAMES, st.text(max_size=8))
def test_another_item_moves_none_of_the_others(names: list[str], more: str) -> None:
    before = [n for n in keyed_order(names, str, seed=0, purpose="p") if n != more]
    after = [n for n in keyed_order({*names, more}, str, seed=0, purpose="p") if n != more]
    assert before == after


def test_the_order_is_the_same_on_every_machine() -> None:
    names = [f"video{i}" for i in range(6)]
    assert keyed_order(names, str, seed=0, purpose="part") == [f"video{i}" for i in PINNED]
    assert keyed_order(names, str, seed=1, purpose="part") != keyed_order(names, str, seed=0, purpose="part")
    assert keyed_order(names, str, seed=0, purpose="x") != keyed_order(names, str, seed=0, purpose="part")


PINNED = (5, 0, 2, 1, 3, 4)
