"""The workspace whose `dance.toml` is read is the one that the command gets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.builders import Ran
from typer.core import TyperOption

from dancecli.cli.config_file import workspace_flag
from dancecli.cli.loader import load
from dancecli.storage.workspace import Workspace


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((), None),
        (("--workspace", "a"), "a"),
        (("--workspace=a=b",), "a=b"),
        (("-w", "a"), "a"),
        (("-wa",), "a"),
        (("-w", "a", "--json", "--workspace=b", "-wc"), "c"),
        (("-wc", "--workspace", "b"), "b"),
        (("--reason", "-wa", "-w", "b", "--reason", "-w"), "b"),
        (("-w", "a", "--", "-wb"), "a"),
        (("-w",), None),
    ],
)
def test_the_last_one_counts_in_whatever_way_it_is_written(
    args: tuple[str, ...], expected: str | None
) -> None:
    options = [p for p in load("remove").params if isinstance(p, TyperOption)]
    assert workspace_flag(args, options) == (None if expected is None else Path(expected))


def test_settings_and_command_are_of_one_workspace(tmp_path: Path, dance: Callable[..., Ran]) -> None:
    for name in ("one", "two"):
        other = Workspace(tmp_path / name)
        other.create(f"version = 1\n[split]\nsubset = 'of {name}'\n")
    for given in (
        (f"-w{tmp_path}/one",),
        ("-w", str(tmp_path / "two"), "--workspace", str(tmp_path / "one")),
    ):
        ran = dance("split", *given)
        assert (ran.code, f"{tmp_path}/one/dance.toml: [split] subset = 'of one'" in ran.err) == (1, True)
