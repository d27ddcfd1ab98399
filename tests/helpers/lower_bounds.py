"""Print the oldest dependencies that pyproject.toml allows, as constraints for pip; see `make bounds`."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def lower_bounds(path: Path = PYPROJECT) -> list[str]:
    """Give `name==version` for each dependency of the package itself that has a lower bound."""
    dependencies = tomllib.loads(path.read_text(encoding="utf-8"))["project"]["dependencies"]
    found = (re.match(r"([\w.-]+)>=([\d.]+)", text) for text in dependencies)
    return [f"{match[1]}=={match[2]}" for match in found if match]


if __name__ == "__main__":
    sys.stdout.write("\n".join(lower_bounds()) + "\n")
