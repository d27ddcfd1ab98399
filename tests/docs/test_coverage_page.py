"""The tables of the page of coverage and mutants, from what the tools leave."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs" / "_tools"))
from coverage_page import coverage_table, mutant_table, put  # noqa: E402


def found(statements: int, lines: int, branches: int, taken: int) -> dict[str, dict[str, int]]:
    counts = {"num_statements": statements, "covered_lines": lines}
    return {"summary": {**counts, "num_branches": branches, "covered_branches": taken}}


def test_a_package_is_the_sum_of_its_modules_and_names_the_lowest() -> None:
    files = {
        "dancecli/core/labels.py": found(90, 90, 10, 10),
        "dancecli/core/topk.py": found(10, 5, 10, 5),
        "dancecli/cli/app.py": found(10, 10, 0, 0),
        "dancecli/cli/__init__.py": found(0, 0, 0, 0),
    }
    rows = coverage_table({"files": files}).splitlines()[2:]
    assert rows == [
        "| `dancecli/cli` | 10 | 100.0 % | 0 |  | 100.0 % |  |",
        "| `dancecli/core` | 100 | 95.0 % | 20 | 75.0 % | 91.7 % | `topk.py` 50.0 % |",
        "| **all** | 110 | 95.5 % | 20 | 75.0 % | 92.3 % |  |",
    ]


def test_what_the_mutation_tests_print_is_read() -> None:
    printed = (
        "dancecli/a.py:3: comparison  [not noticed]\n"
        "dancecli/a.py: 20 of 23 changes were noticed, 2 change nothing, 1 live\n"
        "training.toml: 33 of 34 changes were noticed\n"
    )
    rows = mutant_table(printed).splitlines()[2:]
    assert rows == ["| `dancecli/a.py` | 23 | 20 | 2 | 1 |", "| `training.toml` | 34 | 33 | 0 | 1 |"]


def test_a_table_takes_the_place_of_the_one_before() -> None:
    page = "a\n<!-- mutants: begin -->\nold\n<!-- mutants: end -->\nb\n"
    assert put(page, "mutants", "new") == page.replace("old", "new")
