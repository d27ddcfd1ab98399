"""A page of benchmarks lists what became worse since the last one."""

from __future__ import annotations

import pytest

from benchmarks.lib.earlier import earlier_bars, earlier_section
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


def test_what_is_not_repeated_stays_on_the_page_and_says_when_it_was_measured() -> None:
    when, where = "2026-11-29 21:36 UTC to 2026-11-29 22:11 UTC", "2 cores of A, 25 GB"
    before = (
        f"Measured {when}, 33 minutes in all, on {where}. dancecli 0.1.0\n\n"
        "| Long | ten: at least 8 | 8.5 | met |\n| Short | x | 1 | met |\n\n"
        "## Long\n\nabout\n\n## Short\n\ny\n"
    )
    earlier = f"Not repeated since: measured {when}, on {where}."
    assert earlier_bars(before, "Long") == ["| Long | ten: at least 8 | 8.5 | met |"]
    section = earlier_section(before, "Long")
    assert section == ["## Long", "", "about", "", earlier]
    # A page later it still says when.
    after = "Measured today, 1 minutes in all, on B. dancecli 0.1.0\n\n" + "\n".join(section) + "\n"
    assert earlier_section(after, "Long") == section
    assert earlier_section(before, "Longer") == []


def test_without_a_page_nothing_is_worse() -> None:
    assert worse_than_before("", {"Near": [{"what": "a, under 5", "figure": "9"}]}) == []
