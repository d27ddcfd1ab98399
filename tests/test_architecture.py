"""The layout is the architecture: subpackages import only what `helpers/layers.py` allows, without cycles."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from helpers.layers import MAY_IMPORT, ONLY_IN

PACKAGE = Path(__file__).parent.parent / "dancecli"
MODULES = sorted(PACKAGE.rglob("*.py"))
# A folder with more modules than this needs a subpackage.
MOST_MODULES = 14
# Slow to import: a command may import them when it runs, never when it is only looked up.
HEAVY = {
    "torch", "numpy", "pandas", "pyarrow", "av", "cv2", "decord", "yt_dlp", "matplotlib", "jinja2",
    "mmaction", "mmengine", "mmcv", "ffmpeg", "imageio_ffmpeg", "filelock", "optuna",
    "importlib_metadata", "platformdirs", "ray", "asyncio", "sqlite3", "http.server", "transformers",
    "huggingface_hub",
}  # fmt: skip


# Linter exceptions that need no reason on their line; any other exception states its reason there.
EXCEPTIONS = {
    "ARG002": "a hook of mmengine's has mmengine's signature",
    "B023": "called within the loop iteration that created it",
    "D102": "its base class documents it",
    "E402": "MMAction2 is imported after the shim that replaces its compiled extension",
    "S101": "for the type checker: guaranteed by the code above",
    "S310": "the address is of our manifests, or was checked to be http",
    "S608": "only our own column names are put into the SQL",
    "arg-type": "another package's type hints are too narrow",
    "call-overload": "another package's type hints lack this call",
    "misc": "a base class, or a function, of a package without types",
    "no-untyped-call": "a function of a package without types",
    "no-untyped-def": "overrides one of a package without types",
}


def name_of(path: Path) -> str:
    """The dotted name of a module within the package; a package has its own name."""
    return (
        path.relative_to(PACKAGE)
        .with_suffix("")
        .as_posix()
        .replace("/", ".")
        .removesuffix("__init__")
        .strip(".")
    )


NAMES = {name_of(path): path for path in MODULES}


def subpackage_of(name: str) -> str:
    return name if NAMES[name].name == "__init__.py" else name.rpartition(".")[0]


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports name the whole path"
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def imports_of(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [name for node in ast.walk(tree) for name in imported(node)]


def module_of(name: str) -> str | None:
    """The module of the package that an imported name is, or stands in; None for other packages."""
    if name.split(".", maxsplit=1)[0] != "dancecli":
        return None
    inner = name.partition(".")[2]
    return inner if inner in NAMES else inner.rpartition(".")[0]


def test_the_rules_name_every_subpackage() -> None:
    # `model` holds nothing but subpackages.
    assert {subpackage_of(name) for name in NAMES} - {"model"} == set(MAY_IMPORT)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_follow_the_layers(path: Path) -> None:
    place, home = path.relative_to(PACKAGE).as_posix(), subpackage_of(name_of(path))
    for name in imports_of(path):
        target = module_of(name)
        if target is not None and target != "":
            other = subpackage_of(target)
            assert other == home or other in MAY_IMPORT[home], f"{place} may not import {name}"
        first = name.split(".")[0]
        if first in ONLY_IN:
            assert place.startswith(ONLY_IN[first]), f"{place}: {first} is imported only in {ONLY_IN[first]}"


def test_there_is_no_import_cycle() -> None:
    graph = {
        name: {t for t in map(module_of, imports_of(path)) if t and t != name} for name, path in NAMES.items()
    }
    # Raises CycleError, which names the modules.
    TopologicalSorter(graph).prepare()


def test_no_folder_is_crowded() -> None:
    folders = Counter(path.parent for path in MODULES if path.name != "__init__.py")
    assert {str(folder): count for folder, count in folders.items() if count > MOST_MODULES} == {}


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
        "import sys; from dancecli.cli import app, loader, registry\n"
        "for name in registry.COMMANDS: loader.load(name)\n"
        "print(*sys.modules)"
    )
    # Under coverage, the subprocess would import it too.
    env = {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE_")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())
