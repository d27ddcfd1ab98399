from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dancecli.core.errors import InputError
from dancecli.core.records import Segment, clip_id_of


def test_a_clip_is_named_by_video_and_milliseconds() -> None:
    assert Segment("-0L4z8D2eGs", 43_000, 53_500, "tap dancing").clip_id == "-0L4z8D2eGs_43000_53500"


@given(st.text(max_size=300), st.integers(-5, 10**7), st.integers(-5, 10**7))
def test_a_clip_id_is_safe_in_a_path_or_refused(video_id: str, start_ms: int, end_ms: int) -> None:
    try:
        name = clip_id_of(video_id, start_ms, end_ms)
    except InputError as error:
        assert "\n" not in error.message
        assert len(error.message) < 250
        return
    assert all(c.isascii() and (c.isalnum() or c in "-_") for c in name)
    assert start_ms < end_ms


@pytest.mark.parametrize("bad", ["a/b", "..", "a b", "", "x" * 65, "a\n", "a\0", "é", "--exec=x"])
def test_an_id_that_could_leave_its_place_is_refused(bad: str) -> None:
    with pytest.raises(InputError, match="must consist of"):
        clip_id_of(bad, 0, 1000)
