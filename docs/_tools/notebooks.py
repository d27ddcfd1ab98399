"""The notebooks, run: `docs/notebooks/NAME.py` is what is edited, `NAME.ipynb` shows what it gave.

    python docs/_tools/notebooks.py              # run all and compare; status 1 on a difference
    python docs/_tools/notebooks.py --write student   # run one, and keep what was seen

Each runs in a new folder. Times, paths and hashes are not compared, as in the tutorial, nor the figures
of cells tagged `varies`: they depend on the processor.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from replay_tutorial import ROOT, plain

FOLDER = ROOT / "docs" / "notebooks"
# One cell, on a busy machine.
TIMEOUT_S = 900


def names() -> list[str]:
    """The names of all notebooks."""
    return sorted(path.stem for path in FOLDER.glob("*.py"))


def run(name: str) -> nbformat.NotebookNode:
    """Run a notebook in a new folder; the result has its outputs, but for what it wrote to stderr.

    Raises:
        CellExecutionError: a cell raised an exception.
    """
    book = jupytext.read(FOLDER / f"{name}.py")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made).resolve()
        client = NotebookClient(book, timeout=TIMEOUT_S, kernel_name="python3", record_timing=False)
        client.execute(cwd=str(folder), env=env)
    book.metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    for number, cell in enumerate(book.cells):
        tags = cell.metadata.get("tags")
        cell.id, cell.metadata = f"cell-{number}", {"tags": tags} if tags else {}
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
    text = nbformat.writes(book).replace(str(folder), "~")
    return nbformat.reads(text, as_version=4)


def lines(book: nbformat.NotebookNode) -> list[str]:
    """What a reader sees of a notebook as text, without what differs between machines."""
    shown = []
    for cell in book.cells:
        outputs = cell.get("outputs", ())
        texts = [one["text"] if "text" in one else one["data"]["text/plain"] for one in outputs]
        if "varies" in cell.metadata.get("tags", ()):
            texts = [re.sub(r"-?\d[\d.]*", "N", text) for text in texts]
        shown += [cell.source, *texts]
    return plain("\n".join(shown))


def main() -> int:
    """Run the notebooks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", default=names())
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    differ = False
    for name in asked.names:
        kept = FOLDER / f"{name}.ipynb"
        seen = run(name)
        if asked.write:
            nbformat.write(seen, kept)
            continue
        shown = lines(nbformat.read(kept, as_version=4))
        found = list(difflib.unified_diff(shown, lines(seen), f"{name}: shown", "seen", lineterm="", n=1))
        print("\n".join(found) or f"{name}: every output is as shown")
        differ |= bool(found)
    return 1 if differ else 0


if __name__ == "__main__":
    raise SystemExit(main())
