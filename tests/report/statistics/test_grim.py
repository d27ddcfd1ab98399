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
    for name, said in (("none.csv", "there is no such table"), (f"{300 * 'n'}.csv", "cannot be read")):
        missing = dance("audit", "--reported", name)
        assert (missing.code, said in missing.err) == (1, True)


def test_figures_with_a_per_cent_sign_are_checked(dance: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("method,accuracy\nA,56.90%\nB,86.31 %\nC,15.32\nD,15.35\nE,15.37\nF,15.39\n")
    ran = dance("audit", "--reported", str(path))
    assert ran.code == 3
    assert "its 6 values exist together for no set" in ran.out
    assert "not checked, as not all of their cells are numbers: method" in ran.err


@pytest.mark.parametrize(
    ("table", "place", "what"),
    [
        ("acc,acc_text\n95.1,95.1\n94.0,about 94\n", 3, "'about 94' in column 'acc_text' is not a number"),
        ("score,score_sd,n\n3.45,1.12,58 clips\n", 2, "'58 clips' in column 'n' is not a number"),
        ("score,score_sd,n\n3.45,1.12,1\n", 2, "'1' in column 'n' is not a whole number of 2 or more"),
        ("score,score_sd,n\n3.45,\u00b11.12,20\n", 2, "'\u00b11.12' in column 'score_sd' is not a number"),
        ("top-1\n86.31\n\nn/a\n", 4, "'n/a' in column 'top-1' is not a percentage"),
        ("top-1;n\n86,31;58\n", 2, "'86,31' in column 'top-1' is not a percentage"),
        ("acc\n0.00000000000000000000000000001\n", 2, "is not a percentage"),
        ("epoch,loss\n1,2.9\n2,2.8,\n", 3, "has 3 cells, the header has 2"),
        ("method,comment\nI3D,the best\n", None, "has no column of numbers"),
        ("", None, "has no column of numbers"),
    ],
)
def test_a_cell_that_cannot_be_checked_is_named(
    dance: Callable[..., Any], tmp_path: Path, table: str, place: int | None, what: str
) -> None:
    path = tmp_path / "table.csv"
    path.write_text(table, encoding="utf-8")
    ran = dance("audit", "--reported", str(path))
    assert ran.code == 1
    where = str(path) if place is None else f"{path}:{place}"
    assert where in ran.err
    assert what in ran.err


def test_a_column_of_words_may_be_named_like_an_accuracy(dance: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("top dancer,accent,loss\nAna,strong,2.9\nBo,weak,2.7\n")
    ran = dance("audit", "--reported", str(path))
    assert (ran.code, "no findings" in ran.out) == (0, True)
    assert "not checked, as not all of their cells are numbers: top dancer, accent" in ran.err


def test_the_command(dance: Callable[..., Any]) -> None:
    ran = dance("audit", "--reported", "86.31", "--reported", "56.90", "--n", "58")
    assert ran.code == 3
    lines = [line.split() for line in ran.out.splitlines()]
    assert ["86.31", "impossible", "50/58", "=", "86.21", "75.1-92.8"] in lines
    assert ["56.90", "33/58", "33/58", "=", "56.90", "44.1-68.8"] in lines
    told = dance("audit", "--reported", "56.90", "--n", "58", "--json")
    assert (told.code, told.json) == (0, [{"reported": "56.90", "n": 58, "counts": [33], "nearest": 33}])
    assert dance("audit", "--reported", "56.90").code == 2
