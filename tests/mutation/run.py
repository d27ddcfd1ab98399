"""Break the code in one place at a time, and see whether a test notices: `make mutants`.

    python tests/mutation/run.py dancecli/core/labels.py tests/core/test_labels.py [--every N] [--lines N...]
    python tests/mutation/run.py --listed tests/mutation/training.toml

Works on a copy of the project, so that nothing here is ever broken. A place is a comparison, an
arithmetic or boolean operator, a number, a truth value, a negation or a returned value. Prints the
places whose change no test noticed. Those that were looked at and change nothing that a test could
see stand in `equivalent.toml` with the reason; the status is 1 if there is another one. A list has
changes that were written by hand, each with the tests that must notice it.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.Add: ast.Sub,
    ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult, ast.And: ast.Or,
    ast.Or: ast.And, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip


def places(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Every node that can be changed, and how; annotations and decorators are left alone."""
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        for part in (
            getattr(node, "annotation", None),
            getattr(node, "returns", None),
            *getattr(node, "decorator_list", ()),
        )
        if part is not None
        for inner in ast.walk(part)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
            yield node, "comparison"
        elif isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in SWAPS:
            yield node, "operator"
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node, "negation"
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
            yield node, "value"
        elif isinstance(node, ast.Return) and node.value is not None:
            yield node, "return"


def change(node: ast.AST, kind: str) -> None:
    """Change a node in place."""
    if kind == "comparison":
        node.ops[0] = SWAPS[type(node.ops[0])]()  # type: ignore[attr-defined]
    elif kind == "operator":
        node.op = SWAPS[type(node.op)]()  # type: ignore[attr-defined]
    elif kind == "negation":
        node.op = ast.UAdd()  # type: ignore[attr-defined]
        node.operand = ast.Call(ast.Name("bool", ast.Load()), [node.operand], [])  # type: ignore[attr-defined]
    elif kind == "value":
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1  # type: ignore[attr-defined]
    else:
        node.value = ast.Constant(None)  # type: ignore[attr-defined]


def mutants(source: str) -> Iterator[tuple[int, str, str]]:
    """Every mutant of a text: the line, the line's text and the whole new source."""
    tree = ast.parse(source)
    lines = source.splitlines()
    for number in range(sum(1 for _ in places(tree))):
        other = copy.deepcopy(tree)
        node, kind = list(places(other))[number]
        line = node.lineno  # type: ignore[attr-defined]
        change(node, kind)
        yield line, f"{kind}: {lines[line - 1].strip()}", ast.unparse(ast.fix_missing_locations(other))


def survives(copied: Path, tests: list[str], seconds: float) -> bool:
    """Whether the tests pass in the copy as it is now."""
    child = os.fork()
    if child == 0:
        os.setsid()
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        os.chdir(copied)
        sys.path.insert(0, str(copied))
        import pytest

        os._exit(pytest.main(["-x", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", *tests]))
    ends = time.monotonic() + seconds
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > ends:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return False
        time.sleep(0.02)
    return os.waitstatus_to_exitcode(ended[1]) == 0


def load_what_is_slow(copied: Path, tests: list[str]) -> None:
    """Import what the tests import but for the project, once: each of the runs is forked from here."""
    shown = (
        "import sys, pytest; pytest.main(['-q', '--collect-only', *sys.argv[1:]])\n"
        "print('MODULES', *sys.modules)"
    )
    command = [sys.executable, "-c", shown, *tests]
    done = subprocess.run(command, cwd=copied, capture_output=True, text=True, check=True)
    # MMAction2 can only be imported as dancecli does it.
    ours = {
        "dancecli",
        "benchmarks",
        "mmaction",
        "tests",
        "conftest",
        *(path.stem for path in copied.rglob("tests/**/*.py")),
    }
    for name in done.stdout.rpartition("MODULES ")[2].split():
        if name.partition(".")[0] not in ours and not name.startswith("_"):
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def looked_at(file: str) -> dict[str, str]:
    """The changes of a file that nothing can notice, each with the reason."""
    with (ROOT / "tests" / "mutation" / "equivalent.toml").open("rb") as listed:
        return {row["change"]: row["reason"] for row in tomllib.load(listed).get(file, [])}


@contextlib.contextmanager
def copy_of_the_project() -> Iterator[Path]:
    """Copy what the tests need, and let all that is imported from now on come from there."""
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / "project"
        everywhere = shutil.ignore_patterns("__pycache__", ".*_cache")

        def left_out(folder: str, names: list[str]) -> set[str]:
            made = {".venv", ".git", "build", "demo", "dist"} if Path(folder) == ROOT else set()
            return made | set(everywhere(folder, names))

        shutil.copytree(ROOT, copied, ignore=left_out)
        os.environ |= {"PYTHONPATH": str(copied), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
        yield copied


def try_places(asked: argparse.Namespace) -> int:
    """Change every place of one file, and say which changes live."""
    with copy_of_the_project() as copied:
        path = copied / asked.file
        source = path.read_text(encoding="utf-8")
        load_what_is_slow(copied, asked.tests)
        if not survives(copied, asked.tests, asked.seconds * 5):
            raise SystemExit("the tests fail without any change")
        found = list(mutants(source))[:: asked.every]
        found = [one for one in found if not asked.lines or one[0] in asked.lines]
        known, same, lived = looked_at(asked.file), 0, 0
        for line, what, text in found:
            path.write_text(text, encoding="utf-8")
            if not survives(copied, asked.tests, asked.seconds):
                continue
            same += what in known
            lived += what not in known
            print(f"{asked.file}:{line}: {what}  [{known.get(what, 'not noticed')}]", flush=True)
    noticed = len(found) - same - lived
    print(
        f"{asked.file}: {noticed} of {len(found)} changes were noticed, {same} change nothing, {lived} live"
    )
    return 1 if lived else 0


def try_listed(listed: Path, seconds: float) -> int:
    """Apply the changes of a list one at a time, and say which live."""
    rows = tomllib.loads(listed.read_text(encoding="utf-8"))["mutant"]
    with copy_of_the_project() as copied:
        tests = list(dict.fromkeys(test for row in rows for test in row["tests"]))
        load_what_is_slow(copied, tests)
        for test in tests:
            if not survives(copied, [test], seconds * 5):
                raise SystemExit(f"{test} fails without any change")
        lived = 0
        for row in rows:
            path = copied / row["file"]
            source = path.read_text(encoding="utf-8")
            path.write_text(source.replace(row["old"], row["new"]), encoding="utf-8")
            lives = survives(copied, row["tests"], seconds)
            path.write_text(source, encoding="utf-8")
            lived += lives
            print(f"{row['name']}: {'NOT NOTICED' if lives else 'noticed'}", flush=True)
    print(f"{listed.name}: {len(rows) - lived} of {len(rows)} changes were noticed")
    return 1 if lived else 0


def main() -> int:
    """Mutate one file, or apply a list, and say which mutants live."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", nargs="?")
    parser.add_argument("tests", nargs="*")
    parser.add_argument("--every", type=int, default=1, help="take each N-th place only")
    parser.add_argument("--lines", type=int, nargs="*", help="take the places on these lines only")
    parser.add_argument("--seconds", type=float, default=120, help="a test run that takes longer has noticed")
    parser.add_argument("--listed", type=Path, help="changes written by hand")
    asked = parser.parse_args()
    if asked.listed:
        return try_listed(asked.listed, asked.seconds)
    if not asked.file or not asked.tests:
        parser.error("a file and its tests are needed, or --listed")
    return try_places(asked)


if __name__ == "__main__":
    raise SystemExit(main())
