"""Which published percentages can be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dancecli.core.errors import InputError
from dancecli.report.statistics.grim import check_reported


@pytest.mark.parametrize(
    ("text", "n", "counts"),
    [
        ("51.61", 93, (48,)),
        ("82.80", 93, (77,)),
        ("48.28", 58, (28,)),
        ("79.31", 58, (46,)),
        ("56.90", 58, (33,)),
        ("86.31", 58, ()),
        ("0", 7, (0,)),
        ("100.0 %", 7, (7,)),
        ("50", 3, ()),
        ("67", 3, (2,)),
        ("66", 3, (2,)),  # cut off
        ("12.5", 8, (1,)),
    ],
)
def test_the_counts_behind_a_figure(text: str, n: int, counts: tuple[int, ...]) -> None:
    assert check_reported(text, n).counts == counts


def test_every_true_figure_is_found_possible() -> None:
    for n in (1, 7, 58, 93, 950, 8000):
        for k in range(0, n + 1, max(1, n // 60)):
            for digits in (0, 1, 2, 4):
                found = check_reported(f"{100 * k / n:.{digits}f}", n)
                assert k in found.counts, (k, n, digits)
                assert found.nearest.n == n


def test_a_coarse_figure_may_stand_for_several_counts() -> None:
    assert len(check_reported("50", 950).counts) > 8


def test_the_nearest_count() -> None:
    found = check_reported("86.31", 58)
    assert (found.nearest.k, found.nearest.n) == (50, 58)


@pytest.mark.parametrize(("text", "n"), [("abc", 5), ("101", 5), ("-1", 5), ("nan", 5), ("50", 0)])
def test_what_is_no_figure_is_refused(text: str, n: int) -> None:
    with pytest.raises(InputError):
        check_reported(text, n)


def test_the_command(dance: Callable[..., Any]) -> None:
    ran = dance("audit", "--reported", "86.31", "--reported", "56.90", "--n", "58")
    assert ran.code == 3
    lines = [line.split() for line in ran.out.splitlines()]
    assert ["86.31", "impossible", "50/58", "=", "86.21", "75.1-92.8"] in lines
    assert ["56.90", "33/58", "33/58", "=", "56.90", "44.1-68.8"] in lines
    told = dance("audit", "--reported", "56.90", "--n", "58", "--json")
    assert (told.code, told.json) == (0, [{"reported": "56.90", "n": 58, "counts": [33], "nearest": 33}])
    assert dance("audit", "--reported", "56.90").code == 2
