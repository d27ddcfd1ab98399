"""Ids that begin with `-` need no `--`."""

from __future__ import annotations

from pathlib import Path

import pytest

from dancecli.cli.dashed_ids import ids_last
from dancecli.cli.loader import load


def arranged(*args: str) -> list[str]:
    from typer.core import TyperOption

    return ids_last(args, [p for p in load("history").params if isinstance(p, TyperOption)])


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (("-aaaaaaaaa1_2000_12000",), ["--", "-aaaaaaaaa1_2000_12000"]),
        (("--bO6XwZ9HI", "--json"), ["--json", "--", "--bO6XwZ9HI"]),
        (("-aaaaaaaaaa", "-w", "-aaaaaaaaab"), ["-w", "-aaaaaaaaab", "--", "-aaaaaaaaaa"]),
        (("--workspace=x", "-a_0_10.hflip"), ["--workspace=x", "--", "-a_0_10.hflip"]),
        (("--dry-run", "--workspce", "-h"), ["--dry-run", "--workspce", "-h"]),
        (("--worksapce", "x"), ["--worksapce", "x"]),
        (("--", "-aaaaaaaaaa"), ["--", "-aaaaaaaaaa"]),
        (("-waaaaaaaaa",), ["--", "-waaaaaaaaa"]),
        (("plain", "--json"), ["plain", "--json"]),
    ],
)
def test_ids_are_told_from_options(typed: tuple[str, ...], expected: list[str]) -> None:
    assert arranged(*typed) == expected


def test_a_folder_behind_w_stays_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("workspace").mkdir()
    assert arranged("-wworkspace") == ["-wworkspace"]


def test_the_history_of_such_a_clip(dance) -> None:  # type: ignore[no-untyped-def]
    ran = dance("history", "-aaaaaaaaa1_2000_12000")
    assert (ran.code, "no clip '-aaaaaaaaa1_2000_12000' was ever requested" in ran.err) == (1, True)
