"""What a public docstring must state beyond the signature: errors that a user can cause, shapes of arrays."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dancecli.core import errors

PACKAGE = Path(__file__).parent.parent / "dancecli"
FAMILY = {name for name, kind in vars(errors).items() if inspect.isclass(kind)} | {"OSError"}
# How a shape is written: N x C, [B, 3, T, H, W], the word itself, or of a vector what it has an entry for.
SHAPE = re.compile(r"\bshape|\b\w+ x \w+|\[\w+(?:(?: or)? ?,? ?\w+)*\]|\bfor each|: n\b")
# A function that does part of another one's work may refer to that one's contract.
ELSEWHERE = re.compile(r"\b[Ss]ee `\w+`")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def public(tree: ast.Module) -> Iterator[Function]:
    """Public functions of a module and public methods of its classes."""
    for node in tree.body:
        inside = node.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_") else [node]
        for one in inside:
            if isinstance(one, Function) and not one.name.startswith("_"):
                yield one


def raised(function: Function) -> set[str]:
    """Error classes that the function itself raises."""
    found = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            # InputError(...) and InputError.at(...) alike.
            names = [inner.id for inner in ast.walk(node.exc.func) if isinstance(inner, ast.Name)]
            found |= FAMILY.intersection(names)
    return found


def undocumented(source: str) -> list[str]:
    """List what the public docstrings of a source should state and do not."""
    missing = []
    for function in public(ast.parse(source)):
        text = ast.get_docstring(function) or ""
        if ELSEWHERE.search(text):
            continue
        documented = FAMILY if "DanceError" in text else set(re.findall(r"\w+Error", text))
        missing += [f"{function.name} raises {name}" for name in sorted(raised(function) - documented)]
        hints = [a.annotation for a in (*function.args.args, *function.args.kwonlyargs)] + [function.returns]
        # A network's weights are a dict of tensors, each with a shape of its own.
        shown = " ".join(ast.unparse(hint) for hint in hints if hint).replace("[str, Tensor]", "")
        if re.search(r"\b(ndarray|NDArray|Tensor|FloatArray|IntArray)\b", shown) and not SHAPE.search(text):
            missing.append(f"{function.name}: shape of {shown}")
    return missing


# A command's docstring is its help text, without errors.
CHECKED = sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).parts[0] != "cli")


@pytest.mark.parametrize("path", CHECKED, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_public_docstrings_name_errors_and_shapes(path: Path) -> None:
    assert undocumented(path.read_text(encoding="utf-8")) == []


def test_missing_documentation_is_found() -> None:
    source = '''
def halve(x: Tensor) -> None:
    """Halve [N, C].

    Raises:
        InputError: it is odd.
    """
    raise InputError.at(1, 2, "odd")
'''
    assert undocumented(source) == []
    assert undocumented(source.replace("InputError:", "x:")) == ["halve raises InputError"]
    assert undocumented(source.replace("[N, C]", "it")) == ["halve: shape of Tensor None"]
