"""The notebooks of the docs run, and give what they show."""

from __future__ import annotations

import copy
import difflib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
NAMES = ("archive", "maintainer", "student")


@pytest.fixture(scope="module")
def tools() -> Iterator[tuple[ModuleType, ModuleType]]:
    """The program that runs notebooks, and that which makes pages of them."""
    sys.path.insert(0, str(ROOT / "docs" / "_tools"))
    import mkdocs_hooks
    import notebooks

    yield notebooks, mkdocs_hooks
    sys.path.remove(str(ROOT / "docs" / "_tools"))


def test_there_is_one_for_each_path(tools: tuple[ModuleType, ModuleType]) -> None:
    assert tuple(tools[0].names()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_gives_what_it_shows(name: str, tools: tuple[ModuleType, ModuleType]) -> None:
    kept = nbformat.read(ROOT / "docs" / "notebooks" / f"{name}.ipynb", as_version=4)
    seen = tools[0].run(name)
    difference = difflib.unified_diff(
        tools[0].lines(kept), tools[0].lines(seen), "shown", "seen", lineterm=""
    )
    assert "\n".join(difference) == ""


def test_another_output_is_a_difference_and_another_path_is_none(
    tools: tuple[ModuleType, ModuleType],
) -> None:
    kept = nbformat.read(ROOT / "docs" / "notebooks" / "student.ipynb", as_version=4)
    code = next(cell for cell in kept.cells if cell.get("outputs"))
    path, number = copy.deepcopy(kept), copy.deepcopy(kept)
    for book, text in ((path, "/a/page.html"), (number, "7 of 8")):
        cell = book.cells[kept.cells.index(code)]
        cell.outputs = [nbformat.v4.new_output("stream", text=text)]
    moved = copy.deepcopy(path)
    moved.cells[kept.cells.index(code)].outputs[0]["text"] = "/b/c/page.html"
    lines = tools[0].lines
    assert lines(path) == lines(moved)
    assert lines(path) != lines(number) != lines(kept)


def test_figures_that_vary_between_processors_are_not_compared_but_words_are(
    tools: tuple[ModuleType, ModuleType],
) -> None:
    def book(text: str, tags: list[str]) -> nbformat.NotebookNode:
        cell = nbformat.v4.new_code_cell("table", outputs=[nbformat.v4.new_output("stream", text=text)])
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        return nbformat.v4.new_notebook(cells=[cell])

    lines = tools[0].lines
    assert lines(book("still 12 4 -0.11", ["varies"])) == lines(book("still 12 2 0.2", ["varies"]))
    assert lines(book("still 12", ["varies"])) != lines(book("shuffled 12", ["varies"]))
    assert lines(book("still 12", [])) != lines(book("still 11", []))


def test_its_page_has_text_code_and_outputs(tools: tuple[ModuleType, ModuleType], tmp_path: Path) -> None:
    outputs = [
        nbformat.v4.new_output("stream", text="7 of 8\n"),
        nbformat.v4.new_output("execute_result", {"text/plain": "no", "text/html": "<b>bold</b>"}),
    ]
    cells = [nbformat.v4.new_markdown_cell("# Title"), nbformat.v4.new_code_cell("1 + 1", outputs=outputs)]
    path = tmp_path / "some.ipynb"
    path.write_text(json.dumps(nbformat.v4.new_notebook(cells=cells)))
    page = tools[1].notebook(path)
    assert page.startswith("# Title\n\n```python\n1 + 1\n```\n\n```text\n7 of 8\n```\n\n<b>bold</b>\n\n")
    assert page.endswith("(some.ipynb)\n")
