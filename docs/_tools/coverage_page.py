"""The tables of `docs/explanation/coverage.md`, from what `make coverage` and `make mutants` left.

python docs/_tools/coverage_page.py build/coverage/coverage.json   # `coverage json`
python docs/_tools/coverage_page.py build/mutants.txt              # what tests/mutation/run.py prints
"""

from __future__ import annotations

import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "coverage.md"
KEYS = ("num_statements", "covered_lines", "num_branches", "covered_branches")
# Of a package, the modules with less than this share of both together are named.
LOW = 0.85
# The last line of tests/mutation/run.py for a module, or for a list of changes by hand.
NOTICED = re.compile(
    r"^(\S+): (\d+) of (\d+) changes were noticed(?:, (\d+) change nothing, (\d+) live)?$", re.M
)


def coverage_table(report: dict[str, object]) -> str:
    """One row per package: what there is, what was run, and the modules of which least was."""
    files: dict[str, dict[str, dict[str, int]]] = report["files"]  # type: ignore[assignment]
    counted = {name: [found["summary"][key] for key in KEYS] for name, found in files.items()}
    packages: defaultdict[str, dict[str, list[int]]] = defaultdict(dict)
    for name, counts in counted.items():
        packages[str(Path(name).parent)][Path(name).name] = counts
    rows = [row_of(f"`{name}`", packages[name]) for name in sorted(packages)]
    rows.append(row_of("**all**", counted))
    head = "| package | statements | run | branches | run | both | modules below 85 % |"
    return "\n".join([head, "|---|---:|---:|---:|---:|---:|---|", *rows])


def row_of(name: str, modules: dict[str, list[int]]) -> str:
    """A row of the table."""
    statements, lines, branches, taken = (sum(column) for column in zip(*modules.values(), strict=True))
    low = sorted((share(*counts), module) for module, counts in modules.items() if share(*counts) < LOW)
    named = "" if name.startswith("**") else ", ".join(f"`{module}` {percent(rate)}" for rate, module in low)
    both = share(statements, lines, branches, taken)
    return (
        f"| {name} | {statements:,} | {percent(lines / max(1, statements))} | {branches:,} "
        f"| {percent(taken / max(1, branches)) if branches else ''} | {percent(both)} | {named} |"
    )


def share(statements: int, lines: int, branches: int, taken: int) -> float:
    """The share of statements and branches together that was run; all of a module that has none."""
    return (lines + taken) / (statements + branches) if statements + branches else 1.0


def percent(rate: float) -> str:
    """A share in percent."""
    return f"{100 * rate:.1f} %"


def mutant_table(printed: str) -> str:
    """One row per module: how many changes, and what became of them."""
    rows = []
    for name, noticed, total, same, live in NOTICED.findall(printed):
        rows.append(f"| `{name}` | {total} | {noticed} | {same or 0} | {live or int(total) - int(noticed)} |")
    return "\n".join(
        ["| module | mutants | killed | equivalent | survived |", "|---|---:|---:|---:|---:|", *rows]
    )


def put(page: str, name: str, table: str) -> str:
    """Put a table between its two marks."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    head, _, rest = page.partition(begin)
    return f"{head}{begin}\n{table}\n{end}{rest.partition(end)[2]}"


def main(paths: Iterable[str]) -> None:
    """Write what is given into the page."""
    page = PAGE.read_text(encoding="utf-8")
    for path in map(Path, paths):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            page = put(page, "coverage", coverage_table(json.loads(text)))
        else:
            page = put(page, "mutants", mutant_table(text))
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
