"""The layout is the architecture: lower floors never import higher ones, and doors stay single."""

from __future__ import annotations

import ast
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

# Where a file is longer than a screen of screens, it says why.
LONGEST = 300
LONGER = {
    "engine/rayengine.py": "one door to Ray: pool, seat and connection know its ways together",
    "model/streams.py": "two streams and their fusion are one command with one way to go on after a stop",
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


def test_looking_a_command_up_imports_nothing_heavy() -> None:
    code = (
        "import sys; from dancecli.cli import app, registry\n"
        "for name in registry.COMMANDS: registry.load(name)\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())
