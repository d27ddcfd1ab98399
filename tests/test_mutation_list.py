"""The listed changes fit the code as it is: otherwise `make mutants` would change nothing."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROWS = tomllib.loads((ROOT / "tests" / "mutation" / "training.toml").read_text(encoding="utf-8"))["mutant"]


def test_each_listed_change_is_possible_in_one_place_and_has_tests() -> None:
    for row in ROWS:
        assert (ROOT / row["file"]).read_text(encoding="utf-8").count(row["old"]) == 1, row["name"]
        assert row["old"] != row["new"]
        assert row["tests"]
        assert all((ROOT / test.partition("::")[0]).is_file() for test in row["tests"]), row["name"]
    assert len({row["name"] for row in ROWS}) == len(ROWS)
