"""Which published percentages can be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dancecli.core.errors import InputError
from dancecli.report.statistics.grim import (
    batch_means,
    check_reported,
    check_table,
    constant_step,
    deviation_is_possible,
    possible_sizes,
)


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


def test_the_smallest_set_that_gives_two_figures() -> None:
    assert possible_sizes(["56.90", "86.31"], 2000)[0] == 782
    for n in (58, 93, 131):
        for k in range(0, n, 7):
            assert n in possible_sizes([f"{100 * k / n:.2f}", f"{100 * (n - k) / n:.2f}"], n)


def test_a_mean_over_unequal_batches_can_be_what_no_count_is() -> None:
    found = {one.batch: one for one in batch_means("86.31", 58)}
    assert set(found) == {21, 30, 42}
    assert (found[30].right_in_full, found[30].right_in_last, found[30].last) == (25, 25, 28)
    for one in found.values():
        mean = (one.right_in_full / one.batch + one.right_in_last / one.last) / (one.full + 1)
        assert f"{100 * mean:.2f}" == "86.31"


def test_deviations_of_whole_numbers_are_possible_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        values = rng.integers(1, 8, int(rng.integers(5, 40)))
        mean, deviation = f"{values.mean():.2f}", f"{values.std(ddof=1):.2f}"
        assert deviation_is_possible(mean, deviation, len(values))
    # The sum is 69, and a sum of squares of 262 is even: 1.12 cannot be.
    assert not deviation_is_possible("3.45", "1.12", 20)


def test_a_series_that_changes_by_one_amount_is_found_and_a_measured_one_is_not() -> None:
    falling = [f"{2.9444 - 0.0169 * i:.4f}" for i in range(10)]
    assert constant_step(falling) is not None
    rng = np.random.default_rng(1)
    measured = [f"{2.9 - 0.02 * i + 0.004 * rng.normal():.4f}" for i in range(10)]
    assert constant_step(measured) is None
    assert constant_step(["0.1"] * 10) is None  # a rate that is never changed is none


def test_a_table_is_checked_from_its_numbers_alone() -> None:
    table = {
        "epoch": [str(i) for i in range(1, 11)],
        "train loss": [f"{2.9444 - 0.0169 * i:.4f}" for i in range(10)],
        "val accuracy": [f"15.{i}" for i in (32, 35, 37, 39, 41, 43, 45, 47, 49, 49)],
        "val accuracy_text": ["12.73", *[""] * 9],
        "score": ["3.45", *[""] * 9],
        "score_sd": ["1.12", *[""] * 9],
        "n": ["20", *[""] * 9],
    }
    found = check_table(table)
    assert [f.kind for f in found] == ["constant steps", "accuracies", "text against table", "deviation"]
    assert found[2].text == "the table has 15.32, the text 12.73"
    honest = {"accuracy": [f"{100 * k / 58:.2f}" for k in (28, 33, 46, 47, 49, 50)]}
    assert check_table(honest) == []


def test_a_table_is_given_as_a_file(dance: Callable[..., Any], tmp_path: Path) -> None:
    rows = ["epoch,loss", *(f"{i},{2.9444 - 0.0169 * i:.4f}" for i in range(10))]
    (tmp_path / "table.csv").write_text("\n".join(rows))
    ran = dance("audit", "--reported", str(tmp_path / "table.csv"))
    assert ran.code == 3
    assert "changes by -0.0169 in each of 9 steps" in ran.out
    missing = dance("audit", "--reported", "none.csv")
    assert (missing.code, "cannot be read" in missing.err) == (1, True)


def test_the_command(dance: Callable[..., Any]) -> None:
    ran = dance("audit", "--reported", "86.31", "--reported", "56.90", "--n", "58")
    assert ran.code == 3
    lines = [line.split() for line in ran.out.splitlines()]
    assert ["86.31", "impossible", "50/58", "=", "86.21", "75.1-92.8"] in lines
    assert ["56.90", "33/58", "33/58", "=", "56.90", "44.1-68.8"] in lines
    told = dance("audit", "--reported", "56.90", "--n", "58", "--json")
    assert (told.code, told.json) == (0, [{"reported": "56.90", "n": 58, "counts": [33], "nearest": 33}])
    assert dance("audit", "--reported", "56.90").code == 2
