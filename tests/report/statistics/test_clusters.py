from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dancecli.report.statistics.clusters import join_groups

names = st.lists(st.sampled_from("abcdef"), min_size=12, max_size=12)


def test_clips_that_either_grouping_joins_are_joined() -> None:
    assert join_groups("abcd", "xxyz") == ("0", "0", "2", "3")
    assert join_groups("aabb", "xyyz") == ("0", "0", "0", "0")
    assert join_groups("abc") == ("0", "1", "2")


@given(names, names)
def test_the_order_of_the_groupings_does_not_matter(one: list[str], other: list[str]) -> None:
    joined = join_groups(one, other)
    assert joined == join_groups(other, one)
    for i in range(12):
        for j in range(12):
            if one[i] == one[j] or other[i] == other[j]:
                assert joined[i] == joined[j]
