"""The layout is the architecture: lower floors never import higher ones, and doors stay single."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from house import DOORS, MAY_IMPORT

PACKAGE = Path(__file__).parent.parent / "dancecli"
# Slow to import: a command may load them when it works, never when it is only looked up.
HEAVY = {
    "torch", "numpy", "pandas", "pyarrow", "av", "cv2", "decord", "yt_dlp", "matplotlib", "jinja2",
    "mmaction", "mmengine", "mmcv", "ffmpeg", "imageio_ffmpeg", "filelock", "optuna",
    "importlib_metadata", "platformdirs", "ray", "asyncio", "sqlite3", "http.server",
}  # fmt: skip

# A longer room has a reason.
LONGEST = 300
LONGER = {
    "engine/ray.py": "one door to Ray: pool, seat and connection know its ways together",
}

# What a line may ask of the linters without a reason of its own; any other exception says why beside it.
EXCEPTIONS = {
    "ARG002": "a hook of mmengine's has mmengine's signature",
    "B023": "called within the turn of the loop that made it",
    "D102": "its base class documents it",
    "E402": "MMAction2 is imported after what lets it start without its compiled half",
    "S101": "for the type checker: it holds by what was done above",
    "S310": "the address is of our manifests, or was checked to be http",
    "S608": "our own column names are all that is put into the SQL",
    "arg-type": "another package's types are narrower than what it takes",
    "call-overload": "another package's types leave this call out",
    "misc": "a base class, or a function, of a package without types",
    "no-any-return": "another package's types leave this call out",
    "no-untyped-call": "a function of a package without types",
    "no-untyped-def": "overrides one of a package without types",
}

MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports name the whole path"
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_follow_the_house(path: Path) -> None:
    place = path.relative_to(PACKAGE).as_posix()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    room = room_of(path)
    for name in [name for node in ast.walk(tree) for name in imported(node)]:
        first, *rest = name.split(".")
        if first == "dancecli" and rest:
            assert rest[0] == room or rest[0] in MAY_IMPORT[room], f"{place} may not import {name}"
        if first in DOORS:
            assert place.startswith(DOORS[first]), f"{place}: {first} is imported in {DOORS[first]} alone"


def test_rooms_are_small_or_say_why_not() -> None:
    sizes = {
        path.relative_to(PACKAGE).as_posix(): len(path.read_text(encoding="utf-8").splitlines())
        for path in MODULES
    }
    assert {place for place, lines in sizes.items() if lines > LONGEST} == set(LONGER)


def test_every_exception_from_the_linters_has_a_reason() -> None:
    used: set[str] = set()
    unexplained = []
    for path in MODULES:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            asked = re.findall(r"# (?:noqa:|type: ignore\[)\s*([\w, -]*\w)\]?(.*?)(?=# noqa|# type:|$)", line)
            for codes, reason in asked:
                found = set(re.findall(r"[A-Z]+\d+|[a-z]+(?:-[a-z]+)+|misc|override", codes))
                used |= found
                if not (" - " in codes or reason.strip(" -#")) and not found <= set(EXCEPTIONS):
                    unexplained.append(f"{path.relative_to(PACKAGE)}:{number}: {codes}")
            if re.search(r"# noqa(?!:)|# type: ignore(?!\[)", line):
                unexplained.append(f"{path.relative_to(PACKAGE)}:{number}: all at once")
    assert unexplained == []
    assert set(EXCEPTIONS) <= used


def test_looking_a_command_up_imports_nothing_heavy() -> None:
    code = (
        "import sys; from dancecli.cli import app, registry\n"
        "for name in registry.COMMANDS: registry.load(name)\n"
        "print(*sys.modules)"
    )
    # Where the tests are measured, the measurer is imported too.
    env = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE_")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())
