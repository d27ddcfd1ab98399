"""All measurements, one after the other, and the page of them: `make bench`, `make bench-quick`.

    python benchmarks/run.py [--quick] [--only NAME...] [--page docs/benchmarks.md]

Each is a script of its own, which prints its document; here they are run and laid out. With
`--quick` each shows only that it works, and no page is written. A bar that is missed is told as
missed; the status is 1 if a script fails, or, of the whole, if a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# Sizes with which the whole takes about twenty minutes on two cores.
SCRIPTS: dict[str, tuple[str, list[str]]] = {
    "startup": ("Start-up", []),
    "cut": ("Cutting clips", ["--rounds", "3"]),
    "augment": ("Augmented copies", ["--rounds", "3"]),
    "verify": ("Checking clips", []),
    "engine": ("Workers and dispatcher", ["--rounds", "3"]),
    "manifests": ("Annotation rows", ["--rounds", "3"]),
    "dedup": ("Look-alikes", ["--films", "60", "--clips", "10000,100000"]),
    "flow": ("Optical flow", ["--rounds", "1", "--methods", "dis", "farneback"]),
    "training": ("Training", ["--clips", "20", "--epochs", "1", "3", "10", "--crop", "160"]),
    "tune": ("Head search", ["--rounds", "1"]),
}
PACKAGES = (
    "dancecli",
    "torch",
    "mmaction2",
    "av",
    "imageio-ffmpeg",
    "opencv-contrib-python",
    "numpy",
    "pyarrow",
)


def run(name: str, arguments: list[str]) -> dict[str, Any]:
    """Run one script; give its document.

    Raises:
        SystemExit: it printed none.
    """
    print(f"\n{name}", file=sys.stderr)
    command = [sys.executable, str(HERE / f"{name}.py"), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    try:
        document: dict[str, Any] = json.loads(done.stdout)
    except json.JSONDecodeError:
        raise SystemExit(f"{' '.join(command)}: ended with {done.returncode} and without a result") from None
    return document


def page(documents: dict[str, dict[str, Any]]) -> str:
    """Lay the documents out as a page of the documentation."""
    machine = next(iter(documents.values()))["machine"]
    named = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`. Each way of ours stands beside what one would use instead, on the same",
        "work, turn by turn within one run; figures are medians. Ratios say more than seconds.",
        "",
        f"Machine: {machine['system']}, {machine['cores']} cores, Python {machine['python']}; {named}.",
    ]
    for name, document in documents.items():
        script = (HERE / f"{name}.py").read_text(encoding="utf-8").split('"""')[1]
        paragraphs = [part.strip() for part in script.split("\n\n")]
        title, about = SCRIPTS[name][0], " ".join(paragraphs[-1].split())
        columns = document["columns"]
        lines += ["", f"## {title}", "", about, "", f"`python benchmarks/{name}.py`", ""]
        lines += ["| " + " | ".join(columns) + " |", "|---" + "|--:" * (len(columns) - 1) + "|"]
        lines += ["| " + " | ".join(row) + " |" for row in document["rows"]]
        lines += [""] + [
            f"- {'met' if b['met'] else '**missed**'}: {b['what']}: {b['figure']}" for b in document["bars"]
        ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run them, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=list(SCRIPTS))
    parser.add_argument("--page", type=Path, default=HERE.parent / "docs" / "benchmarks.md")
    asked = parser.parse_args()
    documents = {name: run(name, ["--quick"] if asked.quick else SCRIPTS[name][1]) for name in asked.only}
    if asked.quick:
        return 0
    asked.page.write_text(page(documents), encoding="utf-8")
    print(f"\nwritten: {asked.page}", file=sys.stderr)
    return 0 if all(bar["met"] for document in documents.values() for bar in document["bars"]) else 1


if __name__ == "__main__":
    raise SystemExit(main())
