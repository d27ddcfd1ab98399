"""A page of benchmarks lists what became worse since the last one."""

from __future__ import annotations

import pytest

from benchmarks.lib.regressions import worse_than_before

PAGE = """
| | bar | measured | |
|---|---|---|---|
| Start-up | dance --help: at most 1.25 times the toy | 1.00 | met |
| Start-up | every other command: at most 1.5 times (dance merge is slowest) | 1.24 | met |
| Cutting clips | cut at 45 s: at least 8 times as fast | 10.0 | met |
| Two | two: at least 1.8 times one, and keeps 1.50 busy | 1.25 (rounds 1.24, 1.28) | **missed** |
| Near | 650,000 rows, under 500 MB | 1,034 MB | **missed** |
"""


@pytest.mark.parametrize(
    ("title", "what", "figure", "worse"),
    [
        ("Start-up", "dance --help: at most 1.25 times the toy", "1.14", False),
        ("Start-up", "dance --help: at most 1.25 times the toy", "1.16", True),
        ("Start-up", "every other command: at most 1.5 times (dance fetch is slowest)", "1.44", True),
        ("Cutting clips", "cut at 45 s: at least 8 times as fast", "8.6", False),
        ("Cutting clips", "cut at 45 s: at least 8 times as fast", "8.4", True),
        ("Cutting clips", "cut at 45 s: at least 8 times as fast", "30.0", False),
        ("Two", "two: at least 1.8 times one, and keeps 1.72 busy", "1.00 (rounds 1.00, 1.00)", True),
        ("Near", "650,000 rows, under 500 MB", "1,200 MB", True),
        ("Near", "650,000 rows, under 500 MB", "34 MB", False),
        ("New", "it was not measured before: at least 8", "1", False),
    ],
)
def test_a_figure_is_worse_in_the_direction_of_its_bar(
    title: str, what: str, figure: str, worse: bool
) -> None:
    found = worse_than_before(PAGE, {title: [{"what": what, "figure": figure}]})
    assert len(found) == worse
    for line in found:
        assert line.startswith(f"{title}, {what}: ")
        assert line.endswith(f"before, {figure} now")


def test_without_a_page_nothing_is_worse() -> None:
    assert worse_than_before("", {"Near": [{"what": "a, under 5", "figure": "9"}]}) == []
