from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from dancecli.core.hashing import keyed_bytes, keyed_order, keyed_uniform, sha256_file, sha256_text

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
    assert keyed_order(names, str, seed=0, purpose="subset") == [f"video{i}" for i in PINNED]
    assert keyed_order(names, str, seed=1, purpose="subset") != keyed_order(
        names, str, seed=0, purpose="subset"
    )
    assert keyed_order(names, str, seed=0, purpose="x") != keyed_order(names, str, seed=0, purpose="subset")


def test_draws_are_the_same_on_every_machine() -> None:
    assert keyed_uniform("key", "name") == 0.022657037289386506
    assert keyed_bytes("key", "name", 4).hex() == "7e1032ca"


@given(st.text(max_size=8), st.text(max_size=8))
def test_a_draw_is_below_one(key: str, name: str) -> None:
    assert 0 <= keyed_uniform(key, name) < 1


def test_a_file_and_a_text_have_the_same_checksum(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("tap dancing")
    assert sha256_file(tmp_path / "file") == sha256_text("tap dancing")


PINNED = (2, 5, 4, 1, 3, 0)
